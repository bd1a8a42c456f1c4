// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"

	"github.com/kvorum/kvorum/store"
)

// popSpan gives the ranks of the first or last members, at most count.
func popSpan(z store.ZSet, count int64, last bool) (lo, hi int) {
	n := int(min(count, int64(z.Len())))
	if last {
		return z.Len() - n, z.Len()
	}
	return 0, n
}

// popRanks removes the first or last members, at most count, and answers with them and their scores.
func (x *execution) popRanks(key []byte, z store.ZSet, count int64, last bool) Result {
	lo, hi := popSpan(z, count, last)
	res := x.rankReply(z, &zrange{reverse: last, withScores: true}, lo, hi)
	if res.IsError() || lo == hi {
		return res
	}
	x.editZSet(key, func(z *store.ZSetEdit) { z.RemoveRange(lo, hi) })
	return res
}

func runZPop(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeZSet)
	if bad != nil {
		return *bad
	}
	if !found {
		return Array([]Result{})
	}
	count := int64(1)
	if len(args) > 1 {
		count, _ = parseInt(args[1])
	}
	return x.popRanks(args[0], ref.ZSet(), count, x.spec.Op == OpZPopMax)
}

// mpopOptions are the words behind the keys of ZMPOP and LMPOP.
type mpopOptions struct {
	last  bool
	count int64
}

// parseMPop reads the arguments of ZMPOP and LMPOP, which call the ends by different names.
func parseMPop(args [][]byte, first, last string) (o mpopOptions, text string) {
	n, ok := parseInt(args[0])
	if !ok || n < 1 {
		return o, TextNumKeys
	}
	if n > int64(len(args)-2) {
		return o, TextSyntax
	}
	rest := args[1+n:]
	switch {
	case EqualFold(rest[0], last):
		o.last = true
	case !EqualFold(rest[0], first):
		return o, TextSyntax
	}
	for rest = rest[1:]; len(rest) > 0; rest = rest[2:] {
		if o.count != 0 || len(rest) < 2 || !EqualFold(rest[0], "COUNT") {
			return o, TextSyntax
		}
		if o.count, ok = parseInt(rest[1]); !ok || o.count < 1 {
			return o, TextPopCount
		}
	}
	o.count = max(o.count, 1)
	return o, ""
}

// verifyMPop checks all of a command that names two ends.
func verifyMPop(first, last string) func([][]byte, *Limits) (Result, bool) {
	return func(args [][]byte, _ *Limits) (Result, bool) {
		if _, text := parseMPop(args, first, last); text != "" {
			return fail(text)
		}
		return Result{}, true
	}
}

func runZMPop(x *execution, args [][]byte) Result {
	o, _ := parseMPop(args, "MIN", "MAX")
	first, end := x.spec.CountedKeys(args)
	return x.popZSet(args[first:end], o.count, o.last)
}

func (x *execution) popZSet(keys [][]byte, count int64, last bool) Result {
	return x.popFirst(keys, store.TypeZSet, func(key []byte, ref store.Ref) ([]Result, *Result) {
		z := ref.ZSet()
		lo, hi := popSpan(z, count, last)
		pairs, bad := x.pairs(z, &zrange{reverse: last}, lo, hi, int64(len(key)))
		if bad == nil {
			x.editZSet(key, func(z *store.ZSetEdit) { z.RemoveRange(lo, hi) })
		}
		return pairs, bad
	})
}

// pairs lists the members of [lo, hi), each with its score in an array of its own; more is what else is in
// the reply.
func (x *execution) pairs(z store.ZSet, r *zrange, lo, hi int, more int64) ([]Result, *Result) {
	size := 2*ReplyOverhead + more
	z.Range(lo, hi, func(member []byte, _ float64) bool {
		size += 3*ReplyOverhead + int64(len(member))
		return size <= MaxReply
	})
	if bad := x.fits(size); bad != nil {
		return nil, bad
	}
	elems := make([]Result, 0, hi-lo)
	r.walk(z, lo, hi, func(member []byte, score float64) bool {
		elems = append(elems, Array([]Result{Bulk(clone(member)), Double(score)}))
		return true
	})
	return elems, nil
}

// verifyDraw checks the count that may stand behind the key, and the word that may stand behind that.
func verifyDraw(with string) func([][]byte, *Limits) (Result, bool) {
	return func(args [][]byte, _ *Limits) (Result, bool) {
		if res, ok := verifyDrawCount(args); !ok {
			return res, ok
		}
		if len(args) > 3 || len(args) == 3 && !EqualFold(args[2], with) {
			return fail(TextSyntax)
		}
		if len(args) == 3 {
			if n, _ := parseInt(args[1]); n < -math.MaxInt64/2 || n > math.MaxInt64/2 {
				return fail(TextOutOfRange)
			}
		}
		return Result{}, true
	}
}

func runZRandMember(x *execution, args [][]byte) Result {
	z, bad := x.zsetOf(args[0])
	if bad != nil {
		return *bad
	}
	d := x.readDraws()
	if len(args) == 1 {
		if z.Len() == 0 {
			return Null()
		}
		member, _ := z.At(d.below(z.Len()))
		return x.bulk(member)
	}
	each := int64(ReplyOverhead)
	if len(args) == 3 {
		each += ReplyOverhead
	}
	count, _ := parseInt(args[1])
	places, bad := x.drawPlaces(&d, z.Len(), count, each)
	if bad != nil {
		return *bad
	}
	size := int64(0)
	for _, i := range places {
		member, _ := z.At(i)
		if size += each + int64(len(member)); size > MaxReply {
			break
		}
	}
	if bad := x.fits(size); bad != nil {
		return *bad
	}
	elems := make([]Result, 0, len(places)*int(each/ReplyOverhead))
	for _, i := range places {
		member, score := z.At(i)
		elems = append(elems, Bulk(clone(member)))
		if len(args) == 3 {
			elems = append(elems, Double(score))
		}
	}
	return Array(elems)
}

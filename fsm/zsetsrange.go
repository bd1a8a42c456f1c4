// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// rangeKind is what the ends of a range are.
type rangeKind uint8

const (
	byRank rangeKind = iota
	byScore
	byLex
)

// zrange is the part of a sorted set that a command is about.
type zrange struct {
	kind       rangeKind
	reverse    bool
	withScores bool
	// min and max are the ends as the command has them, in the order of scores and members.
	min, max []byte
	offset   int64
	limit    int64 // -1 and less: none
}

// parseZRange reads source, ends and options of a command of the ZRANGE family.
func parseZRange(op Op, args [][]byte) (r zrange, text string) {
	fixed := op != OpZRange && op != OpZRangeStore
	switch op {
	case OpZRangeByScore, OpZRevRangeByScore:
		r.kind = byScore
	case OpZRangeByLex, OpZRevRangeByLex:
		r.kind = byLex
	}
	r.reverse = op == OpZRevRange || op == OpZRevRangeByScore || op == OpZRevRangeByLex
	r.limit = -1
	if op == OpZRangeStore {
		args = args[1:]
	}
	reverse, chosen := r.reverse, false
	for rest := args[3:]; len(rest) > 0; rest = rest[1:] {
		switch word := rest[0]; {
		case op != OpZRangeStore && EqualFold(word, "WITHSCORES"):
			r.withScores = true
		case len(rest) > 2 && EqualFold(word, "LIMIT"):
			var ok1, ok2 bool
			r.offset, ok1 = parseInt(rest[1])
			r.limit, ok2 = parseInt(rest[2])
			if !ok1 || !ok2 {
				return r, TextNotInteger
			}
			rest = rest[2:]
		case !fixed && !reverse && EqualFold(word, "REV"):
			reverse = true
		case !fixed && !chosen && EqualFold(word, "BYLEX"):
			r.kind, chosen = byLex, true
		case !fixed && !chosen && EqualFold(word, "BYSCORE"):
			r.kind, chosen = byScore, true
		default:
			return r, TextSyntax
		}
	}
	r.reverse = reverse
	switch {
	case r.limit != -1 && r.kind == byRank:
		return r, TextRangeLimit
	case r.withScores && r.kind == byLex:
		return r, TextRangeLexScores
	}
	r.min, r.max = args[1], args[2]
	if r.reverse && r.kind != byRank {
		r.min, r.max = r.max, r.min
	}
	return r, r.badEnds()
}

// badEnds is the error about the ends of the range, empty for none.
func (r *zrange) badEnds() string {
	switch r.kind {
	case byRank:
		if _, ok := parseInt(r.min); !ok {
			return TextNotInteger
		}
		if _, ok := parseInt(r.max); !ok {
			return TextNotInteger
		}
	case byScore:
		_, _, ok1 := parseBound(r.min)
		_, _, ok2 := parseBound(r.max)
		if !ok1 || !ok2 {
			return TextRangeNotFloat
		}
	case byLex:
		if !lexEnd(r.min) || !lexEnd(r.max) {
			return TextRangeNotLex
		}
	}
	return ""
}

// lexEnd tells whether b is an end of a range of members: '-', '+', or '[' or '(' and the member.
func lexEnd(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	switch b[0] {
	case '(', '[':
		return true
	case '+', '-':
		return len(b) == 1 || b[1] == 0
	}
	return false
}

// span gives the ranks [lo, hi) of the range, lo >= hi when it is empty.
func (r *zrange) span(z store.ZSet) (lo, hi int) {
	switch r.kind {
	case byRank:
		lo, hi = span(r.min, r.max, z.Len())
		if r.reverse {
			lo, hi = z.Len()-hi, z.Len()-lo
		}
		return lo, hi
	case byScore:
		low, open, _ := parseBound(r.min)
		lo = z.ScoreRank(low, open)
		high, open, _ := parseBound(r.max)
		hi = z.ScoreRank(high, !open)
	case byLex:
		lo, hi = lexRank(z, r.min, true), lexRank(z, r.max, false)
	}
	n := int64(hi - lo)
	if r.offset < 0 || r.offset >= n {
		return 0, 0
	}
	n -= r.offset
	if r.limit >= 0 {
		n = min(n, r.limit)
	}
	if r.reverse {
		hi -= int(r.offset)
		return hi - int(n), hi
	}
	lo += int(r.offset)
	return lo, lo + int(n)
}

// lexRank tells how many members are before an end of a range, which is the lower one or not.
func lexRank(z store.ZSet, end []byte, lower bool) int {
	switch end[0] {
	case '-':
		return 0
	case '+':
		return z.Len()
	}
	return z.MemberRank(end[1:], (end[0] == '(') == lower)
}

// walk visits the range in its direction.
func (r *zrange) walk(z store.ZSet, lo, hi int, f func(member []byte, score float64) bool) {
	if r.reverse {
		z.Reverse(lo, hi, f)
	} else {
		z.Range(lo, hi, f)
	}
}

func verifyZRange(op Op) func([][]byte, *Limits) (Result, bool) {
	return func(args [][]byte, _ *Limits) (Result, bool) {
		if _, text := parseZRange(op, args); text != "" {
			return fail(text)
		}
		return Result{}, true
	}
}

func runZRange(x *execution, args [][]byte) Result {
	r, _ := parseZRange(x.spec.Op, args)
	z, bad := x.zsetOf(args[0])
	if bad != nil {
		return *bad
	}
	lo, hi := r.span(z)
	return x.rankReply(z, &r, lo, hi)
}

// rankReply answers with the members of [lo, hi).
func (x *execution) rankReply(z store.ZSet, r *zrange, lo, hi int) Result {
	each := int64(ReplyOverhead)
	if r.withScores {
		each += ReplyOverhead
	}
	n := max(hi-lo, 0)
	size := z.Bytes() + int64(n)*each
	if n < z.Len() {
		size = 0
		z.Range(lo, hi, func(member []byte, _ float64) bool {
			size += each + int64(len(member))
			return size <= MaxReply
		})
	}
	if bad := x.fits(size); bad != nil {
		return *bad
	}
	elems := make([]Result, 0, n*int(each/ReplyOverhead))
	r.walk(z, lo, hi, func(member []byte, score float64) bool {
		elems = append(elems, Bulk(clone(member)))
		if r.withScores {
			elems = append(elems, Double(score))
		}
		return true
	})
	return Array(elems)
}

func runZRangeStore(x *execution, args [][]byte) Result {
	r, _ := parseZRange(OpZRangeStore, args)
	x.slot = x.keySlots[1]
	z, bad := x.zsetOf(args[1])
	if bad != nil {
		return *bad
	}
	var p scoredPile
	lo, hi := r.span(z)
	z.Range(lo, hi, func(member []byte, score float64) bool {
		p.add(member, score)
		return true
	})
	return x.replaceZSet(args[0], &p)
}

// bounds are the ends of the range that a command with nothing else has behind its key.
func bounds(kind rangeKind, args [][]byte) zrange {
	return zrange{kind: kind, min: args[1], max: args[2], limit: -1}
}

func verifyEnds(kind rangeKind, args [][]byte) (Result, bool) {
	r := bounds(kind, args)
	if text := r.badEnds(); text != "" {
		return fail(text)
	}
	return Result{}, true
}

func verifyScores(args [][]byte, _ *Limits) (Result, bool) { return verifyEnds(byScore, args) }

func verifyLexes(args [][]byte, _ *Limits) (Result, bool) { return verifyEnds(byLex, args) }

// kindOf is what the ends of a command are whose name says it.
func kindOf(op Op) rangeKind {
	switch op {
	case OpZCount, OpZRemRangeByScore:
		return byScore
	case OpZLexCount, OpZRemRangeByLex:
		return byLex
	}
	return byRank
}

func runZCount(x *execution, args [][]byte) Result {
	z, bad := x.zsetOf(args[0])
	if bad != nil {
		return *bad
	}
	r := bounds(kindOf(x.spec.Op), args)
	lo, hi := r.span(z)
	return Int(int64(max(hi-lo, 0)))
}

func runZRemRange(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeZSet)
	if bad != nil {
		return *bad
	}
	if !found {
		return Int(0)
	}
	r := bounds(kindOf(x.spec.Op), args)
	lo, hi := r.span(ref.ZSet())
	if lo >= hi {
		return Int(0)
	}
	n := 0
	x.editZSet(args[0], func(z *store.ZSetEdit) { n = z.RemoveRange(lo, hi) })
	return Int(int64(n))
}

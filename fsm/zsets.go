// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"

	"github.com/kvorum/kvorum/store"
)

func zsetRows() []Spec {
	const fast, slow = CatSortedSet | CatFast, CatSortedSet | CatSlow
	return []Spec{
		one(OpZAdd, "ZADD", -4, fast, runZAdd).grows().verified(verifyZAdd),
		one(OpZIncrBy, "ZINCRBY", 4, fast, runZAdd).grows().verified(verifyZIncrBy),
		one(OpZRem, "ZREM", -3, fast, runZRem).write(),
		one(OpZCard, "ZCARD", 2, fast, runZCard).read(),
		one(OpZScore, "ZSCORE", 3, fast, runZScore).read(),
		one(OpZMScore, "ZMSCORE", -3, fast, runZMScore).read(),
		one(OpZRank, "ZRANK", 3, fast, runZRank).read(),
		one(OpZRevRank, "ZREVRANK", 3, fast, runZRank).read(),
		one(OpZCount, "ZCOUNT", 4, fast, runZCount).read().verified(verifyScores),
		one(OpZLexCount, "ZLEXCOUNT", 4, fast, runZCount).read().verified(verifyLexes),
		one(OpZRange, "ZRANGE", -4, slow, runZRange).read().verified(verifyZRange(OpZRange)),
		two(OpZRangeStore, "ZRANGESTORE", -5, slow, runZRangeStore).grows().verified(verifyZRange(OpZRangeStore)),
		one(OpZRangeByScore, "ZRANGEBYSCORE", -4, slow, runZRange).read().verified(verifyZRange(OpZRangeByScore)),
		one(OpZRevRangeByScore, "ZREVRANGEBYSCORE", -4, slow, runZRange).read().verified(verifyZRange(OpZRevRangeByScore)),
		one(OpZRangeByLex, "ZRANGEBYLEX", -4, slow, runZRange).read().verified(verifyZRange(OpZRangeByLex)),
		one(OpZRevRangeByLex, "ZREVRANGEBYLEX", -4, slow, runZRange).read().verified(verifyZRange(OpZRevRangeByLex)),
		one(OpZRevRange, "ZREVRANGE", -4, slow, runZRange).read().verified(verifyZRange(OpZRevRange)),
		one(OpZRemRangeByRank, "ZREMRANGEBYRANK", 4, slow, runZRemRange).write().verified(ints(1, 2)),
		one(OpZRemRangeByScore, "ZREMRANGEBYSCORE", 4, slow, runZRemRange).write().verified(verifyScores),
		one(OpZRemRangeByLex, "ZREMRANGEBYLEX", 4, slow, runZRemRange).write().verified(verifyLexes),
		one(OpZPopMin, "ZPOPMIN", -2, fast, runZPop).write().replies().verified(verifySPop),
		one(OpZPopMax, "ZPOPMAX", -2, fast, runZPop).write().replies().verified(verifySPop),
		counted(OpZMPop, "ZMPOP", -4, 1, slow, runZMPop).write().replies().verified(verifyMPop("MIN", "MAX")),
		one(OpZRandMember, "ZRANDMEMBER", -2, slow, runZRandMember).read().chance().verified(verifyDraw("WITHSCORES")),
		zcombined(OpZUnion, "ZUNION", -3, 1).read(),
		zcombined(OpZUnionStore, "ZUNIONSTORE", -4, 2).into().grows(),
		zcombined(OpZInter, "ZINTER", -3, 1).read(),
		zcombined(OpZInterStore, "ZINTERSTORE", -4, 2).into().grows(),
		zcombined(OpZInterCard, "ZINTERCARD", -3, 1).read(),
		zcombined(OpZDiff, "ZDIFF", -3, 1).read(),
		zcombined(OpZDiffStore, "ZDIFFSTORE", -4, 2).into().grows(),
		one(OpZScan, "ZSCAN", -3, slow, runZScan).read().verified(verifyMemberScan),
	}
}

// zcombined makes a row of the ZUNION family.
func zcombined(op Op, name string, arity, from int) Spec {
	return counted(op, name, arity, from, CatSortedSet|CatSlow, runZAlgebra).verified(verifyZAlgebra(name, from))
}

// InPairs tells whether r, the reply to a command with these arguments, is one of those that RESP2 words as
// member, score, member, score … (field, value … of HRANDFIELD) and RESP3 as an array of pairs.
func (s *Spec) InPairs(args [][]byte, r *Result) bool {
	if s.Op == OpHRandField {
		return r.Kind == KindArray && len(args) == 3 && len(r.Elems) > 0
	}
	if s.Categories&CatSortedSet == 0 || (s.Op == OpZPopMin || s.Op == OpZPopMax) && len(args) == 1 {
		return false
	}
	return r.Kind == KindArray && len(r.Elems) > 1 && r.Elems[0].Kind == KindBulk && r.Elems[1].Kind == KindDouble
}

func (x *execution) editZSet(key []byte, f func(z *store.ZSetEdit)) {
	x.k.st.EditZSet(x.slot, key, x.ctx.NextVersion(), f)
}

// zsetOf is the sorted set at a key for reading; an absent one is empty.
func (x *execution) zsetOf(key []byte) (z store.ZSet, bad *Result) {
	ref, found, bad := x.getTyped(key, store.TypeZSet)
	if found && bad == nil {
		z = ref.ZSet()
	}
	return z, bad
}

// zaddOptions are the words before the scores of ZADD.
type zaddOptions struct {
	conditions
	ch, incr bool
	// pairs are scores and members in turn.
	pairs [][]byte
}

// parseZAdd reads what is behind the key. ZINCRBY is ZADD with INCR, in its refusals too.
func parseZAdd(args [][]byte, incr bool) (o zaddOptions, text string) {
	o.incr = incr
	i := 1
options:
	for ; i < len(args); i++ {
		switch word := args[i]; {
		case o.read(word):
		case EqualFold(word, "CH"):
			o.ch = true
		case EqualFold(word, "INCR"):
			o.incr = true
		default:
			break options
		}
	}
	o.pairs = args[i:]
	switch {
	case len(o.pairs) == 0 || len(o.pairs)%2 != 0:
		return o, TextSyntax
	case o.nx && o.xx:
		return o, TextZAddNXXX
	case o.gt && o.nx || o.lt && o.nx || o.gt && o.lt:
		return o, TextZAddGTLTNX
	case o.incr && len(o.pairs) > 2:
		return o, TextZAddIncr
	}
	return o, ""
}

func verifyZAdd(args [][]byte, _ *Limits) (Result, bool) { return checkZAdd(args, false) }

func verifyZIncrBy(args [][]byte, _ *Limits) (Result, bool) { return checkZAdd(args, true) }

func checkZAdd(args [][]byte, incr bool) (Result, bool) {
	o, text := parseZAdd(args, incr)
	if text != "" {
		return fail(text)
	}
	for i := 0; i < len(o.pairs); i += 2 {
		if _, ok := parseDouble(o.pairs[i]); !ok {
			return fail(TextNotFloat)
		}
	}
	return Result{}, true
}

// takes tells whether a member that has the score before, if found, gets the score now.
func (o *zaddOptions) takes(found bool, before, now float64) bool {
	if !found {
		return !o.xx
	}
	return !o.nx && !(o.gt && now <= before) && !(o.lt && now >= before)
}

func runZAdd(x *execution, args [][]byte) Result {
	o, _ := parseZAdd(args, x.spec.Op == OpZIncrBy)
	ref, found, bad := x.takeTyped(args[0], store.TypeZSet)
	if bad != nil {
		return *bad
	}
	if o.incr {
		return x.zincr(args[0], &o, ref, found)
	}
	if !found && o.xx {
		return Int(0)
	}
	added, updated := int64(0), int64(0)
	x.editZSet(args[0], func(z *store.ZSetEdit) {
		for i := 0; i < len(o.pairs); i += 2 {
			score, _ := parseDouble(o.pairs[i])
			member := o.pairs[i+1]
			if o.nx || o.xx || o.gt || o.lt {
				before, has := z.Score(member)
				if !o.takes(has, before, score) {
					continue
				}
			}
			switch created, changed := z.Add(member, score); {
			case created:
				added++
			case changed:
				updated++
			}
		}
	})
	x.settle(args[0], found)
	if o.ch {
		added += updated
	}
	return Int(added)
}

// zincr is ZADD with INCR: one member, and its score is the reply.
func (x *execution) zincr(key []byte, o *zaddOptions, ref store.Ref, found bool) Result {
	score, _ := parseDouble(o.pairs[0])
	before, has := 0.0, false
	if found {
		before, has = ref.ZSet().Score(o.pairs[1])
	}
	if has && !o.nx {
		if score += before; math.IsNaN(score) {
			return Error(CodeError, TextScoreNaN)
		}
	}
	if !o.takes(has, before, score) {
		return Null()
	}
	x.editZSet(key, func(z *store.ZSetEdit) { z.Add(o.pairs[1], score) })
	x.settle(key, found)
	return Double(score)
}

func runZRem(x *execution, args [][]byte) Result {
	_, found, bad := x.takeTyped(args[0], store.TypeZSet)
	if bad != nil {
		return *bad
	}
	if !found {
		return Int(0)
	}
	n := int64(0)
	x.editZSet(args[0], func(z *store.ZSetEdit) {
		n = count(args[1:], z.Remove)
	})
	return Int(n)
}

func runZCard(x *execution, args [][]byte) Result {
	z, bad := x.zsetOf(args[0])
	if bad != nil {
		return *bad
	}
	return Int(int64(z.Len()))
}

func runZScore(x *execution, args [][]byte) Result {
	z, bad := x.zsetOf(args[0])
	if bad != nil {
		return *bad
	}
	return scoreReply(z, args[1])
}

func scoreReply(z store.ZSet, member []byte) Result {
	if score, ok := z.Score(member); ok {
		return Double(score)
	}
	return Null()
}

func runZMScore(x *execution, args [][]byte) Result {
	z, bad := x.zsetOf(args[0])
	if bad != nil {
		return *bad
	}
	if bad := x.fits(int64(len(args)) * ReplyOverhead); bad != nil {
		return *bad
	}
	elems := make([]Result, 0, len(args)-1)
	for _, member := range args[1:] {
		elems = append(elems, scoreReply(z, member))
	}
	return Array(elems)
}

func runZRank(x *execution, args [][]byte) Result {
	z, bad := x.zsetOf(args[0])
	if bad != nil {
		return *bad
	}
	rank, ok := z.Rank(args[1])
	if !ok {
		return Null()
	}
	if x.spec.Op == OpZRevRank {
		rank = z.Len() - 1 - rank
	}
	return Int(int64(rank))
}

func runZScan(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeZSet)
	if bad != nil {
		return *bad
	}
	if !found {
		return x.scanReply(&memberScan{}, 0, scanScores)
	}
	s, bad := parseMemberScan(args)
	if bad != nil {
		return *bad
	}
	next := s.walk(func(position uint64, n int, f func(m scannedMember)) uint64 {
		return ref.ZSet().Scan(position, n, func(member []byte, score float64) { f(scannedMember{name: member, score: score}) })
	})
	return x.scanReply(&s, next, scanScores)
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/kvorum/kvorum/store"
)

// scored is a member with its score.
type scored struct {
	member []byte
	score  float64
}

// aggregate says how scores of one member become one.
type aggregate uint8

const (
	aggregateSum aggregate = iota
	aggregateMin
	aggregateMax
)

// add is the score of a member that has had score so far.
func (a aggregate) add(score, other float64) float64 {
	switch {
	case a == aggregateMin && other < score, a == aggregateMax && other > score:
		return other
	case a != aggregateSum:
		return score
	}
	if score += other; math.IsNaN(score) { // infinities of both signs
		return 0
	}
	return score
}

// operand is a set or sorted set that a command combines; one that is absent is empty.
type operand struct {
	set    store.Set
	zset   store.ZSet
	plain  bool // set is meant; each member's score is 1
	weight float64
}

func (o *operand) len() int {
	if o.plain {
		return o.set.Len()
	}
	return o.zset.Len()
}

// size is that of a reply with all members and scores.
func (o *operand) size() int64 {
	n := 2 * ReplyOverhead * int64(o.len())
	if o.plain {
		return n + o.set.Bytes()
	}
	return n + o.zset.Bytes()
}

func (o *operand) each(f func(member []byte, score float64) bool) {
	if o.plain {
		o.set.Each(func(member []byte) bool { return f(member, 1) })
		return
	}
	o.zset.Each(f)
}

func (o *operand) score(member []byte) (float64, bool) {
	if o.plain {
		return 1, o.set.Has(member)
	}
	return o.zset.Score(member)
}

// weigh multiplies: the conversion keeps the product from being fused with a sum.
func (o *operand) weigh(score float64) float64 { return float64(o.weight * score) }

// weighPlainly is weigh, with 0 for what is no number.
func (o *operand) weighPlainly(score float64) float64 {
	if score = o.weigh(score); math.IsNaN(score) {
		return 0
	}
	return score
}

// maxRepeated bounds the members of operands that are named again, for which every replica would work again.
const maxRepeated = 1 << 22

// combination is what a command of the ZUNION family makes of its keys.
type combination struct {
	op         Op
	from       []operand
	aggregate  aggregate
	withScores bool
	limit      int64 // of ZINTERCARD; 0: none
}

func (c *combination) differs() bool { return c.op == OpZDiff || c.op == OpZDiffStore }

func (c *combination) unites() bool { return c.op == OpZUnion || c.op == OpZUnionStore }

func (c *combination) store() bool {
	return c.op == OpZUnionStore || c.op == OpZInterStore || c.op == OpZDiffStore
}

// verifyZAlgebra checks the number of keys. Redis looks at the options only after it found the keys.
func verifyZAlgebra(name string, at int) func([][]byte, *Limits) (Result, bool) {
	return func(args [][]byte, _ *Limits) (Result, bool) {
		n, ok := parseInt(args[at-1])
		switch {
		case !ok:
			return fail(TextNotInteger)
		case n < 1:
			return Errorf(CodeError, "ERR at least 1 input key is needed for '%s' command", strings.ToLower(name)), false
		case n > int64(len(args)-at):
			return fail(TextSyntax)
		}
		return Result{}, true
	}
}

// options reads what is behind the keys.
func (c *combination) options(rest [][]byte) (text string) {
	weighs := c.op != OpZDiff && c.op != OpZDiffStore && c.op != OpZInterCard
	for len(rest) > 0 {
		n := 2
		switch {
		case weighs && len(rest) > len(c.from) && EqualFold(rest[0], "WEIGHTS"):
			for i := range c.from {
				var ok bool
				if c.from[i].weight, ok = parseDouble(rest[1+i]); !ok {
					return TextWeight
				}
			}
			n = 1 + len(c.from)
		case weighs && len(rest) > 1 && EqualFold(rest[0], "AGGREGATE"):
			switch {
			case EqualFold(rest[1], "SUM"):
				c.aggregate = aggregateSum
			case EqualFold(rest[1], "MIN"):
				c.aggregate = aggregateMin
			case EqualFold(rest[1], "MAX"):
				c.aggregate = aggregateMax
			default:
				return TextSyntax
			}
		case !c.store() && c.op != OpZInterCard && EqualFold(rest[0], "WITHSCORES"):
			c.withScores = true
			n = 1
		case c.op == OpZInterCard && len(rest) > 1 && EqualFold(rest[0], "LIMIT"):
			var ok bool
			if c.limit, ok = parseInt(rest[1]); !ok || c.limit < 0 {
				return TextLimit
			}
		default:
			return TextSyntax
		}
		rest = rest[n:]
	}
	return ""
}

// weighed finds the keys, of which the first is key number from of the command. Nothing is removed: what was
// found stays valid.
func (x *execution) weighed(keys [][]byte, from int) ([]operand, *Result) {
	all := make([]operand, len(keys))
	for i, key := range keys {
		o := &all[i]
		o.weight = 1
		x.slot = x.keySlots[from+i]
		ref, found := x.get(key)
		if !found {
			continue
		}
		switch ref.Type() {
		case store.TypeSet:
			o.set, o.plain = ref.Set(), true
		case store.TypeZSet:
			o.zset = ref.ZSet()
		default:
			res := Error(CodeWrongType, TextWrongType)
			return nil, &res
		}
	}
	return all, nil
}

// repeats leaves out operands that are named again where they add nothing: anywhere but where scores add up.
// False when too much is to be added up again.
func (c *combination) repeats(keys [][]byte) bool {
	seen := make(map[string]struct{}, len(keys))
	kept, members := c.from[:0], int64(0)
	for i, key := range keys {
		if i == 0 && c.differs() {
			kept = append(kept, c.from[i])
			continue
		}
		if !remember(seen, key) {
			if c.differs() || c.op == OpZInterCard {
				continue
			}
			members += int64(c.from[i].len())
		}
		kept = append(kept, c.from[i])
	}
	c.from = kept
	return members <= maxRepeated
}

// each visits the members of the combination with their scores. Scores add up in the order of the operands'
// sizes, as in Redis: the sum may depend on it.
func (c *combination) each(f func(member []byte, score float64) bool) {
	if c.differs() {
		c.subtract(f)
		return
	}
	slices.SortStableFunc(c.from, func(a, b operand) int { return cmp.Compare(a.len(), b.len()) })
	switch {
	case !c.unites():
		c.intersect(f)
	case len(c.from) > manyOperands:
		c.uniteMany(f)
	default:
		c.unite(f)
	}
}

func (c *combination) subtract(f func(member []byte, score float64) bool) {
	gone := elsewhere(len(c.from), func(i int, member []byte) bool { return has(c.from[i:i+1], member) },
		func(i int, f func(member []byte) bool) {
			c.from[i].each(func(member []byte, _ float64) bool { return f(member) })
		})
	c.from[0].each(func(member []byte, score float64) bool { return gone(member) || f(member, score) })
}

// unite takes no memory for what was visited.
func (c *combination) unite(f func(member []byte, score float64) bool) {
	from, more := c.from, true
	for i := 0; i < len(from) && more; i++ {
		from[i].each(func(member []byte, score float64) bool {
			if has(from[:i], member) {
				return true
			}
			score = from[i].weighPlainly(score)
			for j := i + 1; j < len(from); j++ {
				if other, ok := from[j].score(member); ok {
					score = c.aggregate.add(score, from[j].weighPlainly(other))
				}
			}
			more = f(member, score)
			return more
		})
	}
}

// uniteMany is unite with one look at each member of each operand. Of what is too large for a reply it visits
// the beginning only.
func (c *combination) uniteMany(f func(member []byte, score float64) bool) {
	var p scoredPile
	places := make(map[string]int)
	room := true
	for i := 0; i < len(c.from) && room; i++ {
		o := &c.from[i]
		o.each(func(member []byte, score float64) bool {
			score = o.weighPlainly(score)
			if at, ok := places[string(member)]; ok {
				p.scores[at] = c.aggregate.add(p.scores[at], score)
				return true
			}
			places[string(member)] = len(p.scores)
			p.add(member, score)
			room = c.store() || p.size() <= MaxReply
			return room
		})
	}
	for i := range p.scores {
		if !f(p.at(i), p.scores[i]) {
			return
		}
	}
}

func (c *combination) intersect(f func(member []byte, score float64) bool) {
	c.from[0].each(func(member []byte, score float64) bool {
		score = c.from[0].weighPlainly(score)
		for j := 1; j < len(c.from); j++ {
			other, ok := c.from[j].score(member)
			if !ok {
				return true
			}
			score = c.aggregate.add(score, c.from[j].weigh(other))
		}
		return f(member, score)
	})
}

func has(from []operand, member []byte) bool {
	for i := range from {
		if _, ok := from[i].score(member); ok {
			return true
		}
	}
	return false
}

func runZAlgebra(x *execution, args [][]byte) Result {
	first, end := x.spec.CountedKeys(args)
	c := combination{op: x.spec.Op}
	var bad *Result
	skip := 0 // the destination is the first key
	if c.store() {
		skip = 1
	}
	if c.from, bad = x.weighed(args[first:end], skip); bad != nil {
		return *bad
	}
	if text := c.options(args[end:]); text != "" {
		res, _ := fail(text)
		return res
	}
	if !c.repeats(args[first:end]) {
		return Error(CodeTooBig, TextRepeated)
	}
	switch {
	case c.store():
		var p scoredPile
		c.each(func(member []byte, score float64) bool {
			p.add(member, score)
			return true
		})
		return x.replaceZSet(args[0], &p)
	case c.op == OpZInterCard:
		n := int64(0)
		c.each(func([]byte, float64) bool {
			n++
			return n != c.limit
		})
		return Int(n)
	}
	return x.combinedReply(&c)
}

// combinedReply visits twice what may be large: no memory is taken before the size of the reply is known.
func (x *execution) combinedReply(c *combination) Result {
	most, size, n := int64(0), int64(0), 0
	for i := range c.from {
		most += c.from[i].size()
	}
	each := int64(ReplyOverhead)
	if c.withScores {
		each += ReplyOverhead
	}
	var found []scored
	c.each(func(member []byte, score float64) bool {
		if most <= WriteReply {
			found = append(found, scored{member, score})
		}
		n++
		size += each + int64(len(member))
		return size <= MaxReply
	})
	if bad := x.fits(size); bad != nil {
		return *bad
	}
	if len(found) < n {
		found = make([]scored, 0, n)
		c.each(func(member []byte, score float64) bool {
			found = append(found, scored{member, score})
			return true
		})
	}
	slices.SortFunc(found, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.score, b.score), bytes.Compare(a.member, b.member))
	})
	elems := make([]Result, 0, n*int(each/ReplyOverhead))
	for i := range found {
		elems = append(elems, Bulk(clone(found[i].member)))
		if c.withScores {
			elems = append(elems, Double(found[i].score))
		}
	}
	return Array(elems)
}

// scoredPile is a pile with scores.
type scoredPile struct {
	pile
	scores []float64
}

// size is what a reply with the members takes at least.
func (p *scoredPile) size() int64 { return int64(len(p.data)) + ReplyOverhead*int64(len(p.scores)) }

func (p *scoredPile) add(member []byte, score float64) {
	p.pile.add(member)
	p.scores = append(p.scores, score)
}

// replaceZSet makes the command's first key of a pile.
func (x *execution) replaceZSet(key []byte, p *scoredPile) Result {
	x.replace(key, len(p.ends), func() {
		x.editZSet(key, func(z *store.ZSetEdit) {
			for i := range p.ends {
				z.Add(p.at(i), p.scores[i])
			}
		})
	})
	return Int(int64(len(p.ends)))
}

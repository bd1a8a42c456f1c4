// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/kvorum/kvorum/store/keyed"
)

// ZSet reads a sorted set in either form: members in the order of (score, member). The zero ZSet is empty. A
// score is never NaN and never -0.
//
// A range of scores or of members is a range of ranks: ScoreRank and MemberRank turn its ends into ranks,
// between which Range and Reverse walk.
type ZSet struct {
	p []byte
	o *BigZSet
}

// PackedZSet reads packed bytes.
func PackedZSet(p []byte) ZSet { return ZSet{p: p} }

// LargeZSet reads a large sorted set.
func LargeZSet(o *BigZSet) ZSet { return ZSet{o: o} }

// BigZSet is a large sorted set: its members twice, in order, and with their scores in the order of the keyed
// hash.
type BigZSet struct {
	hash     keyed.Hasher
	byScore  tree  // key: the score as orderOf
	byMember tree  // key: the keyed hash
	bytes    int64 // sum of the members' lengths
}

func newBigZSet(h keyed.Hasher) *BigZSet {
	return &BigZSet{hash: h, byScore: tree{kind: members}, byMember: tree{kind: scored, summed: true}}
}

// Fork returns a sorted set of the same members; a change of one does not show in the other.
func (o *BigZSet) Fork() *BigZSet {
	return &BigZSet{o.hash, o.byScore.fork(), o.byMember.fork(), o.bytes}
}

// Sum is the fingerprint of the members and scores.
func (o *BigZSet) Sum() [2]uint64 { return o.byMember.sum.words() }

// orderOf maps scores to numbers of the same order.
func orderOf(score float64) uint64 {
	b := math.Float64bits(score)
	if b>>63 != 0 {
		return ^b
	}
	return b | 1<<63
}

func scoreOf(order uint64) float64 {
	if order>>63 != 0 {
		return math.Float64frombits(order &^ (1 << 63))
	}
	return math.Float64frombits(^order)
}

// plainScore makes -0 0 and refuses NaN.
func plainScore(score float64) float64 {
	assert(!math.IsNaN(score), "a score that is NaN")
	if score == 0 {
		return 0
	}
	return score
}

func scoreAt(p []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(p)) }

func scoreBytes(score float64) (b [scoreSize]byte) {
	binary.LittleEndian.PutUint64(b[:], math.Float64bits(score))
	return b
}

// score returns a member's score.
func (o *BigZSet) score(member []byte) (float64, bool) {
	item, ok := o.byMember.find(o.hash.Sum(member), member)
	if !ok {
		return 0, false
	}
	return scoreAt(item[len(item)-scoreSize:]), true
}

// put gives a member a score; before is the one it has when found is true. item is of use as scratch.
func (o *BigZSet) put(member []byte, score, before float64, found bool, item *[]byte) {
	if found {
		o.byScore.remove(orderOf(before), member)
	} else {
		o.bytes += int64(len(member))
	}
	o.byScore.put(orderOf(score), member, kept(member))
	b := scoreBytes(score)
	if size := len(member) + scoreSize; size > inlineMax {
		p := append(append(make([]byte, 0, size), member...), b[:]...)
		o.byMember.put(o.hash.Sum(member), member, p)
		return
	}
	*item = append(append((*item)[:0], member...), b[:]...)
	o.byMember.put(o.hash.Sum(member), member, *item)
}

// remove takes out a member that is there, which may alias byScore.
func (o *BigZSet) remove(member []byte, score float64) {
	o.bytes -= int64(len(member))
	o.byMember.remove(o.hash.Sum(member), member)
	o.byScore.remove(orderOf(score), member)
}

// packedMember is where a member of a packed sorted set is.
type packedMember struct{ i, off, size int }

// findScored finds a member of a packed sorted set.
func findScored(p, member []byte) (at packedMember, score float64, ok bool) {
	n, table := tableOf(p, zsetWidth)
	off, last := 0, lastByte(member)
	for i, b := range p[table : table+n*zsetWidth] {
		size := int(b)
		if size == len(member) && (size == 0 || p[off+size-1] == last) && string(p[off:off+size]) == string(member) {
			return packedMember{i, off, size}, scoreAt(p[off+size:]), true
		}
		off += size + scoreSize
	}
	return at, 0, false
}

// lowerScored returns the first member of a packed sorted set that is at least (score, member).
func lowerScored(p []byte, score float64, member []byte) (at packedMember) {
	n, table := tableOf(p, zsetWidth)
	for i, b := range p[table : table+n*zsetWidth] {
		at = packedMember{i, at.off, int(b)}
		end := at.off + at.size
		if s := scoreAt(p[end:]); s > score || s == score && bytes.Compare(p[at.off:end], member) >= 0 {
			return at
		}
		at.off = end + scoreSize
	}
	return packedMember{i: n, off: at.off}
}

// Len is the number of members.
func (z ZSet) Len() int {
	if z.o != nil {
		return z.o.byScore.n
	}
	n, _ := tableOf(z.p, zsetWidth)
	return n
}

// Bytes is the sum of the members' lengths.
func (z ZSet) Bytes() int64 {
	if z.o != nil {
		return z.o.bytes
	}
	n, table := tableOf(z.p, zsetWidth)
	return int64(table - n*scoreSize)
}

// Score returns the score of a member.
func (z ZSet) Score(member []byte) (score float64, ok bool) {
	if z.o != nil {
		return z.o.score(member)
	}
	_, score, ok = findScored(z.p, member)
	return score, ok
}

// Rank returns how many members come before a member that is there.
func (z ZSet) Rank(member []byte) (rank int, ok bool) {
	if z.o != nil {
		score, ok := z.o.score(member)
		if !ok {
			return 0, false
		}
		return z.o.byScore.rank(orderOf(score), member), true
	}
	at, _, ok := findScored(z.p, member)
	return at.i, ok
}

// ScoreRank returns how many members have a score less than score, or, with through, at most score.
func (z ZSet) ScoreRank(score float64, through bool) int {
	score = plainScore(score)
	if z.o != nil {
		if through {
			return z.o.byScore.rankAfter(orderOf(score))
		}
		return z.o.byScore.rank(orderOf(score), nil)
	}
	rank := 0
	z.Range(0, packedItems, func(_ []byte, s float64) bool {
		if s > score || s == score && !through {
			return false
		}
		rank++
		return true
	})
	return rank
}

// MemberRank returns, in a sorted set whose members all have one score, how many members are less than
// member, or, with through, at most member. Else it looks at those of the lowest score.
func (z ZSet) MemberRank(member []byte, through bool) (rank int) {
	if z.Len() == 0 {
		return 0
	}
	_, score := z.At(0)
	if z.o != nil {
		rank = z.o.byScore.rank(orderOf(score), member)
	} else {
		rank = lowerScored(z.p, score, member).i
	}
	if through && rank < z.Len() {
		if m, s := z.At(rank); s == score && bytes.Equal(m, member) {
			rank++
		}
	}
	return rank
}

// At returns member i of [0, Len) and its score.
func (z ZSet) At(i int) (member []byte, score float64) {
	assert(uint(i) < uint(z.Len()), "sorted set index out of range")
	z.Range(i, i+1, func(m []byte, s float64) bool {
		member, score = m, s
		return false
	})
	return member, score
}

// Each calls f for every member until f returns false.
func (z ZSet) Each(f func(member []byte, score float64) bool) { z.Range(0, z.Len(), f) }

// Range calls f for the members of [lo, hi) until f returns false.
func (z ZSet) Range(lo, hi int, f func(member []byte, score float64) bool) {
	lo, hi = max(lo, 0), min(hi, z.Len())
	if z.o != nil {
		z.o.byScore.walk(lo, hi, func(key uint64, item []byte) bool { return f(item, scoreOf(key)) })
		return
	}
	n, table := tableOf(z.p, zsetWidth)
	lengths := z.p[table : table+n*zsetWidth]
	off := 0
	for i := range hi {
		end := off + int(lengths[i])
		if i >= lo && !f(z.p[off:end:end], scoreAt(z.p[end:])) {
			return
		}
		off = end + scoreSize
	}
}

// Reverse calls f for the members from hi-1 down to lo until f returns false.
func (z ZSet) Reverse(lo, hi int, f func(member []byte, score float64) bool) {
	lo, hi = max(lo, 0), min(hi, z.Len())
	if z.o != nil {
		z.o.byScore.walkBack(lo, hi, func(key uint64, item []byte) bool { return f(item, scoreOf(key)) })
		return
	}
	n, table := tableOf(z.p, zsetWidth)
	lengths := z.p[table : table+n*zsetWidth]
	end := table
	for i := n - 1; i >= lo; i-- {
		off := end - scoreSize - int(lengths[i])
		if i < hi && !f(z.p[off:end-scoreSize:end-scoreSize], scoreAt(z.p[end-scoreSize:])) {
			return
		}
		end = off
	}
}

// Scan visits about count members from a cursor on, otherwise as Hash.Scan. The form of a sorted set does
// not show but here: a packed one is visited whole at once, whatever the cursor.
func (z ZSet) Scan(cursor uint64, count int, f func(member []byte, score float64)) (next uint64) {
	if z.o == nil {
		z.Each(func(member []byte, score float64) bool {
			f(member, score)
			return true
		})
		return 0
	}
	return z.o.byMember.scan(cursor, max(count, 1), func(item []byte) {
		end := len(item) - scoreSize
		f(item[:end:end], scoreAt(item[end:]))
	})
}

// Sum is the fingerprint of the members and scores, the same in both forms.
func (z ZSet) Sum() [2]uint64 {
	if z.o != nil {
		return z.o.Sum()
	}
	if hasSum(z.p) {
		lo, hi := keptSum(z.p)
		return [2]uint64{lo, hi}
	}
	return z.walkSum().words()
}

// walkSum takes the sum of a packed sorted set from its items.
func (z ZSet) walkSum() (sum sum128) {
	n, table := tableOf(z.p, zsetWidth)
	off := 0
	for _, size := range z.p[table : table+n*zsetWidth] {
		end := off + int(size) + scoreSize
		sum.add(hashItem(z.p[off:end]))
		off = end
	}
	return sum
}

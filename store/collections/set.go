// SPDX-License-Identifier: Apache-2.0

package collections

import "github.com/kvorum/kvorum/store/keyed"

// Set reads a set in either form. The zero Set is empty.
type Set struct {
	p []byte
	o *BigSet
}

// PackedSet reads packed bytes.
func PackedSet(p []byte) Set { return Set{p: p} }

// LargeSet reads a large set.
func LargeSet(o *BigSet) Set { return Set{o: o} }

// BigSet is a large set: its members in the order of the keyed hash.
type BigSet struct {
	hash  keyed.Hasher
	t     tree
	bytes int64 // sum of the members' lengths
}

func newBigSet(h keyed.Hasher) *BigSet {
	return &BigSet{hash: h, t: tree{kind: members, summed: true}}
}

// Fork returns a set of the same members; a change of one does not show in the other.
func (o *BigSet) Fork() *BigSet { return &BigSet{o.hash, o.t.fork(), o.bytes} }

// Sum is the fingerprint of the members.
func (o *BigSet) Sum() [2]uint64 { return o.t.sum.words() }

func (o *BigSet) add(member []byte) bool {
	hash := o.hash.Sum(member)
	if _, ok := o.t.find(hash, member); ok {
		return false
	}
	o.t.put(hash, member, kept(member))
	o.bytes += int64(len(member))
	return true
}

// findMember finds a member of a packed set. When it is absent, the result is where the next goes.
func findMember(p, member []byte) (i, off int, ok bool) {
	n, table := tableOf(p, setWidth)
	last := lastByte(member)
	for _, size := range p[table : table+n*setWidth] {
		end := off + int(size)
		if int(size) == len(member) && (size == 0 || p[end-1] == last) && string(p[off:end]) == string(member) {
			return i, off, true
		}
		off = end
		i++
	}
	return i, off, false
}

// Len is the number of members.
func (s Set) Len() int {
	if s.o != nil {
		return s.o.t.n
	}
	n, _ := tableOf(s.p, setWidth)
	return n
}

// Bytes is the sum of the members' lengths.
func (s Set) Bytes() int64 {
	if s.o != nil {
		return s.o.bytes
	}
	_, table := tableOf(s.p, setWidth)
	return int64(table)
}

// Large tells whether the set iterates in keyed-hash order.
func (s Set) Large() bool { return s.o != nil }

// Has tells whether a member is there.
func (s Set) Has(member []byte) (ok bool) {
	if s.o != nil {
		_, ok = s.o.t.find(s.o.hash.Sum(member), member)
	} else {
		_, _, ok = findMember(s.p, member)
	}
	return ok
}

// At returns member i of [0, Len) in the visible order.
func (s Set) At(i int) (member []byte) {
	assert(uint(i) < uint(s.Len()), "set index out of range")
	s.Range(i, i+1, func(m []byte) bool {
		member = m
		return false
	})
	return member
}

// Each calls f for every member in the visible order until f returns false.
func (s Set) Each(f func(member []byte) bool) { s.Range(0, s.Len(), f) }

// Range calls f for the members [lo, hi) of the visible order until f returns false.
func (s Set) Range(lo, hi int, f func(member []byte) bool) {
	lo, hi = max(lo, 0), min(hi, s.Len())
	if s.o != nil {
		s.o.t.walk(lo, hi, func(_ uint64, item []byte) bool { return f(item) })
		return
	}
	n, table := tableOf(s.p, setWidth)
	lengths := s.p[table : table+n*setWidth]
	off := 0
	for i := range hi {
		end := off + int(lengths[i])
		if i >= lo && !f(s.p[off:end:end]) {
			return
		}
		off = end
	}
}

// Ascend calls f for the members whose keyed hash is at least from, in that order, until f returns false. A
// packed set has no such order: all its members are visited in their own.
func (s Set) Ascend(from uint64, f func(member []byte) bool) {
	if s.o == nil {
		s.Each(f)
		return
	}
	s.Range(s.o.t.rank(from, nil), s.o.t.n, f)
}

// Scan visits about count members from a cursor on, otherwise as Hash.Scan.
func (s Set) Scan(cursor uint64, count int, f func(member []byte)) (next uint64) {
	if s.o == nil {
		s.Each(func(member []byte) bool {
			f(member)
			return true
		})
		return 0
	}
	return s.o.t.scan(cursor, max(count, 1), f)
}

// Sum is the fingerprint of the form and the members, and of the order of a packed set.
func (s Set) Sum() [2]uint64 {
	if s.o != nil {
		return s.o.Sum()
	}
	return hashPacked(s.p).words()
}

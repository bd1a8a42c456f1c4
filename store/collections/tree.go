// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"bytes"
	"encoding/binary"
)

// branchKids is the most children of a branch.
const branchKids = 64

// kind says which part of an item is its name.
type kind uint8

const (
	members kind = iota // the whole item
	pairs               // uv length of the field, field, value: the field
	scored              // member, 8 bytes score: the member
)

func (k kind) name(item []byte) []byte {
	switch k {
	case pairs:
		n, size := binary.Uvarint(item)
		return item[size : size+int(n)]
	case scored:
		return item[:len(item)-scoreSize]
	case members:
	}
	return item
}

// tree is a counted B+tree of items in the order of (key, name), no two of which are equal. The zero tree
// with a kind is empty.
//
// Every leaf is equally deep. A node belongs to who made it (page.own); a node of another owner is copied
// before it is changed, from the root down. So fork is O(1).
type tree struct {
	own  *owner // nil: owns no node
	root *node  // nil when empty
	n    int    // items
	kind kind
	// sum of the hashes of the items, for the trees that keep it.
	summed bool
	sum    sum128
}

// node is a leaf, or a branch when it has kids.
type node struct {
	// keys of the items of a leaf, or of a branch: no item below kid i is less than (keys[i], names[i]), and
	// all below kid i-1 are. Those of kid 0 mean nothing.
	keys   []uint64
	names  [][]byte // nil when all are empty
	kids   []*node
	counts []int // items below each kid
	page   page  // the items of a leaf, from place 0
}

func (n *node) size() (size int) {
	if n.kids == nil {
		return len(n.keys)
	}
	for _, c := range n.counts {
		size += c
	}
	return size
}

// lowerKey returns the first of sorted keys that is at least key.
func lowerKey(keys []uint64, key uint64) int {
	lo, n := 0, len(keys)
	for n > 0 {
		half := n >> 1
		if keys[lo+half] < key {
			lo += half + 1
			n -= half + 1
		} else {
			n = half
		}
	}
	return lo
}

// lower returns the first item of a leaf that is at least (key, name), and whether it is equal.
func (n *node) lower(k kind, key uint64, name []byte) (i int, equal bool) {
	i = lowerKey(n.keys, key)
	if i == len(n.keys) || n.keys[i] != key {
		return i, false
	}
	end := i + 1
	if end < len(n.keys) && n.keys[end] == key {
		end = len(n.keys)
		if key+1 != 0 {
			end = i + lowerKey(n.keys[i:], key+1)
		}
	}
	for i < end {
		m := int(uint(i+end) >> 1)
		switch c := bytes.Compare(k.name(n.page.at(m)), name); {
		case c == 0:
			return m, true
		case c < 0:
			i = m + 1
		default:
			end = m
		}
	}
	return i, false
}

// route returns the kid of a branch below which (key, name) belongs.
func (n *node) route(key uint64, name []byte) int {
	lo, hi := 1, len(n.keys)
	for lo < hi {
		m := int(uint(lo+hi) >> 1)
		if n.keys[m] < key || n.keys[m] == key && (n.names == nil || bytes.Compare(n.names[m], name) <= 0) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo - 1
}

// find returns the item of (key, name).
func (t *tree) find(key uint64, name []byte) (item []byte, ok bool) {
	n := t.root
	if n == nil {
		return nil, false
	}
	for n.kids != nil {
		n = n.kids[n.route(key, name)]
	}
	i, ok := n.lower(t.kind, key, name)
	if !ok {
		return nil, false
	}
	return n.page.at(i), true
}

// rank is the number of items less than (key, name).
func (t *tree) rank(key uint64, name []byte) (rank int) {
	n := t.root
	if n == nil {
		return 0
	}
	for n.kids != nil {
		i := n.route(key, name)
		for _, c := range n.counts[:i] {
			rank += c
		}
		n = n.kids[i]
	}
	i, _ := n.lower(t.kind, key, name)
	return rank + i
}

// rankAfter is the number of items whose key is at most key.
func (t *tree) rankAfter(key uint64) int {
	if key+1 == 0 {
		return t.n
	}
	return t.rank(key+1, nil)
}

// at returns item i of [0, len).
func (t *tree) at(i int) (key uint64, item []byte) {
	n := t.root
	for n.kids != nil {
		kid := 0
		for i >= n.counts[kid] {
			i -= n.counts[kid]
			kid++
		}
		n = n.kids[kid]
	}
	return n.keys[i], n.page.at(i)
}

// walk calls f for the items of [lo, hi) in order until f returns false.
func (t *tree) walk(lo, hi int, f func(key uint64, item []byte) bool) {
	if lo < hi {
		t.root.walk(lo, hi, f)
	}
}

func (n *node) walk(lo, hi int, f func(key uint64, item []byte) bool) bool {
	if n.kids == nil {
		for i := lo; i < hi; i++ {
			if !f(n.keys[i], n.page.at(i)) {
				return false
			}
		}
		return true
	}
	for i := 0; i < len(n.kids) && hi > 0; i++ {
		c := n.counts[i]
		if lo < c && !n.kids[i].walk(max(lo, 0), min(hi, c), f) {
			return false
		}
		lo, hi = lo-c, hi-c
	}
	return true
}

// walkBack is walk from hi-1 down to lo.
func (t *tree) walkBack(lo, hi int, f func(key uint64, item []byte) bool) {
	if lo < hi {
		t.root.walkBack(t.n, lo, hi, f)
	}
}

func (n *node) walkBack(size, lo, hi int, f func(key uint64, item []byte) bool) bool {
	if n.kids == nil {
		for i := hi - 1; i >= lo; i-- {
			if !f(n.keys[i], n.page.at(i)) {
				return false
			}
		}
		return true
	}
	before := size
	for i := len(n.kids) - 1; i >= 0 && before > lo; i-- {
		c := n.counts[i]
		before -= c
		if before < hi && !n.kids[i].walkBack(c, max(lo-before, 0), min(hi-before, c), f) {
			return false
		}
	}
	return true
}

// scan visits about count items from a position of the keyed hash on and returns the position to go on
// from, 0 at the end. Items that share a position are never split over two calls, so a position names a
// place in the order for ever: every item present from the first call to the last is visited at least once.
func (t *tree) scan(position uint64, count int, f func(item []byte)) (next uint64) {
	if position>>PositionBits != 0 {
		return 0
	}
	const low = 64 - PositionBits
	seen, more := 0, false
	t.walk(t.rank(position<<low, nil), t.n, func(key uint64, item []byte) bool {
		if at := key >> low; seen >= count && at >= next {
			more = true
			return false
		}
		seen++
		next = key>>low + 1
		f(item)
		return true
	})
	if !more {
		return 0
	}
	return next
}

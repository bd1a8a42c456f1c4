// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"math/bits"
	"sync/atomic"

	"github.com/kvorum/kvorum/store/arena"
)

// A word stands for one key in its segment:
//
//	bits 41–63  tag, the high bits of the keyed hash
//	bit  40     shared: a view may hold the node (view.go)
//	bits 0–39   where the node is in the arena
const (
	tagShift  = 41
	sharedBit = 1 << 40
	refMask   = sharedBit - 1
)

func newWord(hash uint64, r arena.Ref) uint64 { return hash>>tagShift<<tagShift | uint64(r) }

func refOf(word uint64) arena.Ref { return arena.Ref(word & refMask) }

const (
	// segmentMax is the number of keys at which a segment splits.
	segmentMax = 128
	// segmentJoin is the number of keys of two neighbours below which they become one.
	segmentJoin = segmentMax / 4
	// depthMax bounds the splitting: deeper segments would differ in bits that no tag has.
	depthMax = 64 - tagShift
)

// segment is the keys of one range of the keyed hash, in the order of (hash, key): the hashes whose first
// depth bits are those of prefix. words and due alias the arena.
type segment struct {
	words []uint64
	// due is nil while no key has a deadline, else as long as words: the deadlines, 0 for none.
	due        []int64
	wref, dref arena.Ref
	prefix     uint64
	// gen is the number of the newest view that has what it needs of the segment.
	gen uint64
	// first is the earliest deadline, 0 for none; place is 1 + the place in the slot's heap of
	// deadlines, 0 when it has none.
	first int64
	place int32
	depth uint8
}

func (g *segment) deadline(i int) int64 {
	if g.due == nil {
		return 0
	}
	return g.due[i]
}

// guess is where a hash would be if those of the segment were evenly spaced, which they are, nearly.
func (g *segment) guess(hash uint64) int {
	hi, _ := bits.Mul64(hash<<g.depth, uint64(len(g.words)))
	return int(hi)
}

// lower returns the place of the first word whose tag is at least the hash's.
func (g *segment) lower(hash uint64) int {
	w, tag := g.words, hash>>tagShift
	i := g.guess(hash)
	for i > 0 && atomic.LoadUint64(&w[i-1])>>tagShift >= tag {
		i--
	}
	for i < len(w) && atomic.LoadUint64(&w[i])>>tagShift < tag {
		i++
	}
	return i
}

// find returns a key's place, or -1. A view may mark words shared meanwhile: SORT reads slots that it has no lock of.
func (g *segment) find(a *arena.Arena, hash uint64, key []byte) int {
	tag := hash >> tagShift
	for i := g.lower(hash); i < len(g.words); i++ {
		w := atomic.LoadUint64(&g.words[i])
		if w>>tagShift != tag {
			break
		}
		if (block{a.Block(refOf(w))}).is(key) {
			return i
		}
	}
	return -1
}

// room returns where a new key belongs.
func (s *Store) room(g *segment, hash uint64, key []byte) int {
	tag := hash >> tagShift
	i := g.lower(hash)
	for ; i < len(g.words) && g.words[i]>>tagShift == tag; i++ {
		other := node(s.arena.Bytes(refOf(g.words[i]))).key()
		if h := s.hash.Sum(other); h > hash || h == hash && bytes.Compare(other, key) > 0 {
			break
		}
	}
	return i
}

// insertWord makes place i of a segment hold a word and a deadline.
func (s *Store) insertWord(g *segment, i int, word uint64, due int64) {
	n := len(g.words)
	if n == cap(g.words) {
		s.resize(g, n+max(2, n/4))
	}
	if due != 0 && g.due == nil {
		s.timed(g)
	}
	g.words = g.words[:n+1]
	copy(g.words[i+1:], g.words[i:n])
	g.words[i] = word
	if g.due != nil {
		g.due = g.due[:n+1]
		copy(g.due[i+1:], g.due[i:n])
		g.due[i] = due
	}
}

// removeWord takes out place i, whose deadline was taken back before.
func (s *Store) removeWord(g *segment, i int) {
	n := len(g.words) - 1
	copy(g.words[i:], g.words[i+1:])
	g.words = g.words[:n]
	if g.due != nil {
		copy(g.due[i:], g.due[i+1:])
		g.due = g.due[:n]
	}
	if cap(g.words) > 2*n+8 {
		s.resize(g, n+n/8)
	}
}

// timed gives a segment room for deadlines.
func (s *Store) timed(g *segment) {
	ref, b := s.index.Alloc(8 * cap(g.words))
	g.due, g.dref = arena.Int64s(b[:8*cap(g.words)])[:len(g.words)], ref
	clear(g.due)
}

// untimed gives it back once nothing has a deadline.
func (s *Store) untimed(g *segment) {
	s.index.Free(g.dref)
	g.due, g.dref = nil, 0
}

// resize gives a segment room for at least n keys, and no more than the block holds.
func (s *Store) resize(g *segment, n int) {
	n = max(n, 1)
	ref, b := s.index.Alloc(8 * n)
	words := arena.Uint64s(b[:cap(b)])
	copy(words, g.words)
	if g.due != nil {
		dref, d := s.index.Alloc(8 * len(words))
		due := arena.Int64s(d[:8*len(words)])
		copy(due, g.due)
		s.index.Free(g.dref)
		g.due, g.dref = due[:len(g.words)], dref
	}
	if g.wref != 0 {
		s.index.Free(g.wref)
	}
	g.words, g.wref = words[:len(g.words)], ref
}

// drop gives the memory of an emptied segment back, but not its nodes.
func (s *Store) dropSegment(g *segment) {
	if g.wref != 0 {
		s.index.Free(g.wref)
	}
	if g.dref != 0 {
		s.index.Free(g.dref)
	}
	*g = segment{prefix: g.prefix, depth: g.depth, gen: g.gen}
}

// setFirst finds the earliest deadline anew.
func (g *segment) setFirst() {
	g.first = 0
	for _, at := range g.due {
		if at != 0 && (g.first == 0 || at < g.first) {
			g.first = at
		}
	}
}

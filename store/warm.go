// SPDX-License-Identifier: Apache-2.0

package store

import "sync/atomic"

// WarmMax is the largest number of places that one Warm looks at.
const WarmMax = 16

// Place is a key that is about to be written. The rest is Warm's.
type Place struct {
	Slot uint16
	Key  []byte

	hash uint64
	t    *slotTable
	g    *segment
	word uint64
}

// Warm reads what a write of each place will read, level by level for all of them. A key is at the end
// of a chain of loads, slot, table, segment, word, node, each of which waits for memory on a large
// store; the loads of one level do not depend on one another, so the processor has them under way at
// the same time. It changes nothing and takes no lock: only the goroutine that writes may call it. The
// sum means nothing; using it keeps the loads.
func (s *Store) Warm(places []Place) (sum uint64) {
	places = places[:min(len(places), WarmMax)]
	for i := range places {
		p := &places[i]
		p.t, p.g, p.word = s.slots[p.Slot].t, nil, 0
	}
	for i := range places {
		if p := &places[i]; p.t != nil && p.t.n > 0 {
			p.hash = s.hash.Sum(p.Key)
			p.g = p.t.at(p.hash)
		}
	}
	for i := range places {
		if p := &places[i]; p.g != nil {
			p.word = p.g.near(p.hash)
		}
	}
	for i := range places {
		if p := &places[i]; p.word != 0 {
			n := node(s.arena.Bytes(refOf(p.word)))
			_, _, end := n.span()
			for at := shortHeader; at < min(end, warmBytes); at += cacheLine {
				sum += uint64(n[at])
			}
		}
	}
	return sum
}

// near is the word where a key of this hash would be, or the first of the same tag behind it. A view may
// mark words shared meanwhile.
func (g *segment) near(hash uint64) uint64 {
	w, tag := g.words, hash>>tagShift
	for i := g.guess(hash); i < len(w); i++ {
		if word := atomic.LoadUint64(&w[i]); word>>tagShift >= tag {
			return word
		}
	}
	return 0
}

const (
	cacheLine = 64
	// warmBytes bounds what is read of a node.
	warmBytes = 3 * cacheLine
)

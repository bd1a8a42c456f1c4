// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync"
	"sync/atomic"

	"github.com/kvorum/kvorum/store/arena"
)

// garbage is what views have let go of and the writer is to free: only the writer may call the arena.
type garbage struct {
	// waiting tells the writer, without a lock, that there is some.
	waiting atomic.Bool
	mu      sync.Mutex
	refs    []arena.Ref // below mu
}

// collectStep bounds what one write frees for others.
const collectStep = 64

// throw hands nodes over that no view reads any more.
func (g *garbage) throw(refs []arena.Ref) {
	if len(refs) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.refs) == 0 {
		g.refs = refs
	} else {
		g.refs = append(g.refs, refs...)
	}
	g.waiting.Store(true)
}

// collect frees some of the garbage. The writer calls it.
func (s *Store) collect() {
	g := &s.garbage
	g.mu.Lock()
	rest := len(g.refs) - min(len(g.refs), collectStep)
	var some [collectStep]arena.Ref
	n := copy(some[:], g.refs[rest:])
	g.refs = g.refs[:rest]
	if rest == 0 {
		g.refs = nil
		g.waiting.Store(false)
	}
	g.mu.Unlock()
	for _, r := range some[:n] {
		s.free(r)
	}
}

// release lets the node of a word go that leaves the table: at once, or with the last view that may read it.
func (s *Store) release(t *slotTable, word uint64) {
	if t.shared(word) {
		t.limbo = append(t.limbo, refOf(word))
		return
	}
	s.free(refOf(word))
}

// shared tells whether a view may read the word's node without a lock.
func (t *slotTable) shared(word uint64) bool { return t.pins > 0 && word&sharedBit != 0 }

// free gives a node back, and the object it holds.
func (s *Store) free(r arena.Ref) {
	if n := node(s.arena.Bytes(r)); n.large() {
		s.objects.remove(n.object())
	}
	s.arena.Free(r)
}

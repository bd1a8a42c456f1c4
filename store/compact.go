// SPDX-License-Identifier: Apache-2.0

package store

import "github.com/kvorum/kvorum/store/arena"

// Compact moves up to limit nodes out of chunks of memory that are mostly free, so that those go back, and
// returns how many it moved: 0 when memory is well used, or while a view reads. Without it a store whose
// values change in size would keep what the former ones took. The writer calls it between writes, with no slot
// lock held; nothing of the logical state changes.
func (s *Store) Compact(limit int) (moved int) {
	if s.views.live.Load() != nil || s.garbage.waiting.Load() {
		return 0
	}
	s.arena.Sparse(limit, func(r arena.Ref) {
		if s.move(r) {
			moved++
		}
	})
	return moved
}

// move gives a node another block.
func (s *Store) move(r arena.Ref) bool {
	n := node(s.arena.Bytes(r))
	slot := SlotOf(n.key())
	s.Lock(slot)
	defer s.Unlock(slot)
	t := s.slots[slot].t
	if t == nil || t.pins > 0 {
		return false
	}
	p := s.locate(t, n.key())
	if p.i < 0 || refOf(p.g.words[p.i]) != r {
		return false // a node in limbo
	}
	_, _, end := n.span()
	to, b := s.arena.Alloc(end)
	copy(b, n[:end])
	p.g.words[p.i] = newWord(p.g.words[p.i], to)
	if h := &t.hot; h.g == p.g && h.i == p.i {
		h.b = s.block(to)
	}
	s.arena.Free(r)
	return true
}

// Memory tells how many bytes the store has from its Memory, and how many of them hold entries. Any goroutine;
// both may be a little behind.
func (s *Store) Memory() (taken, used int64) {
	a, b := s.arena.Stats(), s.index.Stats()
	return int64(a.Memory + b.Memory), int64(a.Live + b.Live)
}

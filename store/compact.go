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
	for size, shown := 0, true; shown && moved < limit && size < compactBytes; {
		shown = false
		s.arena.Sparse(1, func(r arena.Ref) {
			shown = true
			if n := s.move(r); n > 0 {
				moved++
				size += n
			}
		})
	}
	return moved
}

// compactBytes bounds what Compact copies in one call, but for its last node: some fifty microseconds' work.
const compactBytes = 256 << 10

// move gives a node another block and returns its size, 0 when it has to stay.
func (s *Store) move(r arena.Ref) int {
	n := node(s.arena.Bytes(r))
	slot := SlotOf(n.key())
	s.Lock(slot) // and not unlocked behind a panic: nobody is to read what was half moved
	size := s.moveIn(slot, r, n)
	s.Unlock(slot)
	return size
}

// moveIn is move for a slot that is locked.
func (s *Store) moveIn(slot uint16, r arena.Ref, n node) int {
	t := s.slots[slot].t
	if t == nil || t.pins > 0 {
		return 0
	}
	p := s.locate(t, n.key())
	if p.i < 0 || refOf(p.g.words[p.i]) != r {
		return 0 // a node in limbo
	}
	_, _, end := n.span()
	to, b := s.arena.Alloc(end)
	copy(b, n[:end])
	p.g.words[p.i] = newWord(p.g.words[p.i], to)
	if h := &t.hot; h.g == p.g && h.i == p.i {
		h.b = s.block(to)
	}
	s.arena.Free(r)
	return end
}

// Memory tells how many bytes the store has from its Memory, and how many of them hold entries. Any goroutine;
// both may be a little behind.
func (s *Store) Memory() (taken, used int64) {
	a, b := s.arena.Stats(), s.index.Stats()
	return int64(a.Memory + b.Memory), int64(a.Live + b.Live)
}

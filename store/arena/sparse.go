// SPDX-License-Identifier: Apache-2.0

package arena

import "math/bits"

type sparseState struct {
	victim uint32 // chunk being emptied; 0 is none
	cursor int    // units from its start: blocks before it were shown
	rest   int    // Sparse does nothing before this many calls of Alloc and Free
}

// Sparse calls f, for compaction, with up to max live blocks of the chunk that is being emptied or
// of the emptiest ones worth it. f may call Alloc, Free and Bytes: it is to move the block by Alloc,
// copy and Free, and may free other blocks. A block that f leaves alone stays, and its chunk goes
// back into use. It costs next to nothing when there is nothing to win, so it may be called often.
func (a *Arena) Sparse(max int, f func(Ref)) {
	for ; max > 0; max-- {
		c := a.victim()
		if c == nil {
			return
		}
		r := a.nextLive(c)
		if r == 0 {
			a.giveUp(c)
			return
		}
		before := a.inUse - a.empty
		f(r)
		if a.sparse.victim == c.no && a.inUse-a.empty > before {
			a.giveUp(c)
			return
		}
	}
}

// victim returns the chunk to empty, or nil if none is worth it.
func (a *Arena) victim() *chunk {
	if no := a.sparse.victim; no != 0 {
		return a.chunks[no]
	}
	if a.calls < a.sparse.rest || !a.wasteful() {
		return nil
	}
	for band := range uint8(sparseBands) {
		for a.bands[band] != 0 {
			c := a.chunks[a.bands[band]]
			if now := uint8(c.live / bandBytes); now != band {
				a.setBand(c, now) // blocks were allocated in it since
				continue
			}
			a.beginVictim(c)
			return c
		}
	}
	return nil
}

// wasteful reports whether the room in chunks that have live blocks is more than a chunk beyond
// what open slabs may waste by right, and WastePart. Then the blocks of any one chunk find room in the others.
func (a *Arena) wasteful() bool {
	free := ((a.inUse-a.empty)*chunkPages - a.pages) * PageBytes
	room := a.capacity - (a.live - a.ownLive)
	return free+room > ChunkBytes+a.fairPages*PageBytes+(a.live-a.ownLive)/WastePart
}

func (a *Arena) beginVictim(c *chunk) {
	a.sparse.victim, a.sparse.cursor = c.no, 0
	a.setBand(c, noBand)
	a.setRun(c, 0)
	c.victim = true
	for i := range c.slabs {
		s := &c.slabs[i]
		switch {
		case s.linked:
			a.unlinkSlab(c, s)
		case s.blocks != 0 && s.class != runClass && a.classes[s.class].slab == s:
			a.closeCurrent(c, s)
		}
	}
}

// endVictim puts c and its slabs back into the lists.
func (a *Arena) endVictim(c *chunk) {
	a.sparse.victim = 0
	c.victim = false
	a.setRun(c, c.used.longest())
	a.setBand(c, uint8(min(c.live/bandBytes, noBand)))
	for i := range c.slabs {
		if s := &c.slabs[i]; s.room != 0 {
			a.linkSlab(c, s)
		}
	}
}

func (a *Arena) giveUp(c *chunk) {
	a.endVictim(c)
	a.sparse.rest = a.calls + SparseRest
}

// nextLive returns the next live block of the chunk that is being emptied, or 0 at its end.
func (a *Arena) nextLive(c *chunk) Ref {
	for at := a.sparse.cursor; ; {
		page := c.used.from(min(at/pageUnits, chunkPages), true)
		if page == chunkPages {
			return 0
		}
		s := &c.slabs[c.pages[page]]
		units := a.blockUnits(s)
		i := 0
		if page == at/pageUnits {
			i = (at - int(s.start)) / units // at is where the last block shown ended
		}
		if i = s.nextLive(i); i < int(s.blocks) {
			at = int(s.start) + i*units
			a.sparse.cursor = at + units
			return Ref(c.no)<<chunkShift + Ref(at)
		}
		at = int(s.start) + int(s.pages)*pageUnits
	}
}

// nextLive returns the number of the first live block from i on; at least blocks for none.
func (s *slab) nextLive(i int) int {
	for i < int(s.blocks) {
		if w := ^s.free[i/64] >> (i % 64); w != 0 {
			return i + bits.TrailingZeros64(w)
		}
		i = i/64*64 + 64
	}
	return i
}

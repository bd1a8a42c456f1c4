// SPDX-License-Identifier: Apache-2.0

package arena

import "math/bits"

// nearLooks bounds the search for a slab with room beside the current one.
const nearLooks = 8

// slab is a run of pages of one chunk, cut into blocks of one class. It lies in its chunk's array
// and has no pointers. It is in one of these states: current of its class; linked, with some room;
// full; or, in the chunk that is being emptied, none of them.
type slab struct {
	start  uint32 // in units from the chunk's start
	next   uint32 // slabID; of the next of the class's linked slabs, or of the chunk's unused ones
	prev   uint32 // 0: first
	room   uint16 // free blocks
	blocks uint16
	pages  uint16
	class  uint8
	word   uint8 // no word of free before it has a bit
	linked bool
	free   [slabWords]uint64 // a bit per block, set when free; none beyond blocks
}

// slabMeta is the size of slab in bytes.
const slabMeta = 88

// slabID is chunk number << 8 | index in the chunk's array.
func (a *Arena) slabAt(id uint32) (*chunk, *slab) {
	c := a.chunks[id>>8]
	return c, &c.slabs[id&255]
}

func (c *chunk) idOf(s *slab) uint32 { return c.no<<8 | uint32(c.pages[s.start/pageUnits]) }

func (a *Arena) blockUnits(s *slab) int {
	if s.class == runClass {
		return int(s.pages) * pageUnits
	}
	return int(a.classes[s.class].units)
}

// refill makes a slab with room the class's current one.
func (a *Arena) refill(cl *class) *slab {
	c, s := a.linkedNear(cl)
	if s != nil {
		a.unlinkSlab(c, s)
	} else {
		c, s = a.newSlab(int(cl.pages))
		s.class, s.blocks, s.room = uint8(classOf(int(cl.bytes))), cl.blocks, cl.blocks
		for i := range s.free {
			s.free[i] = 1<<min(64, max(0, int(cl.blocks)-i*64)) - 1
		}
		if cl.slabs++; cl.slabs == 1 {
			a.fairPages += int(cl.pages)
		}
		a.capacity += int(cl.blocks) * int(cl.bytes)
	}
	off := int(s.start) * unit
	cl.slab, cl.chunk = s, c
	cl.base = Ref(c.no)<<chunkShift + Ref(s.start)
	cl.data = c.data[off : off+int(s.pages)*PageBytes]
	return s
}

// linkedNear prefers a slab in the chunk of the current one, so that a few chunks fill up while the
// others empty. It looks at no more than nearLooks of them.
func (a *Arena) linkedNear(cl *class) (*chunk, *slab) {
	if cl.first == 0 {
		return nil, nil
	}
	c, first := a.slabAt(cl.first)
	near := cl.chunk
	if near == nil || near == c {
		return c, first
	}
	looks := 0
	for w, open := range near.open {
		for ; open != 0 && looks < nearLooks; looks++ {
			s := &near.slabs[w*64+bits.TrailingZeros64(open)]
			if s.class == first.class {
				return near, s
			}
			open &= open - 1
		}
	}
	return c, first
}

func (a *Arena) linkSlab(c *chunk, s *slab) {
	cl := &a.classes[s.class]
	id := c.idOf(s)
	c.open[(id&255)/64] |= 1 << (id % 64)
	s.linked, s.prev, s.next = true, 0, cl.first
	if cl.first != 0 {
		_, old := a.slabAt(cl.first)
		old.prev = id
	}
	cl.first = id
}

func (a *Arena) unlinkSlab(c *chunk, s *slab) {
	i := c.pages[s.start/pageUnits]
	c.open[i/64] &^= 1 << (i % 64)
	if s.prev != 0 {
		_, p := a.slabAt(s.prev)
		p.next = s.next
	} else {
		a.classes[s.class].first = s.next
	}
	if s.next != 0 {
		_, n := a.slabAt(s.next)
		n.prev = s.prev
	}
	s.linked = false
}

// dropSlab gives a slab's pages back to its chunk. None of its blocks is live.
func (a *Arena) dropSlab(c *chunk, s *slab) {
	size := int(s.pages) * PageBytes
	if s.class != runClass {
		if s.linked {
			a.unlinkSlab(c, s)
		}
		cl := &a.classes[s.class]
		if cl.slabs--; cl.slabs == 0 {
			a.fairPages -= int(cl.pages)
		}
		size = int(cl.blocks) * int(cl.bytes)
	}
	a.capacity -= size
	a.freeSlab(c, s)
}

// closeCurrent ends the part of s as current slab of its class.
func (a *Arena) closeCurrent(c *chunk, s *slab) {
	cl := &a.classes[s.class]
	cl.slab, cl.chunk, cl.data, cl.base = nil, nil, nil, 0
	if s.room == s.blocks {
		a.dropSlab(c, s)
	}
}

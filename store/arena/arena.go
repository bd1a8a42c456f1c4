// SPDX-License-Identifier: Apache-2.0

package arena

import (
	"math/bits"
	"runtime"
)

// Ref is the address of a block. 0 is none.
type Ref uint64

const (
	leafShift = 11
	leafSize  = 1 << leafShift
	topSize   = 1 << (40 - chunkShift - leafShift)
)

// leaf is a part of the table of pieces, by chunk number; nil where there is none.
type leaf [leafSize][]byte

// Arena gives out blocks. Which methods may be called from where: see the package comment.
type Arena struct {
	// top is all that Bytes reads. It needs no atomics: an entry is set before the first Ref that
	// leads to it exists.
	top [topSize]*leaf

	mem     Memory
	chunks  []*chunk // by number; nil at 0 and where the number is free
	numbers []uint32 // free chunk numbers below len(chunks)
	classes [numClasses]class
	runs    runIndex
	bands   [sparseBands]uint32 // heads of chunks by the sixteenth of them that is live

	live      int // bytes of live blocks, own pieces included
	ownLive   int // of these in own pieces
	blocks    int
	calls     int // of Alloc and Free, ever
	memory    int // bytes from Memory
	leaves    int
	inUse     int // chunks, empty ones included, own pieces not
	empty     int // chunks without a live block; their slabs are all current ones
	pages     int // of slabs
	fairPages int // of one slab for every class that has any
	slots     int // slabs in the chunks' arrays, unused ones included
	capacity  int // bytes of all blocks of all slabs, live or not

	sparse sparseState
	shown  shownStats
}

// New returns an empty arena, which takes nothing from m before the first Alloc.
func New(m Memory) *Arena {
	a := &Arena{mem: m}
	if _, ok := m.(heap); !ok {
		l := &lent{mem: m, pieces: make(map[*byte][]byte)}
		a.mem = l
		runtime.AddCleanup(a, (*lent).giveBack, l)
	}
	a.reset()
	return a
}

func (a *Arena) reset() {
	a.chunks = make([]*chunk, 1)
	a.numbers = nil
	setClasses(&a.classes)
}

// Release gives all memory back to Memory. The arena is empty then and may be used again; every
// Ref is void.
func (a *Arena) Release() {
	for _, c := range a.chunks {
		if c != nil {
			a.mem.Free(c.data)
		}
	}
	clear(a.top[:])
	a.runs = runIndex{}
	a.bands = [sparseBands]uint32{}
	a.live, a.ownLive, a.blocks, a.memory, a.leaves = 0, 0, 0, 0, 0
	a.inUse, a.empty, a.pages, a.fairPages, a.slots, a.capacity = 0, 0, 0, 0, 0, 0
	a.sparse = sparseState{}
	a.reset()
	a.Settle()
}

// Bytes returns the bytes from the block's start to the end of its chunk or own piece. How many of
// them are the block's own, the caller knows.
func (a *Arena) Bytes(r Ref) []byte {
	return a.top[r>>(chunkShift+leafShift)][r>>chunkShift&(leafSize-1)][r&offMask*unit:]
}

// Alloc returns a block of at least n bytes; its content is undefined. The slice has length n, and
// its capacity is what Usable says. It does not fail; 0 bytes are a block like others.
func (a *Arena) Alloc(n int) (Ref, []byte) {
	if uint(n) > MaxSlab {
		return a.allocPages(n)
	}
	cl := &a.classes[classOf(n)]
	s := cl.slab
	if s == nil || s.room == 0 {
		s = a.refill(cl)
	}
	w := s.word
	for s.free[w%slabWords] == 0 {
		w++
	}
	free := s.free[w%slabWords]
	i := uint32(w)*64 + uint32(bits.TrailingZeros64(free))
	s.free[w%slabWords] = free & (free - 1)
	s.word = w
	s.room--
	off := i * cl.bytes
	a.took(cl.chunk, int(cl.bytes))
	return cl.base + Ref(i*cl.units), cl.data[off : int(off)+n : off+cl.bytes]
}

// allocPages serves what no slab of several blocks does.
func (a *Arena) allocPages(n int) (Ref, []byte) {
	assert(n >= 0, "negative size")
	pages := (n + PageBytes - 1) / PageBytes
	size := pages * PageBytes
	if size > MaxRun {
		c := a.addChunk(size)
		c.own = true
		c.live = size
		a.ownLive += size
		a.live += size
		a.blocks++
		a.call()
		return Ref(c.no) << chunkShift, c.data[:n:size]
	}
	c, s := a.newSlab(pages)
	s.class, s.blocks, s.room = runClass, 1, 0
	a.capacity += size
	a.took(c, size)
	off := int(s.start) * unit
	return Ref(c.no)<<chunkShift + Ref(s.start), c.data[off : off+n : off+size]
}

func (a *Arena) took(c *chunk, size int) {
	if c.live == 0 {
		a.empty--
	}
	c.live += size
	a.live += size
	a.blocks++
	a.call()
}

// Free ends a block. Its bytes may be another's, or no memory at all, from here on.
func (a *Arena) Free(r Ref) {
	c, s, i := a.locate(r)
	a.blocks--
	if s == nil {
		a.live -= c.live
		a.ownLive -= c.live
		a.dropChunk(c)
		a.call()
		return
	}
	w := uint8(i / 64)
	s.free[w] |= 1 << (i % 64)
	s.room++
	s.word = min(s.word, w)
	size := a.blockUnits(s) * unit
	c.live -= size
	a.live -= size
	a.gave(c, s)
	a.call()
}

// gave puts slab and chunk where they belong after a block of them was freed.
func (a *Arena) gave(c *chunk, s *slab) {
	switch {
	case s.class != runClass && a.classes[s.class].slab == s:
	case s.room == s.blocks:
		a.dropSlab(c, s)
	case !s.linked && !c.victim:
		a.linkSlab(c, s)
	}
	if c.live == 0 {
		a.emptied(c)
	} else if band := uint8(c.live / bandBytes); band < c.band && !c.victim {
		a.setBand(c, band)
	}
}

// Usable returns the size of a live block, which is at least what was asked for. Overwriting asks
// it, so it does not look whether the block is live; of any other Ref it tells nothing.
func (a *Arena) Usable(r Ref) int {
	c := a.chunks[r>>chunkShift]
	if c.own {
		return c.live
	}
	s := &c.slabs[c.pages[r&offMask/pageUnits]]
	if s.class == runClass {
		return int(s.pages) * PageBytes
	}
	return int(a.classes[s.class].bytes)
}

// locate finds a live block: its chunk, its slab and its number in it. The slab is nil for an own
// piece.
func (a *Arena) locate(r Ref) (*chunk, *slab, uint32) {
	no, off := r>>chunkShift, uint32(r&offMask)
	assert(no < Ref(len(a.chunks)) && a.chunks[no] != nil, "a ref into no chunk")
	c := a.chunks[no]
	if c.own {
		assert(off == 0, "a ref into the middle of an own piece")
		return c, nil, 0
	}
	page := off / pageUnits
	assert(c.used[page/64]>>(page%64)&1 != 0, "a ref into a page that is free")
	s := &c.slabs[c.pages[page]]
	d := off - s.start
	i := uint32(0)
	if s.class != runClass {
		cl := &a.classes[s.class]
		i = uint32(uint64(d) * uint64(cl.recip) >> 32)
		d -= i * cl.units
	}
	assert(d == 0 && i < uint32(s.blocks), "a ref to no block's start")
	assert(s.free[i/64%slabWords]>>(i%64)&1 == 0, "a block that is free already")
	return c, s, i
}

// SPDX-License-Identifier: Apache-2.0

package arena

import "math/bits"

const (
	bandBytes   = ChunkBytes / 16
	sparseBands = 16 * SparsePercent / 100
	noBand      = sparseBands
)

// chunk is what is known of one piece of memory.
type chunk struct {
	data    []byte
	slabs   []slab // at most a slab for every two pages
	live    int    // bytes of live blocks
	no      uint32
	byRun   link
	byBand  link
	unused  uint32                      // slabID of the first unused of slabs; 0 is none
	longest uint16                      // run of free pages, in pages
	band    uint8                       // the list it is in; live may have grown since
	own     bool                        // one block is all of it; no pages, no slabs
	victim  bool                        // Sparse empties it: in no list, and so are its slabs
	open    [chunkPages / 2 / 64]uint64 // slabs that are linked, by index
	used    pageSet                     // pages of slabs
	pages   [chunkPages]uint8           // of each used page, the index of its slab
}

// chunkMeta is the size of chunk in bytes.
const chunkMeta = 696

// link makes rings of chunks, by number.
type link struct{ next, prev uint32 }

// runIndex finds the chunk with the shortest run of free pages that is long enough: a ring of
// chunks for every length, and a bit for every ring that has one.
type runIndex struct {
	heads [chunkPages + 1]uint32
	some  [chunkPages/64 + 1]uint64
}

func byRun(c *chunk) *link  { return &c.byRun }
func byBand(c *chunk) *link { return &c.byBand }

// enter puts c at the end of a ring.
func (a *Arena) enter(head *uint32, of func(*chunk) *link, c *chunk) {
	if *head == 0 {
		*head = c.no
		*of(c) = link{c.no, c.no}
		return
	}
	first := of(a.chunks[*head])
	*of(c) = link{*head, first.prev}
	of(a.chunks[first.prev]).next = c.no
	first.prev = c.no
}

func (a *Arena) leave(head *uint32, of func(*chunk) *link, c *chunk) {
	l := *of(c)
	of(a.chunks[l.prev]).next = l.next
	of(a.chunks[l.next]).prev = l.prev
	if *head == c.no {
		*head = l.next
	}
	if l.next == c.no {
		*head = 0
	}
}

// setRun enters c under the length of its longest free run; 0 takes it out.
func (a *Arena) setRun(c *chunk, longest int) {
	x := &a.runs
	if old := c.longest; int(old) == longest {
		return
	} else if old != 0 {
		a.leave(&x.heads[old], byRun, c)
		if x.heads[old] == 0 {
			x.some[old/64] &^= 1 << (old % 64)
		}
	}
	c.longest = uint16(longest)
	if longest != 0 {
		a.enter(&x.heads[longest], byRun, c)
		x.some[longest/64] |= 1 << (longest % 64)
	}
}

func (x *runIndex) atLeast(pages int) (uint32, bool) {
	w := pages / 64
	word := x.some[w] >> (pages % 64) << (pages % 64)
	for word == 0 {
		if w++; w == len(x.some) {
			return 0, false
		}
		word = x.some[w]
	}
	return x.heads[w*64+bits.TrailingZeros64(word)], true
}

func (a *Arena) setBand(c *chunk, band uint8) {
	if c.band < sparseBands {
		a.leave(&a.bands[c.band], byBand, c)
	}
	c.band = noBand
	if band < sparseBands {
		c.band = band
		a.enter(&a.bands[band], byBand, c)
	}
}

// addChunk takes a piece from Memory.
func (a *Arena) addChunk(size int) *chunk {
	c := &chunk{data: a.mem.Alloc(size), band: noBand}
	assert(len(c.data) == size, "Memory returned another size")
	if n := len(a.numbers); n > 0 {
		c.no = a.numbers[n-1]
		a.numbers = a.numbers[:n-1]
		a.chunks[c.no] = c
	} else {
		assert(len(a.chunks) <= MaxChunks, "too many chunks")
		c.no = uint32(len(a.chunks))
		a.chunks = append(a.chunks, c)
	}
	l := &a.top[c.no>>leafShift]
	if *l == nil {
		*l = new(leaf)
		a.leaves++
	}
	(*l)[c.no&(leafSize-1)] = c.data
	a.memory += size
	return c
}

// dropChunk gives a piece back to Memory. No block of it is live.
func (a *Arena) dropChunk(c *chunk) {
	a.top[c.no>>leafShift][c.no&(leafSize-1)] = nil
	a.chunks[c.no] = nil
	a.numbers = append(a.numbers, c.no)
	a.memory -= len(c.data)
	a.slots -= len(c.slabs)
	a.mem.Free(c.data)
}

// emptied decides about a chunk whose last live block was freed: what slabs it has are current.
func (a *Arena) emptied(c *chunk) {
	if c.victim {
		a.endVictim(c)
	}
	a.setBand(c, noBand)
	a.empty++
	if a.empty <= KeepChunks {
		return
	}
	for i := range c.slabs {
		if s := &c.slabs[i]; s.blocks != 0 {
			a.closeCurrent(c, s)
		}
	}
	a.setRun(c, 0)
	a.empty--
	a.inUse--
	a.dropChunk(c)
}

// newSlab takes a run of pages; class, blocks, room and bits are the caller's to set.
func (a *Arena) newSlab(pages int) (*chunk, *slab) {
	no, ok := a.runs.atLeast(pages)
	if !ok {
		c := a.addChunk(ChunkBytes)
		no = c.no
		a.inUse++
		a.empty++
		a.setRun(c, chunkPages)
	}
	c := a.chunks[no]
	if c.unused == 0 {
		a.growSlabs(c)
	}
	id := c.unused
	s := &c.slabs[id&255]
	page := c.used.fit(pages)
	*s, c.unused = slab{start: uint32(page * pageUnits), pages: uint16(pages)}, s.next
	c.used.set(page, pages)
	for i := range pages {
		c.pages[page+i] = uint8(id)
	}
	a.pages += pages
	a.setRun(c, c.used.longest())
	return c, s
}

func (a *Arena) freeSlab(c *chunk, s *slab) {
	id := c.idOf(s)
	a.pages -= int(s.pages)
	c.used.clear(int(s.start)/pageUnits, int(s.pages))
	*s = slab{next: c.unused}
	c.unused = id
	if !c.victim {
		a.setRun(c, c.used.longest())
	}
}

// growSlabs doubles the array of slabs. It moves: the classes that point into it follow.
func (a *Arena) growSlabs(c *chunk) {
	old := len(c.slabs)
	grown := make([]slab, max(8, 2*old))
	copy(grown, c.slabs)
	c.slabs = grown
	a.slots += len(grown) - old
	for i := len(grown) - 1; i >= old; i-- {
		grown[i].next = c.unused
		c.unused = c.no<<8 | uint32(i)
	}
	for k := range a.classes {
		if cl := &a.classes[k]; cl.chunk == c {
			cl.slab = &grown[c.pages[cl.base&offMask/pageUnits]]
		}
	}
}

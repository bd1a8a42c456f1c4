// SPDX-License-Identifier: Apache-2.0

package arena

import (
	"fmt"
	"testing"
	"unsafe"
)

// countedMemory is Memory that knows what it gave out and spoils what comes back.
type countedMemory struct {
	out   map[*byte]int
	bytes int
}

func newCounted() *countedMemory { return &countedMemory{out: map[*byte]int{}} }

func (m *countedMemory) Alloc(size int) []byte {
	if size%PageBytes != 0 {
		panic("not whole pages")
	}
	p := make([]byte, size)
	m.out[&p[0]] = size
	m.bytes += size
	return p
}

func (m *countedMemory) Free(p []byte) {
	if m.out[&p[0]] != len(p) {
		panic("a piece that Memory did not give out")
	}
	delete(m.out, &p[0])
	m.bytes -= len(p)
	for i := 0; i < len(p); i += 512 {
		p[i] ^= 0xff
	}
}

// check walks all of an arena and compares what it keeps with what it should.
func (a *Arena) check() error {
	var live, own, blocks, pages, capacity, memory, slots, inUse, empty int
	slabs := map[int]uint32{}
	for no, c := range a.chunks {
		if c == nil {
			continue
		}
		if int(c.no) != no || &a.top[no/leafSize][no%leafSize][0] != &c.data[0] {
			return fmt.Errorf("chunk %d: wrong number or table", no)
		}
		memory += len(c.data)
		slots += len(c.slabs)
		if c.own {
			own += len(c.data)
			blocks++
			continue
		}
		inUse++
		if c.live == 0 {
			empty++
		}
		chunkLive, err := a.checkSlabs(c, slabs, &blocks, &pages, &capacity)
		if err != nil {
			return fmt.Errorf("chunk %d: %w", no, err)
		}
		live += chunkLive
		if c.victim != (a.sparse.victim == c.no) {
			return fmt.Errorf("chunk %d: victim %v, but %d is", no, c.victim, a.sparse.victim)
		}
		if want := c.used.longest(); !c.victim && int(c.longest) != want || c.victim && c.longest != 0 {
			return fmt.Errorf("chunk %d: longest run %d, listed under %d", no, want, c.longest)
		}
		if c.band < noBand && c.live < int(c.band)*bandBytes {
			return fmt.Errorf("chunk %d: %d bytes live in band %d", no, c.live, c.band)
		}
	}
	fair := 0
	for k := range a.classes {
		if slabs[k] > 0 {
			fair += int(a.classes[k].pages)
		}
		if a.classes[k].slabs != slabs[k] {
			return fmt.Errorf("class %d: %d slabs counted, %d found", k, a.classes[k].slabs, slabs[k])
		}
	}
	if a.fairPages != fair {
		return fmt.Errorf("%d fair pages, kept %d", fair, a.fairPages)
	}
	got := [...]int{a.live, a.ownLive, a.blocks, a.pages, a.capacity, a.memory, a.slots, a.inUse, a.empty}
	want := [...]int{live + own, own, blocks, pages, capacity, memory, slots, inUse, empty}
	if got != want {
		return fmt.Errorf("live, own, blocks, pages, capacity, memory, slots, chunks, empty: %v, want %v", got, want)
	}
	return a.checkLists()
}

func (a *Arena) checkSlabs(c *chunk, slabs map[int]uint32, blocks, pages, capacity *int) (int, error) {
	live := 0
	var used pageSet
	for i := range c.slabs {
		s := &c.slabs[i]
		if s.blocks == 0 {
			continue
		}
		room := 0
		for b := range int(s.blocks) {
			room += int(s.free[b/64] >> (b % 64) & 1)
		}
		current := s.class != runClass && a.classes[s.class].slab == s
		switch {
		case room != int(s.room):
			return 0, fmt.Errorf("slab %d: room %d, %d bits", i, s.room, room)
		case room == int(s.blocks) && !current:
			return 0, fmt.Errorf("slab %d: empty and kept", i)
		case s.linked != (c.open[i/64]>>(i%64)&1 != 0):
			return 0, fmt.Errorf("slab %d: linked %v, its bit is not", i, s.linked)
		case s.linked == (current || c.victim || room == 0):
			return 0, fmt.Errorf("slab %d: linked %v, current %v, victim %v, room %d", i, s.linked, current, c.victim, room)
		}
		for w := range s.word {
			if s.free[w] != 0 {
				return 0, fmt.Errorf("slab %d: word %d has free blocks before %d", i, w, s.word)
			}
		}
		size := a.blockUnits(s) * unit
		live += (int(s.blocks) - room) * size
		*blocks += int(s.blocks) - room
		*pages += int(s.pages)
		*capacity += int(s.blocks) * size
		slabs[int(s.class)]++
		first := int(s.start) / pageUnits
		for p := first; p < first+int(s.pages); p++ {
			if used[p/64]>>(p%64)&1 != 0 || int(c.pages[p]) != i {
				return 0, fmt.Errorf("slab %d: page %d is not its own", i, p)
			}
			used.set(p, 1)
		}
	}
	if used != c.used || live != c.live {
		return 0, fmt.Errorf("%d bytes live, kept %d; pages %x, kept %x", live, c.live, used, c.used)
	}
	return live, nil
}

func (a *Arena) checkLists() error {
	for k := range a.classes {
		prev := uint32(0)
		for id := a.classes[k].first; id != 0; {
			_, s := a.slabAt(id)
			if !s.linked || s.prev != prev || int(s.class) != k {
				return fmt.Errorf("class %d: slab %x is linked wrongly", k, id)
			}
			prev, id = id, s.next
		}
	}
	for n, head := range a.runs.heads {
		if (head != 0) != (a.runs.some[n/64]>>(n%64)&1 != 0) {
			return fmt.Errorf("runs of %d: bit and ring differ", n)
		}
		if err := a.checkRing(head, byRun, func(c *chunk) bool { return int(c.longest) == n }); err != nil {
			return err
		}
	}
	for n, head := range a.bands {
		if err := a.checkRing(head, byBand, func(c *chunk) bool { return int(c.band) == n }); err != nil {
			return err
		}
	}
	return nil
}

func (a *Arena) checkRing(head uint32, of func(*chunk) *link, ok func(*chunk) bool) error {
	if head == 0 {
		return nil
	}
	for no := head; ; {
		c := a.chunks[no]
		l := of(c)
		if !ok(c) || of(a.chunks[l.next]).prev != no {
			return fmt.Errorf("chunk %d is in a wrong ring", no)
		}
		if no = l.next; no == head {
			return nil
		}
	}
}

func mustCheck(t testing.TB, a *Arena) {
	t.Helper()
	if err := a.check(); err != nil {
		t.Fatal(err)
	}
}

// TestMetaSizes holds the sizes that Stats counts with to the real ones.
func TestMetaSizes(t *testing.T) {
	if got := unsafe.Sizeof(slab{}); got != slabMeta {
		t.Errorf("slab has %d bytes, slabMeta says %d", got, slabMeta)
	}
	if got := unsafe.Sizeof(chunk{}); got != chunkMeta {
		t.Errorf("chunk has %d bytes, chunkMeta says %d", got, chunkMeta)
	}
	if got := unsafe.Sizeof(leaf{}); got != leafMeta {
		t.Errorf("leaf has %d bytes, leafMeta says %d", got, leafMeta)
	}
}

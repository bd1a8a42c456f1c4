// SPDX-License-Identifier: Apache-2.0

package arena

import (
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// TestClasses walks all sizes: the class is the smallest that fits, a slab's bits reach, and the
// division by a product is exact.
func TestClasses(t *testing.T) {
	var cs [numClasses]class
	setClasses(&cs)
	for n := range MaxSlab + 1 {
		k := classOf(n)
		if int(cs[k].bytes) < n || k > 0 && int(cs[k-1].bytes) >= n {
			t.Fatalf("size %d: class %d of %d bytes", n, k, cs[k].bytes)
		}
		spare := unit - 1
		if n > fineBlock {
			spare = n / 16
		}
		if got := int(cs[k].bytes); n > minBlock && got-n > spare {
			t.Fatalf("size %d: block of %d", n, got)
		}
	}
	if cs[0].bytes != minBlock || cs[numClasses-1].bytes != MaxSlab {
		t.Fatalf("classes from %d to %d", cs[0].bytes, cs[numClasses-1].bytes)
	}
	for k := range cs {
		cl := &cs[k]
		whole := int(cl.pages) * PageBytes
		if int(cl.blocks) > slabBlocks || int(cl.blocks) != whole/int(cl.bytes) || whole%int(cl.bytes)*100 > 3*whole {
			t.Errorf("class of %d: %d blocks in %d pages", cl.bytes, cl.blocks, cl.pages)
		}
		if cl.bytes%unit != 0 || cl.pages < 2 || cl.pages > 31 {
			t.Errorf("class of %d: %d pages", cl.bytes, cl.pages)
		}
		for d := range uint32(chunkUnits) {
			if got := uint32(uint64(d) * uint64(cl.recip) >> 32); got != d/cl.units {
				t.Fatalf("class of %d: %d / %d is %d", cl.bytes, d, cl.units, got)
			}
		}
	}
}

// TestSizesAtLimits allocates around every bound at which the way of serving changes.
func TestSizesAtLimits(t *testing.T) {
	mem := newCounted()
	a := New(mem)
	for _, n := range []int{0, 1, minBlock, minBlock + 1, fineBlock, fineBlock + 1, 2 * fineBlock, 2*fineBlock + 1, MaxSlab, MaxSlab + 1, MaxRun, MaxRun + 1, ChunkBytes, ChunkBytes + 1, 5 * ChunkBytes} {
		r, p := a.Alloc(n)
		if len(p) != n || a.Usable(r) != cap(p) || cap(p) < n {
			t.Errorf("size %d: len %d cap %d usable %d", n, len(p), cap(p), a.Usable(r))
		}
		if n > MaxSlab && cap(p) != (n+PageBytes-1)/PageBytes*PageBytes {
			t.Errorf("size %d: %d bytes are not its whole pages", n, cap(p))
		}
		if own := r&offMask == 0 && len(a.Bytes(r)) == cap(p); own != (n > MaxRun) && n >= MaxRun {
			t.Errorf("size %d: own piece %v", n, own)
		}
		mustCheck(t, a)
		defer a.Free(r)
	}
	mustPanic(t, "negative", func() { a.Alloc(-1) })
}

func mustPanic(t *testing.T, text string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		got := recover()
		if s, ok := got.(string); !ok || !strings.Contains(s, text) {
			t.Errorf("panic %v, want one with %q", got, text)
		}
	}()
	f()
}

// TestWrongRefs frees what is no live block.
func TestWrongRefs(t *testing.T) {
	a := New(newCounted())
	small, _ := a.Alloc(136)
	other, _ := a.Alloc(136)
	run, _ := a.Alloc(100_000)
	own, _ := a.Alloc(2_000_000)
	gone, _ := a.Alloc(3_000_000)
	a.Free(gone)
	tests := []struct {
		name string
		ref  Ref
		text string
	}{
		{"none", 0, "no chunk"},
		{"number never used", 77 << chunkShift, "no chunk"},
		{"beyond 40 bits", 1 << 40, "no chunk"},
		{"piece given back", gone, "no chunk"},
		{"middle of a block", small + 1, "start"},
		{"behind the last block", small + 4*pageUnits - 1, "start"},
		{"never allocated", small + 20*136/8, "free already"},
		{"middle of a run", run + pageUnits, "start"},
		{"free page", run + 50*pageUnits, "page"},
		{"middle of an own piece", own + 1, "own piece"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mustPanic(t, tt.text, func() { a.Free(tt.ref) })
			mustCheck(t, a)
		})
	}
	for _, r := range []Ref{small, run, own} {
		a.Free(r)
		mustPanic(t, "", func() { a.Free(r) })
	}
	a.Free(other)
	mustCheck(t, a)
	if p := a.Bytes(gone); len(p) != 0 {
		t.Errorf("%d bytes of a piece given back", len(p))
	}
}

// TestEmptyGoesBack holds an arena to keeping no more than KeepChunks when its blocks are gone,
// whatever their sizes, and to taking chunks anew.
func TestEmptyGoesBack(t *testing.T) {
	mem := newCounted()
	a := New(mem)
	for round := range 3 {
		var refs []Ref
		for n := 1; n < 400_000; n += 1 + n/50 {
			for range 1 + 20_000/n {
				r, _ := a.Alloc(n)
				refs = append(refs, r)
			}
		}
		rand.Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
		for _, r := range refs {
			a.Free(r)
		}
		mustCheck(t, a)
		if mem.bytes > KeepChunks*ChunkBytes {
			t.Fatalf("round %d: %d bytes kept", round, mem.bytes)
		}
	}
	a.Release()
	if len(mem.out) != 0 {
		t.Fatalf("%d pieces kept after Release", len(mem.out))
	}
}

// TestStatsLag holds Stats to the lag it promises, and Settle to none.
func TestStatsLag(t *testing.T) {
	a := New(newCounted())
	for i := range 10 * StatsLag {
		a.Alloc(100)
		if got := a.Stats().Blocks; got > i+1 || got <= i+1-StatsLag {
			t.Fatalf("after %d blocks Stats says %d", i+1, got)
		}
	}
	a.Alloc(100)
	a.Settle()
	got := a.Stats()
	if want := 10*StatsLag + 1; got.Blocks != want || got.Live != want*104 || got.Memory != ChunkBytes || got.Meta == 0 {
		t.Fatalf("%+v", got)
	}
}

// TestReadersRace lets readers look at published blocks while the writer allocates, frees and
// moves others. Its use is under the race detector.
func TestReadersRace(t *testing.T) {
	const cells, writes = 512, 20_000
	type cell struct {
		sync.RWMutex
		ref  Ref
		size int
		seed uint64
	}
	a := New(Heap())
	table := make([]cell, cells)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for {
				select {
				case <-done:
					return
				default:
				}
				c := &table[rng.IntN(cells)]
				c.RLock()
				ref, size, seed := c.ref, c.size, c.seed
				if ref != 0 && !filled(a.Bytes(ref)[:size], seed) {
					t.Errorf("block %#x does not hold what was published", ref)
				}
				a.Stats()
				c.RUnlock()
			}
		})
	}
	rng := rand.New(rand.NewPCG(9, 9))
	for i := range writes {
		c := &table[rng.IntN(cells)]
		size := 1 + rng.IntN(400)
		if i%200 == 0 {
			size = 1 + rng.IntN(MaxRun+100_000)
		}
		r, p := a.Alloc(size)
		fill(p, uint64(i))
		c.Lock()
		old := c.ref
		c.ref, c.size, c.seed = r, size, uint64(i)
		c.Unlock()
		if old != 0 {
			a.Free(old)
		}
	}
	close(done)
	wg.Wait()
	mustCheck(t, a)
}

// SPDX-License-Identifier: Apache-2.0

package arena

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

func BenchmarkAllocFree(b *testing.B) {
	for _, size := range []int{24, 136, 1000, 20_000, 100_000} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			a := New(Heap())
			a.Alloc(size)
			b.ReportAllocs()
			for b.Loop() {
				r, _ := a.Alloc(size)
				a.Free(r)
			}
		})
	}
}

// BenchmarkReplace frees a random block and allocates another, of about the same size, among many:
// what a store does that overwrites its keys.
func BenchmarkReplace(b *testing.B) {
	for _, blocks := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("blocks=%d", blocks), func(b *testing.B) {
			a := New(Heap())
			rng := rand.New(rand.NewPCG(1, 2))
			refs := make([]Ref, blocks)
			for i := range refs {
				refs[i], _ = a.Alloc(100 + i%80)
			}
			picks := make([]uint32, 1<<16)
			for i := range picks {
				picks[i] = uint32(rng.IntN(blocks))
			}
			i := 0
			for b.Loop() {
				k := picks[i&(1<<16-1)]
				a.Free(refs[k])
				refs[k], _ = a.Alloc(100 + i%80)
				i++
			}
		})
	}
}

// BenchmarkFill allocates blocks of 136 bytes without end; the time is one block's, its share of
// slabs and chunks included, the page faults of Memory not.
func BenchmarkFill(b *testing.B) {
	mem := &recycled{}
	a := New(mem)
	n := 0
	for b.Loop() {
		a.Alloc(136)
		if n++; n == 1_000_000 {
			n = 0
			a.Release()
		}
	}
}

// recycled is Memory whose pieces have been touched before.
type recycled struct{ pieces [][]byte }

func (m *recycled) Alloc(size int) []byte {
	if n := len(m.pieces); n > 0 {
		p := m.pieces[n-1]
		m.pieces = m.pieces[:n-1]
		return p
	}
	return make([]byte, size)
}

func (m *recycled) Free(p []byte) { m.pieces = append(m.pieces, p) }

// BenchmarkBytes finds blocks by their refs, among 2,000 chunks; their own bytes are not touched.
func BenchmarkBytes(b *testing.B) {
	a := New(Heap())
	var refs []Ref
	for range 2000 {
		for k := range 4 {
			r, _ := a.Alloc(MaxRun)
			if k == 0 {
				refs = append(refs, r)
			}
		}
	}
	picks := make([]Ref, 1<<12)
	for i := range picks {
		picks[i] = refs[rand.IntN(len(refs))]
	}
	sum, i := 0, 0
	for b.Loop() {
		sum += len(a.Bytes(picks[i&(1<<12-1)]))
		i++
	}
	runtime.KeepAlive(sum)
}

func BenchmarkUsable(b *testing.B) {
	a := New(Heap())
	var refs [1024]Ref
	for i := range refs {
		refs[i], _ = a.Alloc(100 + i%80)
	}
	sum, i := 0, 0
	for b.Loop() {
		sum += a.Usable(refs[i%1024])
		i++
	}
	runtime.KeepAlive(sum)
}

// BenchmarkCycle runs whole collections with ten million blocks live, and reports what is kept and
// lost per block. nothing is the same without the arena.
func BenchmarkCycle(b *testing.B) {
	b.Run("nothing", func(b *testing.B) {
		for b.Loop() {
			runtime.GC()
		}
	})
	b.Run("blocks=10M", func(b *testing.B) {
		const blocks = 10_000_000
		a := New(Heap())
		start := time.Now()
		for range blocks {
			a.Alloc(136)
		}
		filled := time.Since(start)
		a.Settle()
		for b.Loop() {
			runtime.GC()
		}
		s := a.Stats()
		b.ReportMetric(float64(filled.Nanoseconds())/blocks, "fill-ns/block")
		b.ReportMetric(float64(s.Meta)/blocks, "meta-B/block")
		b.ReportMetric(float64(s.Memory-s.Live)/blocks, "waste-B/block")
		runtime.KeepAlive(a)
	})
}

// BenchmarkSparseNothing asks an arena that has nothing to win.
func BenchmarkSparseNothing(b *testing.B) {
	a := New(Heap())
	for i := range 100_000 {
		a.Alloc(i % 2000)
	}
	for b.Loop() {
		a.Sparse(10, func(Ref) { b.Fatal("something was shown") })
	}
}

// BenchmarkSparse moves the tenth of the blocks that a random thinning left; the time is one
// move's, its copy included.
func BenchmarkSparse(b *testing.B) {
	a := New(Heap())
	const blocks = 1_000_000
	moves := 0
	start := time.Duration(0)
	for b.Loop() {
		refs := make([]Ref, blocks)
		for i := range refs {
			refs[i], _ = a.Alloc(136)
		}
		for i, r := range refs {
			if i%10 != 0 {
				a.Free(r)
			}
		}
		at := time.Now()
		for before := -1; before != moves; {
			before = moves
			a.Sparse(1000, func(r Ref) {
				_, p := a.Alloc(136)
				copy(p, a.Bytes(r))
				a.Free(r)
				moves++
			})
		}
		start += time.Since(at)
		a.Release()
	}
	b.ReportMetric(float64(start.Nanoseconds())/float64(max(moves, 1)), "ns/move")
}

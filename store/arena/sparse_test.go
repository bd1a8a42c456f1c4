// SPDX-License-Identifier: Apache-2.0

package arena

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// owner is a caller of an arena: it knows its blocks and moves them.
type owner struct {
	a      *Arena
	blocks map[Ref]block
	moves  int
}

func (o *owner) fill(n, count int, seed uint64) {
	for i := range count {
		r, p := o.a.Alloc(n)
		fill(p, seed+uint64(i))
		o.blocks[r] = block{n, seed + uint64(i)}
	}
}

func (o *owner) thin(rng *rand.Rand, keep float64) {
	refs := make([]Ref, 0, len(o.blocks))
	for r := range o.blocks {
		refs = append(refs, r)
	}
	slices.Sort(refs) // the order of a map is no seed
	rng.Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
	for _, r := range refs[int(keep*float64(len(refs))):] {
		o.a.Free(r)
		delete(o.blocks, r)
	}
}

func (o *owner) move(r Ref) {
	o.moves++
	b := o.blocks[r]
	to, p := o.a.Alloc(b.size)
	copy(p, o.a.Bytes(r))
	o.a.Free(r)
	delete(o.blocks, r)
	o.blocks[to] = b
}

// compact calls Sparse until it finds nothing.
func (o *owner) compact() {
	for before := -1; before != o.moves; {
		before = o.moves
		o.a.Sparse(100, o.move)
	}
}

func (o *owner) verify(t *testing.T) {
	t.Helper()
	mustCheck(t, o.a)
	for r, b := range o.blocks {
		if !filled(o.a.Bytes(r)[:b.size], b.seed) {
			t.Fatalf("block %#x lost its content", r)
		}
	}
}

func (o *owner) stats() Stats {
	o.a.Settle()
	return o.a.Stats()
}

// TestCompaction fills, thins out at random, compacts, and fills with another size: memory is to
// follow what is live, and the moves to stay near what is live.
func TestCompaction(t *testing.T) {
	const count = 200_000
	for _, tt := range []struct {
		name  string
		keep  float64
		moves float64 // at most, per block kept
		spare float64 // memory at most, beyond what is live
	}{
		{"keep a tenth", 0.10, 1.3, 0.15},
		{"keep half", 0.50, 1.2, 0.10},
		{"keep three fifths", 0.60, 1.2, 0.10},
		{"keep nine tenths", 0.90, 1, 0.10},
		{"keep nearly all", 0.98, 0.01, 0.10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mem := newCounted()
			o := &owner{a: New(mem), blocks: map[Ref]block{}}
			rng := rand.New(rand.NewPCG(1, 2))
			o.fill(100, count, 1)
			full := o.stats()
			o.thin(rng, tt.keep)
			thin := o.stats()
			o.compact()
			o.verify(t)
			got := o.stats()
			t.Logf("memory %d, thinned %d, compacted %d, live %d, moves %d", full.Memory, thin.Memory, got.Memory, got.Live, o.moves)
			if limit := int(float64(got.Live)*(1+tt.spare)) + (KeepChunks+1)*ChunkBytes; got.Memory > limit {
				t.Errorf("%d bytes from Memory for %d live, want at most %d", got.Memory, got.Live, limit)
			}
			if limit := int(float64(len(o.blocks)) * tt.moves); o.moves > limit {
				t.Errorf("%d moves for %d blocks, want at most %d", o.moves, len(o.blocks), limit)
			}
			o.fill(300, count/4, 1<<40)
			o.verify(t)
			if got := o.stats(); got.Memory > max(full.Memory, int(float64(got.Live)*1.45)+(KeepChunks+1)*ChunkBytes) {
				t.Errorf("after another size %d bytes from Memory for %d live", got.Memory, got.Live)
			}
			o.a.Release()
			if len(mem.out) != 0 {
				t.Errorf("%d pieces kept after Release", len(mem.out))
			}
		})
	}
}

// TestCompactionMixed does it with blocks of all kinds, page runs included, and with churn between
// the calls.
func TestCompactionMixed(t *testing.T) {
	mem := newCounted()
	o := &owner{a: New(mem), blocks: map[Ref]block{}}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 4000 {
		n := rng.IntN(400)
		if i%4 == 0 {
			n = rng.IntN(60_000)
		}
		o.fill(n, 1, uint64(i)<<20)
		if i%40 == 0 {
			o.fill(rng.IntN(2*MaxRun), 1, uint64(i)<<20)
		}
	}
	o.thin(rng, 0.25)
	for range 300 {
		o.a.Sparse(5, o.move)
		o.fill(rng.IntN(3000), 1, rng.Uint64())
	}
	o.verify(t)
	o.compact()
	o.verify(t)
	got := o.stats()
	t.Logf("memory %d live %d moves %d", got.Memory, got.Live, o.moves)
	if limit := got.Live*4/3 + (KeepChunks+3)*ChunkBytes; got.Memory > limit {
		t.Errorf("%d bytes from Memory for %d live, want at most %d", got.Memory, got.Live, limit)
	}
}

// TestSparseEnds holds Sparse to coming to an end: where nothing can be won, where the caller moves
// nothing, and where a chunk would have to be taken to empty another.
func TestSparseEnds(t *testing.T) {
	t.Run("small", func(t *testing.T) {
		o := &owner{a: New(newCounted()), blocks: map[Ref]block{}}
		for n := 16; n < 30_000; n += n / 8 {
			o.fill(n, 1, uint64(n))
		}
		o.thin(rand.New(rand.NewPCG(1, 1)), 0.5)
		o.compact()
		if o.moves != 0 {
			t.Errorf("%d moves in %d bytes", o.moves, o.stats().Memory)
		}
	})
	t.Run("refused", func(t *testing.T) {
		o := &owner{a: New(newCounted()), blocks: map[Ref]block{}}
		o.fill(100, 100_000, 1)
		o.thin(rand.New(rand.NewPCG(1, 1)), 0.1)
		shown := 0
		for range 1000 {
			o.a.Sparse(100, func(Ref) { shown++ })
			mustCheck(t, o.a)
		}
		if shown == 0 || shown > 5000 {
			t.Errorf("%d blocks shown to a caller that moves none", shown)
		}
	})
	t.Run("steady churn", func(t *testing.T) {
		o := &owner{a: New(newCounted()), blocks: map[Ref]block{}}
		rng := rand.New(rand.NewPCG(1, 1))
		o.fill(150_000, 100, 1)
		o.fill(230_000, 100, 1)
		o.thin(rng, 0.6)
		for i := range 20_000 {
			o.fill(64+rng.IntN(64), 1, uint64(i))
			o.a.Sparse(10, o.move)
		}
		o.verify(t)
		if o.moves > 2000 {
			t.Errorf("%d moves", o.moves)
		}
	})
}

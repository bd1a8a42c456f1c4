// SPDX-License-Identifier: Apache-2.0

package arena

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// block is what the model knows of a live block: its asked size and the seed of its pattern.
type block struct {
	size int
	seed uint64
}

// fill writes a pattern over all of p that no block of another seed has at the same place.
func fill(p []byte, seed uint64) {
	i := 0
	for ; i+8 <= len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], seed+uint64(i)*0x9e3779b97f4a7c15)
	}
	for ; i < len(p); i++ {
		p[i] = byte(seed) + byte(i)
	}
}

func filled(p []byte, seed uint64) bool {
	i := 0
	for ; i+8 <= len(p); i += 8 {
		if binary.LittleEndian.Uint64(p[i:]) != seed+uint64(i)*0x9e3779b97f4a7c15 {
			return false
		}
	}
	for ; i < len(p); i++ {
		if p[i] != byte(seed)+byte(i) {
			return false
		}
	}
	return true
}

type model struct {
	mem   *countedMemory
	arena *Arena
	live  map[Ref]block
	order []Ref // for choosing; may name freed blocks
	bytes int
	seed  uint64
}

func newModel() *model {
	m := &model{mem: newCounted(), live: map[Ref]block{}}
	m.arena = New(m.mem)
	return m
}

func (m *model) alloc(t *rapid.T, n int) {
	r, p := m.arena.Alloc(n)
	if _, ok := m.live[r]; ok || r == 0 || r >= 1<<40 {
		t.Fatalf("alloc %d: ref %#x is live, none or too large", n, r)
	}
	if len(p) != n || cap(p) < n || cap(p) != m.arena.Usable(r) {
		t.Fatalf("alloc %d: len %d cap %d usable %d", n, len(p), cap(p), m.arena.Usable(r))
	}
	if whole := m.arena.Bytes(r); len(whole) < cap(p) || cap(p) > 0 && &whole[0] != &p[:1][0] {
		t.Fatalf("alloc %d: Bytes is elsewhere", n)
	}
	m.seed += 0x100000001b3
	fill(p[:cap(p)], m.seed)
	m.live[r] = block{n, m.seed}
	m.order = append(m.order, r)
	m.bytes += cap(p)
}

func (m *model) free(t *rapid.T, r Ref) {
	b := m.live[r]
	n := m.arena.Usable(r)
	if !filled(m.arena.Bytes(r)[:n], b.seed) {
		t.Fatalf("block %#x of %d bytes was overwritten", r, b.size)
	}
	m.arena.Free(r)
	delete(m.live, r)
	m.bytes -= n
}

// pick returns a live block of about the k-th place, or 0.
func (m *model) pick(k int) Ref {
	for len(m.order) > 0 {
		i := k % len(m.order)
		r := m.order[i]
		if _, ok := m.live[r]; ok {
			return r
		}
		m.order[i] = m.order[len(m.order)-1]
		m.order = m.order[:len(m.order)-1]
	}
	return 0
}

func (m *model) sparse(t *rapid.T, limit int, move func() bool) {
	shown := map[Ref]bool{}
	n := 0
	m.arena.Sparse(limit, func(r Ref) {
		n++
		b, ok := m.live[r]
		if !ok || shown[r] {
			t.Fatalf("Sparse showed %#x, live %v, before %v", r, ok, shown[r])
		}
		shown[r] = true
		if !move() {
			return
		}
		from := m.arena.chunks[r>>chunkShift]
		m.alloc(t, b.size)
		moved := m.order[len(m.order)-1]
		if m.arena.chunks[moved>>chunkShift] == from {
			t.Fatalf("block %#x went to %#x, into the chunk that is being emptied", r, moved)
		}
		m.free(t, r)
	})
	if n > limit {
		t.Fatalf("Sparse showed %d blocks, at most %d were asked for", n, limit)
	}
}

func (m *model) check(t *rapid.T) {
	if err := m.arena.check(); err != nil {
		t.Fatal(err)
	}
	m.arena.Settle()
	got := m.arena.Stats()
	if got.Blocks != len(m.live) || got.Live != m.bytes || got.Memory != m.mem.bytes {
		t.Fatalf("stats %+v, want %d blocks, %d bytes live, %d from Memory", got, len(m.live), m.bytes, m.mem.bytes)
	}
}

func (m *model) end(t *rapid.T) {
	for r, b := range m.live {
		if !filled(m.arena.Bytes(r)[:m.arena.Usable(r)], b.seed) {
			t.Fatalf("block %#x of %d bytes was overwritten", r, b.size)
		}
	}
	m.arena.Release()
	if len(m.mem.out) != 0 || m.arena.Stats() != (Stats{}) {
		t.Fatalf("after Release %d pieces are out, stats %+v", len(m.mem.out), m.arena.Stats())
	}
	if r, p := m.arena.Alloc(100); r == 0 || len(p) != 100 {
		t.Fatal("a released arena does not allocate")
	}
}

func sizes() *rapid.Generator[int] {
	few := rapid.SampledFrom([]int{1000, 2500, 20_000}) // one class over several chunks
	return rapid.OneOf(
		few, few,
		rapid.IntRange(0, 300), rapid.IntRange(0, 300), rapid.IntRange(0, 5000),
		rapid.IntRange(0, MaxSlab+10), rapid.IntRange(MaxSlab-10, MaxRun+PageBytes), rapid.IntRange(MaxRun-10, 3*ChunkBytes),
	)
}

// TestModel plays random calls against a map. Every block is full of its own pattern to its usable
// end, so that blocks that overlap show.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		t.Repeat(map[string]func(*rapid.T){
			"alloc": func(t *rapid.T) {
				n := sizes().Draw(t, "size")
				count := 1
				if n < MaxSlab {
					// Several chunks now and then, so that there is something to compact.
					count = rapid.IntRange(1, min(5000, 4*ChunkBytes/max(n, 1))).Draw(t, "count")
				}
				for range count {
					m.alloc(t, n)
				}
			},
			"free": func(t *rapid.T) {
				k := rapid.IntRange(0, 1<<20).Draw(t, "k")
				step := rapid.IntRange(1, 1<<20).Draw(t, "step")
				for range rapid.IntRange(1, 400).Draw(t, "count") {
					k += step
					if r := m.pick(k); r != 0 {
						m.free(t, r)
					}
				}
			},
			"drain": func(t *rapid.T) {
				every := rapid.IntRange(2, 20).Draw(t, "every")
				i := 0
				for _, r := range m.order {
					if _, ok := m.live[r]; ok && i%every != 0 {
						m.free(t, r)
					}
					i++
				}
			},
			"sparse": func(t *rapid.T) {
				limit := rapid.IntRange(0, 2000).Draw(t, "limit")
				refuse := rapid.SampledFrom([]int{0, 0, 0, 1, 7, 100}).Draw(t, "refuse")
				n := 0
				m.sparse(t, limit, func() bool { n++; return refuse == 0 || n%refuse != 0 })
			},
			"": m.check,
		})
		m.end(t)
	})
}

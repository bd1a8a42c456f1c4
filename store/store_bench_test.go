// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"testing"

	"github.com/kvorum/kvorum/store/collections"
)

// Each benchmark counts what a command pays: slot computation, lock, deadline check, recency.

func benchStore(keys int) (*Store, [][]byte) {
	s := New(Config{HashKey: testHashKey})
	names := make([][]byte, keys)
	for i := range names {
		names[i] = fmt.Appendf(nil, "key:%012d", i)
		s.SetString(SlotOf(names[i]), names[i], make([]byte, 100), Meta{Version: 1})
	}
	return s, names
}

func BenchmarkGet(b *testing.B) {
	for _, keys := range []int{1, 200_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			s, names := benchStore(keys)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				key := names[i]
				if i++; i == keys {
					i = 0
				}
				slot := SlotOf(key)
				s.RLock(slot)
				if r, ok := s.Get(slot, key, 1); !ok || len(r.Bytes()) != 100 {
					b.Fatal("missing")
				} else {
					s.TouchRef(r, uint32(i))
				}
				s.RUnlock(slot)
			}
		})
	}
}

func BenchmarkSet(b *testing.B) {
	for _, keys := range []int{1, 200_000} {
		b.Run(fmt.Sprintf("keys=%d/overwrite", keys), func(b *testing.B) {
			s, names := benchStore(keys)
			value := make([]byte, 100)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				key := names[i]
				if i++; i == keys {
					i = 0
				}
				slot := SlotOf(key)
				s.Lock(slot)
				s.SetString(slot, key, value, Meta{Version: 2})
				s.Unlock(slot)
			}
		})
	}
	b.Run("new", func(b *testing.B) {
		s := New(Config{HashKey: testHashKey})
		value := make([]byte, 100)
		key := make([]byte, 0, 32)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			key = fmt.Appendf(key[:0], "key:%012d", i)
			i++
			slot := SlotOf(key)
			s.Lock(slot)
			s.SetString(slot, key, value, Meta{Version: 2})
			s.Unlock(slot)
		}
	})
	b.Run("deadline", func(b *testing.B) {
		s, names := benchStore(10_000)
		value := make([]byte, 100)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			key := names[i%len(names)]
			i++
			slot := SlotOf(key)
			s.Lock(slot)
			s.SetString(slot, key, value, Meta{Version: 2, ExpireAt: int64(i + 100_000)})
			s.Unlock(slot)
		}
	})
}

func BenchmarkList(b *testing.B) {
	key := []byte("list")
	b.Run("push", func(b *testing.B) {
		s := New(Config{})
		b.ReportAllocs()
		for b.Loop() {
			slot := SlotOf(key)
			s.Lock(slot)
			s.EditList(slot, key, 1, func(l *collections.ListEdit) { l.PushFront(nil) })
			s.Unlock(slot)
		}
	})
	b.Run("index", func(b *testing.B) {
		s := New(Config{})
		s.EditList(SlotOf(key), key, 1, func(l *collections.ListEdit) {
			for range 10_000 {
				l.PushBack([]byte("x"))
			}
		})
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			slot := SlotOf(key)
			s.RLock(slot)
			r, _ := s.Get(slot, key, 1)
			_ = r.List().Index(i % 10_000)
			s.TouchRef(r, 1)
			i++
			s.RUnlock(slot)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	key, field, value := []byte("hash"), []byte("field"), []byte("value")
	s := New(Config{})
	slot := SlotOf(key)
	b.Run("set", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			slot := SlotOf(key)
			s.Lock(slot)
			r, _ := s.Lookup(slot, key)
			if !r.OverwriteField(slot, field, value, 1) {
				s.SetField(slot, key, field, value, 1)
			}
			s.Unlock(slot)
		}
	})
	s.EditHash(slot, key, 1, func(h *collections.HashEdit) { h.Set(field, value) })
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			slot := SlotOf(key)
			s.RLock(slot)
			r, _ := s.Get(slot, key, 1)
			if v, ok := r.Field(field); !ok || len(v) != 5 {
				b.Fatal("missing")
			}
			s.TouchRef(r, 1)
			s.RUnlock(slot)
		}
	})
}

func BenchmarkSection(b *testing.B) {
	s := New(Config{HashKey: testHashKey})
	const slot = 0
	for i, n := 0, 0; n < 1000; i++ {
		if k := fmt.Appendf(nil, "%d", i); SlotOf(k) == slot {
			s.SetString(slot, k, make([]byte, 100), Meta{Version: 1})
			n++
		}
	}
	data := sections(b, s, slot)
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			sections(b, s, slot)
		}
	})
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			load(b, s, slot, data)
		}
	})
	b.Run("digest", func(b *testing.B) {
		for b.Loop() {
			s.Digest(slot)
		}
	})
}

func BenchmarkSample(b *testing.B) {
	s, _ := benchStore(200_000)
	for _, victims := range []int{1, 64} {
		b.Run(fmt.Sprintf("victims=%d", victims), func(b *testing.B) {
			seed := uint64(0)
			for b.Loop() {
				seed++
				s.Sample(SampleRequest{Policy: AllKeysLRU, Bytes: 1 << 40, Max: victims, Seed: seed})
			}
		})
	}
}

// Goal: reads, overwrites and deadlines of keys that are there allocate nothing.
func TestAllocations(t *testing.T) {
	s, names := benchStore(1000)
	value := make([]byte, 100)
	i := 0
	next := func() (uint16, []byte) {
		i++
		key := names[i%len(names)]
		return SlotOf(key), key
	}
	for _, tc := range []struct {
		name string
		f    func()
		max  float64
	}{
		{"get", func() {
			slot, key := next()
			s.RLock(slot)
			if r, ok := s.Get(slot, key, 1); ok {
				s.TouchRef(r, uint32(i))
			}
			s.RUnlock(slot)
		}, 0},
		{"overwrite", func() {
			slot, key := next()
			s.SetString(slot, key, value, Meta{Version: uint64(i)})
		}, 0},
		{"deadline", func() {
			slot, key := next()
			s.SetExpire(slot, key, int64(i+1))
		}, 0},
		{"nothing due", func() { s.PopDue(0, 100, nil) }, 0},
		{"longer value", func() {
			slot, key := next()
			s.SetString(slot, key, make([]byte, 100+i), Meta{Version: uint64(i)})
		}, 2},
		{"touch", func() {
			slot, key := next()
			s.Touch(slot, key, uint32(i))
		}, 0},
	} {
		for range names { // heaps and buffers have their size
			tc.f()
		}
		if got := testing.AllocsPerRun(1000, tc.f); got > tc.max {
			t.Errorf("%s: %v allocations, want at most %v", tc.name, got, tc.max)
		}
	}
}

// BenchmarkCapture overwrites keys of many segments, each of which is captured for a view, or for none. The difference
// is what a snapshot costs a write.
func BenchmarkCapture(b *testing.B) {
	const keys, writes = 1_000_000, cellsInStock
	for _, viewed := range []bool{false, true} {
		b.Run(fmt.Sprintf("viewed=%t", viewed), func(b *testing.B) {
			s, names := benchStore(keys)
			value := make([]byte, 100)
			version, at := uint64(1), 0
			var v *View
			for done := 0; b.Loop(); done++ {
				if viewed && done%writes == 0 {
					b.StopTimer()
					if v != nil {
						v.Close()
					}
					v = benchView(b, s)
					b.StartTimer()
				}
				version++
				at = (at + 7919) % keys
				slot := SlotOf(names[at])
				s.Lock(slot)
				s.SetString(slot, names[at], value, Meta{Version: version})
				s.Unlock(slot)
			}
		})
	}
}

func benchView(b *testing.B, s *Store) *View {
	v, err := s.View()
	if err != nil {
		b.Fatal(err)
	}
	s.cells.stock()
	return v
}

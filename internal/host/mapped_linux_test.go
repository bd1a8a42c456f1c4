// SPDX-License-Identifier: Apache-2.0

package host

import (
	"strings"
	"sync"
	"testing"
	"unsafe"
)

func address(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }

// TestMappedGivesBack writes to pieces, frees them and gets them again: their bytes must be zero,
// which they are only if the memory behind them went back to the system.
func TestMappedGivesBack(t *testing.T) {
	m := Mapped()
	for _, size := range []int{1, 4 << 10, 700 << 10, HugePiece - 1, HugePiece, HugePiece + 1, 5 << 20} {
		p := m.Alloc(size)
		if len(p) != size || address(p)%(4<<10) != 0 {
			t.Fatalf("size %d: %d bytes at %#x", size, len(p), address(p))
		}
		if size == HugePiece && address(p)%HugePiece != 0 {
			t.Errorf("a huge piece at %#x", address(p))
		}
		for i := range p {
			p[i] = 0xa5
		}
		at := address(p)
		m.Free(p)
		p = m.Alloc(size)
		if address(p) != at || len(p) != size {
			t.Errorf("size %d: the freed piece is not used again", size)
		}
		for i := range p {
			if p[i] != 0 {
				t.Fatalf("size %d: byte %d is still there", size, i)
			}
		}
		if n := m.Taken(); n < int64(size) || n > 2*int64(size)+4<<10 {
			t.Errorf("size %d: %d bytes are taken", size, n)
		}
		m.Free(p)
		if n := m.Taken(); n != 0 {
			t.Errorf("size %d: %d bytes are taken in the end", size, n)
		}
	}
}

// TestMappedApart holds pieces of many sizes, from several goroutines, to not overlapping.
func TestMappedApart(t *testing.T) {
	m := Mapped()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			var held [][]byte
			for i := range 300 {
				size := HugePiece
				if i%3 != 0 {
					size = 1 + (i*7919+g)%(3<<20)
				}
				p := m.Alloc(size)
				p[0], p[size-1] = byte(g), byte(g)
				held = append(held, p)
				if i%2 == 1 {
					k := i * 31 % len(held)
					m.Free(held[k])
					held[k] = held[len(held)-1]
					held = held[:len(held)-1]
				}
			}
			for _, p := range held {
				if p[0] != byte(g) || p[len(p)-1] != byte(g) {
					t.Errorf("goroutine %d: a piece was written by another", g)
				}
			}
		})
	}
	wg.Wait()
}

// TestMappedSpan holds spans to whole pages and an eighth at most beyond the size.
func TestMappedSpan(t *testing.T) {
	for size := 1; size < 40<<20; size += 1 + size/97 {
		span := mappedSpan(size)
		if span < size || span%(4<<10) != 0 || span-size >= max(4<<10, size/8+1) {
			t.Fatalf("size %d: span %d", size, span)
		}
		if again := mappedSpan(span); again != span {
			t.Fatalf("size %d: span %d of span %d", size, again, span)
		}
	}
}

// TestMappedStops asks for more than there are addresses.
func TestMappedStops(t *testing.T) {
	for _, size := range []int{0, 1 << 50} {
		func() {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "host: ") {
					t.Errorf("size %d: panic %q", size, s)
				}
			}()
			Mapped().Alloc(size)
		}()
	}
}

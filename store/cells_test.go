// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/kvorum/kvorum/store/arena"
)

// countedMemory counts what is handed out and not taken back, on any goroutine.
type countedMemory struct {
	arena.Memory
	bytes atomic.Int64
}

func (m *countedMemory) Alloc(size int) []byte {
	m.bytes.Add(int64(size))
	return m.Memory.Alloc(size)
}

func (m *countedMemory) Free(p []byte) {
	m.bytes.Add(-int64(len(p)))
	m.Memory.Free(p)
}

// TestCellsComeBack: whatever becomes of a view, what it captured is let go of.
func TestCellsComeBack(t *testing.T) {
	errFull := errors.New("full")
	const slot = 7
	for name, use := range map[string]func(t *testing.T, s *Store, v *View){
		"read": func(t *testing.T, _ *Store, v *View) {
			if err := v.Section(slot, func([]byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
		},
		"not read": func(*testing.T, *Store, *View) {},
		"given up": func(t *testing.T, _ *Store, v *View) {
			if err := v.Section(slot, func([]byte) error { return errFull }); !errors.Is(err, errFull) {
				t.Fatal(err)
			}
		},
		"broken": func(t *testing.T, s *Store, v *View) {
			s.Reset()
			if err := v.Section(slot, func([]byte) error { return nil }); !errors.Is(err, ErrViewBroken) {
				t.Fatal(err)
			}
		},
		"beside another": func(t *testing.T, s *Store, _ *View) {
			other, err := s.ViewSlots(slot)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			writeAll(s, slot, 2)
			if err := other.Section(slot, func([]byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			memory := &countedMemory{Memory: arena.Heap()}
			s := New(Config{Memory: memory})
			writeAll(s, slot, 0)
			v, err := s.View()
			if err != nil {
				t.Fatal(err)
			}
			before := memory.bytes.Load()
			writeAll(s, slot, 1)
			captured := s.cells.mu.used
			if captured == 0 || memory.bytes.Load() < before+int64(captured*cellBytes) {
				t.Errorf("%d cells in use, %d bytes more", captured, memory.bytes.Load()-before)
			}
			use(t, s, v)
			v.Close()
			if s.cells.mu.used != 0 || s.cells.mu.taken != nil {
				t.Errorf("%d cells in use, %d pieces of memory", s.cells.mu.used, len(s.cells.mu.taken))
			}
		})
	}
}

// TestCellsInStock: who reads a view of the whole store sees to it that a writer finds memory for what it captures; a
// view of a few slots keeps none.
func TestCellsInStock(t *testing.T) {
	const slot = 7
	memory := &countedMemory{Memory: arena.Heap()}
	s := New(Config{Memory: memory})
	writeAll(s, slot, 0)
	drop := func([]byte) error { return nil }
	few, err := s.ViewSlots(slot + 1)
	if err != nil {
		t.Fatal(err)
	}
	defer few.Close()
	if err := few.Section(slot+1, drop); err != nil {
		t.Fatal(err)
	}
	if cells, places := s.cells.ready(); cells >= cellsInStock || places > 0 {
		t.Fatalf("a view of one slot: %d cells, %d places", cells, places)
	}
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Section(slot+1, drop); err != nil {
		t.Fatal(err)
	}
	cells, places := s.cells.ready()
	if cells < cellsInStock || places < placesInStock {
		t.Errorf("%d cells and %d places in stock", cells, places)
	}
	pieces := len(s.cells.mu.taken)
	writeAll(s, slot, 1)
	if s.cells.mu.used == 0 || len(s.cells.mu.taken) != pieces {
		t.Errorf("%d cells in use, %d pieces of memory, %d before", s.cells.mu.used, len(s.cells.mu.taken), pieces)
	}
	if _, left := s.cells.ready(); left >= places {
		t.Errorf("%d places left of %d", left, places)
	}
}

// writeAll writes some keys, enough for several segments.
func writeAll(s *Store, slot uint16, version uint64) {
	for i := range 1000 {
		s.Lock(slot)
		s.SetString(slot, fmt.Append(nil, "key", i), []byte("v"), Meta{Version: 1 + version})
		s.Unlock(slot)
	}
}

// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// Goal: a key present from the first call of Scan to the last is visited, whatever else comes and
// goes, and each call makes progress. Method: rapid adds, deletes and moves the slot between calls.
func TestScanMeetsWhatStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(Config{HashKey: testHashKey})
		slot := SlotOf([]byte("{t}"))
		key := func(kind string, i int) []byte { return fmt.Appendf(nil, "{t}%s%d", kind, i) }
		stays := rapid.IntRange(0, 300).Draw(t, "stays")
		for i := range stays {
			s.SetString(slot, key("stays", i), nil, Meta{Version: 1})
		}
		comes := 0
		count := rapid.IntRange(1, 40).Draw(t, "count")
		met := map[string]bool{}
		calls := 0
		for cursor := uint64(0); ; {
			seen := 0
			next := s.Scan(slot, cursor, count, func(k []byte, _ Ref) {
				met[string(k)] = true
				seen++
			})
			if seen > count {
				t.Fatalf("%d visited, asked for %d", seen, count)
			}
			if next>>PositionBits != 0 || next != 0 && next <= cursor {
				t.Fatalf("cursor %d after %d", next, cursor)
			}
			if cursor = next; cursor == 0 {
				break
			}
			if calls++; calls > 2000 {
				t.Fatal("no end")
			}
			switch rapid.IntRange(0, 3).Draw(t, "between") {
			case 0:
				for range rapid.IntRange(0, 200).Draw(t, "come") {
					s.SetString(slot, key("comes", comes), nil, Meta{Version: 1})
					comes++
				}
			case 1:
				for i := range comes {
					s.Delete(slot, key("comes", i))
				}
			case 2:
				other := New(Config{HashKey: testHashKey})
				load(t, other, slot, sections(t, s, slot))
				s = other
			}
		}
		for i := range stays {
			if !met[string(key("stays", i))] {
				t.Fatalf("key %d was not met", i)
			}
		}
	})
}

// Goal: cursors at the ends and out of range end the scan instead of wrapping or panicking.
func TestScanCursorEdges(t *testing.T) {
	s := New(Config{})
	slot := SlotOf([]byte("k"))
	if s.Scan(slot, 0, 10, nil) != 0 {
		t.Error("an empty slot has more")
	}
	s.SetString(slot, []byte("k"), nil, Meta{})
	for _, cursor := range []uint64{1<<48 - 1, 1 << 48, 1<<64 - 1} {
		if next := s.Scan(slot, cursor, 10, func([]byte, Ref) { t.Errorf("met a key at %d", cursor) }); next != 0 {
			t.Errorf("cursor %d goes on at %d", cursor, next)
		}
	}
	met := 0
	if next := s.Scan(slot, 0, -5, func([]byte, Ref) { met++ }); next != 0 || met != 1 {
		t.Errorf("count below one: %d met, next %d", met, next)
	}
}

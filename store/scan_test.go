// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"slices"
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
				if data := s.AppendSection(nil, slot); data != nil {
					load(t, other, slot, data)
				}
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

// Goal: nodes that share a position are visited in one call, the last position ends the scan.
func TestTableScanCollisions(t *testing.T) {
	var tb table[int]
	for i, h := range []uint64{0, 1, 5, 0xffff, 0x10000, 0x1ffff, 1 << 40, 1<<64 - 2, 1<<64 - 1} {
		tb.insert(h, fmt.Appendf(nil, "%d", i)).val = i
	}
	for count := 1; count < 12; count++ {
		var got []int
		for cursor := uint64(0); ; {
			if cursor = tb.scan(cursor, count, func(nd *node[int]) { got = append(got, nd.val) }); cursor == 0 {
				break
			}
		}
		if !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}) {
			t.Fatalf("count %d: %v", count, got)
		}
	}
}

// Goal: a table is a sorted set by (hash, key) through growth and shrinking, also when hashes
// collide. Method: rapid against a sorted slice.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tb table[struct{}]
		h := hasher{1, 2}
		few := rapid.Bool().Draw(t, "collide")
		hash := func(k string) uint64 {
			if few {
				return h.sum([]byte(k)) & (3 << 62)
			}
			return h.sum([]byte(k))
		}
		present := map[string]bool{}
		for range rapid.IntRange(0, 30).Draw(t, "rounds") {
			from, n := rapid.IntRange(0, 300).Draw(t, "from"), rapid.IntRange(0, 100).Draw(t, "n")
			add := rapid.Bool().Draw(t, "add")
			for i := from; i < from+n; i++ {
				k := fmt.Sprint(i)
				nd := tb.find(hash(k), []byte(k))
				if (nd != nil) != present[k] {
					t.Fatalf("find %s: %v", k, nd)
				}
				if add && nd == nil {
					tb.insert(hash(k), []byte(k))
					present[k] = true
				}
				if !add && nd != nil {
					tb.remove(nd)
					delete(present, k)
				}
			}
			checkTable(t, &tb, present)
		}
	})
}

func checkTable(t *rapid.T, tb *table[struct{}], present map[string]bool) {
	var last *node[struct{}]
	n := 0
	tb.ascend(0, func(nd *node[struct{}]) bool {
		if !present[string(nd.key)] {
			t.Fatalf("extra key %s", nd.key)
		}
		if last != nil && (last.hash > nd.hash || last.hash == nd.hash && string(last.key) >= string(nd.key)) {
			t.Fatal("out of order")
		}
		last = nd
		n++
		return true
	})
	if n != len(present) || n != tb.n {
		t.Fatalf("%d nodes, counted %d, want %d", n, tb.n, len(present))
	}
	if len(tb.buckets) > tableMin && len(tb.buckets) > 8*max(n, 1)+8 {
		t.Fatalf("%d buckets for %d nodes", len(tb.buckets), n)
	}
}

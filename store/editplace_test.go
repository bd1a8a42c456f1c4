// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kvorum/kvorum/store/collections"
)

// Goal: that a large collection is changed where it is shows in nothing. Method: the same random edits of two keys of
// one slot, across the sizes at which collections become large and packed again, in two stores; a view of another slot
// lives in one of them all the time, which keeps it from changing anything in place. Digests, counters and replies
// agree after each edit, and a view of the other one holds what was there when it was made.
func TestEditInPlace(t *testing.T) {
	kinds := map[string]func(s *Store, rng *rand.Rand, key []byte, version uint64) int{
		"list": func(s *Store, rng *rand.Rand, key []byte, version uint64) (n int) {
			s.EditList(SlotOf(key), key, version, func(l *collections.ListEdit) {
				switch n := rng.IntN(1000); {
				case n < 10:
					l.Trim(0, rng.IntN(l.Len()+1))
				case n < 20:
					// nothing
				case n < 300:
					l.PopBack()
				default:
					l.PushFront(fmt.Appendf(nil, "%d", n))
				}
				n = l.Len()
			})
			return n
		},
		"hash": func(s *Store, rng *rand.Rand, key []byte, version uint64) (n int) {
			s.EditHash(SlotOf(key), key, version, func(h *collections.HashEdit) {
				dropOrPut(rng, func(f []byte) { h.Delete(f) }, func(f []byte) { h.Set(f, f[:rng.IntN(len(f))]) })
				n = h.Len()
			})
			return n
		},
		"set": func(s *Store, rng *rand.Rand, key []byte, version uint64) (n int) {
			s.EditSet(SlotOf(key), key, version, func(m *collections.SetEdit) {
				dropOrPut(rng, func(x []byte) { m.Remove(x) }, func(x []byte) { m.Add(x) })
				n = m.Len()
			})
			return n
		},
		"zset": func(s *Store, rng *rand.Rand, key []byte, version uint64) (n int) {
			s.EditZSet(SlotOf(key), key, version, func(z *collections.ZSetEdit) {
				switch n := rng.IntN(1000); {
				case n < 5:
					z.RemoveRange(0, z.Len())
				case n < 300:
					z.Remove(fmt.Appendf(nil, "%d", rng.IntN(300)))
				default:
					z.Add(fmt.Appendf(nil, "%d", rng.IntN(300)), float64(n))
				}
				n = z.Len()
			})
			return n
		},
	}
	for kind, edit := range kinds {
		t.Run(kind, func(t *testing.T) { editsInPlace(t, edit) })
	}
}

// dropOrPut hands one of 300 members to drop, or twice as often to put.
func dropOrPut(rng *rand.Rand, drop, put func(member []byte)) {
	if member := fmt.Appendf(nil, "%d", rng.IntN(300)); rng.IntN(3) == 0 {
		drop(member)
	} else {
		put(member)
	}
}

func editsInPlace(t *testing.T, edit func(s *Store, rng *rand.Rand, key []byte, version uint64) int) {
	a, b := New(Config{HashKey: testHashKey}), New(Config{HashKey: testHashKey})
	keys := [][]byte{[]byte("{h}1"), []byte("{h}2")}
	slot := SlotOf(keys[0])
	if _, err := b.ViewSlots(slot + 1); err != nil {
		t.Fatal(err)
	}
	var v *View
	var then content
	inPlace := 0
	rng := rand.New(rand.NewPCG(3, 5))
	key := keys[0]
	for i := range 12_000 {
		if rng.IntN(10) == 0 {
			key = keys[rng.IntN(len(keys))]
		}
		switch {
		case v != nil && rng.IntN(10) == 0:
			checkView(t, v, slot, then)
			v = nil
		case v == nil && rng.IntN(50) == 0:
			v, then = mustView(t, a), contentOf(a, slot)
		case rng.IntN(50) == 0:
			for _, s := range []*Store{a, b} {
				s.SetString(slot, []byte("{h}3"), nil, Meta{Version: uint64(i + 1)})
			}
		case rng.IntN(20) == 0: // ends the change of the entry written last, which may stay that
			for _, s := range []*Store{a, b} {
				s.Delete(slot, []byte("{h}3"))
			}
		}
		if tab := a.slots[slot].t; tab != nil && tab.hot.g != nil && a.untouched(tab) && tab.hot.b.node().large() {
			inPlace++
		}
		seed := rng.Uint64()
		x := edit(a, rand.New(rand.NewPCG(seed, 0)), key, uint64(i+2))
		y := edit(b, rand.New(rand.NewPCG(seed, 0)), key, uint64(i+2))
		if x != y || a.Digest(slot) != b.Digest(slot) || a.Stats(slot) != b.Stats(slot) || a.Totals() != b.Totals() {
			t.Fatalf("step %d: %d and %d items, %+v and %+v, digests equal: %t", i, x, y, a.Stats(slot), b.Stats(slot), a.Digest(slot) == b.Digest(slot))
		}
	}
	if v == nil {
		v, then = mustView(t, a), contentOf(a, slot)
	}
	checkView(t, v, slot, then)
	if inPlace < 1000 {
		t.Errorf("only %d edits found a large value that could be changed in place", inPlace)
	}
}

// content is what a slot has and counts.
type content struct {
	digest [16]byte
	count  Stats
}

func contentOf(s *Store, slot uint16) content { return content{s.Digest(slot), s.Stats(slot)} }

func mustView(t *testing.T, s *Store) *View {
	t.Helper()
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// checkView tells whether a view has what the slot had when it was made, and closes it. What is loaded from it is
// counted as a whole: the slot's count followed each change.
func checkView(t *testing.T, v *View, slot uint16, then content) {
	t.Helper()
	defer v.Close()
	var all []byte
	if err := v.Section(slot, func(data []byte) error { all = append(all, data...); return nil }); err != nil {
		t.Fatal(err)
	}
	c := New(Config{HashKey: testHashKey})
	if len(all) > 0 {
		if err := c.LoadSection(slot, all); err != nil {
			t.Fatal(err)
		}
	}
	if now := contentOf(c, slot); now != then {
		t.Fatalf("a view shows %+v, and had %+v when it was made", now, then)
	}
}

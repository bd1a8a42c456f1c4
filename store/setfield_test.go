// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kvorum/kvorum/store/collections"
)

// Goal: the short way of SetField shows in nothing. Method: the same random writes of fields, deadlines and other
// keys of the slot to two stores, by SetField and by EditHash; views live in one of them at times, so that the short
// way is open to one and not to the other. Replies, digests and counters agree after each.
func TestSetFieldIsAnEdit(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	a, b := New(Config{HashKey: testHashKey}), New(Config{HashKey: testHashKey})
	var v *View
	for i := range 20_000 {
		key := fmt.Appendf(nil, "{h}%d", rng.IntN(3))
		slot, version := SlotOf(key), uint64(i+1)
		if v != nil && rng.IntN(20) == 0 {
			v.Close()
			v = nil
		} else if v == nil && rng.IntN(100) == 0 {
			var err error
			if v, err = a.View(); err != nil {
				t.Fatal(err)
			}
		}
		switch n := rng.IntN(20); n {
		case 0:
			at := int64(rng.IntN(1000))
			a.SetExpire(slot, key, at)
			b.SetExpire(slot, key, at)
		case 1:
			if rng.IntN(10) == 0 {
				a.Delete(slot, key)
				b.Delete(slot, key)
			}
		default:
			field := fmt.Appendf(nil, "f%d", rng.IntN(4))
			value := fmt.Appendf(nil, "%0*d", 1+rng.IntN(2), rng.IntN(10))
			if rng.IntN(2000) == 0 {
				value = make([]byte, 100)
			}
			var made bool
			b.EditHash(slot, key, version, func(h *collections.HashEdit) { made = h.Set(field, value) })
			r, _ := a.Lookup(slot, key)
			if got := !r.OverwriteField(slot, field, value, version) && a.SetField(slot, key, field, value, version); got != made {
				t.Fatalf("step %d: created %v, want %v", i, got, made)
			}
		}
		if a.Digest(slot) != b.Digest(slot) || a.Stats(slot) != b.Stats(slot) {
			t.Fatalf("step %d: the stores differ", i)
		}
		if ra, ok := a.Get(slot, key, 0); ok {
			rb, _ := b.Get(slot, key, 0)
			if ra.Meta() != rb.Meta() || ra.Hash().Sum() != rb.Hash().Sum() {
				t.Fatalf("step %d: another hash", i)
			}
		}
	}
	if v != nil {
		v.Close()
	}
}

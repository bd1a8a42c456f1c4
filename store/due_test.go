// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// Goal: deadlines leave in (deadline, slot, keyed hash) order however often they were moved, in bounded
// runs, and none but those that are due. Method: thousands of deadlines, over one crowded slot and
// many sparse ones, moved at random and compared with a sorted list.
func TestDueOrder(t *testing.T) {
	s := New(Config{HashKey: testHashKey})
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 3000
	deadlines := map[string]int64{}
	for i := range n {
		key := fmt.Appendf(nil, "%d", i)
		if i%2 == 0 {
			key = fmt.Appendf(nil, "{crowd}%d", i)
		}
		deadlines[string(key)] = 0
		s.SetString(SlotOf(key), key, nil, Meta{Version: uint64(i)})
	}
	keys := make([]string, 0, n)
	for k := range deadlines {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for range 4 * n {
		k := keys[rng.IntN(n)]
		deadlines[k] = rng.Int64N(400)
		if !s.SetExpire(SlotOf([]byte(k)), []byte(k), deadlines[k]) {
			t.Fatal("missing")
		}
	}
	var want []DueKey
	for _, k := range keys {
		if deadlines[k] != 0 {
			want = append(want, DueKey{Slot: SlotOf([]byte(k)), Key: []byte(k), Deadline: deadlines[k]})
		}
	}
	slices.SortFunc(want, func(a, b DueKey) int {
		return cmp.Or(cmp.Compare(a.Deadline, b.Deadline), cmp.Compare(a.Slot, b.Slot), cmp.Compare(hashOf(string(a.Key)), hashOf(string(b.Key))))
	})
	for now := int64(0); now <= 400; now++ {
		for {
			if len(want) > 0 && s.NextDeadline() != want[0].Deadline {
				t.Fatalf("next deadline %d, want %d", s.NextDeadline(), want[0].Deadline)
			}
			got := popDue(s, now, 7)
			if len(got) > 7 {
				t.Fatalf("%d at once", len(got))
			}
			for _, d := range got {
				if d.Slot != want[0].Slot || !bytes.Equal(d.Key, want[0].Key) || d.Deadline != want[0].Deadline {
					t.Fatalf("popped %+v, want %+v", d, want[0])
				}
				if _, ok := s.Lookup(d.Slot, d.Key); ok {
					t.Fatalf("%s is still there", d.Key)
				}
				want = want[1:]
			}
			if len(got) < 7 {
				break
			}
		}
		if len(want) > 0 && want[0].Deadline <= now {
			t.Fatalf("%+v is due at %d and left", want[0], now)
		}
	}
	if len(want) != 0 || s.NextDeadline() != 0 || popDue(s, 1<<62, 1) != nil {
		t.Error("deadlines are left over")
	}
}

func popDue(s *Store, now int64, limit int) (out []DueKey) {
	s.PopDue(now, limit, func(d DueKey) {
		d.Key = bytes.Clone(d.Key)
		out = append(out, d)
	})
	return out
}

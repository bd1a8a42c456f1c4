// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"bytes"
	"fmt"
	"testing"
)

// Goal: sums and encodings are the same for ever, for replicas and snapshots outlive a release. Method: one
// small collection of each kind and form, against what is written down.
func TestFormatsStay(t *testing.T) {
	hash, set, zset := NewHashEdit(testHasher()), NewSetEdit(testHasher()), NewZSetEdit(testHasher())
	fill := func(large bool) (Hash, Set, ZSet) {
		hash.Begin(nil, false)
		set.Begin(nil, false)
		zset.Begin(nil, false)
		if large {
			hash.enlarge()
			set.enlarge()
			zset.enlarge()
		}
		for i, name := range []string{"one", "", "three"} {
			hash.Set([]byte(name), fmt.Appendf(nil, "value %d", i))
			set.Add([]byte(name))
			zset.Add([]byte(name), float64(i)/2)
		}
		return hash.Hash(), set.Set(), zset.ZSet()
	}
	part := func(p []byte, _ int) string { return fmt.Sprintf("%x", p) }
	h, s, z := fill(false)
	H, S, Z := fill(true)
	for _, c := range []struct {
		name      string
		got, want string
	}{
		{"hash, packed: sum", fmt.Sprintf("%x", h.Sum()), "[75b295f8265de642 6eac8bc62d09213b]"},
		{"hash, large: sum", fmt.Sprintf("%x", H.Sum()), "[dcabe9d416a2e5fe 41e77809a311a65c]"},
		{"set, packed: sum", fmt.Sprintf("%x", s.Sum()), "[bb7e47d9f0b59889 c18f4b8bc715fec]"},
		{"set, large: sum", fmt.Sprintf("%x", S.Sum()), "[aeaf3561f2a7d32f db3733b191d5855e]"},
		{"sorted set, packed: sum", fmt.Sprintf("%x", z.Sum()), "[b5fcc49c8b15a609 60783f5fa2ca604d]"},
		{"sorted set, large: sum", fmt.Sprintf("%x", Z.Sum()), "[b5fcc49c8b15a609 60783f5fa2ca604d]"},
		{"hash, packed: piece", part(h.AppendPart(nil, 0, 100)), "0003036f6e650776616c75652030000776616c756520310574687265650776616c75652032"},
		{"hash, large: piece", part(H.AppendPart(nil, 0, 100)), "01030574687265650776616c75652032000776616c75652031036f6e650776616c75652030"},
		{"set, packed: piece", part(s.AppendPart(nil, 0, 100)), "0003036f6e6500057468726565"},
		{"set, large: piece", part(S.AppendPart(nil, 0, 100)), "010305746872656500036f6e65"},
		{"sorted set: piece", part(z.AppendPart(nil, 0, 100)), "030000000000000000036f6e65000000000000e03f00000000000000f03f057468726565"},
		{"sorted set: second piece", part(Z.AppendPart(nil, 1, 1)), "01000000000000e03f00"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
}

// Goal: the frequent shapes allocate nothing. Method: count.
func TestHotShapesAllocateNothing(t *testing.T) {
	h, l, z := NewHashEdit(testHasher()), new(ListEdit), NewZSetEdit(testHasher())
	field, value := []byte("field"), []byte("value")
	h.Begin(nil, false)
	h.Set(field, value)
	_, packed, _ := h.End()
	packed = bytes.Clone(packed)
	large := hashOf(1000).o
	list := newBigList()
	for range 1000 {
		list.pushFront(value)
	}
	scores := zsetOf(1000)
	for name, f := range map[string]func(){
		"the same field of a packed hash": func() {
			h.Begin(packed, true)
			h.Set(field, value)
			h.End()
			PackedHash(packed).Get(field)
		},
		"a field of a large hash": func() {
			h.BeginLarge(large)
			h.Set([]byte("field:0000500"), value)
			h.End()
			LargeHash(large).Get([]byte("field:0000500"))
		},
		"both ends of a large list": func() {
			l.BeginLarge(list)
			l.PushFront(nil)
			l.PopFront()
			l.Set(500, value)
			l.End()
			LargeList(list).Index(500)
		},
		"reads of a large sorted set": func() {
			rank, _ := scores.Rank([]byte("member:0000500"))
			scores.Range(rank, rank+5, func([]byte, float64) bool { return true })
			scores.Sum()
			z.BeginLarge(scores.o)
			z.End()
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

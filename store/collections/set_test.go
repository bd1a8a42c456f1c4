// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// sameSet tells in what a set differs from the model: a hash of empty values.
func sameSet(s Set, m hashModel) error {
	if s.Len() != len(m.fields) || s.Len() > 0 && s.Large() != m.large {
		return fmt.Errorf("Len = %d, Large = %v, want %d, %v", s.Len(), s.Large(), len(m.fields), m.large)
	}
	size := int64(0)
	var got []fieldValue
	s.Each(func(member []byte) bool {
		got = append(got, fieldValue{field: string(member)})
		return true
	})
	want := m.visible()
	if !slices.Equal(got, want) {
		return fmt.Errorf("Each met %.200q, want %.200q", got, want)
	}
	for i, f := range want {
		size += int64(len(f.field))
		if !s.Has([]byte(f.field)) {
			return fmt.Errorf("%.20q is not there", f.field)
		}
		if m := s.At(i); m == nil || string(m) != f.field {
			return fmt.Errorf("At(%d) = %.20q", i, m)
		}
	}
	if s.Bytes() != size || s.Has([]byte("absent")) {
		return fmt.Errorf("Bytes = %d, want %d", s.Bytes(), size)
	}
	return nil
}

// setHolder keeps a set as the store does (see listHolder).
type setHolder struct {
	edit   *SetEdit
	packed []byte
	large  *BigSet
	model  hashModel
	frozen []frozenSet
}

type frozenSet struct {
	set   Set
	model hashModel
}

func (h *setHolder) set() Set {
	if h.large != nil {
		return LargeSet(h.large)
	}
	return PackedSet(h.packed)
}

func (h *setHolder) change(share bool, f func(e *SetEdit)) {
	if share && h.set().Len() > 0 {
		h.frozen = append(h.frozen, frozenSet{h.set(), h.model.clone()})
	}
	if h.large != nil {
		if share {
			h.large = h.large.Fork()
		}
		h.edit.BeginLarge(h.large)
	} else {
		h.edit.Begin(h.packed, !share)
	}
	f(h.edit)
	_, packed, large := h.edit.End()
	if h.large = large; large == nil {
		h.packed = append(make([]byte, 0, len(packed)+len(packed)/8), packed...)
		h.model.large = h.model.large && len(packed) > 0
	}
}

// rebuiltSet is the same set made at one go, of the visible order.
func rebuiltSet(m hashModel) Set {
	e := NewSetEdit(testHasher())
	e.Begin(nil, false)
	if m.large {
		e.enlarge()
	}
	for _, f := range m.visible() {
		e.Add([]byte(f.field))
	}
	_, packed, large := e.End()
	return Set{packed, large}
}

func (h *setHolder) check(t *rapid.T) {
	t.Helper()
	if err := sameSet(h.set(), h.model); err != nil {
		t.Fatalf("%v", err)
	}
	if got, want := h.set().Sum(), rebuiltSet(h.model).Sum(); got != want {
		t.Fatalf("Sum = %x, of a new set %x", got, want)
	}
	if h.large != nil {
		checkTree(t, &h.large.t)
	}
	for i, f := range h.frozen {
		if err := sameSet(f.set, f.model); err != nil {
			t.Fatalf("fork %d changed: %v", i, err)
		}
	}
}

func (h *setHolder) step(t *rapid.T, e *SetEdit, small bool) {
	addOne := func(member string) {
		if small && (len(member) > SmallBytes || len(h.model.fields) >= SmallFields) {
			return
		}
		want := h.model.set(member, "")
		if got := e.Add([]byte(member)); got != want {
			t.Fatalf("Add(%.20q) = %v, want %v", member, got, want)
		}
	}
	removeOne := func(member string) {
		i := h.model.find(member)
		if got := e.Remove([]byte(member)); got != (i >= 0) {
			t.Fatalf("Remove(%.20q) = %v", member, got)
		}
		if i >= 0 {
			h.model.fields = slices.Delete(h.model.fields, i, i+1)
		}
	}
	from, n := rapid.IntRange(0, 400).Draw(t, "from"), rapid.SampledFrom([]int{5, 100, 400}).Draw(t, "members")
	switch rapid.IntRange(0, 5).Draw(t, "change") {
	case 0, 1:
		addOne(fieldName().Draw(t, "member"))
	case 2:
		for i := range n {
			addOne(fmt.Sprintf("f%d", from+i))
		}
	case 3:
		removeOne(fieldName().Draw(t, "member"))
	case 4:
		for i := range n {
			removeOne(fmt.Sprintf("f%d", from+i))
		}
	case 5: // as SPOP: a member that aliases the set
		if e.Len() > 0 {
			member := e.At(rapid.IntRange(0, e.Len()-1).Draw(t, "i"))
			i := h.model.find(string(member))
			if !e.Remove(member) {
				t.Fatalf("Remove of what At gave")
			}
			h.model.fields = slices.Delete(h.model.fields, i, i+1)
		}
	}
}

// Goal and method: as TestHashModel.
func TestSetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &setHolder{edit: NewSetEdit(testHasher())}
		small := rapid.Bool().Draw(t, "stays small")
		for range rapid.IntRange(1, 40).Draw(t, "edits") {
			share := rapid.IntRange(0, 2).Draw(t, "share") == 0
			h.change(share, func(e *SetEdit) {
				for range rapid.IntRange(0, 4).Draw(t, "changes") {
					h.step(t, e, small)
				}
			})
			if len(h.frozen) > 6 {
				h.frozen = h.frozen[1:]
			}
			h.check(t)
		}
	})
}

// Goal: Scan of a set visits every member, Ascend those from a keyed hash on. Method: 1000 members.
func TestSetScan(t *testing.T) {
	e := NewSetEdit(testHasher())
	e.Begin(nil, false)
	for i := range 1000 {
		e.Add(fmt.Appendf(nil, "member%d", i))
	}
	met := map[string]bool{}
	for cursor, first := uint64(0), true; cursor != 0 || first; first = false {
		cursor = e.Set().Scan(cursor, 7, func(member []byte) { met[string(member)] = true })
	}
	if len(met) != 1000 {
		t.Errorf("Scan met %d", len(met))
	}
	n := 0
	e.Set().Ascend(testHasher().Sum(e.At(600)), func([]byte) bool {
		n++
		return true
	})
	if n != 400 {
		t.Errorf("Ascend met %d", n)
	}
}

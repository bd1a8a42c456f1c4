// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/kvorum/kvorum/store/keyed"
	"pgregory.net/rapid"
)

func testHasher() keyed.Hasher { return keyed.New([16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}) }

type fieldValue struct{ field, value string }

// hashModel is a hash in the simplest form: fields in the order of insertion, and whether it ever was too big
// to be packed.
type hashModel struct {
	fields []fieldValue
	large  bool
}

func (m hashModel) clone() hashModel { return hashModel{slices.Clone(m.fields), m.large} }

func (m *hashModel) find(field string) int {
	return slices.IndexFunc(m.fields, func(f fieldValue) bool { return f.field == field })
}

func (m *hashModel) set(field, value string) (created bool) {
	i := m.find(field)
	if created = i < 0; created {
		m.fields = append(m.fields, fieldValue{field, value})
	} else {
		m.fields[i].value = value
	}
	m.large = m.large || len(m.fields) > SmallFields || len(field) > SmallBytes || len(value) > SmallBytes
	return created
}

// visible is the fields in the order that a reader sees.
func (m hashModel) visible() []fieldValue {
	f := slices.Clone(m.fields)
	if m.large {
		slices.SortFunc(f, func(a, b fieldValue) int {
			h := testHasher()
			return cmp.Or(cmp.Compare(h.Sum([]byte(a.field)), h.Sum([]byte(b.field))), cmp.Compare(a.field, b.field))
		})
	}
	return f
}

// sameHash tells in what a hash differs from the model.
func sameHash(h Hash, m hashModel) error {
	if h.Len() != len(m.fields) || h.Len() > 0 && h.Large() != m.large {
		return fmt.Errorf("Len = %d, Large = %v, want %d, %v", h.Len(), h.Large(), len(m.fields), m.large)
	}
	size := int64(0)
	var got []fieldValue
	h.Each(func(field, value []byte) bool {
		got = append(got, fieldValue{string(field), string(value)})
		return true
	})
	want := m.visible()
	if !slices.Equal(got, want) {
		return fmt.Errorf("Each met %.200q, want %.200q", got, want)
	}
	for i, f := range want {
		size += int64(len(f.field) + len(f.value))
		if v, ok := h.Get([]byte(f.field)); !ok || v == nil || string(v) != f.value {
			return fmt.Errorf("Get(%.20q) = %.20q, %v, want %.20q", f.field, v, ok, f.value)
		}
		if name, v := h.At(i); string(name) != f.field || string(v) != f.value {
			return fmt.Errorf("At(%d) = %.20q", i, name)
		}
	}
	if h.Bytes() != size {
		return fmt.Errorf("Bytes = %d, want %d", h.Bytes(), size)
	}
	if _, ok := h.Get([]byte("absent")); ok {
		return fmt.Errorf("Get of an absent field")
	}
	return nil
}

// hashHolder keeps a hash as the store does (see listHolder).
type hashHolder struct {
	edit   *HashEdit
	packed []byte
	large  *BigHash
	model  hashModel
	frozen []frozenHash
}

type frozenHash struct {
	hash  Hash
	model hashModel
}

func (h *hashHolder) hash() Hash {
	if h.large != nil {
		return LargeHash(h.large)
	}
	return PackedHash(h.packed)
}

func (h *hashHolder) change(share bool, f func(e *HashEdit)) {
	if share && h.hash().Len() > 0 {
		h.frozen = append(h.frozen, frozenHash{h.hash(), h.model.clone()})
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

// rebuilt is the same hash made at one go, of the visible order.
func rebuilt(m hashModel) Hash {
	e := NewHashEdit(testHasher())
	e.Begin(nil, false)
	if m.large {
		e.enlarge()
	}
	for _, f := range m.visible() {
		e.Set([]byte(f.field), []byte(f.value))
	}
	_, packed, large := e.End()
	if large != nil {
		return LargeHash(large)
	}
	return PackedHash(packed)
}

func (h *hashHolder) check(t *rapid.T) {
	t.Helper()
	if err := sameHash(h.hash(), h.model); err != nil {
		t.Fatalf("%v", err)
	}
	if got, want := h.hash().Sum(), rebuilt(h.model).Sum(); got != want {
		t.Fatalf("Sum = %x, of a new hash %x", got, want)
	}
	if h.large != nil {
		checkTree(t, &h.large.t)
	}
	for i, f := range h.frozen {
		if err := sameHash(f.hash, f.model); err != nil {
			t.Fatalf("fork %d changed: %v", i, err)
		}
	}
}

// checkTree holds a tree to its invariants.
func checkTree(t *rapid.T, tr *tree) {
	t.Helper()
	leaves := map[int]bool{}
	items := 0
	var walk func(n *node, depth int) int
	walk = func(n *node, depth int) (size int) {
		if n.page.own == nil {
			t.Fatalf("a node without owner")
		}
		if n.kids == nil {
			leaves[depth] = true
			items += len(n.keys)
			return len(n.keys)
		}
		if len(n.kids) != len(n.keys) || len(n.kids) != len(n.counts) || n.names != nil && len(n.names) != len(n.kids) || len(n.kids) > branchKids {
			t.Fatalf("a branch of %d kids, %d keys, %d counts, %d names", len(n.kids), len(n.keys), len(n.counts), len(n.names))
		}
		for i, kid := range n.kids {
			got := walk(kid, depth+1)
			if got != n.counts[i] || got == 0 {
				t.Fatalf("a kid counts %d, has %d", n.counts[i], got)
			}
			size += got
		}
		return size
	}
	if tr.root != nil {
		walk(tr.root, 0)
	}
	if len(leaves) > 1 || items != tr.n {
		t.Fatalf("leaves at %v, %d items of %d", leaves, items, tr.n)
	}
	last, first := "", true
	lastKey, rank := uint64(0), 0
	tr.walk(0, tr.n, func(key uint64, item []byte) bool {
		name := string(tr.kind.name(item))
		if !first && (key < lastKey || key == lastKey && name <= last) {
			t.Fatalf("(%x, %q) behind (%x, %q)", key, name, lastKey, last)
		}
		if got := tr.rank(key, []byte(name)); got != rank {
			t.Fatalf("rank = %d, want %d", got, rank)
		}
		last, lastKey, first = name, key, false
		rank++
		return true
	})
	tr.walkBack(0, tr.n, func(key uint64, item []byte) bool {
		rank--
		if k, v := tr.at(rank); k != key || !bytes.Equal(v, item) {
			t.Fatalf("walked back to %q at %d", item, rank)
		}
		return true
	})
	if rank != 0 {
		t.Fatalf("walked back to %d", rank)
	}
}

func fieldName() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		name := fmt.Sprintf("f%d", rapid.IntRange(0, 400).Draw(t, "field"))
		switch rapid.IntRange(0, 19).Draw(t, "shape") {
		case 0:
			return name + string(make([]byte, rapid.SampledFrom([]int{SmallBytes - 4, SmallBytes + 1, inlineMax, 300}).Draw(t, "longer")))
		case 1:
			return ""
		}
		return name
	})
}

func fieldContent() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		size := rapid.OneOf(rapid.IntRange(0, 8), rapid.IntRange(0, 8),
			rapid.SampledFrom([]int{SmallBytes, SmallBytes + 1, inlineMax - 5, inlineMax, 600})).Draw(t, "size")
		return string(bytes.Repeat([]byte{byte(rapid.IntRange('a', 'z').Draw(t, "byte"))}, size))
	})
}

// Goal and method: as TestListModel, with the order of a hash in either form.
func TestHashModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &hashHolder{edit: NewHashEdit(testHasher())}
		stays := rapid.Bool().Draw(t, "stays small")
		for range rapid.IntRange(1, 40).Draw(t, "edits") {
			share := rapid.IntRange(0, 2).Draw(t, "share") == 0
			h.change(share, func(e *HashEdit) {
				for range rapid.IntRange(0, 4).Draw(t, "changes") {
					h.step(t, e, stays)
				}
			})
			if len(h.frozen) > 6 {
				h.frozen = h.frozen[1:]
			}
			h.check(t)
		}
	})
}

func (h *hashHolder) step(t *rapid.T, e *HashEdit, small bool) {
	set := func(field, value string) {
		if small && (len(field) > SmallBytes || len(value) > SmallBytes || len(h.model.fields) >= SmallFields) {
			return
		}
		want := h.model.set(field, value)
		if got := e.Set([]byte(field), []byte(value)); got != want {
			t.Fatalf("Set(%.20q) = %v, want %v", field, got, want)
		}
	}
	remove := func(field string) {
		i := h.model.find(field)
		if got := e.Delete([]byte(field)); got != (i >= 0) {
			t.Fatalf("Delete(%.20q) = %v", field, got)
		}
		if i >= 0 {
			h.model.fields = slices.Delete(h.model.fields, i, i+1)
		}
	}
	switch rapid.IntRange(0, 5).Draw(t, "change") {
	case 0, 1:
		set(fieldName().Draw(t, "field"), fieldContent().Draw(t, "value"))
	case 2:
		from, n := rapid.IntRange(0, 400).Draw(t, "from"), rapid.SampledFrom([]int{5, 100, 400}).Draw(t, "fields")
		value := fieldContent().Draw(t, "value")
		for i := range n {
			set(fmt.Sprintf("f%d", from+i), value)
		}
	case 3:
		remove(fieldName().Draw(t, "field"))
	case 4:
		from, n := rapid.IntRange(0, 400).Draw(t, "from"), rapid.SampledFrom([]int{5, 100, 400}).Draw(t, "fields")
		for i := range n {
			remove(fmt.Sprintf("f%d", from+i))
		}
	case 5:
		if err := sameHash(e.Hash(), hashModel{h.model.fields, e.Large()}); err != nil {
			t.Fatalf("within the edit: %v", err)
		}
	}
}

// Goal: Scan meets what stays, in calls of bounded size, whatever else comes and goes and forks between the
// calls, and Ascend begins where it is told. Method: rapid changes other fields between the calls.
func TestHashScanMeetsWhatStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &hashHolder{edit: NewHashEdit(testHasher())}
		stays := rapid.IntRange(0, 500).Draw(t, "stays")
		h.change(false, func(e *HashEdit) {
			e.enlarge()
			e.Set([]byte("first"), nil)
			for i := range stays {
				e.Set(fmt.Appendf(nil, "stays%d", i), nil)
			}
		})
		met := map[string]bool{}
		count, calls := rapid.IntRange(1, 60).Draw(t, "count"), 0
		for cursor := uint64(0); ; {
			seen := 0
			next := h.hash().Scan(cursor, count, func(field, _ []byte) {
				met[string(field)] = true
				seen++
			})
			if seen > count || next>>PositionBits != 0 || next != 0 && next <= cursor {
				t.Fatalf("%d visited of %d, cursor %d after %d", seen, count, next, cursor)
			}
			if cursor = next; cursor == 0 {
				break
			}
			if calls++; calls > 1500 {
				t.Fatalf("no end")
			}
			if rapid.IntRange(0, 3).Draw(t, "change") == 0 {
				h.change(rapid.Bool().Draw(t, "share"), func(e *HashEdit) {
					for i := range rapid.IntRange(0, 100).Draw(t, "come") {
						e.Set(fmt.Appendf(nil, "comes%d", i), nil)
					}
					for i := range rapid.IntRange(0, 100).Draw(t, "go") {
						e.Delete(fmt.Appendf(nil, "comes%d", i))
					}
				})
			}
		}
		for i := range stays {
			if !met[fmt.Sprintf("stays%d", i)] {
				t.Fatalf("stays%d was not met", i)
			}
		}
	})
}

// Goal: Ascend visits the fields from a keyed hash on. Method: compare with Each.
func TestHashAscend(t *testing.T) {
	e := NewHashEdit(testHasher())
	e.Begin(nil, false)
	for i := range 1000 {
		e.Set(fmt.Appendf(nil, "field%d", i), nil)
	}
	from := testHasher().Sum([]byte("field77"))
	var want, got []string
	e.Each(func(field, _ []byte) bool {
		if testHasher().Sum(field) >= from {
			want = append(want, string(field))
		}
		return true
	})
	e.Hash().Ascend(from, func(field, _ []byte) bool {
		got = append(got, string(field))
		return true
	})
	if len(got) == 0 || got[0] != "field77" || !slices.Equal(got, want) {
		t.Errorf("%d fields from %.3q on, want %d", len(got), got, len(want))
	}
}

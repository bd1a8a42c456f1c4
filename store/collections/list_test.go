// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// listHolder keeps a list as the store does: packed bytes with room behind them, or an object, and every
// form that a reader still holds, which must never change.
type listHolder struct {
	edit   ListEdit
	packed []byte
	large  *BigList
	model  [][]byte
	frozen []frozenList
}

type frozenList struct {
	list  List
	model [][]byte
}

func (h *listHolder) list() List {
	if h.large != nil {
		return LargeList(h.large)
	}
	return PackedList(h.packed)
}

// change runs one edit. With share a reader keeps what is there now.
func (h *listHolder) change(share bool, f func(e *ListEdit)) (dirty bool) {
	if share && h.list().Len() > 0 {
		h.frozen = append(h.frozen, frozenList{h.list(), slices.Clone(h.model)})
	}
	if h.large != nil {
		if share {
			h.large = h.large.Fork()
		}
		h.edit.BeginLarge(h.large)
	} else {
		h.edit.Begin(h.packed, !share)
	}
	f(&h.edit)
	dirty, packed, large := h.edit.End()
	if h.large = large; large == nil {
		h.packed = append(make([]byte, 0, len(packed)+len(packed)/8), packed...)
	}
	return dirty
}

// same tells in what a list differs from the model.
func sameList(l List, model [][]byte) error {
	if l.Len() != len(model) {
		return fmt.Errorf("Len = %d, want %d", l.Len(), len(model))
	}
	size := int64(0)
	for i, want := range model {
		size += int64(len(want))
		if got := l.Index(i); got == nil || !bytes.Equal(got, want) {
			return fmt.Errorf("Index(%d) = %.20q, want %.20q", i, got, want)
		}
	}
	if l.Bytes() != size {
		return fmt.Errorf("Bytes = %d, want %d", l.Bytes(), size)
	}
	at := 0
	l.Range(0, l.Len(), func(v []byte) bool {
		if at >= len(model) || !bytes.Equal(v, model[at]) {
			at = -1 << 30
		}
		at++
		return true
	})
	if at != len(model) {
		return fmt.Errorf("Range ended at %d of %d", at, len(model))
	}
	return nil
}

// otherForms are the same elements as a large object, and as what pushes to an empty list make.
func otherForms(model [][]byte) (*BigList, List) {
	big := newBigList()
	var e ListEdit
	e.Begin(nil, false)
	for _, v := range model {
		big.pushBack(kept(v))
		e.PushBack(v)
	}
	_, packed, large := e.End()
	if large != nil {
		return big, LargeList(large)
	}
	return big, PackedList(packed)
}

// failer is what *testing.T and *rapid.T have in common here.
type failer interface {
	Helper()
	Fatalf(string, ...any)
}

func (h *listHolder) check(t failer) {
	t.Helper()
	l := h.list()
	if err := sameList(l, h.model); err != nil {
		t.Fatalf("%v", err)
	}
	big, fresh := otherForms(h.model)
	if l.Sum() != big.Sum() || l.Sum() != fresh.Sum() {
		t.Fatalf("Sum = %x, of a large form %x, of a new one %x", l.Sum(), big.Sum(), fresh.Sum())
	}
	if small := h.large == nil; !small && fresh.o == nil && l.Len() <= ListSmallElements/shrink && l.Bytes() <= ListSmallBytes/shrink {
		t.Fatalf("a list of %d elements is large", l.Len())
	} else if small && len(h.packed) > ListSmallBytes {
		t.Fatalf("%d bytes packed", len(h.packed))
	}
	for i, f := range h.frozen {
		if err := sameList(f.list, f.model); err != nil {
			t.Fatalf("fork %d changed: %v", i, err)
		}
	}
}

func element() *rapid.Generator[[]byte] {
	size := rapid.OneOf(rapid.IntRange(0, 12), rapid.SampledFrom([]int{63, 64, 65, 127, 128, inlineMax - 1, inlineMax, inlineMax + 1, 700}))
	return rapid.Custom(func(t *rapid.T) []byte {
		return bytes.Repeat([]byte{byte(rapid.IntRange('a', 'd').Draw(t, "byte"))}, size.Draw(t, "size"))
	})
}

// Goal: a list is what the changes made it, in every form; forks and shared bytes never change; sums depend
// on the elements alone. Method: rapid changes a list and a slice alike, one of three edits while a reader
// holds what was there.
func TestListModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := new(listHolder)
		for range rapid.IntRange(1, 40).Draw(t, "edits") {
			share := rapid.IntRange(0, 2).Draw(t, "share") == 0
			h.change(share, func(e *ListEdit) {
				for range rapid.IntRange(0, 3).Draw(t, "changes") {
					h.step(t, e)
				}
			})
			if len(h.frozen) > 6 {
				h.frozen = h.frozen[1:]
			}
			h.check(t)
		}
	})
}

func (h *listHolder) step(t *rapid.T, e *ListEdit) {
	n := len(h.model)
	switch rapid.IntRange(0, 11).Draw(t, "change") {
	case 0, 1:
		v := element().Draw(t, "v")
		for range rapid.SampledFrom([]int{1, 2, 20, 150}).Draw(t, "times") {
			e.PushFront(v)
			h.model = slices.Insert(h.model, 0, v)
		}
	case 2, 3:
		v := element().Draw(t, "v")
		for range rapid.SampledFrom([]int{1, 2, 20, 150}).Draw(t, "times") {
			e.PushBack(v)
			h.model = append(slices.Clip(h.model), v)
		}
	case 4, 5:
		h.pops(t, e, rapid.SampledFrom([]int{1, 2, 30, 170}).Draw(t, "times"), rapid.Bool().Draw(t, "back"))
	case 6:
		if n > 0 {
			i, v := rapid.IntRange(0, n-1).Draw(t, "i"), element().Draw(t, "v")
			e.Set(i, v)
			h.model = slices.Clone(h.model)
			h.model[i] = v
		}
	case 7:
		i, v := rapid.IntRange(0, n).Draw(t, "i"), element().Draw(t, "v")
		e.Insert(i, v)
		h.model = slices.Insert(slices.Clone(h.model), i, v)
	case 8:
		v, count := element().Draw(t, "v"), rapid.IntRange(-3, 3).Draw(t, "count")
		if n > 0 && rapid.Bool().Draw(t, "one that is there") {
			v = h.model[rapid.IntRange(0, n-1).Draw(t, "which")]
		}
		want := removeEqual(&h.model, v, count)
		if got := e.RemoveEqual(v, count); got != want {
			t.Fatalf("RemoveEqual = %d, want %d", got, want)
		}
	case 9:
		lo, hi := rapid.IntRange(-1, n+1).Draw(t, "lo"), rapid.IntRange(-1, n+1).Draw(t, "hi")
		e.Trim(lo, hi)
		if lo, hi = max(lo, 0), min(hi, n); lo >= hi {
			h.model = nil
		} else {
			h.model = slices.Clone(h.model[lo:hi])
		}
	case 10: // rotate, as LMOVE of a list onto itself
		if v, ok := e.PopBack(); ok {
			e.PushFront(v)
			h.model = append([][]byte{h.model[n-1]}, h.model[:n-1]...)
		}
	case 11:
		if err := sameList(e.List(), h.model); err != nil {
			t.Fatalf("within the edit: %v", err)
		}
	}
}

func (h *listHolder) pops(t *rapid.T, e *ListEdit, times int, back bool) {
	h.model = slices.Clone(h.model)
	for range times {
		pop, i := e.PopFront, 0
		if back {
			pop, i = e.PopBack, len(h.model)-1
		}
		v, ok := pop()
		if ok != (len(h.model) > 0) {
			t.Fatalf("pop = %v of %d elements", ok, len(h.model))
		}
		if !ok {
			return
		}
		if v == nil || !bytes.Equal(v, h.model[i]) {
			t.Fatalf("popped %.20q, want %.20q", v, h.model[i])
		}
		h.model = slices.Delete(h.model, i, i+1)
	}
}

func removeEqual(model *[][]byte, v []byte, count int) (removed int) {
	m := slices.Clone(*model)
	back := count < 0
	if back {
		count = -count
		slices.Reverse(m)
	}
	m = slices.DeleteFunc(m, func(e []byte) bool {
		if bytes.Equal(e, v) && (count == 0 || removed < count) {
			removed++
			return true
		}
		return false
	})
	if back {
		slices.Reverse(m)
	}
	*model = m
	return removed
}

// Goal: RemoveEqual and Insert walk only the shorter side of a large list, so a change near an end leaves the
// pages of the middle shared. Method: count the pages that a fork still shares.
func TestListSharesPages(t *testing.T) {
	l := newBigList()
	for i := range 100 * pageItems {
		l.pushBack(fmt.Appendf(nil, "element %d", i))
	}
	f := l.Fork()
	var e ListEdit
	e.BeginLarge(f)
	e.PushFront([]byte("x"))
	e.PushBack([]byte("x"))
	e.Set(50*pageItems, []byte("x"))
	e.Insert(f.n-3, []byte("x"))
	if n := e.RemoveEqual([]byte("element 2"), 1); n != 1 {
		t.Fatalf("removed %d", n)
	}
	shared := 0
	for _, pg := range f.dir {
		if pg != nil && slices.Contains(l.dir, pg) {
			shared++
		}
	}
	if shared < 96 {
		t.Errorf("%d of 100 pages are shared", shared)
	}
}

// Goal: thresholds mean what they say. Method: a list at each limit and one beyond.
func TestListLimits(t *testing.T) {
	for _, c := range []struct {
		name     string
		elements int
		size     int
		large    bool
	}{
		{"elements at the limit", ListSmallElements, 1, false},
		{"one more element", ListSmallElements + 1, 1, true},
		{"bytes at the limit", 1, ListSmallBytes - listWidth - sumSize - 1, false},
		{"one more byte", 1, ListSmallBytes - listWidth - sumSize, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e ListEdit
			e.Begin(nil, false)
			for range c.elements {
				e.PushBack(make([]byte, c.size))
			}
			_, packed, large := e.End()
			if (large != nil) != c.large || (len(packed) > 0) == c.large {
				t.Errorf("large %v, packed %d bytes", large != nil, len(packed))
			}
		})
	}
}

// Goal: the sum tells order, elements and their number apart, and never changes. Method: lists that differ
// in little, and numbers written down.
func TestListSum(t *testing.T) {
	seen := map[[2]uint64]string{}
	for _, c := range [][]string{{}, {""}, {"", ""}, {"a"}, {"a", "b"}, {"b", "a"}, {"ab"}, {"a", "", "b"}, {"a", "b", ""}} {
		var model [][]byte
		for _, s := range c {
			model = append(model, []byte(s))
		}
		_, l := otherForms(model)
		name := fmt.Sprintf("%q", c)
		if other, twice := seen[l.Sum()]; twice {
			t.Errorf("%s and %s have one sum", name, other)
		}
		seen[l.Sum()] = name
	}
	_, l := otherForms([][]byte{[]byte("one"), []byte("two"), {}})
	if want := [2]uint64{0xb2add39f779a850, 0x1a7e18f7ede94e68}; l.Sum() != want {
		t.Errorf("Sum = %#x, want %#x", l.Sum(), want)
	}
	if mul(root0, unroot0) != 1 || mul(root1, unroot1) != 1 {
		t.Error("a root and its inverse do not make 1")
	}
	if got, want := hashElement(nil), hashBytes(nil); got != want {
		t.Errorf("the hash of an empty element is %#x, want %#x", got, want)
	}
}

// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// parts encodes a collection in pieces of about max bytes.
func parts(n, max int, appendPart func(dst []byte, from, max int) ([]byte, int)) (pieces [][]byte) {
	for at := 0; at < n; {
		piece, next := appendPart(nil, at, max)
		if next <= at {
			panic("no progress")
		}
		pieces = append(pieces, piece)
		at = next
	}
	return pieces
}

// Goal: a list comes back from its pieces, whatever their size, and the pieces of what came back are the same
// bytes. Method: rapid lists.
func TestListPartsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := new(listHolder)
		h.change(false, func(e *ListEdit) {
			h.step(t, e)
			e.PushBack([]byte("at least one"))
			h.model = append(h.model, []byte("at least one"))
			h.step(t, e)
		})
		if h.list().Len() == 0 {
			return
		}
		max := rapid.IntRange(0, 3000).Draw(t, "max")
		var e ListEdit
		e.Begin(nil, false)
		pieces := parts(h.list().Len(), max, h.list().AppendPart)
		for _, p := range pieces {
			n, err := e.Load(append(bytes.Clone(p), "behind"...))
			if err != nil || n != len(p) {
				t.Fatalf("Load = %d of %d, %v", n, len(p), err)
			}
		}
		if err := sameList(e.List(), h.model); err != nil {
			t.Fatal(err)
		}
		if again := parts(e.Len(), max, e.List().AppendPart); !bytes.Equal(bytes.Join(again, nil), bytes.Join(pieces, nil)) {
			t.Fatal("the pieces differ")
		}
		_, packed, large := e.End()
		if l := (List{packed, large}); l.Sum() != h.list().Sum() {
			t.Fatal("the sums differ")
		}
	})
}

// Goal and method: as for lists.
func TestHashPartsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &hashHolder{edit: NewHashEdit(testHasher())}
		h.change(false, func(e *HashEdit) {
			h.step(t, e, rapid.Bool().Draw(t, "small"))
			e.Set([]byte("at least one"), nil)
			h.model.set("at least one", "")
		})
		max := rapid.IntRange(0, 3000).Draw(t, "max")
		e := NewHashEdit(testHasher())
		e.Begin(nil, false)
		pieces := parts(h.hash().Len(), max, h.hash().AppendPart)
		for _, p := range pieces {
			if n, err := e.Load(append(bytes.Clone(p), "behind"...)); err != nil || n != len(p) {
				t.Fatalf("Load = %d of %d, %v", n, len(p), err)
			}
		}
		if err := sameHash(e.Hash(), h.model); err != nil {
			t.Fatal(err)
		}
		if e.Hash().Sum() != h.hash().Sum() {
			t.Fatal("the sums differ")
		}
		if again := parts(e.Len(), max, e.Hash().AppendPart); !bytes.Equal(bytes.Join(again, nil), bytes.Join(pieces, nil)) {
			t.Fatal("the pieces differ")
		}
	})
}

type loader interface{ Load([]byte) (int, error) }

func newLoaders() map[string]loader {
	l, h := new(ListEdit), NewHashEdit(testHasher())
	l.Begin(nil, false)
	h.Begin(nil, false)
	return map[string]loader{"list": l, "hash": h}
}

// Goal: what AppendPart does not write is refused. Method: a table of pieces with one fault each.
func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		pieces     []string
	}{
		{"nothing", "list", []string{""}},
		{"an empty piece", "list", []string{"\x00"}},
		{"a number in too many bytes", "list", []string{"\x81\x00\x01a"}},
		{"a length in too many bytes", "list", []string{"\x01\x81\x00a"}},
		{"more elements than bytes", "list", []string{"\x05\x00\x00"}},
		{"an element cut short", "list", []string{"\x01\x04abc"}},
		{"a number without end", "list", []string{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}},
		{"a second piece cut short", "list", []string{"\x01\x01a", "\x02\x01a"}},
		{"no form", "hash", []string{""}},
		{"an unknown form", "hash", []string{"\x02\x01\x01a\x01b"}},
		{"no fields", "hash", []string{"\x00\x00"}},
		{"a field without value", "hash", []string{"\x00\x01\x01a"}},
		{"a field met twice", "hash", []string{"\x00\x02\x01a\x01b\x01a\x01c"}},
		{"a field met twice in a large hash", "hash", []string{"\x01\x02\x01a\x01b\x01a\x01c"}},
		{"a field met again in the next piece", "hash", []string{"\x00\x01\x01a\x01b", "\x00\x01\x01a\x01b"}},
		{"a packed hash over its limits", "hash", []string{"\x00\x01\x01a\x41" + strings.Repeat("v", 65)}},
		{"pieces of both forms", "hash", []string{"\x00\x01\x01a\x01b", "\x01\x01\x01c\x01b"}},
		{"pieces of both forms, the first large", "hash", []string{"\x01\x01\x01a\x01b", "\x00\x01\x01c\x01b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newLoaders()[c.kind]
			for i, p := range c.pieces {
				_, err := e.Load([]byte(p))
				if last := i == len(c.pieces)-1; last != errors.Is(err, ErrCorrupt) || !last && err != nil {
					t.Fatalf("piece %d: %v", i, err)
				}
			}
		})
	}
}

// FuzzListLoad: a piece that loads is the one that its list writes.
func FuzzListLoad(f *testing.F) {
	f.Add([]byte("\x02\x01a\x00"))
	f.Add(append([]byte("\x81\x01"), make([]byte, 129)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		var e ListEdit
		e.Begin(nil, false)
		n, err := e.Load(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if got, _ := e.List().AppendPart(nil, 0, 1<<30); !bytes.Equal(got, data[:n]) {
			t.Fatalf("%x became %x", data[:n], got)
		}
		sum := e.List().Sum()
		if _, p, l := e.End(); (List{p, l}).Sum() != sum {
			t.Fatal("End changed the sum")
		}
	})
}

// FuzzHashLoad: a packed piece that loads is the one that its hash writes; a large one is it in order.
func FuzzHashLoad(f *testing.F) {
	f.Add([]byte("\x00\x02\x01a\x01b\x00\x00"))
	f.Add([]byte("\x01\x02\x01a\x01b\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e := NewHashEdit(testHasher())
		e.Begin(nil, false)
		n, err := e.Load(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		got, _ := e.Hash().AppendPart(nil, 0, 1<<30)
		if !e.Large() && !bytes.Equal(got, data[:n]) || len(got) != n {
			t.Fatalf("%x became %x", data[:n], got)
		}
		again := NewHashEdit(testHasher())
		again.Begin(nil, false)
		if _, err := again.Load(got); err != nil || again.Hash().Sum() != e.Hash().Sum() {
			t.Fatal("it does not come back", err)
		}
	})
}

func ExampleListEdit() {
	var e ListEdit
	e.Begin(nil, false)
	e.PushBack([]byte("b"))
	e.PushFront([]byte("a"))
	_, packed, _ := e.End()
	l := PackedList(packed)
	fmt.Printf("%s %s of %d\n", l.Index(0), l.Index(1), l.Len())
	// Output: a b of 2
}

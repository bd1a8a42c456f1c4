// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"bytes"
	"errors"
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

// Goal and method: as for lists.
func TestSetPartsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &setHolder{edit: NewSetEdit(testHasher())}
		h.change(false, func(e *SetEdit) {
			h.step(t, e, rapid.Bool().Draw(t, "small"))
			e.Add([]byte("at least one"))
			h.model.set("at least one", "")
		})
		max := rapid.IntRange(0, 3000).Draw(t, "max")
		e := NewSetEdit(testHasher())
		e.Begin(nil, false)
		pieces := parts(h.set().Len(), max, h.set().AppendPart)
		for _, p := range pieces {
			if n, err := e.Load(append(bytes.Clone(p), "behind"...)); err != nil || n != len(p) {
				t.Fatalf("Load = %d of %d, %v", n, len(p), err)
			}
		}
		if err := sameSet(e.Set(), h.model); err != nil {
			t.Fatal(err)
		}
		if e.Set().Sum() != h.set().Sum() {
			t.Fatal("the sums differ")
		}
		if again := parts(e.Len(), max, e.Set().AppendPart); !bytes.Equal(bytes.Join(again, nil), bytes.Join(pieces, nil)) {
			t.Fatal("the pieces differ")
		}
	})
}

// Goal and method: as for lists.
func TestZSetPartsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &zsetHolder{edit: NewZSetEdit(testHasher())}
		h.change(false, func(e *ZSetEdit) {
			h.step(t, e)
			e.Add([]byte("at least one"), -7)
			h.model.add("at least one", -7)
		})
		max := rapid.IntRange(0, 3000).Draw(t, "max")
		e := NewZSetEdit(testHasher())
		e.Begin(nil, false)
		pieces := parts(h.set().Len(), max, h.set().AppendPart)
		for _, p := range pieces {
			if n, err := e.Load(append(bytes.Clone(p), "behind"...)); err != nil || n != len(p) {
				t.Fatalf("Load = %d of %d, %v", n, len(p), err)
			}
		}
		if err := sameZSet(e.ZSet(), h.model); err != nil {
			t.Fatal(err)
		}
		if again := parts(e.Len(), max, e.ZSet().AppendPart); !bytes.Equal(bytes.Join(again, nil), bytes.Join(pieces, nil)) {
			t.Fatal("the pieces differ")
		}
		_, packed, large := e.End()
		if (ZSet{packed, large}).Sum() != h.set().Sum() {
			t.Fatal("the sums differ")
		}
	})
}

type loader interface{ Load([]byte) (int, error) }

func newLoaders() map[string]loader {
	l, h, s, z := new(ListEdit), NewHashEdit(testHasher()), NewSetEdit(testHasher()), NewZSetEdit(testHasher())
	l.Begin(nil, false)
	h.Begin(nil, false)
	s.Begin(nil, false)
	z.Begin(nil, false)
	return map[string]loader{"list": l, "hash": h, "set": s, "zset": z}
}

const (
	one = "\x00\x00\x00\x00\x00\x00\xf0\x3f" // scores
	two = "\x00\x00\x00\x00\x00\x00\x00\x40"
)

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
		{"an unknown form of a set", "set", []string{"\x02\x01\x01a"}},
		{"no members", "set", []string{"\x01\x00"}},
		{"a member met twice", "set", []string{"\x00\x02\x01a\x01a"}},
		{"a member met twice in a large set", "set", []string{"\x01\x02\x01a\x01a"}},
		{"a packed set over its limits", "set", []string{"\x00\x01\x41" + strings.Repeat("m", 65)}},
		{"pieces of both forms of a set", "set", []string{"\x00\x01\x01a", "\x01\x01\x01b"}},
		{"no scored members", "zset", []string{"\x00"}},
		{"a score cut short", "zset", []string{"\x01" + one[:7]}},
		{"a score without member", "zset", []string{"\x01" + one}},
		{"a score that is NaN", "zset", []string{"\x01\x01\x00\x00\x00\x00\x00\xf8\x7f\x01a"}},
		{"a score that is -0", "zset", []string{"\x01\x00\x00\x00\x00\x00\x00\x00\x80\x01a"}},
		{"members out of order", "zset", []string{"\x02" + one + "\x01b" + one + "\x01a"}},
		{"one member twice at one score", "zset", []string{"\x02" + one + "\x01a" + one + "\x01a"}},
		{"one member twice", "zset", []string{"\x02" + one + "\x01a" + two + "\x01a"}},
		{"scores out of order", "zset", []string{"\x02" + two + "\x01a" + one + "\x01b"}},
		{"scores out of order in the next piece", "zset", []string{"\x01" + two + "\x01a", "\x01" + one + "\x01b"}},
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

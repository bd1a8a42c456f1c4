// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

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

// FuzzSetLoad: as FuzzHashLoad.
func FuzzSetLoad(f *testing.F) {
	f.Add([]byte("\x00\x03\x01a\x01b\x00"))
	f.Add([]byte("\x01\x03\x01a\x01b\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e := NewSetEdit(testHasher())
		e.Begin(nil, false)
		n, err := e.Load(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		got, _ := e.Set().AppendPart(nil, 0, 1<<30)
		if !e.Large() && !bytes.Equal(got, data[:n]) || len(got) != n {
			t.Fatalf("%x became %x", data[:n], got)
		}
		again := NewSetEdit(testHasher())
		again.Begin(nil, false)
		if _, err := again.Load(got); err != nil || again.Set().Sum() != e.Set().Sum() {
			t.Fatal("it does not come back", err)
		}
	})
}

// FuzzZSetLoad: a piece that loads is the one that its sorted set writes.
func FuzzZSetLoad(f *testing.F) {
	f.Add([]byte("\x02" + one + "\x01a" + two + "\x01b"))
	f.Add([]byte("\x02" + one + "\x00" + one + "\x01b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e := NewZSetEdit(testHasher())
		e.Begin(nil, false)
		n, err := e.Load(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if got, _ := e.ZSet().AppendPart(nil, 0, 1<<30); !bytes.Equal(got, data[:n]) {
			t.Fatalf("%x became %x", data[:n], got)
		}
		sum := e.ZSet().Sum()
		if _, p, o := e.End(); (ZSet{p, o}).Sum() != sum {
			t.Fatal("End changed the sum")
		}
	})
}

// maxScript bounds a script of FuzzListChanges, in bytes.
const maxScript = 600

// FuzzListChanges: a script of changes leaves a list and a slice alike. Each byte is a change, the one behind
// it its argument.
func FuzzListChanges(f *testing.F) {
	f.Add([]byte("\x00\x05\x01\x06\x02\x00\x03\x00\x04\x01"))
	f.Add(bytes.Repeat([]byte("\x00\xff\x01\x80\x06\x00"), 150))
	f.Fuzz(func(t *testing.T, script []byte) {
		h := new(listHolder)
		for i := 0; i+1 < min(len(script), maxScript); i += 2 {
			arg, n := int(script[i+1]), len(h.model)
			v := bytes.Repeat([]byte{script[i+1]}, arg*arg/150)
			h.change(arg%16 == 15, func(e *ListEdit) {
				switch at := arg % max(n, 1); script[i] % 8 {
				case 0:
					e.PushFront(v)
					h.model = slices.Insert(h.model, 0, v)
				case 1:
					e.PushBack(v)
					h.model = append(h.model, v)
				case 2:
					if _, ok := e.PopFront(); ok {
						h.model = h.model[1:]
					}
				case 3:
					if _, ok := e.PopBack(); ok {
						h.model = h.model[:n-1]
					}
				case 4:
					if n > 0 {
						e.Set(at, v)
						h.model[at] = v
					}
				case 5:
					e.Insert(at, v)
					h.model = slices.Insert(h.model, at, v)
				case 6:
					removed := removeEqual(&h.model, v, arg%5-2)
					if got := e.RemoveEqual(v, arg%5-2); got != removed {
						t.Fatalf("removed %d, want %d", got, removed)
					}
				case 7:
					if n > 0 && at > n/2 {
						e.Trim(1, at)
						h.model = h.model[1:at]
					}
				}
			})
			if len(h.frozen) > 3 {
				h.frozen = h.frozen[1:]
			}
		}
		h.check(t)
	})
}

// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/kvorum/kvorum/store/collections"
)

func client(i int) (c [16]byte) {
	binary.BigEndian.PutUint64(c[8:], uint64(i))
	return c
}

// Goal: a slot keeps MaxTokens records, and the next one drops the oldest by (At, client), whatever
// the order of arrival. Method: fill in two orders, overflow, compare which are left.
func TestTokenLimit(t *testing.T) {
	const slot = 5
	var digests [][16]byte
	for _, step := range []int{1, 3} {
		s := New(Config{})
		put := func(i, at int) {
			s.PutToken(slot, client(i), TokenRecord{Seq: 1, At: int64(at)})
		}
		for j := range MaxTokens {
			put(j*step%MaxTokens, 100)
		}
		if s.Tokens(slot) != MaxTokens {
			t.Fatalf("%d tokens at the limit", s.Tokens(slot))
		}
		put(0, 101) // the first client, now the youngest
		put(MaxTokens, 101)
		put(MaxTokens+1, 101)
		if s.Tokens(slot) != MaxTokens {
			t.Fatalf("%d tokens past the limit", s.Tokens(slot))
		}
		for i := range MaxTokens + 2 {
			if _, ok := s.GetToken(slot, client(i), 101); ok != (i != 1 && i != 2) {
				t.Errorf("client %d kept: %v", i, ok)
			}
		}
		if !s.TokensForgotten(slot, 100+TokenLife-1) || s.TokensForgotten(slot, 100+TokenLife) || s.NewestToken(slot) != 101 {
			t.Error("what was forgotten is not remembered for as long as it would have lived")
		}
		digests = append(digests, s.Digest(slot))
	}
	if digests[0] != digests[1] {
		t.Error("the order of arrival shows")
	}
}

// Goal: a record lives for TokenLife and not one millisecond longer.
func TestTokenLife(t *testing.T) {
	s := New(Config{})
	s.PutToken(1, client(1), TokenRecord{Seq: 1, At: 50})
	if _, ok := s.GetToken(1, client(1), 50+TokenLife-1); !ok || s.ExpireTokens(1, 50+TokenLife-1) != 0 {
		t.Error("expired early")
	}
	if _, ok := s.GetToken(1, client(1), 50+TokenLife); ok {
		t.Error("lives on")
	}
	if s.ExpireTokens(1, 50+TokenLife) != 1 || s.Totals() != (Stats{}) {
		t.Errorf("not removed: %+v", s.Totals())
	}
	s.PutToken(2, client(1), TokenRecord{Seq: 1, At: 50})
	s.PutToken(2, client(2), TokenRecord{Seq: 1, At: 50 + TokenLife})
	if s.Tokens(2) != 1 {
		t.Error("PutToken left an expired record")
	}
}

// Goal: replies are kept up to MaxTokenReply, and the store does not alias the caller's bytes.
func TestTokenReply(t *testing.T) {
	s := New(Config{})
	reply := bytes.Repeat([]byte("r"), MaxTokenReply+1)
	s.PutToken(1, client(1), TokenRecord{Reply: reply[:MaxTokenReply]})
	s.PutToken(1, client(2), TokenRecord{Reply: reply})
	clear(reply)
	if r, _ := s.GetToken(1, client(1), 1); !bytes.Equal(r.Reply, bytes.Repeat([]byte("r"), MaxTokenReply)) {
		t.Error("a reply at the limit is lost")
	}
	if r, ok := s.GetToken(1, client(2), 1); !ok || len(r.Reply) != 0 {
		t.Error("a reply over the limit is kept, or its record lost")
	}
}

// Goal: a hash turns large one past each of its limits, and never back.
func TestHashForms(t *testing.T) {
	v := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	for _, tc := range []struct {
		name  string
		edit  func(h *collections.HashEdit)
		large bool
	}{
		{"fields at the limit", func(h *collections.HashEdit) { fillHash(h, collections.SmallFields) }, false},
		{"fields past it", func(h *collections.HashEdit) { fillHash(h, collections.SmallFields+1) }, true},
		{"field at the limit", func(h *collections.HashEdit) { h.Set(v(collections.SmallBytes), nil) }, false},
		{"field past it", func(h *collections.HashEdit) { h.Set(v(collections.SmallBytes+1), nil) }, true},
		{"value at the limit", func(h *collections.HashEdit) { h.Set([]byte("f"), v(collections.SmallBytes)) }, false},
		{"value past it", func(h *collections.HashEdit) { h.Set([]byte("f"), v(collections.SmallBytes+1)) }, true},
		{"value grown past it", func(h *collections.HashEdit) {
			h.Set([]byte("f"), nil)
			h.Set([]byte("f"), v(collections.SmallBytes+1))
		}, true},
		{"shrunk again", func(h *collections.HashEdit) {
			fillHash(h, collections.SmallFields+1)
			for i := range collections.SmallFields {
				h.Delete(fmt.Append(nil, i))
			}
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := New(Config{})
			key := []byte("h")
			slot := SlotOf(key)
			s.EditHash(slot, key, 1, tc.edit)
			r, ok := s.Lookup(slot, key)
			if !ok || r.Hash().Large() != tc.large {
				t.Errorf("large is %v", r.Hash().Large())
			}
			other := New(Config{})
			load(t, other, slot, sections(t, s, slot))
			if r, _ := other.Lookup(slot, key); r.Hash().Large() != tc.large {
				t.Error("the form is lost in a section")
			}
		})
	}
}

func fillHash(h *collections.HashEdit, n int) {
	for i := range n {
		h.Set(fmt.Append(nil, i), nil)
	}
}

// Goal: misuse that would let replicas diverge stops the process.
func TestAsserts(t *testing.T) {
	s := New(Config{})
	set := func(key string, f func(slot uint16, key []byte)) func() {
		return func() { f(SlotOf([]byte(key)), []byte(key)) }
	}
	set("l", func(slot uint16, key []byte) {
		s.EditList(slot, key, 1, func(l *collections.ListEdit) { l.PushBack(nil) })
	})()
	set("h", func(slot uint16, key []byte) {
		s.EditHash(slot, key, 1, func(h *collections.HashEdit) { h.Set(nil, nil) })
	})()
	set("s", func(slot uint16, key []byte) { s.SetString(slot, key, nil, Meta{}) })()
	for name, f := range map[string]func(){
		"list over a string": set("s", func(slot uint16, key []byte) { s.EditList(slot, key, 1, func(*collections.ListEdit) {}) }),
		"hash over a list":   set("l", func(slot uint16, key []byte) { s.EditHash(slot, key, 1, func(*collections.HashEdit) {}) }),
		"append to a list":   set("l", func(slot uint16, key []byte) { s.AppendString(slot, key, nil, 1) }),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s goes through", name)
				}
			}()
			f()
		}()
	}
}

// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"testing"

	"github.com/kvorum/kvorum/store/collections"
)

// Goal: every part of the logical state shows in the digest, each in its own way, and nothing else
// does. Method: states that differ in one part have distinct digests; states that differ in history,
// recency or hash key only have the same.
func TestDigestParts(t *testing.T) {
	key := []byte("{d}k")
	slot := SlotOf(key)
	str := func(v string, m Meta) func(*Store) {
		return func(s *Store) { s.SetString(slot, key, []byte(v), m) }
	}
	list := func(elems ...string) func(*Store) {
		return func(s *Store) {
			s.EditList(slot, key, 1, func(l *collections.ListEdit) {
				for _, e := range elems {
					l.PushBack([]byte(e))
				}
			})
		}
	}
	hash := func(fields ...string) func(*Store) {
		return func(s *Store) {
			s.EditHash(slot, key, 1, func(h *collections.HashEdit) {
				for _, f := range fields {
					h.Set([]byte(f), []byte("v"))
				}
			})
		}
	}
	then := func(f func(*Store), more func(*Store)) func(*Store) {
		return func(s *Store) { f(s); more(s) }
	}
	base := str("v", Meta{Version: 1})
	large := func(fields ...string) func(*Store) {
		return func(s *Store) {
			s.EditHash(slot, key, 1, func(h *collections.HashEdit) {
				h.Set([]byte("x"), make([]byte, collections.SmallBytes+1))
				for _, f := range fields {
					h.Set([]byte(f), []byte("v"))
				}
				h.Delete([]byte("x"))
			})
		}
	}
	put := func(r TokenRecord) func(*Store) {
		return then(base, func(s *Store) { s.PutToken(slot, client(1), r) })
	}
	distinct := map[string]func(*Store){
		"nothing":       func(*Store) {},
		"string":        base,
		"value":         str("w", Meta{Version: 1}),
		"empty value":   str("", Meta{Version: 1}),
		"version":       str("v", Meta{Version: 2}),
		"flags":         str("v", Meta{Version: 1, Flags: 1}),
		"deadline":      str("v", Meta{Version: 1, ExpireAt: 1}),
		"another key":   func(s *Store) { s.SetString(slot, []byte("{d}l"), []byte("v"), Meta{Version: 1}) },
		"two keys":      then(base, func(s *Store) { s.SetString(slot, []byte("{d}l"), []byte("v"), Meta{Version: 1}) }),
		"removed":       then(base, func(s *Store) { s.NoteRemoved(slot, 1) }),
		"list":          list("v"),
		"joined":        list("ab"),
		"parted":        list("a", "b"),
		"order":         list("b", "a"),
		"hash":          hash("a", "b"),
		"hash order":    hash("b", "a"),
		"large hash":    large("a", "b"),
		"fewer fields":  large("a"),
		"token":         put(TokenRecord{Seq: 1}),
		"token's seq":   put(TokenRecord{Seq: 2}),
		"token's code":  put(TokenRecord{Seq: 1, Code: 1}),
		"token's time":  put(TokenRecord{Seq: 1, At: 1}),
		"token's reply": put(TokenRecord{Seq: 1, Reply: []byte("r")}),
		"token's write": put(TokenRecord{Seq: 1, Version: 1}),
		"forgotten":     then(base, func(s *Store) { s.writable(slot).tokens.forgotten = 1 }),
		"forgotten at":  then(base, func(s *Store) { s.writable(slot).tokens.forgotten = 2 }),
	}
	digest := func(hashKey byte, f func(*Store)) string {
		s := New(Config{HashKey: [16]byte{hashKey}})
		f(s)
		return fmt.Sprintf("%x", s.Digest(slot))
	}
	seen := map[string]string{}
	for name, f := range distinct {
		d := digest(1, f)
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d] = name
		if digest(2, f) != d {
			t.Errorf("%s: the hash key shows", name)
		}
	}
	for name, same := range map[string][2]func(*Store){
		"recency":                         {base, then(base, func(s *Store) { s.Touch(slot, key, 9) })},
		"history":                         {base, then(str("old value that was longer", Meta{Flags: 3, ExpireAt: 7}), base)},
		"order of fields in a large hash": {large("a", "b"), large("b", "a")},
	} {
		if digest(1, same[0]) != digest(1, same[1]) {
			t.Errorf("%s shows", name)
		}
	}
}

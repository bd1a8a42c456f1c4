// SPDX-License-Identifier: Apache-2.0

package store

import (
	"testing"

	"github.com/kvorum/kvorum/store/collections"
)

// BenchmarkEngine is the six commands in the shapes in which small in-process stores are measured: one goroutine,
// one hot key "x"; GET of a value of two bytes; SET of an empty value; LPUSH of an empty value onto one growing
// list; LINDEX of a list of one empty element; HSET and HGET of one empty field. Each counts what a command pays:
// slot computation, lock, deadline check, type check, recency. BenchmarkGet and so on have greater keys and values.
func BenchmarkEngine(b *testing.B) {
	key, empty := []byte("x"), []byte{}
	fresh := func(b *testing.B) *Store {
		b.ReportAllocs()
		return New(Config{HashKey: testHashKey})
	}
	// The tick of recency moves on about as often as in use.
	tick := func(i int) uint32 { return uint32(i >> 20) }
	b.Run("Get", func(b *testing.B) {
		s := fresh(b)
		s.SetString(SlotOf(key), key, []byte("15"), Meta{Version: 1})
		for i := 0; b.Loop(); i++ {
			slot := SlotOf(key)
			s.RLock(slot)
			r, ok := s.Use(slot, key, 1, tick(i))
			if !ok || r.Type() != TypeString {
				b.Fatal("missing")
			}
			if len(r.Bytes()) != 2 {
				b.Fatal("another value")
			}
			s.RUnlock(slot)
		}
	})
	b.Run("Set", func(b *testing.B) {
		s := fresh(b)
		for b.Loop() {
			slot := SlotOf(key)
			s.Lock(slot)
			s.SetString(slot, key, empty, Meta{Version: 2})
			s.Unlock(slot)
		}
	})
	b.Run("LPush", func(b *testing.B) {
		s := fresh(b)
		for b.Loop() {
			slot := SlotOf(key)
			s.Lock(slot)
			s.EditList(slot, key, 1, func(l *collections.ListEdit) { l.PushFront(empty) })
			s.Unlock(slot)
		}
	})
	b.Run("LGet", func(b *testing.B) {
		s := fresh(b)
		s.EditList(SlotOf(key), key, 1, func(l *collections.ListEdit) { l.PushFront(empty) })
		for i := 0; b.Loop(); i++ {
			slot := SlotOf(key)
			s.RLock(slot)
			r, ok := s.Use(slot, key, 1, tick(i))
			if !ok || r.Type() != TypeList {
				b.Fatal("missing")
			}
			if len(r.List().Index(0)) != 0 {
				b.Fatal("another element")
			}
			s.RUnlock(slot)
		}
	})
	b.Run("HSet", func(b *testing.B) {
		s := fresh(b)
		for b.Loop() {
			slot := SlotOf(key)
			s.Lock(slot)
			r, ok := s.Lookup(slot, key)
			if ok && (r.Dead(1) || r.Type() != TypeHash) {
				b.Fatal("another type")
			}
			if !r.OverwriteField(slot, empty, empty, 1) {
				s.SetField(slot, key, empty, empty, 1)
			}
			s.Unlock(slot)
		}
	})
	b.Run("HGet", func(b *testing.B) {
		s := fresh(b)
		s.SetField(SlotOf(key), key, empty, empty, 1)
		for i := 0; b.Loop(); i++ {
			slot := SlotOf(key)
			s.RLock(slot)
			r, ok := s.Use(slot, key, 1, tick(i))
			if !ok || r.Type() != TypeHash {
				b.Fatal("missing")
			}
			if v, ok := r.Field(empty); !ok || len(v) != 0 {
				b.Fatal("another field")
			}
			s.RUnlock(slot)
		}
	})
}

func BenchmarkLock(b *testing.B) {
	s := New(Config{})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			s.RLock(7)
			s.RUnlock(7)
		}
	})
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			s.Lock(7)
			s.Unlock(7)
		}
	})
}

func BenchmarkSlotOf(b *testing.B) {
	for _, key := range []string{"x", "hash", "memtier", "key:000000000042", "memtier-1234567"} {
		b.Run(key, func(b *testing.B) {
			p := []byte(key)
			var sum uint16
			for b.Loop() {
				sum ^= SlotOf(p)
			}
			_ = sum
		})
	}
}

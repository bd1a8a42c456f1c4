// SPDX-License-Identifier: Apache-2.0

package store

import "testing"

// TestUse: Use finds what Get finds and notes its tick, whether the key is the one written last or another, with a
// deadline or without.
func TestUse(t *testing.T) {
	s := New(Config{HashKey: testHashKey})
	keys := []string{"{t}plain", "{t}timed", "{t}last"}
	slot := SlotOf([]byte("t"))
	s.Lock(slot)
	defer s.Unlock(slot)
	s.SetTick(10)
	for i, key := range keys {
		m := Meta{Version: uint64(i + 1)}
		if key == "{t}timed" {
			m.ExpireAt = 100
		}
		s.SetString(slot, []byte(key), []byte("v"), m)
	}
	for _, key := range keys {
		r, ok := s.Use(slot, []byte(key), 99, 25)
		if !ok || string(r.Bytes()) != "v" {
			t.Fatalf("%s: found %v", key, ok)
		}
		if idle := r.Idle(25); idle != 0 {
			t.Errorf("%s: idle for %d ticks after its use", key, idle)
		}
		if got, _ := s.Get(slot, []byte(key), 99); got != r {
			t.Errorf("%s: Get finds another entry", key)
		}
	}
	if _, ok := s.Use(slot, []byte("{t}timed"), 100, 30); ok {
		t.Error("found behind its deadline")
	}
	if r, _ := s.Lookup(slot, []byte("{t}timed")); r.Idle(30) != 5 {
		t.Errorf("a dead entry was touched: idle for %d ticks, want 5", r.Idle(30))
	}
	if _, ok := s.Use(slot, []byte("{t}none"), 1, 30); ok {
		t.Error("found what was never stored")
	}
	if _, ok := s.Use(SlotOf([]byte("elsewhere")), []byte("elsewhere"), 1, 30); ok {
		t.Error("found in an empty slot")
	}
}

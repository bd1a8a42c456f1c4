// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// Goal: memory that lies waste after most keys went comes back, nothing changes but the place of what is
// left, and readers may run beside it. Method: digests and values before and after, Memory, a reader at work.
func TestCompact(t *testing.T) {
	s := New(Config{HashKey: testHashKey})
	const n, keep = 150_000, 13
	key := func(i int) []byte { return fmt.Appendf(nil, "key%d", i) }
	for i := range n {
		s.SetString(SlotOf(key(i)), key(i), fmt.Appendf(nil, "%0100d", i), Meta{Version: uint64(i + 1), Flags: uint32(i % 2)})
	}
	list := []byte("list")
	s.EditList(SlotOf(list), list, n+1, func(l *ListEdit) {
		for i := range 1000 {
			l.PushBack(fmt.Append(nil, i))
		}
	})
	for i := range n {
		if i%keep != 0 {
			s.Delete(SlotOf(key(i)), key(i))
		}
	}
	digests := make([][16]byte, Slots)
	for slot := range digests {
		digests[slot] = s.Digest(uint16(slot))
	}
	taken, _ := s.Memory()
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !stop.Load(); i = (i + keep) % (n / keep * keep) {
			slot := SlotOf(key(i))
			s.RLock(slot)
			if r, ok := s.Get(slot, key(i), 0); !ok || string(r.Bytes()) != fmt.Sprintf("%0100d", i) {
				t.Errorf("%s is lost or changed", key(i))
			} else {
				s.TouchRef(r, uint32(i))
			}
			s.RUnlock(slot)
		}
	})
	moved := 0
	for n := s.Compact(100); n > 0; n = s.Compact(100) {
		moved += n
	}
	stop.Store(true)
	wg.Wait()
	now, used := s.Memory()
	if moved == 0 || now > used+8<<20 {
		t.Errorf("%d nodes moved, %d bytes of %d are left, %d of them used", moved, now, taken, used)
	}
	for slot, want := range digests {
		if s.Digest(uint16(slot)) != want {
			t.Fatalf("slot %d changed", slot)
		}
	}
	if r, _ := s.Lookup(SlotOf(list), list); r.List().Len() != 1000 {
		t.Error("a large collection is lost")
	}
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if s.Compact(100) != 0 {
		t.Error("nodes were moved under a view")
	}
}

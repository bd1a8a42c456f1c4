// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// Goal: readers, the sampler and a view's goroutine may run beside the one writer. Method: all of
// them at once on few keys, for the race detector; readers check that a value fits its key, and the
// view that it is the keyspace at its start.
func TestReadersBesideTheWriter(t *testing.T) {
	s := New(Config{HashKey: testHashKey})
	const keys, rounds = 60, 3000
	key := func(i int) []byte { return fmt.Appendf(nil, "key%d", i%keys) }
	var stop atomic.Bool
	var wg sync.WaitGroup
	reader := func(i int) {
		k := key(i)
		slot := SlotOf(k)
		s.RLock(slot)
		defer s.RUnlock(slot)
		if r, ok := s.Get(slot, k, int64(i)); ok {
			if string(r.Bytes()[:len(k)]) != string(k) {
				t.Errorf("%s holds %q", k, r.Bytes())
			}
			s.TouchRef(r, uint32(i))
		}
		s.Touch(slot, k, uint32(i))
		s.Scan(slot, 0, 10, func([]byte, Ref) {})
		_ = s.Stats(slot)
		_ = s.Digest(slot)
	}
	loops := []func(i int){
		reader, reader,
		func(i int) {
			s.Sample(SampleRequest{Policy: Policy(i%7) + 1, Bytes: 300, Seed: uint64(i), Tick: uint32(i)})
			_ = s.Totals()
			_ = s.NextDeadline()
			s.CountAccesses(i%2 == 0)
		},
		func(int) {
			v, err := s.ViewSlots() // of no slots: any goroutine may end it
			if err != nil {
				t.Error(err)
				return
			}
			v.Close()
		},
	}
	for _, f := range loops {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				f(i)
			}
		})
	}
	var whole sync.WaitGroup
	for i := range rounds {
		k := key(i * 7)
		slot := SlotOf(k)
		s.SetTick(uint32(i))
		s.Lock(slot)
		if i%5 == 0 {
			s.Delete(slot, k)
		} else {
			s.SetString(slot, k, fmt.Appendf(nil, "%s:%d", k, i), Meta{Version: uint64(i), ExpireAt: int64(i % 900)})
		}
		s.Unlock(slot)
		s.PopDue(int64(i%1000), 3, nil)
		if i%500 == 0 {
			whole.Wait()
			checkFrozen(t, s, &whole, keys, key)
		}
	}
	whole.Wait()
	stop.Store(true)
	wg.Wait()
}

// checkFrozen makes a view and lets another goroutine compare it with the digests of now.
func checkFrozen(t *testing.T, s *Store, wg *sync.WaitGroup, keys int, key func(int) []byte) {
	t.Helper()
	v, err := s.View()
	if err != nil {
		t.Error(err)
		return
	}
	want := map[uint16][16]byte{}
	for i := range keys {
		slot := SlotOf(key(i))
		want[slot] = s.Digest(slot)
	}
	wg.Go(func() {
		defer v.Close()
		for slot, digest := range want {
			other := New(Config{HashKey: testHashKey})
			if err := v.Section(slot, func(data []byte) error { return addTo(other, slot, data) }); err != nil {
				t.Error(err)
				return
			}
			if other.Digest(slot) != digest {
				t.Errorf("slot %d is not frozen", slot)
			}
		}
	})
}

// Goal: the writer may read words of slots that it has no lock of, as Warm does and SORT, while a view's goroutine
// captures them. Method: both at once, for the race detector.
func TestWriterReadsBesideAView(t *testing.T) {
	s, names := benchStore(2000)
	for range 3 {
		v, err := s.View()
		if err != nil {
			t.Fatal(err)
		}
		var stop atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			defer stop.Store(true)
			defer v.Close()
			for slot := range uint16(Slots) {
				if err := v.Section(slot, func([]byte) error { return nil }); err != nil {
					t.Error(err)
				}
			}
		})
		for i := 0; !stop.Load(); i++ {
			key := names[i%len(names)]
			s.Warm([]Place{{Slot: SlotOf(key), Key: key}})
			if _, ok := s.Lookup(SlotOf(key), key); !ok {
				t.Errorf("%s is gone", key)
			}
		}
		wg.Wait()
	}
}

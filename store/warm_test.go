// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"testing"
)

// TestWarm: keys that are there, absent, in absent slots, empty, and more than fit are all fine, and
// nothing changes.
func TestWarm(t *testing.T) {
	s := New(Config{})
	var places []Place
	for i := range 3 * WarmMax {
		key := []byte(fmt.Sprintf("{%d}key", i%5))
		if i%3 == 0 {
			key = nil
		}
		slot := SlotOf(key)
		if i%2 == 0 {
			s.Lock(slot)
			s.SetString(slot, key, make([]byte, i*10), Meta{Version: uint64(i + 1)})
			s.Unlock(slot)
		}
		places = append(places, Place{Slot: slot, Key: key}, Place{Slot: uint16(i), Key: []byte("absent")})
	}
	before := s.Totals()
	for n := range places {
		s.Warm(places[:n])
		s.Warm(places[n:])
	}
	if got := s.Totals(); got != before {
		t.Errorf("Warm changed %+v to %+v", before, got)
	}
}

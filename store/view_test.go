// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
	"testing"
)

// Goal: views end as documented. Method: each ending once.
func TestViewEndings(t *testing.T) {
	s := New(Config{})
	key := []byte("k")
	slot := SlotOf(key)
	set := func(v string) {
		s.Lock(slot)
		s.SetString(slot, key, []byte(v), Meta{Version: 1})
		s.Unlock(slot)
	}
	set("old")
	whole, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.View(); !errors.Is(err, ErrViewBusy) {
		t.Errorf("second whole view: %v", err)
	}
	var parts []*View
	for range MaxSlotViews {
		v, err := s.ViewSlots(slot, 77)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, v)
	}
	if _, err := s.ViewSlots(slot); !errors.Is(err, ErrViewBusy) {
		t.Errorf("slot view past MaxSlotViews: %v", err)
	}
	set("new")
	want, err := whole.Section(slot)
	if err != nil || len(want) == 0 {
		t.Fatal(err)
	}
	if _, err := whole.Section(slot); !errors.Is(err, ErrViewTaken) {
		t.Errorf("section taken twice: %v", err)
	}
	if data, err := whole.Section(slot + 1); err != nil || data != nil {
		t.Errorf("empty slot: %v %v", data, err)
	}
	for _, v := range parts[1:] {
		if got, err := v.Section(slot); err != nil || string(got) != string(want) {
			t.Errorf("views differ: %v", err)
		}
		if _, err := v.Section(78); !errors.Is(err, ErrViewTaken) {
			t.Errorf("slot outside the view: %v", err)
		}
		v.Close()
	}
	whole.Close()
	whole.Close()
	if _, err := whole.Section(1); !errors.Is(err, ErrViewClosed) {
		t.Errorf("closed: %v", err)
	}
	again, err := s.View()
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	s.Reset()
	for _, v := range []*View{again, parts[0]} {
		if _, err := v.Section(slot); !errors.Is(err, ErrViewBroken) {
			t.Errorf("after Reset: %v", err)
		}
		v.Close()
	}
	if s.Totals() != (Stats{}) || s.NextDeadline() != 0 || s.views.live.Load() != nil {
		t.Error("Reset left something")
	}
}

// Goal: a view copies nothing before it must: writers capture a slot once, and only while a view
// that has not got it lives.
func TestViewCapturesOnce(t *testing.T) {
	s := New(Config{})
	const slot = 0
	keys := make([][]byte, 0, 3)
	for i := 0; len(keys) < cap(keys); i++ {
		if k := fmt.Append(nil, i); SlotOf(k) == slot {
			keys = append(keys, k)
		}
	}
	s.SetString(slot, keys[0], nil, Meta{})
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	s.SetString(slot, keys[1], nil, Meta{})
	first := &v.dense[slot].data[0]
	s.SetString(slot, keys[2], nil, Meta{})
	if &v.dense[slot].data[0] != first {
		t.Error("captured twice")
	}
	if _, err := v.Section(slot); err != nil {
		t.Fatal(err)
	}
	s.Delete(slot, keys[0])
	if v.dense[slot].data != nil {
		t.Error("captured after it was taken")
	}
}

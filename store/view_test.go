// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"runtime"
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
	section := func(v *View, slot uint16) (all []byte, err error) {
		err = v.Section(slot, func(data []byte) error { all = append(all, data...); return nil })
		return all, err
	}
	want, err := section(whole, slot)
	if err != nil || len(want) == 0 {
		t.Fatal(err)
	}
	if _, err := section(whole, slot); !errors.Is(err, ErrViewTaken) {
		t.Errorf("section taken twice: %v", err)
	}
	if data, err := section(whole, slot+1); err != nil || data != nil {
		t.Errorf("empty slot: %v %v", data, err)
	}
	for _, v := range parts[1:] {
		if got, err := section(v, slot); err != nil || string(got) != string(want) {
			t.Errorf("views differ: %v", err)
		}
		if _, err := section(v, 78); !errors.Is(err, ErrViewTaken) {
			t.Errorf("slot outside the view: %v", err)
		}
		v.Close()
	}
	whole.Close()
	whole.Close()
	if _, err := section(whole, 1); !errors.Is(err, ErrViewClosed) {
		t.Errorf("closed: %v", err)
	}
	again, err := s.View()
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	s.Reset()
	for _, v := range []*View{again, parts[0]} {
		if _, err := section(v, slot); !errors.Is(err, ErrViewBroken) {
			t.Errorf("after Reset: %v", err)
		}
		v.Close()
	}
	if s.Totals() != (Stats{}) || s.NextDeadline() != 0 || s.views.live.Load() != nil {
		t.Error("Reset left something")
	}
}

// counted counts what it measures, and tells 1 for each.
type counted int64

func (c *counted) Start() {}

func (c *counted) Stop() int64 {
	*c++
	return 1
}

// allocations tells how many objects were allocated meanwhile, by any goroutine.
type allocations struct{ before uint64 }

func (a *allocations) mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

func (a *allocations) Start()      { a.before = a.mallocs() }
func (a *allocations) Stop() int64 { return int64(a.mallocs() - a.before) }

// TestCapturesAllocateNothing: what a write captures lies in the stock of who reads the view.
func TestCapturesAllocateNothing(t *testing.T) {
	const slots = 200
	s := New(Config{HashKey: testHashKey})
	write := func(version uint64) {
		for slot := range uint16(slots) {
			s.Lock(slot)
			s.SetString(slot, []byte("k"), []byte("v"), Meta{Version: version})
			s.Unlock(slot)
		}
	}
	write(1)
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := v.Section(slots, func([]byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	v.Measure(&allocations{})
	write(2)
	if captures := int64(2 * slots); s.cells.mu.used != slots || v.Held() >= captures/10 {
		t.Errorf("%d cells in use, %d allocations in %d captures", s.cells.mu.used, v.Held(), captures)
	}
}

// TestViewsShareSlots: the places for all slots are made once, and come back empty.
func TestViewsShareSlots(t *testing.T) {
	s := New(Config{HashKey: testHashKey})
	const slot = 7
	var first *frozen
	for version := uint64(1); version < 4; version++ {
		v, err := s.View()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.View(); !errors.Is(err, ErrViewBusy) {
			t.Errorf("a second view: %v", err)
		}
		if f := v.slot(slot); first == nil {
			first = f
		} else if f != first || f.done || f.t != nil || f.pieces != nil {
			t.Errorf("view %d has %+v", version, f)
		}
		s.Lock(slot)
		s.SetString(slot, []byte("k"), []byte("v"), Meta{Version: version})
		s.Unlock(slot)
		v.Close()
	}
}

// Goal: the stopwatch is read around captures that writes make, and around nothing else. Method: a watch that counts
// its readings; writes before, under and behind a view.
func TestViewMeasures(t *testing.T) {
	s := New(Config{})
	key := []byte("k")
	slot := SlotOf(key)
	set := func() {
		s.Lock(slot)
		s.SetString(slot, key, []byte("v"), Meta{Version: 1})
		s.Unlock(slot)
	}
	set()
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	var readings counted
	v.Measure(&readings)
	for i, want := range []int64{2, 2} { // the slot's head and the segment, once
		if set(); v.Held() != want {
			t.Errorf("write %d: held for %d, want %d", i, v.Held(), want)
		}
	}
	if err := v.Section(slot, func([]byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	set()
	other, err := s.ViewSlots(slot)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	v.Close()
	set()
	if v.Held() != 2 || readings != 2 {
		t.Errorf("held for %d, %d readings", v.Held(), readings)
	}
}

// TestViewClosesBesideWrites closes views while a writer looks whether there are any: it must not go by what it saw
// a moment ago.
func TestViewClosesBesideWrites(t *testing.T) {
	const slot = 7
	s := New(Config{HashKey: testHashKey})
	for round := range 1500 {
		v, err := s.ViewSlots(slot)
		if err != nil {
			t.Fatal(err)
		}
		closing, closed := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(closed)
			<-closing
			v.Close()
		}()
		close(closing)
		for done := false; !done; {
			select {
			case <-closed:
				done = true
			default:
			}
			s.Lock(slot)
			s.SetString(slot, []byte("k"), []byte("v"), Meta{Version: uint64(round + 1)})
			s.Unlock(slot)
		}
	}
}

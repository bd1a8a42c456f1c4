// SPDX-License-Identifier: Apache-2.0

package store

import (
	"slices"
	"sync"
	"sync/atomic"
)

// View is the store, or some slots of it, frozen at the moment it was made. Making one copies
// nothing: a slot is encoded when Section asks for it or, if that comes first, by the first write
// that meets it. So writers pay for a slot at most once a view, and a view holds at most the
// encoding of the slots that were written under it and not yet taken.
//
// A view's methods belong to one goroutine, which need not be the writer; it must be closed.
type View struct {
	s *Store
	// whole views have all slots in dense; others those in sparse.
	dense  []frozen
	sparse map[uint16]*frozen
	closed bool
	broken atomic.Bool
}

// frozen is one slot of a view, guarded by the slot's lock: written by the writer under the write
// lock, or by the view's goroutine under the read lock.
type frozen struct {
	state frozenState
	data  []byte
}

type frozenState uint8

const (
	frozenLive     frozenState = iota // the slot has not changed since the view was made
	frozenCaptured                    // data is the section
	frozenTaken                       // handed out
)

// views is the live views of a store.
type views struct {
	// live is nil while there is none: writers pay one load.
	live atomic.Pointer[[]*View]
	mu   sync.Mutex // serialises changes of live
}

// View freezes all slots. It fails with ErrViewBusy while another whole view is live. Called by the
// writer, between writes, with no slot lock held.
func (s *Store) View() (*View, error) {
	return s.addView(&View{s: s, dense: make([]frozen, Slots)})
}

// ViewSlots freezes some slots. It fails with ErrViewBusy while MaxSlotViews of its kind are live.
// Otherwise as View.
func (s *Store) ViewSlots(slots ...uint16) (*View, error) {
	v := &View{s: s, sparse: make(map[uint16]*frozen, len(slots))}
	for _, slot := range slots {
		v.sparse[slot] = new(frozen)
	}
	return s.addView(v)
}

func (s *Store) addView(v *View) (*View, error) {
	s.views.mu.Lock()
	defer s.views.mu.Unlock()
	var live []*View
	if p := s.views.live.Load(); p != nil {
		live = *p
	}
	same, limit := 0, 1
	if v.dense == nil {
		limit = MaxSlotViews
	}
	for _, o := range live {
		if (o.dense == nil) == (v.dense == nil) {
			same++
		}
	}
	if same >= limit {
		return nil, ErrViewBusy
	}
	live = append(slices.Clone(live), v)
	s.views.live.Store(&live)
	return v, nil
}

// Close ends the view; writers stop paying for it. It may be called again.
func (v *View) Close() {
	v.closed = true
	v.s.views.mu.Lock()
	defer v.s.views.mu.Unlock()
	p := v.s.views.live.Load()
	if p == nil || !slices.Contains(*p, v) {
		return
	}
	rest := slices.DeleteFunc(slices.Clone(*p), func(o *View) bool { return o == v })
	if len(rest) == 0 {
		v.s.views.live.Store(nil)
	} else {
		v.s.views.live.Store(&rest)
	}
}

// breakViews ends all views from the writer's side.
func (s *Store) breakViews() {
	s.views.mu.Lock()
	defer s.views.mu.Unlock()
	if p := s.views.live.Load(); p != nil {
		for _, v := range *p {
			v.broken.Store(true)
		}
	}
	s.views.live.Store(nil)
}

func (v *View) slot(slot uint16) *frozen {
	if v.dense != nil {
		return &v.dense[slot]
	}
	return v.sparse[slot]
}

// capture encodes a slot for the views that have not got it yet. The caller holds the slot's write
// lock and is about to change the slot.
func (s *Store) capture(slot uint16) {
	live := s.views.live.Load()
	if live == nil {
		return
	}
	var data []byte
	for _, v := range *live {
		f := v.slot(slot)
		if f == nil || f.state != frozenLive {
			continue
		}
		if data == nil {
			data = s.AppendSection(nil, slot)
		}
		f.state, f.data = frozenCaptured, data
	}
}

// Section returns a slot as it was when the view was made, encoded for LoadSection; nil for a slot
// that held nothing. The bytes are the caller's, to read only. Each section is given out once.
func (v *View) Section(slot uint16) ([]byte, error) {
	if v.closed {
		return nil, ErrViewClosed
	}
	v.s.RLock(slot)
	defer v.s.RUnlock(slot)
	if v.broken.Load() {
		return nil, ErrViewBroken
	}
	f := v.slot(slot)
	if f == nil || f.state == frozenTaken {
		return nil, ErrViewTaken
	}
	data := f.data
	if f.state == frozenLive {
		data = v.s.AppendSection(nil, slot)
	}
	*f = frozen{state: frozenTaken}
	return data, nil
}

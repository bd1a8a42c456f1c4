// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// View is the store, or some slots of it, frozen at the moment it was made. Making one copies nothing.
// A segment is captured when the view comes to it or, if that is first, by the first write that
// meets it: its words are copied and marked shared, which takes about a microsecond whatever the values weigh. From
// then on, until the view is done with the slot, the nodes behind those words stand still: a writer
// writes a new node in place of a shared one and leaves the old one in limbo. So the view reads nodes
// without a lock, and a view costs at most the nodes that were replaced under it.
//
// Invariant: for each view and each slot that it has not finished, the range of the keyed hash is cut
// into captured pieces and live segments that did not change since the view was made (gen below the view's number).
//
// A view's methods belong to one goroutine, which need not be the writer; it must be closed.
type View struct {
	s *Store
	// id is larger than that of any view made before.
	id uint64
	// whole views have all slots in dense; others those in sparse.
	dense  []frozen
	sparse map[uint16]*frozen
	closed bool
	broken atomic.Bool
	// watch, if set, times each capture that a write makes; held is the sum. Both belong to the writer.
	watch Stopwatch
	held  int64
	// buf and room are kept from section to section.
	buf  []byte
	room []*piece
}

// frozen is one slot of a view, guarded by the slot's lock.
type frozen struct {
	// t is the table that was pinned for the view, nil before.
	t *slotTable
	// head is the section's beginning, as of the view.
	head []byte
	// pieces has 2^depth places, depth being that of the directory when t was pinned: no segment of the view has more
	// bits in its prefix. A piece stands in the first place of its range; nil is none, or one that was handed out.
	pieces []*piece
	depth  uint8
	// done: handed out, or given up.
	done bool
}

// piece is what a segment was when it was captured.
type piece struct {
	words  []uint64
	due    []int64
	prefix uint64
	depth  uint8
	// cell: words are a cell, and one view's alone; the piece goes back to the cells with them.
	cell bool
}

// end is the beginning of the next range, 0 behind the last.
func (p *piece) end() uint64 {
	if p.depth == 0 {
		return 0
	}
	return p.prefix + 1<<(64-p.depth)
}

// views is the live views of a store.
type views struct {
	// live is nil while there is none: writers pay one load. No lock of theirs keeps a view from being closed, so the
	// next load may be nil; who goes by the first does right, because a slot of a view says under its lock that it is done.
	// newest is the number of the newest view ever.
	live   atomic.Pointer[[]*View]
	newest atomic.Uint64
	mu     sync.Mutex // serialises changes of live
	// spare is the slots of the last whole view, all zero, or nil; guarded by mu. To make them, a megabyte, takes longer
	// than all else about a view, and by turns begins a collection.
	spare []frozen
}

// takeSlots returns places for all slots, all zero.
func (v *views) takeSlots() []frozen {
	v.mu.Lock()
	defer v.mu.Unlock()
	slots := v.spare
	if v.spare = nil; slots == nil {
		return make([]frozen, Slots)
	}
	return slots
}

// giveSlots takes back what takeSlots returned and nobody uses.
func (v *views) giveSlots(slots []frozen) {
	clear(slots)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.spare = slots
}

// View freezes all slots. It fails with ErrViewBusy while another whole view is live. Called by the
// writer, between writes, with no slot lock held.
func (s *Store) View() (*View, error) {
	slots := s.views.takeSlots()
	v, err := s.addView(&View{s: s, dense: slots})
	if err != nil {
		s.views.giveSlots(slots)
	}
	return v, err
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
	v.id = s.views.newest.Load() + 1
	live = append(slices.Clone(live), v)
	s.views.live.Store(&live)
	s.views.newest.Store(v.id) // behind live: who sees the number sees the view
	return v, nil
}

// Stopwatch measures one piece of work after the other, on one goroutine. Stop tells how long it was since Start, in
// any unit.
type Stopwatch interface {
	Start()
	Stop() int64
}

// Measure sets the stopwatch that captures are measured with. The store makes nothing of what it tells. Called by the
// writer, before it writes again.
func (v *View) Measure(watch Stopwatch) { v.watch = watch }

// Held is what the stopwatch told, in all, of captures that held up a write. For the writer.
func (v *View) Held() int64 { return v.held }

// measured is the first of the views that has a stopwatch, or nil.
func measured(live []*View) *View {
	for _, v := range live {
		if v.watch != nil {
			return v
		}
	}
	return nil
}

// start and stop enclose a capture. A nil View measures nothing.
func (v *View) start() {
	if v != nil {
		v.watch.Start()
	}
}

func (v *View) stop() {
	if v != nil {
		v.held += v.watch.Stop()
	}
}

// Close ends the view; writers stop paying for it. It may be called again.
func (v *View) Close() {
	if v.closed {
		return
	}
	v.closed = true
	v.s.dropView(v)
	finish := func(slot uint16, f *frozen) {
		v.s.Lock(slot)
		v.finish(f)
		v.s.Unlock(slot)
	}
	for i := range v.dense {
		finish(uint16(i), &v.dense[i])
	}
	for slot, f := range v.sparse {
		finish(slot, f)
	}
	v.s.cells.trim()
	if slots := v.dense; slots != nil {
		// A writer that saw this view among the live ones held a slot's lock, which was taken here since.
		v.dense = nil
		v.s.views.giveSlots(slots)
	}
}

func (s *Store) dropView(v *View) {
	s.views.mu.Lock()
	defer s.views.mu.Unlock()
	p := s.views.live.Load()
	if p == nil || !slices.Contains(*p, v) {
		return
	}
	rest := slices.DeleteFunc(slices.Clone(*p), func(o *View) bool { return o == v })
	if len(rest) == 0 {
		s.views.live.Store(nil)
	} else {
		s.views.live.Store(&rest)
	}
}

// finish lets a slot go. The caller holds its write lock.
func (v *View) finish(f *frozen) {
	f.done = true
	for _, p := range f.pieces {
		if p != nil {
			v.drop(p)
		}
	}
	f.head, f.pieces = nil, nil
	if t := f.t; t != nil {
		f.t = nil
		if t.pins--; t.pins == 0 {
			v.s.garbage.throw(t.limbo)
			t.limbo = nil
		}
	}
}

// drop lets a piece go, which nobody may use then.
func (v *View) drop(p *piece) {
	if p.cell {
		v.s.cells.give(p)
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

// captureHead pins a slot's table for those of the views that have not yet, and keeps for them what belongs to the
// slot as a whole. The caller holds the slot's write lock and is about to change the slot.
func (s *Store) captureHead(live []*View, slot uint16, t *slotTable) {
	for _, v := range live {
		if f := v.slot(slot); f != nil && !f.done && f.t == nil {
			watched := measured(live)
			watched.start()
			s.begin(f, t)
			watched.stop()
		}
	}
}

// begin pins the table of a slot for a view.
func (s *Store) begin(f *frozen, t *slotTable) {
	f.t = t
	t.pins++
	f.head = emptyHead
	if !t.plain() {
		f.head = t.appendHead(nil)
	}
	f.depth = t.depth
	f.pieces = s.cells.takePlaces(1 << t.depth)
}

func (f *frozen) place(prefix uint64) **piece { return &f.pieces[prefix>>(64-f.depth)] }

// take hands out the piece that begins there, nil if it was not captured.
func (f *frozen) take(prefix uint64) *piece {
	at := f.place(prefix)
	p := *at
	*at = nil
	return p
}

// own captures a segment for the views that have not got it yet. The caller holds the slot's write lock,
// has called writable and is about to change the segment.
func (s *Store) own(slot uint16, t *slotTable, g *segment) {
	if g.gen >= s.views.newest.Load() {
		return
	}
	if live := s.views.live.Load(); live != nil {
		watched := measured(*live)
		watched.start()
		s.captureSegment(slot, t, g, true)
		watched.stop()
	} else {
		g.gen = s.views.newest.Load()
	}
}

// captureSegment gives a segment to the views that lack it. writer tells that the calling goroutine is the writer.
func (s *Store) captureSegment(slot uint16, t *slotTable, g *segment, writer bool) {
	gen := g.gen
	g.gen = s.views.newest.Load()
	live := s.views.live.Load()
	if live == nil { // the view was just closed
		return
	}
	lacks := func(v *View) bool {
		f := v.slot(slot)
		return f != nil && !f.done && v.id > gen && (f.t == nil || f.t == t) // else the slot's table is another one since
	}
	takers := 0
	for _, v := range *live {
		if lacks(v) {
			takers++
		}
	}
	if takers == 0 {
		return
	}
	var p *piece
	if takers == 1 {
		p = s.cells.take(len(g.words))
	}
	if p == nil {
		p = &piece{words: make([]uint64, len(g.words))}
	}
	p.prefix, p.depth, p.due = g.prefix, g.depth, slices.Clone(g.due)
	copy(p.words, g.words)
	g.share(writer)
	for _, v := range *live {
		if !lacks(v) {
			continue
		}
		f := v.slot(slot)
		if f.t == nil {
			s.begin(f, t)
		}
		*f.place(g.prefix) = p
	}
}

// share marks the words of a segment shared. The writer is all that reads words without their slot's lock (Warm, and
// find for SORT in a write): its own marks need not be atomic, which takes three times as long.
func (g *segment) share(writer bool) {
	if writer {
		for i := range g.words {
			g.words[i] |= sharedBit
		}
		return
	}
	for i := range g.words {
		atomic.StoreUint64(&g.words[i], g.words[i]|sharedBit)
	}
}

// Section gives a slot as it was when the view was made, in sections for AddSection, which follow one
// another; none for a slot that held nothing. data is valid until add returns. Each slot is given out
// once; an error of add is returned.
func (v *View) Section(slot uint16, add func(data []byte) error) error {
	if v.closed {
		return ErrViewClosed
	}
	f := v.slot(slot)
	head, err := v.begin(slot, f)
	if err != nil {
		return err
	}
	defer func() {
		v.s.Lock(slot)
		v.finish(f)
		v.s.Unlock(slot)
	}()
	w := sectionWriter{s: v.s, head: head, add: add, buf: v.buf[:0]}
	defer func() { v.buf = w.buf }()
	pieces := v.room
	for from, more := uint64(0), true; more; {
		if pieces, from, more, err = v.pieces(slot, f, from, pieces[:0]); err != nil {
			return fmt.Errorf("store: view of slot %d: %w", slot, err)
		}
		v.room = pieces
		for _, p := range pieces {
			if err == nil {
				err = w.piece(p)
			}
			v.drop(p)
		}
		if err != nil {
			return err
		}
	}
	return w.end()
}

// piecesAtOnce bounds the segments captured under one hold of the slot's lock.
const piecesAtOnce = 16

func (v *View) begin(slot uint16, f *frozen) ([]byte, error) {
	v.s.Lock(slot)
	defer v.s.Unlock(slot)
	switch {
	case v.broken.Load():
		return nil, ErrViewBroken
	case f == nil || f.done:
		return nil, ErrViewTaken
	}
	if f.t == nil {
		t := v.s.slots[slot].t
		if t == nil {
			t = newTable()
		}
		v.s.begin(f, t)
	}
	return f.head, nil
}

// pieces takes the next pieces from a place in the keyed hash on.
func (v *View) pieces(slot uint16, f *frozen, from uint64, out []*piece) (_ []*piece, next uint64, more bool, err error) {
	if v.dense != nil {
		v.s.cells.stock()
	}
	v.s.Lock(slot)
	defer v.s.Unlock(slot)
	if v.broken.Load() {
		return nil, 0, false, ErrViewBroken
	}
	for range piecesAtOnce {
		p := f.take(from)
		if p == nil {
			g := f.t.at(from)
			assert(g.prefix == from && g.gen < v.id, "a view misses a segment")
			v.s.captureSegment(slot, f.t, g, false)
			if p = f.take(from); p == nil { // broken just now
				for _, o := range out {
					v.drop(o)
				}
				return nil, 0, false, ErrViewBroken
			}
		}
		from = p.end()
		if len(p.words) > 0 {
			out = append(out, p)
		} else {
			v.drop(p)
		}
		if from == 0 {
			return out, 0, false, nil
		}
	}
	return out, from, true, nil
}

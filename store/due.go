// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync"
	"sync/atomic"
)

// dueHeap is the segments of one slot that hold deadlines: a binary heap in the order of (earliest
// deadline, range), guarded by the slot's lock. Each segment knows its place, so that any is moved or
// dropped in O(log n); within a segment the deadlines stand side by side and are searched.
type dueHeap []*segment

func dueLess(a, b *segment) bool {
	if a.first != b.first {
		return a.first < b.first
	}
	return a.prefix < b.prefix
}

func (h dueHeap) put(i int, g *segment) {
	h[i] = g
	g.place = int32(i) + 1
}

// update brings the heap up to date with a segment whose first changed.
func (h *dueHeap) update(g *segment) {
	switch {
	case g.first == 0:
		h.drop(g)
	case g.place == 0:
		*h = append(*h, g)
		h.up(len(*h)-1, g)
	default:
		h.fix(int(g.place)-1, g)
	}
}

// drop takes a segment out, if it is there.
func (h *dueHeap) drop(g *segment) {
	if g.place == 0 {
		return
	}
	i, last := int(g.place)-1, len(*h)-1
	g.place = 0
	moved := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	if last == 0 {
		*h = nil
	}
	if i < last {
		h.fix(i, moved)
	}
}

// fix finds the place of g, beginning at i, whose former content no longer counts.
func (h dueHeap) fix(i int, g *segment) {
	if i > 0 && dueLess(g, h[(i-1)/2]) {
		h.up(i, g)
	} else {
		h.down(i, g)
	}
}

func (h dueHeap) up(i int, g *segment) {
	for i > 0 {
		parent := (i - 1) / 2
		if !dueLess(g, h[parent]) {
			break
		}
		h.put(i, h[parent])
		i = parent
	}
	h.put(i, g)
}

func (h dueHeap) down(i int, g *segment) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && dueLess(h[child+1], h[child]) {
			child++
		}
		if !dueLess(h[child], g) {
			break
		}
		h.put(i, h[child])
		i = child
	}
	h.put(i, g)
}

// dueIndex orders the slots by (earliest deadline, slot): with the heaps of the slots it yields all
// deadlines of the store in the order of (deadline, slot, range of the keyed hash, hash), while most
// changes touch one segment only.
type dueIndex struct {
	// first is the earliest deadline of the store, 0 for none; written under mu.
	first atomic.Int64
	mu    sync.Mutex
	// Below mu. heap holds slots; place is 1 + a slot's place in heap, 0 when absent; head the
	// earliest deadline of a slot, 0 for none; held marks the slots that HoldDue keeps out.
	heap  []uint16
	place [Slots]int32
	head  [Slots]int64
	held  [Slots]bool
}

func (d *dueIndex) less(a, b uint16) bool {
	if d.head[a] != d.head[b] {
		return d.head[a] < d.head[b]
	}
	return a < b
}

// update brings the index up to date with a slot's heap. The caller holds the slot's write lock.
func (d *dueIndex) update(slot uint16, t *slotTable) {
	var head int64
	if t != nil && len(t.due) > 0 {
		head = t.due[0].first
	}
	d.mu.Lock()
	if d.head[slot] != head {
		d.head[slot] = head
		d.settle(slot)
	}
	d.mu.Unlock()
}

// settle puts a slot where it belongs after its head or held changed. Below mu.
func (d *dueIndex) settle(slot uint16) {
	at := int(d.place[slot]) - 1
	switch want := d.head[slot] != 0 && !d.held[slot]; {
	case want && at < 0:
		d.heap = append(d.heap, slot)
		d.fix(len(d.heap)-1, slot)
	case want:
		d.fix(at, slot)
	case at >= 0:
		d.place[slot] = 0
		last := len(d.heap) - 1
		moved := d.heap[last]
		d.heap = d.heap[:last]
		if at < last {
			d.fix(at, moved)
		}
	}
	if len(d.heap) == 0 {
		d.first.Store(0)
	} else {
		d.first.Store(d.head[d.heap[0]])
	}
}

func (d *dueIndex) put(i int, slot uint16) {
	d.heap[i] = slot
	d.place[slot] = int32(i) + 1
}

func (d *dueIndex) fix(i int, slot uint16) {
	for i > 0 {
		parent := (i - 1) / 2
		if !d.less(slot, d.heap[parent]) {
			break
		}
		d.put(i, d.heap[parent])
		i = parent
	}
	for {
		child := 2*i + 1
		if child >= len(d.heap) {
			break
		}
		if child+1 < len(d.heap) && d.less(d.heap[child+1], d.heap[child]) {
			child++
		}
		if !d.less(d.heap[child], slot) {
			break
		}
		d.put(i, d.heap[child])
		i = child
	}
	d.put(i, slot)
}

// earliest returns the slot that holds the first deadline at or before now.
func (d *dueIndex) earliest(now int64) (slot uint16, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.heap) == 0 || d.head[d.heap[0]] > now {
		return 0, false
	}
	return d.heap[0], true
}

// setDeadline changes an entry's deadline. The caller holds the slot's write lock; the entry is open.
func (s *Store) setDeadline(slot uint16, t *slotTable, g *segment, i int, at int64) {
	had := g.deadline(i)
	if had == at {
		return
	}
	if g.due == nil {
		s.timed(g)
	}
	g.due[i] = at
	switch {
	case had == 0:
		s.slots[slot].timed.Add(1)
	case at == 0:
		s.slots[slot].timed.Add(-1)
	}
	switch {
	case at != 0 && (g.first == 0 || at <= g.first):
		g.first = at
	case had == g.first:
		g.setFirst()
	default:
		return
	}
	s.deadlinesChanged(slot, t, g)
}

// deadlinesChanged brings what depends on a segment's first up to date.
func (s *Store) deadlinesChanged(slot uint16, t *slotTable, g *segment) {
	t.due.update(g)
	if g.first == 0 && g.due != nil {
		s.untimed(g)
	}
	s.due.update(slot, t)
}

// refreshDue finds a segment's first anew after its keys changed hands. The earliest deadline of the slot
// is as it was.
func (s *Store) refreshDue(t *slotTable, g *segment) {
	g.setFirst()
	t.due.update(g)
	if g.first == 0 && g.due != nil {
		s.untimed(g)
	}
}

// timedKeys counts the keys with a deadline.
func (g *segment) timedKeys() (n int) {
	for _, at := range g.due {
		if at != 0 {
			n++
		}
	}
	return n
}

// DueKey is an entry that PopDue removed.
type DueKey struct {
	Slot     uint16
	Key      []byte // the receiver's
	Deadline int64
	Version  uint64
}

// NextDeadline returns the earliest deadline in the store, 0 for none; held slots do not count.
// Any goroutine.
func (s *Store) NextDeadline() int64 { return s.due.first.Load() }

// PopDue removes up to limit entries that are dead at now, as Delete does, in the order of (deadline,
// slot, keyed hash, key), and calls f, unless nil, for each before it goes; key aliases the store. Called
// by the writer with no slot lock held.
func (s *Store) PopDue(now int64, limit int, f func(d DueKey)) (n int) {
	if first := s.due.first.Load(); first == 0 || first > now {
		return 0
	}
	for n < limit {
		slot, ok := s.due.earliest(now)
		if !ok {
			break
		}
		s.Lock(slot)
		if t := s.slots[slot].t; t != nil && len(t.due) > 0 && t.due[0].first <= now {
			g := t.due[0]
			i := 0
			for g.due[i] != g.first {
				i++
			}
			if f != nil {
				nd := node(s.arena.Bytes(refOf(g.words[i])))
				f(DueKey{Slot: slot, Key: nd.key(), Deadline: g.first, Version: nd.version()})
			}
			s.remove(slot, s.writable(slot), g, i)
			n++
		}
		s.Unlock(slot)
	}
	return n
}

// HoldDue keeps a slot's deadlines out of PopDue and NextDeadline, or lets them in again. It lasts
// until it is lifted or Reset, also over DropSlot. Any goroutine, with or without slot locks.
func (s *Store) HoldDue(slot uint16, hold bool) {
	s.due.mu.Lock()
	defer s.due.mu.Unlock()
	if s.due.held[slot] != hold {
		s.due.held[slot] = hold
		s.due.settle(slot)
	}
}

// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"sync"
	"sync/atomic"
)

// dueHeap is the deadlines of one slot: a binary heap in (deadline, key) order, guarded by the
// slot's lock. Each entry knows its place, so any deadline is moved or dropped in O(log n).
type dueHeap struct{ nodes []*node[entry] }

func dueLess(a, b *node[entry]) bool {
	if a.val.expireAt != b.val.expireAt {
		return a.val.expireAt < b.val.expireAt
	}
	return bytes.Compare(a.key, b.key) < 0
}

func (h *dueHeap) put(i int, nd *node[entry]) {
	h.nodes[i] = nd
	nd.val.dueAt = int32(i) + 1
}

func (h *dueHeap) push(nd *node[entry]) {
	h.nodes = append(h.nodes, nd)
	h.up(len(h.nodes)-1, nd)
}

func (h *dueHeap) remove(nd *node[entry]) {
	i := int(nd.val.dueAt) - 1
	nd.val.dueAt = 0
	last := len(h.nodes) - 1
	moved := h.nodes[last]
	h.nodes[last] = nil
	h.nodes = h.nodes[:last]
	if last == 0 {
		h.nodes = nil
	}
	if i < last {
		h.fix(i, moved)
	}
}

// fix finds the place of nd, beginning at i, whose former content no longer counts.
func (h *dueHeap) fix(i int, nd *node[entry]) {
	if i > 0 && dueLess(nd, h.nodes[(i-1)/2]) {
		h.up(i, nd)
	} else {
		h.down(i, nd)
	}
}

func (h *dueHeap) up(i int, nd *node[entry]) {
	for i > 0 {
		parent := (i - 1) / 2
		if !dueLess(nd, h.nodes[parent]) {
			break
		}
		h.put(i, h.nodes[parent])
		i = parent
	}
	h.put(i, nd)
}

func (h *dueHeap) down(i int, nd *node[entry]) {
	for {
		child := 2*i + 1
		if child >= len(h.nodes) {
			break
		}
		if child+1 < len(h.nodes) && dueLess(h.nodes[child+1], h.nodes[child]) {
			child++
		}
		if !dueLess(h.nodes[child], nd) {
			break
		}
		h.put(i, h.nodes[child])
		i = child
	}
	h.put(i, nd)
}

// dueIndex orders the slots by (earliest deadline, slot): with the heaps of the slots it yields all
// deadlines of the store in (deadline, slot, key) order, while most changes touch one slot only.
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
	if t != nil && len(t.due.nodes) > 0 {
		head = t.due.nodes[0].val.expireAt
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

// setDeadline changes an entry's deadline in the heaps. The caller holds the slot's write lock.
func (s *Store) setDeadline(slot uint16, t *slotTable, nd *node[entry], at int64) {
	had := nd.val.expireAt
	if had == at {
		return
	}
	nd.val.expireAt = at
	switch {
	case had == 0:
		t.due.push(nd)
		s.slots[slot].timed.Add(1)
	case at == 0:
		t.due.remove(nd)
		s.slots[slot].timed.Add(-1)
	default:
		t.due.fix(int(nd.val.dueAt)-1, nd)
	}
	s.due.update(slot, t)
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

// PopDue removes up to limit entries that are dead at now, as Delete does, in (deadline, slot, key)
// order, and returns them in that order. Called by the writer with no slot lock held.
func (s *Store) PopDue(now int64, limit int) []DueKey {
	if first := s.due.first.Load(); first == 0 || first > now {
		return nil
	}
	var out []DueKey
	for len(out) < limit {
		slot, ok := s.due.earliest(now)
		if !ok {
			break
		}
		s.Lock(slot)
		if t := s.slots[slot].t; t != nil && len(t.due.nodes) > 0 {
			if nd := t.due.nodes[0]; nd.val.expireAt <= now {
				out = append(out, DueKey{
					Slot: slot, Key: append([]byte(nil), nd.key...),
					Deadline: nd.val.expireAt, Version: nd.val.version,
				})
				s.remove(slot, s.writable(slot), nd)
			}
		}
		s.Unlock(slot)
	}
	return out
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

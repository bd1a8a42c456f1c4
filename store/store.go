// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync"
	"sync/atomic"
)

// Config is fixed for the life of a store.
type Config struct {
	// HashKey keys the order of scans and of large collections. It is cluster state: the same on
	// all replicas, and unpredictable for clients.
	HashKey [16]byte
}

// Store is the keyspace of one shard group. The package comment tells who may call what.
type Store struct {
	hash  hasher
	slots [Slots]slot
	due   dueIndex
	total counters
	views views
	probe sampler
	clock recencyClock
}

// slot is one unit of locking. The zero slot is empty.
type slot struct {
	mu sync.RWMutex
	// t is nil until the first write; guarded by mu.
	t *slotTable
	// keys and timed count the entries, and those with a deadline, for the sampler, which reads
	// them without mu.
	keys, timed atomic.Int32
}

// slotTable is what a slot holds.
type slotTable struct {
	table[entry]
	due    dueHeap
	tokens tokenSet
	// removed is the highest version among all entries ever removed from the slot, 0 for none.
	removed uint64
	count   Stats
}

// Stats counts what a slot or a store holds. Entries that are dead but not yet removed count.
type Stats struct {
	Keys int64
	// KeyBytes and ValueBytes are the bytes users wrote; ValueBytes includes elements, fields and
	// their values, and no token.
	KeyBytes, ValueBytes int64
	// LogicalBytes follows the formula of the package comment and includes tokens.
	LogicalBytes int64
}

// counters is Stats readable without a lock.
type counters struct {
	keys, keyBytes, valueBytes, logical atomic.Int64
}

// New makes an empty store.
func New(cfg Config) *Store {
	return &Store{hash: newHasher(cfg.HashKey)}
}

// Lock takes a slot for writing.
func (s *Store) Lock(slot uint16) { s.slots[slot].mu.Lock() }

// Unlock ends Lock.
func (s *Store) Unlock(slot uint16) { s.slots[slot].mu.Unlock() }

// RLock takes a slot for reading.
func (s *Store) RLock(slot uint16) { s.slots[slot].mu.RLock() }

// RUnlock ends RLock.
func (s *Store) RUnlock(slot uint16) { s.slots[slot].mu.RUnlock() }

// Stats counts a slot. Needs the slot's lock.
func (s *Store) Stats(slot uint16) Stats {
	if t := s.slots[slot].t; t != nil {
		return t.count
	}
	return Stats{}
}

// Totals counts the whole store without any lock: each number is exact by itself, and all four fit
// together while nobody writes.
func (s *Store) Totals() Stats {
	return Stats{
		Keys:         s.total.keys.Load(),
		KeyBytes:     s.total.keyBytes.Load(),
		ValueBytes:   s.total.valueBytes.Load(),
		LogicalBytes: s.total.logical.Load(),
	}
}

// Removed returns the highest version among the entries ever removed from the slot, 0 for none.
// Versions are unique and grow, so a key that is absent now and at a later time was absent all
// along unless Removed changed in between. Needs the slot's lock.
func (s *Store) Removed(slot uint16) uint64 {
	if t := s.slots[slot].t; t != nil {
		return t.removed
	}
	return 0
}

// NoteRemoved raises the slot's Removed to version, for the import of removals that happened in
// another store. Needs the slot's write lock.
func (s *Store) NoteRemoved(slot uint16, version uint64) {
	t := s.writable(slot)
	t.removed = max(t.removed, version)
}

// writable is called first by everything that changes a slot: live views capture the slot before
// the change.
func (s *Store) writable(slot uint16) *slotTable {
	s.capture(slot)
	sl := &s.slots[slot]
	if sl.t == nil {
		sl.t = new(slotTable)
	}
	return sl.t
}

// account adds a change to the counters of a slot and of the store.
func (s *Store) account(slot uint16, d Stats) {
	sl := &s.slots[slot]
	sl.t.count.add(d)
	if d.Keys != 0 {
		sl.keys.Add(int32(d.Keys))
		s.total.keys.Add(d.Keys)
	}
	if d.KeyBytes != 0 {
		s.total.keyBytes.Add(d.KeyBytes)
	}
	if d.ValueBytes != 0 {
		s.total.valueBytes.Add(d.ValueBytes)
	}
	if d.LogicalBytes != 0 {
		s.total.logical.Add(d.LogicalBytes)
	}
}

func (a *Stats) add(d Stats) {
	a.Keys += d.Keys
	a.KeyBytes += d.KeyBytes
	a.ValueBytes += d.ValueBytes
	a.LogicalBytes += d.LogicalBytes
}

func (a Stats) neg() Stats {
	return Stats{Keys: -a.Keys, KeyBytes: -a.KeyBytes, ValueBytes: -a.ValueBytes, LogicalBytes: -a.LogicalBytes}
}

// Clear removes all entries of a slot, as if each were deleted, keeps its tokens and returns how
// many entries went. Needs the slot's write lock.
func (s *Store) Clear(slot uint16) int {
	if t := s.slots[slot].t; t == nil || t.n == 0 {
		return 0
	}
	t := s.writable(slot)
	removed := t.removed
	t.ascend(0, func(nd *node[entry]) bool {
		removed = max(removed, nd.val.version)
		return true
	})
	n := t.n
	fresh := &slotTable{removed: removed, tokens: t.tokens}
	s.replace(slot, fresh)
	return n
}

// DropSlot forgets everything about a slot, tokens and Removed too. Needs the slot's write lock.
func (s *Store) DropSlot(slot uint16) {
	if s.slots[slot].t != nil {
		s.capture(slot)
		s.replace(slot, nil)
	}
}

// replace puts another table, whose count and due need not be filled, in a slot's place. The
// caller has captured the slot.
func (s *Store) replace(slot uint16, t *slotTable) {
	sl := &s.slots[slot]
	if sl.t != nil {
		s.account(slot, sl.t.count.neg())
	}
	sl.t = t
	if t != nil {
		d := t.measure()
		t.count = Stats{}
		s.account(slot, d)
		sl.timed.Store(int32(len(t.due.nodes)))
	} else {
		sl.timed.Store(0)
	}
	s.due.update(slot, t)
}

// measure counts a table from nothing and builds its heap of deadlines.
func (t *slotTable) measure() Stats {
	var sum Stats
	t.due = dueHeap{}
	t.ascend(0, func(nd *node[entry]) bool {
		sum.add(nd.val.cost(len(nd.key)))
		if nd.val.expireAt != 0 {
			t.due.push(nd)
		}
		return true
	})
	sum.LogicalBytes += t.tokens.bytes
	return sum
}

// Reset empties the store, lifts all HoldDue and breaks live views: their sections fail with
// ErrViewBroken. It takes every slot's lock in turn, so readers may see some slots emptied before
// others.
func (s *Store) Reset() {
	s.breakViews()
	for i := range s.slots {
		s.slots[i].mu.Lock()
		s.DropSlot(uint16(i))
		s.slots[i].mu.Unlock()
		s.HoldDue(uint16(i), false)
	}
}

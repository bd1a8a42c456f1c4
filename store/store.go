// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync/atomic"

	"github.com/kvorum/kvorum/store/arena"
	"github.com/kvorum/kvorum/store/collections"
	"github.com/kvorum/kvorum/store/keyed"
)

// Memory is where a store's entries live: package arena.
type Memory = arena.Memory

// Config is fixed for the life of a store.
type Config struct {
	// HashKey keys the order of scans and of large collections. It is cluster state: the same on
	// all replicas, and unpredictable for clients.
	HashKey [16]byte
	// Memory is where the entries live; nil is arena.Heap.
	Memory Memory
}

// Store is the keyspace of one shard group. The package comment tells who may call what.
type Store struct {
	hash keyed.Hasher
	// arena holds the nodes, index the words and deadlines of segments: nodes can be moved (compact.go).
	arena   *arena.Arena
	index   *arena.Arena
	cells   cells
	objects objectTable
	slots   [Slots]slot
	// parkings are where goroutines wait for slots.
	parkings [parkings]parking
	due      dueIndex
	total    counters
	views    views
	garbage  garbage
	edits    edits
	probe    sampler
	clock    recencyClock
}

// slot is one unit of locking. The zero slot is empty.
type slot struct {
	mu slotLock
	// t is nil until the first write; guarded by mu.
	t *slotTable
	// keys and timed count the entries, and those with a deadline, for the sampler, which reads
	// them without mu.
	keys, timed atomic.Int32
}

// Stats counts what a slot or a store holds. Entries that are dead but not yet removed count.
type Stats struct {
	Keys int64
	// KeyBytes and ValueBytes are the bytes users wrote; ValueBytes includes elements, fields and
	// their values, and no token.
	KeyBytes, ValueBytes int64
	// LogicalBytes follows the formula of the package comment, and so does TokenBytes, which is no part of it.
	LogicalBytes, TokenBytes int64
}

// counters is Stats readable without a lock.
type counters struct {
	keys, keyBytes, valueBytes, logical, tokens atomic.Int64
}

// New makes an empty store.
func New(cfg Config) *Store {
	if cfg.Memory == nil {
		cfg.Memory = arena.Heap()
	}
	s := &Store{cells: cells{memory: cfg.Memory}, hash: keyed.New(cfg.HashKey), arena: arena.New(cfg.Memory), index: arena.New(cfg.Memory)}
	for i := range s.parkings {
		s.parkings[i].cond.L = &s.parkings[i].mu
	}
	s.edits.hash.HashEdit = collections.NewHashEdit(s.hash)
	s.edits.set.SetEdit = collections.NewSetEdit(s.hash)
	s.edits.zset.ZSetEdit = collections.NewZSetEdit(s.hash)
	return s
}

// Stats counts a slot. Needs the slot's lock.
func (s *Store) Stats(slot uint16) Stats {
	if t := s.slots[slot].t; t != nil {
		return t.count
	}
	return Stats{}
}

// Totals counts the whole store without any lock: each number is exact by itself, and all fit
// together while nobody writes.
func (s *Store) Totals() Stats {
	return Stats{
		Keys:         s.total.keys.Load(),
		KeyBytes:     s.total.keyBytes.Load(),
		ValueBytes:   s.total.valueBytes.Load(),
		LogicalBytes: s.total.logical.Load(),
		TokenBytes:   s.total.tokens.Load(),
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

// writable is called first by everything that changes a slot: live views capture what belongs to the slot
// as a whole. Who changes a segment calls own as well.
func (s *Store) writable(slot uint16) *slotTable {
	if s.garbage.waiting.Load() {
		s.collect()
	}
	sl := &s.slots[slot]
	if sl.t == nil {
		sl.t = newTable()
	}
	if live := s.views.live.Load(); live != nil {
		s.captureHead(*live, slot, sl.t)
	}
	return sl.t
}

// account adds a change to the counters of a slot and of the store.
func (s *Store) account(slot uint16, d Stats) {
	sl := &s.slots[slot]
	sl.t.count.add(d)
	if d.Keys != 0 {
		sl.keys.Add(int32(d.Keys))
	}
	s.total.add(d)
}

func (c *counters) add(d Stats) {
	if d.Keys != 0 {
		c.keys.Add(d.Keys)
	}
	if d.KeyBytes != 0 {
		c.keyBytes.Add(d.KeyBytes)
	}
	if d.ValueBytes != 0 {
		c.valueBytes.Add(d.ValueBytes)
	}
	if d.LogicalBytes != 0 {
		c.logical.Add(d.LogicalBytes)
	}
	if d.TokenBytes != 0 {
		c.tokens.Add(d.TokenBytes)
	}
}

func (a *Stats) add(d Stats) {
	a.Keys += d.Keys
	a.KeyBytes += d.KeyBytes
	a.ValueBytes += d.ValueBytes
	a.LogicalBytes += d.LogicalBytes
	a.TokenBytes += d.TokenBytes
}

func (a Stats) neg() Stats {
	return Stats{
		Keys: -a.Keys, KeyBytes: -a.KeyBytes, ValueBytes: -a.ValueBytes, LogicalBytes: -a.LogicalBytes, TokenBytes: -a.TokenBytes,
	}
}

// Clear removes all entries of a slot, as if each were deleted, keeps its tokens and returns how
// many entries went. Needs the slot's write lock.
func (s *Store) Clear(slot uint16) int {
	if t := s.slots[slot].t; t == nil || t.n == 0 {
		return 0
	}
	t := s.writable(slot)
	n, fresh := t.n, newTable()
	fresh.removed, fresh.tokens = t.removed, t.tokens
	fresh.count.TokenBytes = t.tokens.bytes
	s.ascend(t, func(_ *segment, _ int, n node) bool {
		fresh.removed = max(fresh.removed, n.version())
		return true
	})
	s.replace(slot, fresh)
	return n
}

// DropSlot forgets everything about a slot, tokens and Removed too. Needs the slot's write lock.
func (s *Store) DropSlot(slot uint16) {
	if s.slots[slot].t != nil {
		s.writable(slot)
		s.replace(slot, nil)
	}
}

// replace puts another table, whose count is right, in the place of one that writable returned.
func (s *Store) replace(slot uint16, fresh *slotTable) {
	sl := &s.slots[slot]
	old := sl.t
	sl.t = fresh
	d, keys, timed := old.count.neg(), 0, 0
	if fresh != nil {
		d.add(fresh.count)
		keys = fresh.n
		for _, g := range fresh.due {
			timed += g.timedKeys()
		}
	}
	s.total.add(d)
	sl.keys.Store(int32(keys))
	sl.timed.Store(int32(timed))
	s.due.update(slot, fresh)
	s.giveUp(slot, old)
}

// giveUp frees what a table held, once no view reads it any more.
func (s *Store) giveUp(slot uint16, t *slotTable) {
	t.segments(0, func(g *segment) bool {
		s.own(slot, t, g)
		for _, w := range g.words {
			s.release(t, w)
		}
		s.dropSegment(g)
		return true
	})
	t.dir, t.due, t.hot, t.n = []*segment{{}}, nil, hotEntry{}, 0
	t.depth, t.deepest = 0, 1
}

// Reset empties the store, lifts all HoldDue and breaks live views: their sections fail with
// ErrViewBroken. It takes every slot's lock in turn, so readers may see some slots emptied before
// others.
func (s *Store) Reset() {
	s.breakViews()
	for i := range s.slots {
		s.Lock(uint16(i))
		s.DropSlot(uint16(i))
		s.Unlock(uint16(i))
		s.HoldDue(uint16(i), false)
	}
}

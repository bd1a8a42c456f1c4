// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync/atomic"

	"github.com/kvorum/kvorum/store/collections"
)

// Meta is what an entry carries beside key and value.
type Meta struct {
	Flags   uint32
	Version uint64
	// ExpireAt is in milliseconds on the caller's clock; 0 is never.
	ExpireAt int64
}

// Ref is a handle on an entry, valid under the slot's lock until the next write to the slot. The
// zero Ref is no entry.
type Ref struct {
	s *Store
	g *segment
	i int
	b block
}

// at makes the Ref of place i of a segment. Ref and place have no more fields than the compiler keeps in
// registers: every read makes some.
func (s *Store) at(g *segment, i int) Ref {
	return Ref{s: s, g: g, i: i, b: s.block(refOf(atomic.LoadUint64(&g.words[i])))}
}

func (r Ref) node() node { return r.b.node() }

// Found tells whether the Ref is an entry.
func (r Ref) Found() bool { return r.g != nil }

// Key aliases the store.
func (r Ref) Key() []byte { return r.node().key() }

// Type is never TypeNone.
func (r Ref) Type() Type { return r.b.typ() }

// Flags are the 32 bits the client stored beside the value.
func (r Ref) Flags() uint32 { return r.node().flags() }

// Version is that of the last change of value or flags.
func (r Ref) Version() uint64 { return r.b.version() }

// ExpireAt is the deadline in milliseconds, 0 for none.
func (r Ref) ExpireAt() int64 { return r.g.deadline(r.i) }

// Meta returns flags, version and deadline.
func (r Ref) Meta() Meta {
	return Meta{Flags: r.Flags(), Version: r.Version(), ExpireAt: r.ExpireAt()}
}

// Dead tells whether the deadline has passed at now: expireAt <= now.
func (r Ref) Dead(now int64) bool { return dead(r.ExpireAt(), now) }

// Bytes is the value of a string; it aliases the store. Nil for other types.
func (r Ref) Bytes() []byte {
	if r.b.typ() != TypeString {
		return nil
	}
	return r.b.value()
}

// List is the value of a list, empty for other types.
func (r Ref) List() collections.List {
	if p, ok := r.b.shortPacked(TypeList); ok {
		return collections.PackedList(p)
	}
	if r.b.typ() != TypeList {
		return collections.List{}
	}
	return r.s.list(r.node())
}

// Hash is the value of a hash, empty for other types.
func (r Ref) Hash() collections.Hash {
	if r.b.typ() != TypeHash {
		return collections.Hash{}
	}
	return r.s.hashOf(r.node())
}

// Field is the value of a field of a hash.
func (r Ref) Field(field []byte) ([]byte, bool) {
	if p, ok := r.b.shortPacked(TypeHash); ok {
		return collections.PackedField(p, field)
	}
	return r.Hash().Get(field)
}

// Set is the value of a set, empty for other types.
func (r Ref) Set() collections.Set {
	n := r.node()
	if n.typ() != TypeSet {
		return collections.Set{}
	}
	return r.s.set(n)
}

// ZSet is the value of a sorted set, empty for other types.
func (r Ref) ZSet() collections.ZSet {
	n := r.node()
	if n.typ() != TypeZSet {
		return collections.ZSet{}
	}
	return r.s.zset(n)
}

// LogicalBytes is what the entry costs by the formula of the package comment.
func (r Ref) LogicalBytes() int64 { return r.s.cost(r.node(), r.ExpireAt()).LogicalBytes }

func dead(expireAt, now int64) bool { return expireAt != 0 && expireAt <= now }

// cost is what an entry adds to the counters.
func (s *Store) cost(n node, due int64) Stats {
	k, v, e := n.span()
	value, overhead := int64(e-v), int64(EntryOverhead)
	if n.typ() != TypeString {
		w := s.weigh(n)
		value = w.bytes
		overhead += CollectionOverhead + int64(w.items)*itemOverhead[n.typ()]
	}
	if due != 0 {
		overhead += DeadlineOverhead
	}
	keyLen := int64(v - k)
	return Stats{Keys: 1, KeyBytes: keyLen, ValueBytes: value, LogicalBytes: keyLen + value + overhead}
}

// Get returns the live entry of a key. Needs the slot's lock.
func (s *Store) Get(slot uint16, key []byte, now int64) (Ref, bool) {
	t := s.slots[slot].t
	if t == nil {
		return Ref{}, false
	}
	if h := &t.hot; h.g != nil && h.g.due == nil && h.b.isShort(key) {
		return Ref{s: s, g: h.g, i: h.i, b: h.b}, true
	}
	r, ok := s.lookup(t, key)
	if !ok || r.Dead(now) {
		return Ref{}, false
	}
	return r, true
}

// Use is Get of a key that is used at tick: it touches what it finds.
func (s *Store) Use(slot uint16, key []byte, now int64, tick uint32) (Ref, bool) {
	t := s.slots[slot].t
	if t == nil {
		return Ref{}, false
	}
	if h := &t.hot; h.g != nil && h.g.due == nil && h.b.isShort(key) {
		if word := h.b.recency(); s.stale(word, tick) {
			s.note(word, tick)
		}
		return Ref{s: s, g: h.g, i: h.i, b: h.b}, true
	}
	r, ok := s.lookup(t, key)
	if !ok || r.Dead(now) {
		return Ref{}, false
	}
	s.TouchRef(r, tick)
	return r, true
}

// Lookup returns the entry of a key, also when it is dead and not yet removed. Needs the slot's
// lock.
func (s *Store) Lookup(slot uint16, key []byte) (Ref, bool) {
	t := s.slots[slot].t
	if t == nil {
		return Ref{}, false
	}
	if h := &t.hot; h.g != nil && h.b.isShort(key) {
		return Ref{s: s, g: h.g, i: h.i, b: h.b}, true
	}
	return s.lookup(t, key)
}

func (s *Store) lookup(t *slotTable, key []byte) (Ref, bool) {
	if h := &t.hot; h.g != nil && h.b.is(key) {
		return Ref{s: s, g: h.g, i: h.i, b: h.b}, true
	}
	if t.n == 0 {
		return Ref{}, false
	}
	p := s.locate(t, key)
	if p.i < 0 {
		return Ref{}, false
	}
	return s.at(p.g, p.i), true
}

// Delete removes a key and tells whether it was there, dead or alive. Needs the slot's write lock.
func (s *Store) Delete(slot uint16, key []byte) bool {
	r, ok := s.Lookup(slot, key)
	if ok {
		s.remove(slot, s.writable(slot), r.g, r.i)
	}
	return ok
}

// DeleteDead removes a key that is dead at now and tells whether it did. A command that writes
// calls it first, so that nothing of a dead entry lives on. Needs the slot's write lock.
func (s *Store) DeleteDead(slot uint16, key []byte, now int64) bool {
	if sl := &s.slots[slot]; sl.timed.Load() == 0 {
		return false
	}
	r, ok := s.Lookup(slot, key)
	if !ok || !r.Dead(now) {
		return false
	}
	s.remove(slot, s.writable(slot), r.g, r.i)
	return true
}

// SetMeta replaces flags, version and deadline of a key and tells whether it was there. Needs the
// slot's write lock.
func (s *Store) SetMeta(slot uint16, key []byte, m Meta) bool {
	r, ok := s.Lookup(slot, key)
	if !ok {
		return false
	}
	t := s.writable(slot)
	s.open(slot, t, place{g: r.g, i: r.i})
	n := s.reshape(t, r.g, r.i, m.Flags)
	n.setVersion(m.Version)
	s.moveDeadline(slot, t, r.g, r.i, m.ExpireAt)
	return true
}

// SetExpire replaces the deadline of a key, 0 for never, and tells whether the key was there. Needs
// the slot's write lock.
func (s *Store) SetExpire(slot uint16, key []byte, at int64) bool {
	r, ok := s.Lookup(slot, key)
	if !ok {
		return false
	}
	if r.ExpireAt() != at {
		t := s.writable(slot)
		s.open(slot, t, place{g: r.g, i: r.i})
		s.moveDeadline(slot, t, r.g, r.i, at)
	}
	return true
}

// moveDeadline is setDeadline with accounting.
func (s *Store) moveDeadline(slot uint16, t *slotTable, g *segment, i int, at int64) {
	had := g.deadline(i)
	if had == at {
		return
	}
	if had == 0 {
		s.account(slot, Stats{LogicalBytes: DeadlineOverhead})
	} else if at == 0 {
		s.account(slot, Stats{LogicalBytes: -DeadlineOverhead})
	}
	s.setDeadline(slot, t, g, i, at)
}

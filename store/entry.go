// SPDX-License-Identifier: Apache-2.0

package store

import "sync/atomic"

// Type is the type of an entry's value. Numbers are stable: they are written to snapshots.
type Type uint8

// The types.
const (
	TypeNone   Type = 0
	TypeString Type = 1
	TypeList   Type = 2
	TypeHash   Type = 3
	TypeSet    Type = 4 // reserved
	TypeZSet   Type = 5 // reserved
)

// String names the type as the TYPE command does.
func (t Type) String() string {
	switch t {
	case TypeString:
		return "string"
	case TypeList:
		return "list"
	case TypeHash:
		return "hash"
	case TypeSet:
		return "set"
	case TypeZSet:
		return "zset"
	case TypeNone:
	}
	return "none"
}

// entry is what a key holds.
type entry struct {
	// str is the string's bytes, owned by the entry and rewritten in place; coll the value of every
	// other type. Exactly one is in use.
	str  []byte
	coll collection
	// version is the caller's, of the last change of value or flags.
	version uint64
	// expireAt is in milliseconds on the caller's clock; 0 is never.
	expireAt int64
	// dueAt is 1 + the entry's place in its slot's heap of deadlines; 0 when it has none.
	dueAt int32
	flags uint32
	typ   Type
	// recency is leader-local: see recency.go.
	recency atomic.Uint64
}

// collection is the value of every type but string.
type collection interface {
	// weigh returns the bytes users wrote, and the overhead of the formula of logical bytes.
	weigh() (value, overhead int64)
	// appendTo appends the value in the section's encoding.
	appendTo(dst []byte) []byte
	// absorb feeds the value in canonical form to a digest.
	absorb(d *digester)
}

// cost is what an entry adds to the counters.
func (e *entry) cost(keyLen int) Stats {
	value, overhead := int64(len(e.str)), int64(EntryOverhead)
	if e.coll != nil {
		v, o := e.coll.weigh()
		value += v
		overhead += o
	}
	if e.expireAt != 0 {
		overhead += DeadlineOverhead
	}
	return Stats{Keys: 1, KeyBytes: int64(keyLen), ValueBytes: value, LogicalBytes: int64(keyLen) + value + overhead}
}

// Meta is what an entry carries beside key and value.
type Meta struct {
	Flags   uint32
	Version uint64
	// ExpireAt is in milliseconds on the caller's clock; 0 is never.
	ExpireAt int64
}

// Ref is a handle on an entry, valid under the slot's lock until the next write to the slot. The
// zero Ref is no entry.
type Ref struct{ nd *node[entry] }

// Key aliases the store.
func (r Ref) Key() []byte { return r.nd.key }

// Type is never TypeNone.
func (r Ref) Type() Type { return r.nd.val.typ }

// Flags are the 32 bits the client stored beside the value.
func (r Ref) Flags() uint32 { return r.nd.val.flags }

// Version is that of the last change of value or flags.
func (r Ref) Version() uint64 { return r.nd.val.version }

// ExpireAt is the deadline in milliseconds, 0 for none.
func (r Ref) ExpireAt() int64 { return r.nd.val.expireAt }

// Meta returns flags, version and deadline.
func (r Ref) Meta() Meta {
	e := &r.nd.val
	return Meta{Flags: e.flags, Version: e.version, ExpireAt: e.expireAt}
}

// Dead tells whether the deadline has passed at now: expireAt <= now.
func (r Ref) Dead(now int64) bool { return dead(r.nd.val.expireAt, now) }

// Bytes is the value of a string; it aliases the store. Nil for other types.
func (r Ref) Bytes() []byte { return r.nd.val.str }

// List is the value of a list, nil for other types. Only EditList hands out a list to change.
func (r Ref) List() *List {
	l, _ := r.nd.val.coll.(*List)
	return l
}

// Hash is the value of a hash, nil for other types. Only EditHash hands out a hash to change.
func (r Ref) Hash() *Hash {
	h, _ := r.nd.val.coll.(*Hash)
	return h
}

// LogicalBytes is what the entry costs by the formula of the package comment.
func (r Ref) LogicalBytes() int64 { return r.nd.val.cost(len(r.nd.key)).LogicalBytes }

func dead(expireAt, now int64) bool { return expireAt != 0 && expireAt <= now }

// Get returns the live entry of a key. Needs the slot's lock.
func (s *Store) Get(slot uint16, key []byte, now int64) (Ref, bool) {
	nd := s.lookup(slot, key)
	if nd == nil || dead(nd.val.expireAt, now) {
		return Ref{}, false
	}
	return Ref{nd}, true
}

// Lookup returns the entry of a key, also when it is dead and not yet removed. Needs the slot's
// lock.
func (s *Store) Lookup(slot uint16, key []byte) (Ref, bool) {
	nd := s.lookup(slot, key)
	return Ref{nd}, nd != nil
}

func (s *Store) lookup(slot uint16, key []byte) *node[entry] {
	t := s.slots[slot].t
	if t == nil || t.n == 0 {
		return nil
	}
	return t.find(s.hash.sum(key), key)
}

// Delete removes a key and tells whether it was there, dead or alive. Needs the slot's write lock.
func (s *Store) Delete(slot uint16, key []byte) bool {
	nd := s.lookup(slot, key)
	if nd == nil {
		return false
	}
	s.remove(slot, s.writable(slot), nd)
	return true
}

// DeleteDead removes a key that is dead at now and tells whether it did. A command that writes
// calls it first, so that nothing of a dead entry lives on. Needs the slot's write lock.
func (s *Store) DeleteDead(slot uint16, key []byte, now int64) bool {
	nd := s.lookup(slot, key)
	if nd == nil || !dead(nd.val.expireAt, now) {
		return false
	}
	s.remove(slot, s.writable(slot), nd)
	return true
}

func (s *Store) remove(slot uint16, t *slotTable, nd *node[entry]) {
	s.account(slot, nd.val.cost(len(nd.key)).neg())
	t.removed = max(t.removed, nd.val.version)
	s.setDeadline(slot, t, nd, 0)
	t.table.remove(nd)
}

// SetMeta replaces flags, version and deadline of a key and tells whether it was there. Needs the
// slot's write lock.
func (s *Store) SetMeta(slot uint16, key []byte, m Meta) bool {
	nd := s.lookup(slot, key)
	if nd == nil {
		return false
	}
	t := s.writable(slot)
	nd.val.flags, nd.val.version = m.Flags, m.Version
	s.moveDeadline(slot, t, nd, m.ExpireAt)
	return true
}

// SetExpire replaces the deadline of a key, 0 for never, and tells whether the key was there. Needs
// the slot's write lock.
func (s *Store) SetExpire(slot uint16, key []byte, at int64) bool {
	nd := s.lookup(slot, key)
	if nd == nil {
		return false
	}
	s.moveDeadline(slot, s.writable(slot), nd, at)
	return true
}

// moveDeadline is setDeadline with accounting.
func (s *Store) moveDeadline(slot uint16, t *slotTable, nd *node[entry], at int64) {
	switch had := nd.val.expireAt != 0; {
	case had && at == 0:
		s.account(slot, Stats{LogicalBytes: -DeadlineOverhead})
	case !had && at != 0:
		s.account(slot, Stats{LogicalBytes: DeadlineOverhead})
	}
	s.setDeadline(slot, t, nd, at)
}

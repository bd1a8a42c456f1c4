// SPDX-License-Identifier: Apache-2.0

package store

// A string's buffer is written in place while the new value fills at least 1/stringSlack of it.
const stringSlack = 4

// stringInPlace is the capacity below which a buffer is always reused.
const stringInPlace = 64

// SetString stores a copy of value under key with all of m, whatever was there before. Needs the
// slot's write lock.
func (s *Store) SetString(slot uint16, key, value []byte, m Meta) {
	t := s.writable(slot)
	hash := s.hash.sum(key)
	nd := t.find(hash, key)
	if nd == nil {
		nd = t.insert(hash, append([]byte(nil), key...))
		nd.val.typ = TypeString
		nd.val.str = append(make([]byte, 0, len(value)), value...)
		s.stamp(nd)
		s.account(slot, nd.val.cost(len(key)))
		nd.val.flags, nd.val.version = m.Flags, m.Version
		s.moveDeadline(slot, t, nd, m.ExpireAt)
		return
	}
	s.overwrite(slot, t, nd, value, m)
}

// Overwrite is SetString on an entry that was found, whatever it holds. Needs the slot's write lock.
func (s *Store) Overwrite(slot uint16, r Ref, value []byte, m Meta) {
	s.overwrite(slot, s.writable(slot), r.nd, value, m)
}

func (s *Store) overwrite(slot uint16, t *slotTable, nd *node[entry], value []byte, m Meta) {
	s.touch(nd, s.clock.tick.Load())
	before := nd.val.cost(len(nd.key))
	nd.val.typ, nd.val.coll = TypeString, nil
	if n := cap(nd.val.str); len(value) <= n && (n <= stringInPlace || len(value) >= n/stringSlack) {
		nd.val.str = append(nd.val.str[:0], value...)
	} else {
		nd.val.str = append(make([]byte, 0, len(value)), value...)
	}
	s.change(slot, before, nd)
	nd.val.flags, nd.val.version = m.Flags, m.Version
	s.moveDeadline(slot, t, nd, m.ExpireAt)
}

// change accounts the difference between an entry's former cost and its present one.
func (s *Store) change(slot uint16, before Stats, nd *node[entry]) {
	d := nd.val.cost(len(nd.key))
	d.add(before.neg())
	s.account(slot, d)
}

// AppendString appends suffix to the string at key, which it creates without flags and deadline
// when absent, and returns the new length. Flags and deadline of a present key stay. The key must
// not hold another type. Needs the slot's write lock.
func (s *Store) AppendString(slot uint16, key, suffix []byte, version uint64) int {
	nd := s.stringAt(slot, key, version)
	nd.val.str = append(nd.val.str, suffix...)
	n := int64(len(suffix))
	s.account(slot, Stats{ValueBytes: n, LogicalBytes: n})
	return len(nd.val.str)
}

// WriteString overwrites the string at key from offset on, filling a gap with zero bytes, and
// returns the new length; otherwise as AppendString.
func (s *Store) WriteString(slot uint16, key []byte, offset int, data []byte, version uint64) int {
	nd := s.stringAt(slot, key, version)
	was := len(nd.val.str)
	if need := offset + len(data); need > was {
		nd.val.str = append(nd.val.str, make([]byte, need-was)...)
		n := int64(need - was)
		s.account(slot, Stats{ValueBytes: n, LogicalBytes: n})
	}
	copy(nd.val.str[offset:], data)
	return len(nd.val.str)
}

// stringAt returns the string at key for a change in place, made empty when absent.
func (s *Store) stringAt(slot uint16, key []byte, version uint64) *node[entry] {
	t := s.writable(slot)
	hash := s.hash.sum(key)
	nd := t.find(hash, key)
	if nd == nil {
		nd = t.insert(hash, append([]byte(nil), key...))
		nd.val.typ = TypeString
		s.stamp(nd)
		s.account(slot, nd.val.cost(len(key)))
	} else {
		s.touch(nd, s.clock.tick.Load())
	}
	assert(nd.val.typ == TypeString, "a string is written over another type")
	nd.val.version = version
	return nd
}

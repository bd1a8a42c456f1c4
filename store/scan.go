// SPDX-License-Identifier: Apache-2.0

package store

// PositionBits is the width of a cursor of Scan: a cursor is a position in the order of the keyed
// hash, namely its high 48 bits plus one, and means the same on every node of the cluster.
const PositionBits = positionBits

// Scan visits about count keys of a slot, dead ones too, in keyed-hash order from a cursor on, 0 at
// the start, and returns the cursor to go on with, 0 at the end. A key present from the first call
// to the last is visited at least once, however the slot grows, shrinks or moves in between. f must
// not change the slot. Needs the slot's lock during the call, not between calls.
func (s *Store) Scan(slot uint16, cursor uint64, count int, f func(key []byte, r Ref)) (next uint64) {
	t := s.slots[slot].t
	if t == nil {
		return 0
	}
	return s.scan(t, cursor, max(count, 1), func(r Ref) { f(r.Key(), r) })
}

// Each visits every key of a slot, dead ones too, in keyed-hash order until f returns false.
// Otherwise as Scan.
func (s *Store) Each(slot uint16, f func(key []byte, r Ref) bool) {
	if t := s.slots[slot].t; t != nil {
		s.ascend(t, func(g *segment, i int, n node) bool { return f(n.key(), s.at(g, i)) })
	}
}

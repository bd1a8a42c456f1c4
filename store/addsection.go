// SPDX-License-Identifier: Apache-2.0

package store

import "fmt"

// AddSection adds what a section holds to a slot: its entries, of which one whose key is there already
// takes that one's place, its tokens and its Removed. So a slot may come in several sections, one after
// the other. A key that is replaced counts as no removal. The store keeps nothing of data. On error,
// ErrSectionCorrupt or ErrSectionVersion, the slot is as it was. Needs the slot's write lock.
func (s *Store) AddSection(slot uint16, data []byte) error {
	add, err := s.parseSection(slot, data)
	if err != nil {
		return fmt.Errorf("store: add section to slot %d: %w", slot, err)
	}
	s.capture(slot)
	have := s.slots[slot].t
	if have == nil {
		s.replace(slot, add)
		return nil
	}
	add.ascend(0, func(nd *node[entry]) bool {
		s.adopt(slot, have, nd)
		return true
	})
	before := have.tokens.bytes
	for _, k := range add.tokens.order {
		have.tokens.put(k.client, add.tokens.records[k.client])
	}
	s.account(slot, Stats{LogicalBytes: have.tokens.bytes - before})
	have.removed = max(have.removed, add.removed)
	return nil
}

// adopt puts the entry of another table's node into t, the slot's own, in place of one with its key.
func (s *Store) adopt(slot uint16, t *slotTable, from *node[entry]) {
	at := from.val.expireAt
	nd := t.find(from.hash, from.key)
	if nd != nil {
		s.account(slot, nd.val.cost(len(nd.key)).neg())
		s.setDeadline(slot, t, nd, 0)
	} else {
		nd = t.insert(from.hash, from.key)
	}
	nd.val.typ, nd.val.str, nd.val.coll = from.val.typ, from.val.str, from.val.coll
	nd.val.flags, nd.val.version = from.val.flags, from.val.version
	nd.val.recency.Store(from.val.recency.Load())
	s.setDeadline(slot, t, nd, at)
	s.account(slot, nd.val.cost(len(nd.key)))
}

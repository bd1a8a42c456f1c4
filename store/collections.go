// SPDX-License-Identifier: Apache-2.0

package store

// EditList lets f change the list at key, which begins empty, without flags and deadline, when the
// key is absent. The key must not hold another type. When f changed something the entry gets
// version; a list left empty vanishes, which counts as a removal only if it was there before. f may
// keep nothing of the list and must not call the store. Needs the slot's write lock.
func (s *Store) EditList(slot uint16, key []byte, version uint64, f func(l *List)) {
	nd := s.lookup(slot, key)
	if nd == nil {
		l := &List{open: true}
		f(l)
		l.open, l.dirty = false, false
		if l.n > 0 {
			s.put(slot, key, TypeList, l, version)
		}
		return
	}
	l, ok := nd.val.coll.(*List)
	assert(ok, "a list is edited over another type")
	t := s.writable(slot)
	before := nd.val.cost(len(key))
	l.open = true
	f(l)
	dirty := l.dirty
	l.open, l.dirty = false, false
	s.settleEdit(slot, t, nd, before, dirty, l.n == 0, version)
}

// EditHash is EditList for a hash.
func (s *Store) EditHash(slot uint16, key []byte, version uint64, f func(h *Hash)) {
	nd := s.lookup(slot, key)
	if nd == nil {
		h := &Hash{hash: s.hash, open: true}
		f(h)
		h.open, h.dirty = false, false
		if h.Len() > 0 {
			s.put(slot, key, TypeHash, h, version)
		}
		return
	}
	h, ok := nd.val.coll.(*Hash)
	assert(ok, "a hash is edited over another type")
	t := s.writable(slot)
	before := nd.val.cost(len(key))
	h.open = true
	f(h)
	dirty := h.dirty
	h.open, h.dirty = false, false
	s.settleEdit(slot, t, nd, before, dirty, h.Len() == 0, version)
}

// put adds a new collection under a key that is absent.
func (s *Store) put(slot uint16, key []byte, typ Type, c collection, version uint64) {
	nd := s.writable(slot).insert(s.hash.sum(key), owned(key))
	nd.val.typ, nd.val.coll, nd.val.version = typ, c, version
	s.stamp(nd)
	s.account(slot, nd.val.cost(len(key)))
}

// settleEdit accounts an edit that took place.
func (s *Store) settleEdit(slot uint16, t *slotTable, nd *node[entry], before Stats, dirty, empty bool, version uint64) {
	if !dirty {
		return
	}
	s.touch(nd, s.clock.tick.Load())
	s.change(slot, before, nd)
	nd.val.version = version
	if empty {
		s.remove(slot, t, nd)
	}
}

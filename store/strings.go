// SPDX-License-Identifier: Apache-2.0

package store

// SetString stores a copy of value under key with all of m, whatever was there before. Needs the
// slot's write lock.
func (s *Store) SetString(slot uint16, key, value []byte, m Meta) {
	t := s.writable(slot)
	p := s.locate(t, key)
	if p.i >= 0 {
		s.overwrite(slot, t, p, value, m)
		return
	}
	n, p := s.insert(slot, t, p, key, newLayout(TypeString, false, m.Flags, len(key), len(value)), m.Flags)
	copy(n.value(), value)
	s.complete(n, m.Version)
	s.account(slot, s.cost(n, 0))
	if m.ExpireAt != 0 {
		s.moveDeadline(slot, t, p.g, p.i, m.ExpireAt)
	}
}

// Overwrite is SetString on an entry that was found, whatever it holds. Needs the slot's write lock.
func (s *Store) Overwrite(slot uint16, r Ref, value []byte, m Meta) {
	s.overwrite(slot, s.writable(slot), place{g: r.g, i: r.i}, value, m)
}

func (s *Store) overwrite(slot uint16, t *slotTable, p place, value []byte, m Meta) {
	s.open(slot, t, p)
	due := p.g.deadline(p.i)
	old := s.node(p)
	before := s.cost(old, due)
	s.touch(old, s.clock.tick.Load())
	l := newLayout(TypeString, false, m.Flags, int(before.KeyBytes), len(value))
	n := s.rewrite(t, p.g, p.i, l, m.Flags, value)
	s.complete(n, m.Version)
	s.change(slot, before, s.cost(n, due))
	if due != m.ExpireAt {
		s.moveDeadline(slot, t, p.g, p.i, m.ExpireAt)
	}
}

// complete writes what belongs to a string that was just written.
func (s *Store) complete(n node, version uint64) {
	n.setVersion(version)
	if n[12]&nodeSum != 0 {
		n.keepSum(stringSum(n.value()))
	}
}

// change accounts the difference between an entry's former cost and its present one.
func (s *Store) change(slot uint16, before, after Stats) {
	if before != after {
		after.add(before.neg())
		s.account(slot, after)
	}
}

// AppendString appends suffix to the string at key, which it creates without flags and deadline
// when absent, and returns the new length. Flags and deadline of a present key stay. The key must
// not hold another type. Needs the slot's write lock.
func (s *Store) AppendString(slot uint16, key, suffix []byte, version uint64) int {
	return s.writeAt(slot, key, -1, suffix, version)
}

// WriteString overwrites the string at key from offset on, filling a gap with zero bytes, and
// returns the new length; otherwise as AppendString.
func (s *Store) WriteString(slot uint16, key []byte, offset int, data []byte, version uint64) int {
	assert(offset >= 0, "a string is written before its beginning")
	return s.writeAt(slot, key, offset, data, version)
}

// writeAt writes into a string from offset on, -1 being its end.
func (s *Store) writeAt(slot uint16, key []byte, offset int, data []byte, version uint64) int {
	t := s.writable(slot)
	p := s.locate(t, key)
	if p.i < 0 {
		value := data
		if offset > 0 {
			value = append(make([]byte, offset, offset+len(data)), data...)
		}
		s.SetString(slot, key, value, Meta{Version: version})
		return len(value)
	}
	old := s.node(p)
	assert(old.typ() == TypeString, "a string is written over another type")
	s.open(slot, t, p)
	s.touch(old, s.clock.tick.Load())
	due := p.g.deadline(p.i)
	before := s.cost(old, due)
	was := int(before.ValueBytes)
	if offset < 0 {
		offset = was
	}
	size := max(was, offset+len(data))
	kept := old[12]&nodeSum != 0
	n := s.extend(t, p, was, size)
	_, v, _ := n.span()
	lo, hi := min(offset, was), offset+len(data)
	var rest sum128
	if kept {
		rest = n.keptSum().minus(blockSums(n[v:v+was], lo, min(hi, was)))
	}
	if offset > was {
		clear(n[v+was : v+offset])
	}
	copy(n[v+offset:v+size], data)
	n.setVersion(version)
	if kept {
		n.keepSum(rest.plus(blockSums(n[v:v+size], lo, hi)))
	} else if n[12]&nodeSum != 0 {
		n.keepSum(stringSum(n[v : v+size]))
	}
	s.change(slot, before, s.cost(n, due))
	return size
}

// extend gives the string at p room for size bytes; the first was of them stay.
func (s *Store) extend(t *slotTable, p place, was, size int) node {
	word := p.g.words[p.i]
	old := s.node(p)
	flags := old.flags()
	k, v, e := old.span()
	l := newLayout(TypeString, false, flags, v-k, size)
	if !t.shared(word) && l.kind == old[12] && l.bytes() <= s.arena.Usable(refOf(word)) {
		old.setSize(size)
		return old
	}
	room := l.bytes()
	if size > was {
		room += room / 8 // a string that grew will grow again
	}
	ref, b := s.arena.Alloc(room)
	n := node(b[:cap(b)])
	l.put(n, old.version(), flags)
	nk, _, _ := n.span()
	copy(n[nk:], old[k:e])
	if l.kind&old[12]&nodeSum != 0 {
		n.keepSum(old.keptSum())
	}
	n.recency().Store(old.recency().Load())
	s.moved(t, p.g, p.i, word, ref)
	s.release(t, word)
	return n
}

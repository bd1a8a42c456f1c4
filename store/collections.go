// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"

	"github.com/kvorum/kvorum/store/collections"
)

// EditList lets f change the list at key, which begins empty, without flags and deadline, when the
// key is absent. The key must not hold another type. When f changed something the entry gets
// version; a list left empty vanishes, which counts as a removal only if it was there before. f may
// keep nothing of the list and must not call the store. Needs the slot's write lock.
func (s *Store) EditList(slot uint16, key []byte, version uint64, f func(l *collections.ListEdit)) {
	e := &s.edits.list
	x := s.beginEdit(slot, key, TypeList, e)
	f(&e.ListEdit)
	s.endEdit(slot, &x, key, TypeList, version, e)
}

// EditHash is EditList for a hash.
func (s *Store) EditHash(slot uint16, key []byte, version uint64, f func(h *collections.HashEdit)) {
	e := &s.edits.hash
	x := s.beginEdit(slot, key, TypeHash, e)
	f(e.HashEdit)
	s.endEdit(slot, &x, key, TypeHash, version, e)
}

// SetField stores a field of the hash at key and tells whether it is new; otherwise as EditHash. To write over a
// value of the same length is the commonest edit, and costs no more than finding it.
func (s *Store) SetField(slot uint16, key, field, value []byte, version uint64) (created bool) {
	if t := s.slots[slot].t; t != nil && t.hot.open && t.pins == 0 && s.views.live.Load() == nil {
		if b := t.hot.b; b.packed(TypeHash) && b.is(key) {
			if v, ok := collections.PackedField(b.value(), field); ok && len(v) == len(value) {
				copy(v, value)
				b.setVersion(version)
				s.TouchRef(Ref{b: b}, s.clock.tick.Load())
				return false
			}
		}
	}
	s.EditHash(slot, key, version, func(h *collections.HashEdit) { created = h.Set(field, value) })
	return created
}

// EditSet is EditList for a set.
func (s *Store) EditSet(slot uint16, key []byte, version uint64, f func(m *collections.SetEdit)) {
	e := &s.edits.set
	x := s.beginEdit(slot, key, TypeSet, e)
	f(e.SetEdit)
	s.endEdit(slot, &x, key, TypeSet, version, e)
}

// EditZSet is EditList for a sorted set.
func (s *Store) EditZSet(slot uint16, key []byte, version uint64, f func(z *collections.ZSetEdit)) {
	e := &s.edits.zset
	x := s.beginEdit(slot, key, TypeZSet, e)
	f(e.ZSetEdit)
	s.endEdit(slot, &x, key, TypeZSet, version, e)
}

// edit is one change of a collection under way.
type edit struct {
	t *slotTable
	p place
	// before is the entry's cost when it began.
	before Stats
}

// beginEdit opens the entry and gives its value to the handle.
func (s *Store) beginEdit(slot uint16, key []byte, typ Type, e editor) edit {
	t := s.writable(slot)
	p := s.locate(t, key)
	if p.i < 0 {
		e.begin(nil, false)
		return edit{t: t, p: p}
	}
	n := s.node(p)
	assert(n.typ() == typ, "a collection is edited over another type")
	s.open(slot, t, p)
	x := edit{t: t, p: p, before: s.cost(n, p.g.deadline(p.i))}
	word := p.g.words[p.i]
	shared := t.shared(word)
	if n.large() {
		o := s.objects.get(n.object())
		if shared {
			o = e.fork(o)
		}
		e.beginLarge(o)
		return x
	}
	_, v, end := n.span()
	room := end
	if !shared {
		room = max(end, min(s.arena.Usable(refOf(word)), v+maxPacked))
	}
	e.begin(n[v:end:room], !shared)
	return x
}

// maxPacked is the largest value that a short header can tell the length of.
const maxPacked = 65535

// endEdit writes back what became of the value.
func (s *Store) endEdit(slot uint16, x *edit, key []byte, typ Type, version uint64, e editor) {
	dirty, packed, large := e.end()
	empty := len(packed) == 0 && large == nil
	switch {
	case !dirty || x.p.i < 0 && empty:
		return
	case x.p.i < 0:
		s.insertCollection(slot, x, key, typ, version, packed, large)
		return
	}
	s.touch(s.node(x.p), s.clock.tick.Load())
	n := s.putValue(x.t, x.p, packed, large)
	n.setVersion(version)
	s.change(slot, x.before, s.cost(n, x.p.g.deadline(x.p.i)))
	if empty {
		s.remove(slot, x.t, x.p.g, x.p.i)
	}
}

func (s *Store) insertCollection(slot uint16, x *edit, key []byte, typ Type, version uint64, packed []byte, large any) {
	var n node
	if large != nil {
		n, _ = s.insert(slot, x.t, x.p, key, newLayout(typ, true, 0, len(key), objectSize), 0)
		s.putObject(n, large)
	} else {
		n, _ = s.insert(slot, x.t, x.p, key, newLayout(typ, false, 0, len(key), len(packed)), 0)
		copy(n.value(), packed)
	}
	n.setVersion(version)
	s.account(slot, s.cost(n, 0))
}

// putValue makes an open entry hold another value of its type. packed may lie in the entry's own node.
func (s *Store) putValue(t *slotTable, p place, packed []byte, large any) node {
	word := p.g.words[p.i]
	old := s.node(p)
	k, v, _ := old.span()
	flags := old.flags()
	if large == nil {
		return s.rewrite(t, p.g, p.i, newLayout(old.typ(), false, flags, v-k, len(packed)), flags, packed)
	}
	if old.large() && !t.shared(word) {
		s.objects.set(old.object(), large)
		return old
	}
	var number [objectSize]byte
	binary.LittleEndian.PutUint32(number[:], s.objects.add(large))
	return s.rewrite(t, p.g, p.i, newLayout(old.typ(), true, flags, v-k, objectSize), flags, number[:])
}

func (s *Store) putObject(n node, o any) {
	binary.LittleEndian.PutUint32(n.value(), s.objects.add(o))
}

// dropObject lets the object of a node go whose value is written over.
func (s *Store) dropObject(n node) {
	if n.large() {
		s.objects.remove(n.object())
	}
}

// moveObject makes fresh, a copy of n, the owner of the object: a fork of it if a view reads n.
func (s *Store) moveObject(t *slotTable, word uint64, n, fresh node) {
	if !t.shared(word) {
		n[12] &^= nodeLarge
		return
	}
	s.putObject(fresh, s.editorOf(n.typ()).fork(s.objects.get(n.object())))
}

func (s *Store) editorOf(t Type) editor {
	switch t {
	case TypeList:
		return &s.edits.list
	case TypeHash:
		return &s.edits.hash
	case TypeSet:
		return &s.edits.set
	case TypeZSet:
		return &s.edits.zset
	case TypeNone, TypeString:
	}
	panic("store: no collection")
}

func (s *Store) list(n node) collections.List {
	if n.large() {
		return collections.LargeList(s.objects.get(n.object()).(*collections.BigList))
	}
	return collections.PackedList(n.value())
}

func (s *Store) hashOf(n node) collections.Hash {
	if n.large() {
		return collections.LargeHash(s.objects.get(n.object()).(*collections.BigHash))
	}
	return collections.PackedHash(n.value())
}

func (s *Store) set(n node) collections.Set {
	if n.large() {
		return collections.LargeSet(s.objects.get(n.object()).(*collections.BigSet))
	}
	return collections.PackedSet(n.value())
}

func (s *Store) zset(n node) collections.ZSet {
	if n.large() {
		return collections.LargeZSet(s.objects.get(n.object()).(*collections.BigZSet))
	}
	return collections.PackedZSet(n.value())
}

// weigh returns the bytes users wrote into a collection, and its overhead in the formula of logical bytes.
func (s *Store) weigh(n node) (value, overhead int64) {
	var items int
	each := int64(ElementOverhead)
	switch n.typ() {
	case TypeList:
		l := s.list(n)
		value, items = l.Bytes(), l.Len()
	case TypeHash:
		h := s.hashOf(n)
		value, items, each = h.Bytes(), h.Len(), FieldOverhead
	case TypeSet:
		m := s.set(n)
		value, items, each = m.Bytes(), m.Len(), MemberOverhead
	case TypeZSet:
		z := s.zset(n)
		value, items, each = z.Bytes(), z.Len(), ScoreOverhead
	case TypeNone, TypeString:
		panic("store: no collection")
	}
	return value, CollectionOverhead + int64(items)*each
}

// bodySum is the sum of a collection.
func (s *Store) bodySum(n node) sum128 {
	var sum [2]uint64
	switch n.typ() {
	case TypeList:
		sum = s.list(n).Sum()
	case TypeHash:
		sum = s.hashOf(n).Sum()
	case TypeSet:
		sum = s.set(n).Sum()
	case TypeZSet:
		sum = s.zset(n).Sum()
	case TypeNone, TypeString:
		panic("store: no collection")
	}
	return sum128{sum[0], sum[1]}
}

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

// SetField stores a field of the hash at key and tells whether it is new; otherwise as EditHash.
func (s *Store) SetField(slot uint16, key, field, value []byte, version uint64) (created bool) {
	s.EditHash(slot, key, version, func(h *collections.HashEdit) { created = h.Set(field, value) })
	return created
}

// OverwriteField is SetField for the commonest edit, that of a value of the same length in the entry written last, which
// costs no more than finding it. It does nothing and is false when there is more to do. r may be no entry, and of any type.
func (r Ref) OverwriteField(slot uint16, field, value []byte, version uint64) bool {
	if r.g == nil {
		return false
	}
	s := r.s
	if t := s.slots[slot].t; t.hot.b != r.b || !s.untouched(t) {
		return false
	}
	p, ok := r.b.shortPacked(TypeHash)
	if !ok {
		return false
	}
	v, ok := collections.PackedField(p, field)
	if !ok || len(v) != len(value) {
		return false
	}
	copy(v, value)
	r.b.setVersion(version)
	s.TouchRef(r, s.clock.tick.Load())
	return true
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
	// before is what the value weighed when it began.
	before weight
	// object is a large value that nobody reads without the lock, of an entry that is open, or nil. There is nothing
	// to write back unless another takes its place.
	object any
}

// weight is what a collection counts: the bytes users wrote into it, and its items.
type weight struct {
	bytes int64
	items int
}

// beginEdit opens the entry and gives its value to the handle.
func (s *Store) beginEdit(slot uint16, key []byte, typ Type, e editor) edit {
	if t := s.slots[slot].t; t != nil && s.untouched(t) {
		if b := t.hot.b; b.is(key) && b.largeOf(typ) {
			o := s.objects.get(b.object())
			e.beginLarge(o)
			return edit{t: t, p: place{hash: t.hot.hash, g: t.hot.g, i: t.hot.i}, before: e.weight(), object: o}
		}
	}
	t := s.writable(slot)
	p := s.locate(t, key)
	if p.i < 0 {
		e.begin(nil, false)
		return edit{t: t, p: p}
	}
	n := s.node(p)
	assert(n.typ() == typ, "a collection is edited over another type")
	s.open(slot, t, p)
	x := edit{t: t, p: p}
	word := p.g.words[p.i]
	shared := t.shared(word)
	if n.large() {
		o := s.objects.get(n.object())
		if shared {
			o = e.fork(o)
		}
		e.beginLarge(o)
	} else {
		_, v, end := n.span()
		room := end
		if !shared {
			room = max(end, min(s.arena.Usable(refOf(word)), v+maxPacked))
		}
		e.begin(n[v:end:room], !shared)
	}
	x.before = e.weight()
	return x
}

// untouched tells whether the entry written last is open and belongs to the writer alone, so that a change of
// its value is all that there is to do.
func (s *Store) untouched(t *slotTable) bool {
	return t.hot.open && t.pins == 0 && s.views.live.Load() == nil && !s.garbage.waiting.Load()
}

// maxPacked is the largest value that a short header can tell the length of.
const maxPacked = 65535

// endEdit writes back what became of the value.
func (s *Store) endEdit(slot uint16, x *edit, key []byte, typ Type, version uint64, e editor) {
	after := e.weight()
	dirty, packed, large := e.end()
	empty := len(packed) == 0 && large == nil
	switch {
	case !dirty || x.p.i < 0 && empty:
		return
	case x.p.i < 0:
		s.insertCollection(slot, x, key, typ, version, packed, large)
		return
	case x.object == nil || large != x.object:
		s.putValue(x.t, x.p, packed, large)
	}
	b := s.block(refOf(x.p.g.words[x.p.i]))
	b.setVersion(version)
	s.note(b.recency(), s.clock.tick.Load())
	if after != x.before {
		more := after.bytes - x.before.bytes
		s.account(slot, Stats{ValueBytes: more, LogicalBytes: more + int64(after.items-x.before.items)*itemOverhead[typ]})
	}
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
func (s *Store) putValue(t *slotTable, p place, packed []byte, large any) {
	word := p.g.words[p.i]
	old := s.node(p)
	k, v, _ := old.span()
	flags := old.flags()
	if large == nil {
		s.rewrite(t, p.g, p.i, newLayout(old.typ(), false, flags, v-k, len(packed)), flags, packed)
		return
	}
	if old.large() && !t.shared(word) {
		s.objects.set(old.object(), large)
		return
	}
	var number [objectSize]byte
	binary.LittleEndian.PutUint32(number[:], s.objects.add(large))
	s.rewrite(t, p.g, p.i, newLayout(old.typ(), true, flags, v-k, objectSize), flags, number[:])
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

// itemOverhead is what an item of a collection costs beside its bytes, in the formula of logical bytes.
var itemOverhead = [...]int64{
	TypeList: ElementOverhead, TypeHash: FieldOverhead, TypeSet: MemberOverhead, TypeZSet: ScoreOverhead,
}

// weigh returns what a collection counts.
func (s *Store) weigh(n node) weight {
	switch n.typ() {
	case TypeList:
		l := s.list(n)
		return weight{l.Bytes(), l.Len()}
	case TypeHash:
		h := s.hashOf(n)
		return weight{h.Bytes(), h.Len()}
	case TypeSet:
		m := s.set(n)
		return weight{m.Bytes(), m.Len()}
	case TypeZSet:
		z := s.zset(n)
		return weight{z.Bytes(), z.Len()}
	case TypeNone, TypeString:
	}
	panic("store: no collection")
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

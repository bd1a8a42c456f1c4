// SPDX-License-Identifier: Apache-2.0

package store

import "github.com/kvorum/kvorum/store/arena"

// Type is the type of an entry's value. Numbers are stable: they are written to snapshots.
type Type uint8

// The types.
const (
	TypeNone   Type = 0
	TypeString Type = 1
	TypeList   Type = 2
	TypeHash   Type = 3
	TypeSet    Type = 4
	TypeZSet   Type = 5
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

// open begins a change of an entry in place: views get what they need, and its digest leaves the slot's
// sum until the entry is settled.
func (s *Store) open(slot uint16, t *slotTable, p place) {
	s.own(slot, t, p.g)
	h := &t.hot
	if h.g != p.g || h.i != p.i {
		s.settle(t)
		if p.hash == 0 {
			p.hash = s.hash.Sum(s.node(p).key())
		}
		*h = hotEntry{g: p.g, i: p.i, b: s.block(refOf(p.g.words[p.i])), hash: p.hash}
	}
	if !h.open {
		t.sum = t.sum.minus(s.entrySum(s.node(p), p.g.deadline(p.i)))
		h.open = true
	}
}

// settle ends the change of the hot entry.
func (s *Store) settle(t *slotTable) {
	if h := &t.hot; h.open {
		t.sum = t.sum.plus(s.entrySum(h.b.node(), h.g.deadline(h.i)))
		h.open = false
	}
}

// insert adds a key that is known to be absent, which becomes the hot entry, and returns its node, whose
// value and version are to be written, and its place.
func (s *Store) insert(slot uint16, t *slotTable, p place, key []byte, l layout, flags uint32) (node, place) {
	s.own(slot, t, p.g)
	s.settle(t)
	g := s.makeRoom(t, p.hash)
	ref, b := s.arena.Alloc(l.bytes())
	n := node(b[:cap(b)])
	l.put(n, 0, flags)
	copy(n.key(), key)
	n.recency().Store(s.clock.fresh())
	i := s.room(g, p.hash, key)
	s.insertWord(g, i, newWord(p.hash, ref), 0)
	t.n++
	t.hot = hotEntry{g: g, i: i, b: s.block(ref), hash: p.hash, open: true}
	return n, place{hash: p.hash, g: g, i: i}
}

// moved makes the hot entry, at place i of g, lead to another node; word is what led to the old one.
func (s *Store) moved(t *slotTable, g *segment, i int, word uint64, ref arena.Ref) {
	g.words[i] = newWord(word, ref)
	t.hot.b = s.block(ref)
}

// inPlace tells whether a node of l may take the place of the one in r's block without waste.
func (s *Store) inPlace(r arena.Ref, l layout) bool {
	have, need := s.arena.Usable(r), l.bytes()
	return need <= have && have-need <= max(16, have/4)
}

// rewrite gives the node at place i of a segment another layout and value and returns it; key, recency and
// version stay. The value may alias the node's own where neither key nor header move. The entry is open.
func (s *Store) rewrite(t *slotTable, g *segment, i int, l layout, flags uint32, value []byte) node {
	word := g.words[i]
	r := refOf(word)
	old := node(s.arena.Bytes(r))
	inPlace := !t.shared(word) || planted("view-late") && Type(l.kind&nodeType) == TypeString
	if inPlace && s.inPlace(r, l) {
		s.dropObject(old)
		k, v, _ := old.span()
		at := shortHeader
		if l.kind&nodeWide != 0 {
			at = wideHeader
		}
		at += fieldsSize(l.kind)
		if at != k {
			copy(old[at:], old[k:v])
		}
		l.put(old, old.version(), flags)
		copy(old.value(), value)
		return old
	}
	ref, b := s.arena.Alloc(l.bytes())
	n := node(b[:cap(b)])
	l.put(n, old.version(), flags)
	copy(n.key(), old.key())
	copy(n.value(), value)
	n.recency().Store(old.recency().Load())
	s.moved(t, g, i, word, ref)
	s.release(t, word)
	return n
}

// reshape is rewrite for other flags: the value stays.
func (s *Store) reshape(t *slotTable, g *segment, i int, flags uint32) node {
	word := g.words[i]
	n := node(s.arena.Bytes(refOf(word)))
	k, v, e := n.span()
	l := newLayout(n.typ(), n.large(), flags, v-k, e-v)
	if !t.shared(word) && l.kind == n[12] {
		l.put(n, n.version(), flags)
		return n
	}
	ref, b := s.arena.Alloc(l.bytes())
	fresh := node(b[:cap(b)])
	l.put(fresh, n.version(), flags)
	fk, _, _ := fresh.span()
	if l.kind&nodeSum != 0 {
		copy(fresh[fk-sumSize:], n[k-sumSize:e])
	} else {
		copy(fresh[fk:], n[k:e])
	}
	fresh.recency().Store(n.recency().Load())
	if n.large() {
		s.moveObject(t, word, n, fresh)
	}
	s.moved(t, g, i, word, ref)
	s.release(t, word)
	return fresh
}

// remove takes an entry out of the slot.
func (s *Store) remove(slot uint16, t *slotTable, g *segment, i int) {
	s.own(slot, t, g)
	n := node(s.arena.Bytes(refOf(g.words[i])))
	if h := &t.hot; h.g != g || h.i != i {
		s.settle(t)
		t.sum = t.sum.minus(s.entrySum(n, g.deadline(i)))
	} else if !h.open {
		t.sum = t.sum.minus(s.entrySum(n, g.deadline(i)))
	}
	t.hot = hotEntry{}
	s.account(slot, s.cost(n, g.deadline(i)).neg())
	t.removed = max(t.removed, n.version())
	s.setDeadline(slot, t, g, i, 0)
	s.release(t, g.words[i])
	s.removeWord(g, i)
	t.n--
	s.join(slot, t, g)
}

// SPDX-License-Identifier: Apache-2.0

package store

import "github.com/kvorum/kvorum/store/arena"

// positionBits is the width of a scan position: the high bits of the keyed hash.
const positionBits = 48

// slotTable is what a slot holds: segments, found through a directory by the high bits of the keyed hash
// (extendible hashing: Fagin et al., TODS 1979). Growth splits one segment, so no write pays for
// more than one; walking the directory meets all keys in the order of (hash, key), so growth never
// disturbs a scan.
type slotTable struct {
	// dir has 2^depth places; a segment of depth d stands in 2^(depth-d) neighbouring ones. deepest
	// counts the segments whose depth is that of the directory.
	dir     []*segment
	depth   uint8
	deepest int
	n       int
	due     dueHeap
	hot     hotEntry
	tokens  tokenSet
	// removed is the highest version among all entries ever removed from the slot, 0 for none.
	removed uint64
	count   Stats
	// sum is the digest of all entries but, while hot.open, the hot one.
	sum sum128
	// pins counts the views that may read nodes of this table without a lock. While there are any, nodes
	// that leave the table go to limbo; the last view takes limbo to the store's garbage.
	pins  int
	limbo []arena.Ref
}

// hotEntry remembers the entry that was written last: the next write is often to the same key, and then
// finds it at once and changes the digest not at all.
type hotEntry struct {
	// g is nil when there is none; i is its place there.
	g    *segment
	i    int
	b    block
	hash uint64
	// open: the entry is not in the table's sum now.
	open bool
}

// place is where a key is, or, with i < 0, where it is not.
type place struct {
	hash uint64
	g    *segment
	i    int
}

func (s *Store) node(p place) node { return s.arena.Bytes(refOf(p.g.words[p.i])) }

func newTable() *slotTable { return &slotTable{dir: []*segment{{}}, deepest: 1} }

func (t *slotTable) at(hash uint64) *segment { return t.dir[hash>>(64-t.depth)] }

// locate finds a key. Any lock of the slot will do.
func (s *Store) locate(t *slotTable, key []byte) place {
	if h := &t.hot; h.g != nil {
		if h.b.is(key) {
			return place{hash: h.hash, g: h.g, i: h.i}
		}
	}
	p := place{hash: s.hash.Sum(key)}
	p.g = t.at(p.hash)
	p.i = p.g.find(s.arena, p.hash, key)
	return p
}

// segments calls f for each segment whose range ends behind from, in order, until f returns false.
func (t *slotTable) segments(from uint64, f func(g *segment) bool) {
	for i := from >> (64 - t.depth); i < uint64(len(t.dir)); {
		g := t.dir[i]
		if !f(g) {
			return
		}
		i = i&^(1<<(t.depth-g.depth)-1) + 1<<(t.depth-g.depth)
	}
}

// ascend calls f for every entry in the order of (hash, key) until f returns false.
func (s *Store) ascend(t *slotTable, f func(g *segment, i int, n node) bool) {
	t.segments(0, func(g *segment) bool {
		for i, w := range g.words {
			if !f(g, i, s.arena.Bytes(refOf(w))) {
				return false
			}
		}
		return true
	})
}

// makeRoom returns the segment for a new key of this hash, split until it has room. The caller has called
// own for the present one, and settle.
func (s *Store) makeRoom(t *slotTable, hash uint64) *segment {
	g := t.at(hash)
	for len(g.words) >= segmentMax && g.depth < depthMax {
		s.split(t, g)
		g = t.at(hash)
	}
	return g
}

// split halves the range of a segment; g keeps the lower half.
func (s *Store) split(t *slotTable, g *segment) {
	if g.depth == t.depth {
		t.widen()
	}
	t.due.drop(g)
	g.depth++
	bit := uint64(1) << (64 - g.depth)
	right := &segment{prefix: g.prefix | bit, depth: g.depth, gen: g.gen}
	if g.depth == t.depth {
		t.deepest += 2
	}
	m := 0
	for m < len(g.words) && g.words[m]&bit == 0 {
		m++
	}
	if n := len(g.words) - m; n > 0 {
		s.resize(right, n+n/4)
		right.words = right.words[:n]
		copy(right.words, g.words[m:])
		if g.due != nil {
			s.timed(right)
			copy(right.due, g.due[m:])
			g.due = g.due[:m]
		}
		g.words = g.words[:m]
		s.resize(g, m+m/4)
	}
	s.refreshDue(t, g)
	s.refreshDue(t, right)
	t.place(right)
}

// place writes a segment into its places of the directory.
func (t *slotTable) place(g *segment) {
	n := 1 << (t.depth - g.depth)
	at := int(g.prefix >> (64 - t.depth))
	for i := range n {
		t.dir[at+i] = g
	}
}

// widen doubles the directory.
func (t *slotTable) widen() {
	wide := make([]*segment, 2*len(t.dir))
	for i, g := range t.dir {
		wide[2*i], wide[2*i+1] = g, g
	}
	t.dir, t.deepest = wide, 0
	t.depth++
}

// join makes one segment of g and its neighbour when both hold little, as often as it can. The caller has
// called own for g, and settle.
func (s *Store) join(slot uint16, t *slotTable, g *segment) {
	for g.depth > 0 {
		bit := uint64(1) << (64 - g.depth)
		left, right := t.at(g.prefix&^bit), t.at(g.prefix|bit)
		if left.depth != right.depth || len(left.words)+len(right.words) > segmentJoin {
			return
		}
		s.own(slot, t, left)
		s.own(slot, t, right)
		t.due.drop(left)
		t.due.drop(right)
		if len(right.words) > 0 {
			s.append(left, right)
		}
		s.dropSegment(right)
		if left.depth == t.depth {
			t.deepest -= 2
		}
		left.depth--
		t.place(left)
		s.refreshDue(t, left)
		t.narrow()
		g = left
	}
}

// append adds the words of right behind those of left.
func (s *Store) append(left, right *segment) {
	n, m := len(left.words), len(right.words)
	if right.due != nil && left.due == nil {
		s.timed(left)
	}
	if n+m > cap(left.words) {
		s.resize(left, n+m)
	}
	left.words = left.words[:n+m]
	copy(left.words[n:], right.words)
	if left.due != nil {
		left.due = left.due[:n+m]
		if right.due != nil {
			copy(left.due[n:], right.due)
		} else {
			clear(left.due[n:])
		}
	}
}

// narrow halves the directory while no segment needs its depth.
func (t *slotTable) narrow() {
	for t.depth > 0 && t.deepest == 0 {
		half := make([]*segment, len(t.dir)/2)
		t.depth--
		for i := range half {
			half[i] = t.dir[2*i]
			if half[i].depth == t.depth {
				t.deepest++ // stands in one place only
			}
		}
		t.dir = half
	}
}

// scan visits about count entries from a position on and returns the position to go on from, 0 at the
// end. Entries that share a position are never split over two calls, so a position names a place in
// the order for ever: every key present from the first call to the last is visited at least once.
func (s *Store) scan(t *slotTable, position uint64, count int, f func(r Ref)) (next uint64) {
	if position>>positionBits != 0 {
		return 0
	}
	const low = 64 - positionBits
	from := position << low
	seen, more := 0, false
	t.segments(from, func(g *segment) bool {
		for i := g.lower(from); i < len(g.words); i++ {
			n := node(s.arena.Bytes(refOf(g.words[i])))
			hash := s.hash.Sum(n.key())
			if hash < from {
				continue
			}
			if at := hash >> low; seen >= count && at >= next {
				more = true
				return false
			}
			seen++
			next = hash>>low + 1
			f(s.at(g, i))
		}
		return true
	})
	if !more {
		return 0
	}
	return next
}

// SPDX-License-Identifier: Apache-2.0

package collections

import "bytes"

const (
	dirMin    = 4 // pages of the smallest directory; a power of two
	dirShrink = 8 // the directory halves when less than 1/dirShrink of it is used
)

// BigList is a large list: one ring of places in pages reached through a directory, so that growth copies
// pointers to pages and never elements.
//
// At least one page of places stays free; so the first and the last element share a page only when the ring
// does not wrap between them, and a page that empties can go.
type BigList struct {
	own   *owner  // nil: owns no page
	dir   []*page // nil where empty; length a power of two
	head  int     // place of element 0
	n     int
	bytes int64 // sum of the elements' lengths
	poly  polynomial
}

func newBigList() *BigList {
	return &BigList{own: new(owner), dir: make([]*page, dirMin), poly: newPolynomial()}
}

// Fork returns a list of the same elements; a change of one does not show in the other.
func (l *BigList) Fork() *BigList {
	f := *l
	f.dir = append(make([]*page, 0, len(l.dir)), l.dir...)
	l.own, f.own = nil, nil
	return &f
}

// Sum is the fingerprint of the elements in their order.
func (l *BigList) Sum() [2]uint64 { return l.poly.sum.words() }

func (l *BigList) index(i int) []byte {
	p := l.head + i
	return l.dir[p>>pageBits&(len(l.dir)-1)].at(p & pageMask)
}

// room makes sure of a place for one more element.
func (l *BigList) room() {
	if l.n+1 > (len(l.dir)-1)<<pageBits {
		l.resizeDir(2 * len(l.dir))
	}
}

// resizeDir moves the pages in use to the front of a directory of n pages.
func (l *BigList) resizeDir(n int) {
	dir := make([]*page, n)
	first := l.head >> pageBits
	used := (l.head&pageMask + l.n + pageItems - 1) >> pageBits
	for i := range used {
		dir[i] = l.dir[(first+i)&(len(l.dir)-1)]
	}
	l.dir, l.head = dir, l.head&pageMask
}

// span returns the places of page i that are in use.
func (l *BigList) span(i int) (lo, hi int) {
	mask := len(l.dir)<<pageBits - 1
	hi = pageItems
	if l.head>>pageBits == i {
		lo = l.head & pageMask
		hi = min(hi, lo+l.n)
	} else if left := (l.head + l.n - i<<pageBits) & mask; left < pageItems {
		hi = left
	}
	return lo, hi
}

// writable returns page i, owned.
func (l *BigList) writable(i int) *page {
	pg := l.dir[i]
	if pg.own == l.own {
		return pg
	}
	if l.own == nil {
		l.own = new(owner)
	}
	pg = pg.clone(l.own)
	l.dir[i] = pg
	return pg
}

// begin puts an empty page at i, with a buffer as its neighbour, a full page or none, needed.
func (l *BigList) begin(i int, neighbour *page) *page {
	if l.own == nil {
		l.own = new(owner)
	}
	pg := &page{own: l.own, buf: []byte{}}
	if neighbour != nil {
		pg.buf = make([]byte, neighbour.pos[pageItems]-neighbour.pos[0])
		if len(neighbour.buf)-len(pg.buf) > len(neighbour.buf)/8 && neighbour.own == l.own {
			neighbour.trim()
		}
	}
	l.dir[i] = pg
	return pg
}

// trim gives back what the buffer of a full page has too much.
func (p *page) trim() {
	from, end := p.pos[0], p.pos[pageItems]
	p.buf = buffer(p.buf[from:end])
	for j := range p.pos {
		p.pos[j] -= from
	}
}

// pushFront adds v, which it keeps when it is longer than inlineMax.
func (l *BigList) pushFront(v []byte) {
	l.room()
	at := (l.head - 1) & (len(l.dir)<<pageBits - 1)
	i, place := at>>pageBits, at&pageMask
	pg := l.dir[i]
	if pg == nil {
		var neighbour *page
		if l.n >= pageItems {
			neighbour = l.dir[l.head>>pageBits]
		}
		pg = l.begin(i, neighbour)
		pg.pos[place+1] = uint16(len(pg.buf))
	} else if pg.own != l.own {
		pg = l.writable(i)
	}
	if len(v) == 0 {
		pg.pos[place] = pg.pos[place+1]
	} else {
		pg.putFront(place+1, l.endIn(i), v)
	}
	l.head = at
	l.n++
	l.bytes += int64(len(v))
	l.poly.pushFront(hashElement(v))
}

// pushBack is pushFront at the other end.
func (l *BigList) pushBack(v []byte) {
	l.room()
	at := (l.head + l.n) & (len(l.dir)<<pageBits - 1)
	i, place := at>>pageBits, at&pageMask
	pg := l.dir[i]
	if pg == nil {
		var neighbour *page
		if l.n >= pageItems {
			neighbour = l.dir[(i-1)&(len(l.dir)-1)]
		}
		pg = l.begin(i, neighbour)
		pg.pos[place] = 0
	} else if pg.own != l.own {
		pg = l.writable(i)
	}
	lo := 0
	if l.head>>pageBits == i {
		lo = l.head & pageMask
	}
	pg.putBack(lo, place, v)
	l.poly.pushBack(l.n, hashElement(v))
	l.n++
	l.bytes += int64(len(v))
}

// endIn is where the places in use of page i end, which holds the first element or comes before it.
func (l *BigList) endIn(i int) int {
	if l.head>>pageBits == i {
		return min(pageItems, l.head&pageMask+l.n)
	}
	return pageItems
}

// popFront removes the first element, of which the list must have one. What it returns is valid until the
// next change.
func (l *BigList) popFront() []byte {
	i, place := l.head>>pageBits, l.head&pageMask
	v := l.take(i, place)
	l.poly.popFront(hashElement(v))
	l.head = (l.head + 1) & (len(l.dir)<<pageBits - 1)
	l.n--
	if l.head&pageMask == 0 {
		l.dir[i] = nil
		l.tighten()
	}
	return v
}

// popBack is popFront at the other end.
func (l *BigList) popBack() []byte {
	at := (l.head + l.n - 1) & (len(l.dir)<<pageBits - 1)
	i, place := at>>pageBits, at&pageMask
	v := l.take(i, place)
	l.n--
	l.poly.popBack(l.n, hashElement(v))
	if place == 0 {
		l.dir[i] = nil
		l.tighten()
	}
	return v
}

// take returns an element on its way out. Its bytes stay where they are, so the page is not copied for
// them.
func (l *BigList) take(i, place int) []byte {
	pg := l.dir[i]
	v := pg.at(place)
	if len(v) > inlineMax {
		l.writable(i).dropBig(place)
	}
	l.bytes -= int64(len(v))
	return v
}

// tighten gives back a directory that is mostly unused.
func (l *BigList) tighten() {
	if len(l.dir) > dirMin && l.n < len(l.dir)<<pageBits/dirShrink {
		l.resizeDir(len(l.dir) / 2)
	}
}

// set replaces an element by v, which it keeps when it is longer than inlineMax.
func (l *BigList) set(i int, v []byte) {
	at := (l.head + i) & (len(l.dir)<<pageBits - 1)
	pg := l.writable(at >> pageBits)
	old := pg.at(at & pageMask)
	l.bytes += int64(len(v)) - int64(len(old))
	l.poly.set(i, hashElement(old), hashElement(v))
	lo, hi := l.span(at >> pageBits)
	pg.set(lo, hi, at&pageMask, v)
}

// match returns how many elements equal v, up to limit from the front or back, and between which they are.
func (l *BigList) match(v []byte, limit int, back bool) (first, last, found int) {
	for j := 0; j < l.n && found < limit; j++ {
		i := j
		if back {
			i = l.n - 1 - j
		}
		if bytes.Equal(l.index(i), v) {
			if found == 0 {
				first, last = i, i
			}
			first, last = min(first, i), max(last, i)
			found++
		}
	}
	return first, last, found
}

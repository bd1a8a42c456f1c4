// SPDX-License-Identifier: Apache-2.0

package store

import "bytes"

const (
	listPage    = 128 // elements of a page; a power of two
	listSmall   = 4   // places of the smallest ring; a power of two
	pageBits    = 7
	listShrink  = 8 // the directory halves when less than 1/listShrink of it is used
	pageOfIndex = listPage - 1
)

// List is a double-ended queue with O(1) ends and O(1) access by index. Elements read from it alias
// the store. Changing it is allowed inside EditList only.
//
// It is one ring of places: up to listPage of them in a plain slice, beyond that in pages reached
// through a directory, so that growth copies pointers to pages and never elements. In paged form at
// least one page of places stays free; so the first and the last element share a page only when the
// ring does not wrap between them, and a page that empties can go.
type List struct {
	small [][]byte   // the ring while dir is nil
	dir   [][][]byte // pages of listPage places, nil where empty; length a power of two
	head  int        // place of element 0
	n     int
	bytes int64 // sum of the elements' lengths
	// open while EditList runs; dirty once it changed something.
	open, dirty bool
}

func (l *List) places() int {
	if l.dir != nil {
		return len(l.dir) << pageBits
	}
	return len(l.small)
}

// place returns the place of element i, which may be -1 or n for a new one.
func (l *List) place(i int) *[]byte {
	p := (l.head + i) & (l.places() - 1)
	if l.dir == nil {
		return &l.small[p]
	}
	page := &l.dir[p>>pageBits]
	if *page == nil {
		*page = make([][]byte, listPage)
	}
	return &(*page)[p&pageOfIndex]
}

// room makes sure of a place for one more element.
func (l *List) room() {
	switch {
	case l.dir != nil:
		if l.n+1 > l.places()-listPage {
			l.resizeDir(2 * len(l.dir))
		}
	case l.n < len(l.small):
	case len(l.small) < listPage:
		wide := make([][]byte, max(listSmall, 2*len(l.small)))
		for i := range l.n {
			wide[i] = *l.place(i)
		}
		l.small, l.head = wide, 0
	default:
		page := make([][]byte, listPage)
		for i := range l.n {
			page[i] = *l.place(i)
		}
		l.dir, l.small, l.head = make([][][]byte, 4), nil, 0
		l.dir[0] = page
	}
}

// resizeDir moves the pages in use to the front of a directory of n pages.
func (l *List) resizeDir(n int) {
	dir := make([][][]byte, n)
	first := l.head >> pageBits
	used := (l.head&pageOfIndex + l.n + listPage - 1) >> pageBits
	for i := range used {
		dir[i] = l.dir[(first+i)&(len(l.dir)-1)]
	}
	l.dir, l.head = dir, l.head&pageOfIndex
}

// Len is the number of elements.
func (l *List) Len() int { return l.n }

// Index returns element i of [0, Len).
func (l *List) Index(i int) []byte {
	assert(i >= 0 && i < l.n, "list index out of range")
	return *l.place(i)
}

// Range calls f for the elements of [lo, hi) in order until f returns false.
func (l *List) Range(lo, hi int, f func(elem []byte) bool) {
	for i := max(lo, 0); i < min(hi, l.n); i++ {
		if !f(*l.place(i)) {
			return
		}
	}
}

// PushFront adds a copy of v before the first element.
func (l *List) PushFront(v []byte) {
	assert(l.open, "a list is changed outside EditList")
	l.room()
	l.dirty = true
	*l.place(-1) = owned(v)
	l.head = (l.head - 1) & (l.places() - 1)
	l.n++
	l.bytes += int64(len(v))
}

// PushBack adds a copy of v behind the last element.
func (l *List) PushBack(v []byte) {
	assert(l.open, "a list is changed outside EditList")
	l.room()
	l.dirty = true
	*l.place(l.n) = owned(v)
	l.n++
	l.bytes += int64(len(v))
}

// owned copies v; the copy of an empty v is not nil.
func owned(v []byte) []byte { return append(make([]byte, 0, len(v)), v...) }

// PopFront removes the first element and returns it; it then belongs to the caller. False when the
// list is empty.
func (l *List) PopFront() ([]byte, bool) {
	assert(l.open, "a list is changed outside EditList")
	if l.n == 0 {
		return nil, false
	}
	v := l.take(0)
	l.head = (l.head + 1) & (l.places() - 1)
	l.n--
	if l.dir != nil && l.head&pageOfIndex == 0 {
		l.dir[(l.head>>pageBits-1)&(len(l.dir)-1)] = nil
		l.tighten()
	}
	return v, true
}

// PopBack removes the last element, otherwise as PopFront.
func (l *List) PopBack() ([]byte, bool) {
	assert(l.open, "a list is changed outside EditList")
	if l.n == 0 {
		return nil, false
	}
	v := l.take(l.n - 1)
	l.n--
	if end := l.head + l.n; l.dir != nil && end&pageOfIndex == 0 {
		l.dir[end>>pageBits&(len(l.dir)-1)] = nil
		l.tighten()
	}
	return v, true
}

func (l *List) take(i int) []byte {
	l.dirty = true
	p := l.place(i)
	v := *p
	*p = nil
	l.bytes -= int64(len(v))
	return v
}

// tighten gives back a directory that is mostly unused.
func (l *List) tighten() {
	if len(l.dir) > 4 && l.n < l.places()/listShrink {
		l.resizeDir(len(l.dir) / 2)
	}
}

// Set replaces element i of [0, Len) by a copy of v.
func (l *List) Set(i int, v []byte) {
	assert(l.open && i >= 0 && i < l.n, "list set out of range or outside EditList")
	l.dirty = true
	p := l.place(i)
	l.bytes += int64(len(v)) - int64(len(*p))
	*p = owned(v)
}

// Insert puts a copy of v before element i; i may be Len. It moves the shorter side of the list.
func (l *List) Insert(i int, v []byte) {
	assert(i >= 0 && i <= l.n, "list insert out of range")
	if i < l.n-i {
		l.PushFront(v)
		for j := range i {
			l.swap(j, j+1)
		}
		return
	}
	l.PushBack(v)
	for j := l.n - 1; j > i; j-- {
		l.swap(j, j-1)
	}
}

func (l *List) swap(i, j int) {
	a, b := l.place(i), l.place(j)
	*a, *b = *b, *a
}

// RemoveEqual removes elements equal to v and returns how many: for count > 0 the first count from
// the front, for count < 0 the first -count from the back, for 0 all.
func (l *List) RemoveEqual(v []byte, count int) int {
	assert(l.open, "a list is changed outside EditList")
	limit := l.n
	if count != 0 {
		count = max(count, -l.n) // -count must not overflow
		limit = min(limit, max(count, -count))
	}
	removed, n := 0, l.n
	if count >= 0 {
		keep := 0
		for i := range n {
			if removed < limit && bytes.Equal(*l.place(i), v) {
				removed++
				continue
			}
			l.swap(keep, i)
			keep++
		}
		for range removed {
			l.PopBack()
		}
		return removed
	}
	keep := n - 1
	for i := n - 1; i >= 0; i-- {
		if removed < limit && bytes.Equal(*l.place(i), v) {
			removed++
			continue
		}
		l.swap(keep, i)
		keep--
	}
	for range removed {
		l.PopFront()
	}
	return removed
}

// Trim keeps the elements of [lo, hi) and removes all others.
func (l *List) Trim(lo, hi int) {
	assert(l.open, "a list is changed outside EditList")
	lo, hi = max(lo, 0), min(hi, l.n)
	if lo >= hi {
		*l = List{open: true, dirty: l.dirty || l.n > 0}
		return
	}
	for l.n > hi {
		l.PopBack()
	}
	for range lo {
		l.PopFront()
	}
}

func (l *List) weigh() (value, overhead int64) {
	return l.bytes, CollectionOverhead + int64(l.n)*ElementOverhead
}

// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"math/bits"
	"slices"
)

const (
	pageItems = 128 // a power of two
	pageBits  = 7
	pageMask  = pageItems - 1
	// inlineMax is the longest item that stands in a page's buffer; a longer one is a slice of its own. So a
	// buffer is at most 3/2 × pageItems × inlineMax bytes and a uint16 reaches any place of it.
	inlineMax = 256
	bufferMax = pageItems * inlineMax * 3 / 2
)

// owner is who may change a page. A page of another owner is copied first.
type owner struct{ _ byte }

// page holds items in numbered places. The places in use are [lo, hi), which the page's keeper knows. In a
// list they may lie anywhere, in a leaf of a tree lo is 0. Item j is in buf from pos[j] to pos[j+1], or it is
// outsized and takes no bytes there. pos[lo] to pos[hi] are valid, also when lo is hi.
//
// An item longer than inlineMax that is put in a page belongs to it and is never written again; all others
// are copied.
type page struct {
	own *owner
	buf []byte // never nil; used to its length
	big *outsized
	pos [pageItems + 1]uint16
}

func (p *page) at(j int) []byte {
	if p.big != nil {
		if v, ok := p.big.at(j); ok {
			return v
		}
	}
	lo, hi := p.pos[j], p.pos[j+1]
	return p.buf[lo:hi:hi]
}

// clone is a copy with places [lo, hi) for a new owner.
func (p *page) clone(own *owner) *page {
	c := new(page)
	p.cloneTo(c, own)
	return c
}

func (p *page) cloneTo(c *page, own *owner) {
	c.own, c.pos = own, p.pos
	c.buf = buffer(p.buf)
	if p.big != nil {
		c.big = &outsized{p.big.mask, slices.Clone(p.big.items)}
	}
}

// buffer copies p into a block of memory, all of which is the buffer.
func buffer(p []byte) []byte {
	b := append([]byte{}, p...)
	return b[:cap(b)]
}

// bodySize is how many bytes of the buffer an item takes.
func bodySize(v []byte) int {
	if len(v) > inlineMax {
		return 0
	}
	return len(v)
}

// putBack fills place hi.
func (p *page) putBack(lo, hi int, v []byte) {
	size := bodySize(v)
	at := int(p.pos[hi])
	if at+size > len(p.buf) {
		p.widen(lo, hi, 0, size)
		at = int(p.pos[hi])
	}
	copy(p.buf[at:at+size], v)
	p.pos[hi+1] = uint16(at + size)
	if size != len(v) {
		p.putBig(hi, v)
	}
}

// putFront fills place lo-1.
func (p *page) putFront(lo, hi int, v []byte) {
	size := bodySize(v)
	if size > int(p.pos[lo]) {
		p.widen(lo, hi, size, 0)
	}
	at := int(p.pos[lo]) - size
	copy(p.buf[at:at+size], v)
	p.pos[lo-1] = uint16(at)
	if size != len(v) {
		p.putBig(lo-1, v)
	}
}

// widen makes room for front more bytes before the items or back more behind them, one of which is 0. It
// slides the items when enough is free, else takes a wider buffer and leaves all that is free on the side
// that asked.
func (p *page) widen(lo, hi, front, back int) {
	from, end := int(p.pos[lo]), int(p.pos[hi])
	used, need := end-from, front+back
	free := len(p.buf) - used
	var start int
	if free >= need && free >= used/4 {
		start = front + (free-need)/2
		copy(p.buf[start:], p.buf[from:end])
	} else {
		size := min(max(used+need, used*3/2), bufferMax)
		buf := slices.Grow([]byte{}, size)
		if buf = buf[:cap(buf)]; len(buf) > bufferMax {
			buf = buf[:bufferMax]
		}
		if front > 0 {
			start = len(buf) - used
		}
		copy(buf[start:], p.buf[from:end])
		p.buf = buf
	}
	for j := lo; j <= hi; j++ {
		p.pos[j] += uint16(start - from)
	}
}

// set replaces item j.
func (p *page) set(lo, hi, j int, v []byte) {
	size, old := bodySize(v), int(p.pos[j+1]-p.pos[j])
	if wider := size - old; wider != 0 {
		if int(p.pos[hi])+wider > len(p.buf) {
			p.widen(lo, hi, 0, wider)
		}
		at := int(p.pos[j])
		copy(p.buf[at+size:], p.buf[at+old:p.pos[hi]])
		p.shift(j+1, hi, wider)
	}
	copy(p.buf[p.pos[j]:], v[:size])
	if p.big != nil {
		p.big.drop(j)
	}
	if size != len(v) {
		p.putBig(j, v)
	}
}

func (p *page) shift(lo, hi, by int) {
	places := p.pos[lo : hi+1]
	for i := range places {
		places[i] += uint16(by)
	}
}

// insert puts an item before place j of [0, n), and moves those behind by a place.
func (p *page) insert(n, j int, v []byte) {
	size := bodySize(v)
	if int(p.pos[n])+size > len(p.buf) {
		p.widen(0, n, 0, size)
	}
	at := int(p.pos[j])
	copy(p.buf[at+size:], p.buf[at:p.pos[n]])
	copy(p.buf[at:at+size], v)
	copy(p.pos[j+1:n+2], p.pos[j:n+1])
	if size != 0 {
		p.shift(j+1, n+1, size)
	}
	if p.big != nil {
		p.big.open(j)
	}
	if size != len(v) {
		p.putBig(j, v)
	}
}

// remove takes out item j of [0, n).
func (p *page) remove(n, j int) {
	lo, hi := int(p.pos[j]), int(p.pos[j+1])
	copy(p.buf[lo:], p.buf[hi:p.pos[n]])
	copy(p.pos[j:n], p.pos[j+1:n+1])
	if hi != lo {
		p.shift(j, n-1, lo-hi)
	}
	if p.big != nil {
		p.big.close(j)
	}
	if used := int(p.pos[n-1]); len(p.buf) > 256 && used < len(p.buf)/3 {
		p.buf = buffer(p.buf[:used])
	}
}

// split moves the items of [m, n) to the front of an empty page of the same owner. p begins at place 0.
func (p *page) split(m, n int, right *page) {
	at, end := p.pos[m], p.pos[n]
	right.own, right.buf = p.own, buffer(p.buf[at:end])
	for j := m; j <= n; j++ {
		right.pos[j-m] = p.pos[j] - at
	}
	if p.big != nil {
		right.big = p.big.split(m)
	}
	if int(at) < len(p.buf)*2/3 {
		p.buf = buffer(p.buf[:at])
	}
}

// join appends the m items of right to the n of p. right may be of another owner.
func (p *page) join(n, m int, right *page) {
	for j := range m {
		p.putBack(0, n+j, right.at(j))
	}
}

func (p *page) putBig(j int, v []byte) {
	if p.big == nil {
		p.big = new(outsized)
	}
	p.big.put(j, v)
}

// dropBig empties a place that leaves use.
func (p *page) dropBig(j int) {
	if p.big != nil {
		p.big.drop(j)
	}
}

// outsized holds the items of a page that are longer than inlineMax: bit j of mask tells that place j is one,
// and items has them in the order of their places.
type outsized struct {
	mask  [2]uint64
	items [][]byte
}

func (o *outsized) has(j int) bool { return o.mask[j>>6]>>(j&63)&1 != 0 }

// rank is how many are at places below j.
func (o *outsized) rank(j int) int {
	if j < 64 {
		return bits.OnesCount64(o.mask[0] & (1<<j - 1))
	}
	return bits.OnesCount64(o.mask[0]) + bits.OnesCount64(o.mask[1]&(1<<(j-64)-1))
}

func (o *outsized) at(j int) ([]byte, bool) {
	if !o.has(j) {
		return nil, false
	}
	return o.items[o.rank(j)], true
}

func (o *outsized) put(j int, v []byte) {
	o.items = slices.Insert(o.items, o.rank(j), v)
	o.mask[j>>6] |= 1 << (j & 63)
}

func (o *outsized) drop(j int) {
	if o.has(j) {
		i := o.rank(j)
		o.items = slices.Delete(o.items, i, i+1)
		o.mask[j>>6] &^= 1 << (j & 63)
	}
}

// open moves places from j on up by one; the last was free.
func (o *outsized) open(j int) {
	low, high := below(j)
	a, b := o.mask[0]&^low, o.mask[1]&^high
	o.mask[0] = o.mask[0]&low | a<<1
	o.mask[1] = o.mask[1]&high | b<<1 | a>>63
}

// close drops place j and moves those behind it down by one.
func (o *outsized) close(j int) {
	o.drop(j)
	low, high := below(j)
	a, b := o.mask[0]&^low, o.mask[1]&^high
	o.mask[0] = o.mask[0]&low | a>>1 | b<<63
	o.mask[1] = o.mask[1]&high | b>>1
}

// split moves places from m on to the front of another.
func (o *outsized) split(m int) *outsized {
	i := o.rank(m)
	if i == len(o.items) {
		return nil
	}
	right := &outsized{items: slices.Clone(o.items[i:])}
	for j := m; j < pageItems; j++ {
		if o.has(j) {
			right.mask[(j-m)>>6] |= 1 << ((j - m) & 63)
		}
	}
	clear(o.items[i:])
	o.items = o.items[:i]
	low, high := below(m)
	o.mask[0] &= low
	o.mask[1] &= high
	return right
}

// below is the mask of the places below j.
func below(j int) (low, high uint64) {
	if j < 64 {
		return 1<<j - 1, 0
	}
	return ^uint64(0), 1<<(j-64) - 1
}

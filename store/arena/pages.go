// SPDX-License-Identifier: Apache-2.0

package arena

import "math/bits"

// pageSet is the pages of a chunk that belong to slabs, a bit each.
type pageSet [chunkPages / 64]uint64

func (p *pageSet) set(lo, n int) {
	for i := lo; i < lo+n; i++ {
		p[i/64] |= 1 << (i % 64)
	}
}

func (p *pageSet) clear(lo, n int) {
	for i := lo; i < lo+n; i++ {
		p[i/64] &^= 1 << (i % 64)
	}
}

// from returns the first page at or after lo that is in the set, or is not; chunkPages for none.
func (p *pageSet) from(lo int, in bool) int {
	flip := uint64(0)
	if !in {
		flip = ^flip
	}
	for lo < chunkPages {
		if w := (p[lo/64] ^ flip) >> (lo % 64); w != 0 {
			return lo + bits.TrailingZeros64(w)
		}
		lo = lo/64*64 + 64
	}
	return chunkPages
}

// longest is the length of the longest run outside the set.
func (p *pageSet) longest() int {
	best := 0
	for lo := p.from(0, false); lo < chunkPages; {
		hi := p.from(lo, true)
		best = max(best, hi-lo)
		lo = p.from(hi, false)
	}
	return best
}

// fit is the first page of the shortest run outside the set that has n pages; there is one.
func (p *pageSet) fit(n int) int {
	at, best := -1, chunkPages+1
	for lo := p.from(0, false); lo < chunkPages; {
		hi := p.from(lo, true)
		if length := hi - lo; length >= n && length < best {
			at, best = lo, length
		}
		lo = p.from(hi, false)
	}
	assert(at >= 0, "no run of pages where one was")
	return at
}

// SPDX-License-Identifier: Apache-2.0

package arena

import "math/bits"

const (
	minBlock    = 16
	fineBlock   = 256 // up to here a class every 8 bytes, from here sixteen a doubling: a block's loss is at most a seventeenth
	fineClasses = (fineBlock-minBlock)/unit + 1
	numClasses  = fineClasses + 7*16
	// runClass marks slabs of one block that is a run of pages.
	runClass = numClasses
)

// class is one size of blocks and what is open for it.
type class struct {
	slab  *slab  // current: Alloc looks here first; nil is none
	chunk *chunk // of the current slab
	data  []byte // the current slab's bytes
	base  Ref    // of the current slab's first block

	first uint32 // head of the linked slabs with room, none of them the current one; 0 is none
	slabs uint32 // in all, so that Sparse knows what a class may waste by right

	bytes  uint32 // block size
	units  uint32 // the same in units of 8 bytes
	recip  uint32 // 2^32/units rounded up: a product and a shift divide an offset by the size
	pages  uint16 // of a slab
	blocks uint16 // in a slab
}

// classOf names the smallest class whose blocks hold n bytes; n <= MaxSlab.
func classOf(n int) int {
	if n <= fineBlock {
		return (max(n, minBlock)+unit-1)/unit - minBlock/unit
	}
	l := bits.Len(uint(n - 1))
	return fineClasses + (l-9)*16 + (n-1)>>(l-5)&15
}

func classBytes(k int) int {
	if k < fineClasses {
		return minBlock + k*unit
	}
	k -= fineClasses
	return fineBlock << (k / 16) / 16 * (17 + k%16)
}

// slabLength is the number of pages of a class's slabs: at least slabPages unless the bits of a
// slab would not reach, and as many as it takes to waste less than 3 %.
func slabLength(size int) int {
	pages := min(slabPages, slabBlocks*size/PageBytes)
	for pages*PageBytes%size*100 > 3*pages*PageBytes {
		pages++
	}
	return pages
}

func setClasses(cs *[numClasses]class) {
	for k := range cs {
		size := classBytes(k)
		pages := slabLength(size)
		units := uint32(size / unit)
		cs[k] = class{
			bytes: uint32(size), units: units, recip: (1<<32-1)/units + 1,
			pages: uint16(pages), blocks: uint16(pages * PageBytes / size),
		}
	}
}

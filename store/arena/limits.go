// SPDX-License-Identifier: Apache-2.0

package arena

const (
	// ChunkBytes is the size of the pieces taken from Memory for blocks up to MaxRun. It is that of
	// a huge page, so that one chunk is one such page where Memory can have them.
	ChunkBytes = 2 << 20
	// PageBytes is the unit in which a chunk is cut and own pieces are rounded.
	PageBytes = 4 << 10
	// MaxSlab is the largest block that shares a slab with others.
	MaxSlab = 32 << 10
	// MaxRun is the largest block that lies in a chunk.
	MaxRun = ChunkBytes / 4
	// MaxChunks bounds the pieces of memory, own pieces included.
	MaxChunks = 1<<22 - 1
	// KeepChunks is how many empty chunks an arena keeps, so that a block that comes and goes does
	// not take and give a chunk each time.
	KeepChunks = 1
	// SparsePercent is the part of a chunk in live blocks up to which it may be emptied.
	SparsePercent = 94
	// WastePart: memory up to one part in so many of what is live may be wasted before any chunk is emptied, so
	// that moves have an end.
	WastePart = 64
	// SparseRest is how many calls of Alloc and Free Sparse lets pass after an attempt that won
	// nothing: a chunk that was not empty at its end, or moves that took a chunk from Memory. With
	// 1<<13 values that change in size keep up to 40 % more memory than they fill, with 1<<10 up to
	// 7 %, with this 5 %.
	SparseRest = 1 << 7
	// StatsLag is how many calls of Alloc and Free may be missing from Stats.
	StatsLag = 64
)

const (
	unit       = 8
	chunkUnits = ChunkBytes / unit
	chunkShift = 18
	offMask    = chunkUnits - 1
	chunkPages = ChunkBytes / PageBytes
	pageUnits  = PageBytes / unit
	pageShift  = 9 // from units to pages

	slabWords  = 8
	slabBlocks = slabWords * 64
	// slabPages is the usual least length of a slab, so that what is known of it is small beside it.
	slabPages = 4
)

// assert stops the process on a caller's mistake: going on would hand one block to two owners.
func assert(ok bool, what string) {
	if !ok {
		panic("arena: " + what)
	}
}

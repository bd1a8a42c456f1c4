// SPDX-License-Identifier: Apache-2.0

// Package arena is memory that the garbage collector does not look at: it gives out blocks of
// bytes under numbers (Ref) instead of pointers, so that millions of small values cost the
// collector nothing.
//
// # Invariants
//
//   - A live block is overlapped by no other live block, stands still until it is freed, and starts
//     at a multiple of 8 bytes.
//   - A Ref is below 1<<40 and not 0. It means the same block from Alloc to Free, and may mean
//     another one afterwards.
//   - No pointer into Go memory may be kept in a block: the collector would not see it.
//   - Every piece that came from Memory goes back to it once, in Free, Sparse's callback or Release.
//   - A Ref that names no live block is a mistake of the caller. Free stops the process on it; Bytes
//     and Usable may not see it, but Bytes never returns bytes of a piece that went back to Memory.
//
// # Layout
//
//	Ref        chunk number << 18 | offset in the chunk / 8
//	chunk      2 MiB from Memory = 512 pages of 4 KiB; number 1 up, numbers are used again
//	slab       a run of pages of one chunk, cut into at most 512 blocks of one size class
//	class      16, 24, 32 … 256 bytes, then sixteen steps per doubling up to 32 KiB
//	page run   a block above 32 KiB: a slab of exactly one block
//	own piece  a block above 512 KiB: a piece of Memory, in whole pages, with a chunk number of its
//	           own and offset 0
//
// A slab is as short as it can be with less than 3 % of it left over behind its last block. What is
// known of it (a bit per block, counts, links) is in Go memory beside its chunk, free of pointers,
// so blocks are never touched by Alloc and Free themselves. The pieces are found through a table of
// two levels in which an entry is written once before the first Ref to it exists, and again only
// after the last one is gone.
//
// Alloc takes blocks from the class's current slab, then from another slab of the class with room
// (of the same chunk if there is one), then from the shortest run of free pages that is long enough,
// then from Memory. Free returns an empty slab to its chunk and an empty chunk to Memory, but for
// KeepChunks of them.
//
// # Compaction
//
// Blocks do not move by themselves. Memory goes back in whole chunks only, so Sparse empties a
// chunk at a time, the emptiest first: nothing is allocated in it any more, and the caller is shown
// its blocks and moves them. It does so only while the room in the other chunks is enough for that,
// and rests for SparseRest calls when an attempt gave no memory back.
//
// # Goroutines
//
// One goroutine at a time writes: Alloc, Free, Usable, Sparse, Settle, Release. Bytes may be called
// from any goroutine that got the Ref in an order (a lock, a channel) after the Alloc, and whose use
// of the bytes ends in an order before the Free; the content is as safe as the caller makes it.
// Stats may be called from any goroutine at any time.
//
// The package knows no keys, no clock and no dice; it starts no goroutine. Which Ref a block gets
// depends on the history of calls alone, but nothing that is replicated may depend on it.
package arena

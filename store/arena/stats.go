// SPDX-License-Identifier: Apache-2.0

package arena

import "sync/atomic"

// Stats is what an arena holds.
type Stats struct {
	Memory int // bytes from Memory
	Live   int // bytes of live blocks, at their usable sizes
	Blocks int // live blocks
	Meta   int // bytes on the Go heap of what is known of chunks, slabs and pieces
}

// shownStats are Stats for any goroutine. The writer does not store them at every call: that would
// cost more than the rest of the call.
type shownStats struct {
	memory, live, blocks, meta atomic.Int64
}

// Stats may lag the writer by StatsLag calls of Alloc and Free; each figure by itself is one that
// was true. After Settle it is exact.
func (a *Arena) Stats() Stats {
	s := &a.shown
	return Stats{
		Memory: int(s.memory.Load()),
		Live:   int(s.live.Load()),
		Blocks: int(s.blocks.Load()),
		Meta:   int(s.meta.Load()),
	}
}

// Settle brings Stats up to date. Writer only.
func (a *Arena) Settle() {
	s := &a.shown
	s.memory.Store(int64(a.memory))
	s.live.Store(int64(a.live))
	s.blocks.Store(int64(a.blocks))
	s.meta.Store(int64(a.meta()))
}

func (a *Arena) call() {
	a.calls++
	if a.calls%StatsLag == 0 {
		a.Settle()
	}
}

func (a *Arena) meta() int {
	return a.slots*slabMeta + (len(a.chunks)-1-len(a.numbers))*chunkMeta + a.leaves*leafMeta
}

const leafMeta = leafSize * 24

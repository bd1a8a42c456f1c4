// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync"

	"github.com/kvorum/kvorum/store/arena"
)

const (
	// cellBytes holds the words of a segment, unless it is one that cannot split.
	cellBytes = segmentMax * 8
	// cellsAtOnce are taken from Memory in one piece.
	cellsAtOnce = 256
	// cellsInStock are kept ready by who reads a view of the whole store: more than writes capture while it reads
	// a few segments.
	cellsInStock = 4 * cellsAtOnce
	// touchEvery is at most the size of a page.
	touchEvery = 4096
)

// cells is memory for what views capture, outside of the Go heap: what writes capture, thousands of segments a second,
// would make the garbage collector run that much more often while a view is open. Any goroutine may call it.
type cells struct {
	memory Memory
	mu     struct {
		sync.Mutex
		free   [][]uint64
		pieces [][]byte // what free and the cells in use are parts of
		used   int
	}
}

// take returns n words with any content, nil if that is more than a cell has.
func (c *cells) take(n int) []uint64 {
	if n > segmentMax {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.free) == 0 {
		c.add(c.memory.Alloc(cellBytes * cellsAtOnce))
	}
	last := len(c.mu.free) - 1
	cell := c.mu.free[last]
	c.mu.free = c.mu.free[:last]
	c.mu.used++
	return cell[:n]
}

// add makes cells of a piece of memory. The caller holds mu.
func (c *cells) add(p []byte) {
	c.mu.pieces = append(c.mu.pieces, p)
	for ; len(p) >= cellBytes; p = p[cellBytes:] {
		c.mu.free = append(c.mu.free, arena.Uint64s(p[:cellBytes:cellBytes]))
	}
}

// stock fills up to cellsInStock, with memory that the system has given already: what a writer captures would else
// wait for its pages, which takes longer than to copy a segment.
func (c *cells) stock() {
	for c.ready() < cellsInStock {
		p := c.memory.Alloc(cellBytes * cellsAtOnce)
		for i := 0; i < len(p); i += touchEvery {
			p[i] = 0
		}
		c.mu.Lock()
		c.add(p)
		c.mu.Unlock()
	}
}

func (c *cells) ready() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mu.free)
}

// give takes back what take returned.
func (c *cells) give(cell []uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.used--
	c.mu.free = append(c.mu.free, cell[:segmentMax])
}

// trim lets all memory go unless some of it is in use.
func (c *cells) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.used > 0 {
		return
	}
	for _, p := range c.mu.pieces {
		c.memory.Free(p)
	}
	c.mu.free, c.mu.pieces = nil, nil
}

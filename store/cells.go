// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync"

	"github.com/kvorum/kvorum/store/arena"
)

const (
	// cellBytes holds the words of a segment, unless it is one that cannot split.
	cellBytes = segmentMax * 8
	// cellsAtOnce are taken from Memory together.
	cellsAtOnce = 256
	// cellsInStock are kept ready by who reads a view of the whole store: more than writes capture while it reads
	// a few segments and pauses, also when a disk stood still and one entry carries what came meanwhile. An entry can
	// hold more writes yet, of small values; those wait for fresh pages, as all would without a stock.
	cellsInStock = 8 * cellsAtOnce
	// placesAtOnce are made together; one in placesInStock is enough for a slot of a thousand keys.
	placesAtOnce  = 8192
	placesInStock = placesAtOnce / 2
	// touchEvery is at most the size of a page.
	touchEvery = 4096
)

// cells is memory for what views capture, outside of the Go heap: what writes capture, thousands of segments a second,
// would make the garbage collector run that much more often while a view is open, and by turns a write would have to
// begin a collection. Any goroutine may call it.
type cells struct {
	memory Memory
	mu     struct {
		sync.Mutex
		free   []*piece // with words that are a cell each
		places []*piece // nil each; what is left of those made together
		taken  [][]byte // from memory: what free and the cells in use are parts of
		used   int
	}
}

// take returns a piece for n words, with any content, nil if that is more than a cell has.
func (c *cells) take(n int) *piece {
	if n > segmentMax {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.free) == 0 {
		c.add(c.memory.Alloc(cellBytes*cellsAtOnce), make([]piece, cellsAtOnce))
	}
	last := len(c.mu.free) - 1
	p := c.mu.free[last]
	c.mu.free = c.mu.free[:last]
	c.mu.used++
	p.words = p.words[:n]
	return p
}

// add makes cells of memory and pieces, as many as there are pieces. The caller holds mu.
func (c *cells) add(memory []byte, pieces []piece) {
	c.mu.taken = append(c.mu.taken, memory)
	for i := range pieces {
		at := i * cellBytes
		pieces[i] = piece{cell: true, words: arena.Uint64s(memory[at : at+cellBytes : at+cellBytes])}
		c.mu.free = append(c.mu.free, &pieces[i])
	}
}

// give takes back what take returned.
func (c *cells) give(p *piece) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.used--
	p.words, p.due = p.words[:segmentMax], nil
	c.mu.free = append(c.mu.free, p)
}

// takePlaces returns n places for pieces, nil each, for good.
func (c *cells) takePlaces(n int) []*piece {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > len(c.mu.places) {
		return make([]*piece, n)
	}
	places := c.mu.places[:n:n]
	c.mu.places = c.mu.places[n:]
	return places
}

// stock fills up to cellsInStock and placesInStock, with memory that the system has given already: what a writer
// captures would else wait for its pages, which takes longer than to copy a segment. A writer may take cells meanwhile.
func (c *cells) stock() {
	for range cellsInStock / cellsAtOnce {
		if ready, _ := c.ready(); ready >= cellsInStock {
			break
		}
		memory, pieces := c.memory.Alloc(cellBytes*cellsAtOnce), make([]piece, cellsAtOnce)
		for i := 0; i < len(memory); i += touchEvery {
			memory[i] = 0
		}
		c.mu.Lock()
		c.add(memory, pieces)
		c.mu.Unlock()
	}
	if _, places := c.ready(); places < placesInStock {
		fresh := make([]*piece, placesAtOnce)
		c.mu.Lock()
		c.mu.places = fresh
		c.mu.Unlock()
	}
}

// ready tells how much is in stock.
func (c *cells) ready() (cells, places int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mu.free), len(c.mu.places)
}

// trim lets all memory go unless some of it is in use.
func (c *cells) trim() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.used > 0 {
		return
	}
	for _, p := range c.mu.taken {
		c.memory.Free(p)
	}
	c.mu.free, c.mu.places, c.mu.taken = nil, nil, nil
}

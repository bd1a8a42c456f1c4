// SPDX-License-Identifier: Apache-2.0

package store

import "sync/atomic"

// objectBlock is the number of objects in one block of the table.
const objectBlock = 256

// objectTable numbers the large collections, which live on the garbage collector's heap. The writer
// changes it; a number is read under the lock, or the view, under which it was found. Blocks never move,
// so that reading one object does not race with adding another.
type objectTable struct {
	blocks atomic.Pointer[[]*[objectBlock]any]
	free   []uint32
	n      uint32
}

func (o *objectTable) get(i uint32) any {
	return (*o.blocks.Load())[i/objectBlock][i%objectBlock]
}

func (o *objectTable) add(v any) uint32 {
	if n := len(o.free); n > 0 {
		i := o.free[n-1]
		o.free = o.free[:n-1]
		o.set(i, v)
		return i
	}
	i := o.n
	o.n++
	if i%objectBlock == 0 {
		var blocks []*[objectBlock]any
		if p := o.blocks.Load(); p != nil {
			blocks = append(blocks, *p...)
		}
		blocks = append(blocks, new([objectBlock]any))
		o.blocks.Store(&blocks)
	}
	o.set(i, v)
	return i
}

// set replaces an object that no view reads.
func (o *objectTable) set(i uint32, v any) {
	(*o.blocks.Load())[i/objectBlock][i%objectBlock] = v
}

func (o *objectTable) remove(i uint32) {
	o.set(i, nil)
	o.free = append(o.free, i)
}

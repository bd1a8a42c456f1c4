// SPDX-License-Identifier: Apache-2.0

package collections

import "encoding/binary"

// List reads a list in either form. The zero List is empty.
type List struct {
	p []byte
	o *BigList
}

// PackedList reads packed bytes.
func PackedList(p []byte) List { return List{p: p} }

// LargeList reads a large list.
func LargeList(o *BigList) List { return List{o: o} }

// Len is the number of elements.
func (l List) Len() int {
	if l.o != nil {
		return l.o.n
	}
	n, _ := tableOf(l.p, listWidth)
	return n
}

// Bytes is the sum of the elements' lengths.
func (l List) Bytes() int64 {
	if l.o != nil {
		return l.o.bytes
	}
	_, table := tableOf(l.p, listWidth)
	return int64(table)
}

// Index returns element i of [0, Len); it is never nil.
func (l List) Index(i int) []byte {
	if l.o != nil {
		assert(uint(i) < uint(l.o.n), "list index out of range")
		return l.o.index(i)
	}
	n, table := tableOf(l.p, listWidth)
	assert(uint(i) < uint(n), "list index out of range")
	if i == 0 {
		size := lengthAt(l.p[table:], 0)
		return l.p[:size:size]
	}
	off, size := l.place(n, table, i)
	return l.p[off : off+size : off+size]
}

// lengthAt reads length i of a list's table.
func lengthAt(table []byte, i int) int { return int(binary.LittleEndian.Uint16(table[2*i:])) }

// place returns where element i of [0, n] of a packed list is; the length of element n is 0.
func (l List) place(n, table, i int) (off, size int) {
	lengths := l.p[table : table+listWidth*n]
	if i <= n/2 {
		for j := range i {
			off += lengthAt(lengths, j)
		}
	} else {
		off = table
		for j := n - 1; j >= i; j-- {
			off -= lengthAt(lengths, j)
		}
	}
	if i < n {
		size = lengthAt(lengths, i)
	}
	return off, size
}

// Range calls f for the elements of [lo, hi) in order until f returns false.
func (l List) Range(lo, hi int, f func(elem []byte) bool) {
	lo, hi = max(lo, 0), min(hi, l.Len())
	if lo >= hi {
		return
	}
	if l.o != nil {
		for i := lo; i < hi && f(l.o.index(i)); i++ {
		}
		return
	}
	n, table := tableOf(l.p, listWidth)
	off, size := l.place(n, table, lo)
	for i := lo; ; {
		if !f(l.p[off:off+size:off+size]) || i+1 == hi {
			return
		}
		off += size
		i++
		size = lengthAt(l.p[table:], i)
	}
}

// Sum is the fingerprint of the elements in their order, the same in both forms.
func (l List) Sum() [2]uint64 {
	if l.o != nil {
		return l.o.Sum()
	}
	if hasSum(l.p) {
		a, b := keptSum(l.p)
		return [2]uint64{a, b}
	}
	return l.walkSum().words()
}

// walkSum takes the sum of a packed list from its elements.
func (l List) walkSum() (sum lanes) {
	n, table := tableOf(l.p, listWidth)
	off := table
	for i := n - 1; i >= 0; i-- {
		end := off
		off -= lengthAt(l.p[table:], i)
		sum = sum.mul(lanes{root0, root1}).add(hashElement(l.p[off:end]))
	}
	return sum
}

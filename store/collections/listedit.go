// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"bytes"
	"encoding/binary"
)

// ListEdit changes a list (see the package comment). The zero ListEdit is ready; Begin or BeginLarge comes
// first, End last. It has the methods of List besides its own.
type ListEdit struct {
	d     draft
	large *BigList
	dirty bool
	// open is true once packed bytes have no kept sum: it is in sum while summed is true.
	open, summed bool
	sum          lanes
	popped       []byte // what the last pop returned, unless it was longer than inlineMax
	moved        []byte // of a shift
}

// Begin begins on packed bytes, or on nothing. With inPlace it may write packed[:cap(packed)], otherwise it
// copies them at the first change.
func (e *ListEdit) Begin(packed []byte, inPlace bool) {
	e.d.begin(packed, inPlace)
	e.large, e.dirty, e.open, e.summed = nil, false, false, false
}

// BeginLarge begins on a large list, which it changes.
func (e *ListEdit) BeginLarge(o *BigList) {
	e.d.p, e.large, e.dirty = nil, o, false
}

// End returns the list in the one form it has now; it is empty when packed is empty and large nil. packed
// aliases the edit's scratch or what Begin was given. dirty tells whether anything was changed; when not,
// the form is that of Begin.
func (e *ListEdit) End() (dirty bool, packed []byte, large *BigList) {
	switch {
	case !e.dirty:
		packed, large = e.d.p, e.large
	case e.large == nil:
		e.close()
		packed = e.d.p
	case e.large.n <= ListSmallElements/shrink && e.large.bytes <= ListSmallBytes/shrink:
		e.pack()
		packed = e.d.p
	default:
		large = e.large
	}
	dirty = e.dirty
	e.large = nil
	return dirty, packed, large
}

// change opens packed bytes: from here on they keep no sum, the edit does.
func (e *ListEdit) change() {
	e.dirty = true
	if !e.open {
		e.open = true
		e.sum.a, e.sum.b, e.summed = e.d.takeSum()
	}
}

// close keeps the sum in packed bytes that are long enough.
func (e *ListEdit) close() {
	if n, _ := tableOf(e.d.p, listWidth); e.open && n > sumKept {
		if !e.summed {
			e.sum = PackedList(e.d.p).walkSum()
		}
		e.d.keepSum(e.sum.a, e.sum.b)
	}
}

// pack makes a large list that shrank packed.
func (e *ListEdit) pack() {
	from := e.large
	e.large = nil
	e.d.begin(nil, false)
	e.open, e.summed, e.sum = true, true, from.poly.sum
	off := 0
	for i := range from.n {
		v := from.index(i)
		binary.LittleEndian.PutUint16(e.d.insert(listWidth, i, off, v, nil), uint16(len(v)))
		off += len(v)
	}
	e.close()
}

// enlarge makes a packed list large.
func (e *ListEdit) enlarge() {
	l := newBigList()
	PackedList(e.d.p).Range(0, packedItems, func(v []byte) bool {
		l.pushBack(kept(v))
		return true
	})
	e.large = l
	e.d.begin(nil, false)
}

// kept returns v as a page wants it: a copy when the page would keep it.
func kept(v []byte) []byte {
	if len(v) > inlineMax {
		return owned(v)
	}
	return v
}

// outgrows makes a packed list large when an element of size bytes more, and the change of its own that wider
// is, would be too much. It tells whether the list is large.
func (e *ListEdit) outgrows(more, wider int) bool {
	if e.large == nil {
		n, table := tableOf(e.d.p, listWidth)
		if n+more > ListSmallElements || table+wider+listWidth*(n+more)+sumSize+1 > ListSmallBytes {
			e.enlarge()
		}
	}
	return e.large != nil
}

// List reads the list as it is now; it is valid until the next change.
func (e *ListEdit) List() List { return List{p: e.d.p, o: e.large} }

// Len is the number of elements.
func (e *ListEdit) Len() int { return e.List().Len() }

// Bytes is the sum of the elements' lengths.
func (e *ListEdit) Bytes() int64 { return e.List().Bytes() }

// Index returns element i of [0, Len), valid until the next change.
func (e *ListEdit) Index(i int) []byte { return e.List().Index(i) }

// Range calls f for the elements of [lo, hi) in order until f returns false. f must not change the list.
func (e *ListEdit) Range(lo, hi int, f func(elem []byte) bool) { e.List().Range(lo, hi, f) }

// PushFront adds v before the first element.
func (e *ListEdit) PushFront(v []byte) {
	e.dirty = true
	if e.large != nil || e.outgrows(1, len(v)) {
		e.large.pushFront(kept(v))
		return
	}
	e.change()
	if e.summed {
		e.sum = e.sum.mul(lanes{root0, root1}).add(hashElement(v))
	}
	binary.LittleEndian.PutUint16(e.d.insert(listWidth, 0, 0, v, nil), uint16(len(v)))
}

// PushBack adds v behind the last element.
func (e *ListEdit) PushBack(v []byte) {
	e.dirty = true
	if e.large != nil || e.outgrows(1, len(v)) {
		e.large.pushBack(kept(v))
		return
	}
	e.insertPacked(e.Len(), v)
}

func (e *ListEdit) insertPacked(i int, v []byte) {
	e.change()
	n, table := tableOf(e.d.p, listWidth)
	if i == n && e.summed {
		e.sum = e.sum.add(hashElement(v).mul(power(n)))
	} else {
		e.summed = false
	}
	off, _ := e.List().place(n, table, i)
	binary.LittleEndian.PutUint16(e.d.insert(listWidth, i, off, v, nil), uint16(len(v)))
}

// PopFront removes the first element and returns it; it is valid until the next pop or Begin. False when
// the list is empty.
func (e *ListEdit) PopFront() ([]byte, bool) {
	if e.Len() == 0 {
		return nil, false
	}
	e.dirty = true
	if e.large != nil {
		return e.pop(e.large.popFront()), true
	}
	e.change()
	_, table := tableOf(e.d.p, listWidth)
	size := lengthAt(e.d.p[table:], 0)
	v := e.pop(e.d.p[:size])
	if e.summed {
		e.sum = e.sum.sub(hashElement(v)).mul(lanes{unroot0, unroot1})
	}
	e.d.remove(listWidth, 0, 1, 0, size)
	return v, true
}

// PopBack removes the last element, otherwise as PopFront.
func (e *ListEdit) PopBack() ([]byte, bool) {
	if e.Len() == 0 {
		return nil, false
	}
	e.dirty = true
	if e.large != nil {
		return e.pop(e.large.popBack()), true
	}
	e.change()
	n, table := tableOf(e.d.p, listWidth)
	size := lengthAt(e.d.p[table:], n-1)
	v := e.pop(e.d.p[table-size : table])
	if e.summed {
		e.sum = e.sum.sub(hashElement(v).mul(power(n - 1)))
	}
	e.d.remove(listWidth, n-1, 1, table-size, size)
	return v, true
}

// pop brings v where no later change writes. One longer than inlineMax is there, unless it is packed.
func (e *ListEdit) pop(v []byte) []byte {
	if e.large != nil && len(v) > inlineMax {
		return v
	}
	if e.popped = append(e.popped[:0], v...); e.popped == nil {
		e.popped = []byte{}
	}
	return e.popped
}

// Set replaces element i of [0, Len).
func (e *ListEdit) Set(i int, v []byte) {
	assert(uint(i) < uint(e.Len()), "list set out of range")
	e.dirty = true
	if e.outgrows(0, len(v)-len(e.Index(i))) {
		e.large.set(i, kept(v))
		return
	}
	e.change()
	n, table := tableOf(e.d.p, listWidth)
	off, size := e.List().place(n, table, i)
	if e.summed {
		e.sum = e.sum.add(hashElement(v).sub(hashElement(e.d.p[off : off+size])).mul(power(i)))
	}
	e.d.room(max(len(v)-size, 0))
	e.d.splice(off, size, len(v))
	copy(e.d.p[off:], v)
	binary.LittleEndian.PutUint16(e.d.p[table+len(v)-size+listWidth*i:], uint16(len(v)))
}

// Insert puts v before element i of [0, Len], or behind the last. It moves the shorter side of the list.
func (e *ListEdit) Insert(i int, v []byte) {
	n := e.Len()
	assert(i >= 0 && i <= n, "list insert out of range")
	e.dirty = true
	if !e.outgrows(1, len(v)) {
		e.insertPacked(i, v)
		return
	}
	e.shift(i, i, func() { e.large.pushFront(kept(v)) }, func() { e.large.pushBack(kept(v)) }, nil)
}

// shift takes the elements before end off the front, or those from begin on off the back, whichever are
// fewer, calls the function of that end, and puts back those of which drop is not true.
func (e *ListEdit) shift(begin, end int, front, back func(), drop func(i int, v []byte) bool) {
	l := e.large
	e.moved = e.moved[:0]
	n := l.n
	if end <= n-begin {
		for range end {
			e.stash(l.popFront())
		}
		if front != nil {
			front()
		}
		for i := end - 1; i >= 0; i-- {
			if v := e.unstash(); drop == nil || !drop(i, v) {
				l.pushFront(kept(v))
			}
		}
	} else {
		for range n - begin {
			e.stash(l.popBack())
		}
		if back != nil {
			back()
		}
		for i := begin; i < n; i++ {
			if v := e.unstash(); drop == nil || !drop(i, v) {
				l.pushBack(kept(v))
			}
		}
	}
	if cap(e.moved) > ListSmallBytes {
		e.moved = nil
	}
}

// stash puts v on the stack moved.
func (e *ListEdit) stash(v []byte) {
	e.moved = append(e.moved, v...)
	e.moved = binary.LittleEndian.AppendUint64(e.moved, uint64(len(v)))
}

func (e *ListEdit) unstash() []byte {
	end := len(e.moved) - 8
	from := end - int(binary.LittleEndian.Uint64(e.moved[end:]))
	v := e.moved[from:end]
	e.moved = e.moved[:from]
	return v
}

// RemoveEqual removes elements equal to v and returns how many: for count > 0 the first count from the
// front, for count < 0 the first -count from the back, for 0 all.
func (e *ListEdit) RemoveEqual(v []byte, count int) int {
	n := e.Len()
	limit := n
	if count != 0 {
		count = max(count, -n) // -count must not overflow
		limit = min(limit, max(count, -count))
	}
	if e.large == nil {
		return e.removePacked(v, limit, count < 0)
	}
	first, last, found := e.large.match(v, limit, count < 0)
	if found > 0 {
		e.dirty = true
		e.shift(first, last+1, nil, nil, func(i int, elem []byte) bool {
			return i >= first && i <= last && bytes.Equal(elem, v)
		})
	}
	return found
}

func (e *ListEdit) removePacked(v []byte, limit int, back bool) int {
	var at [packedItems]uint8
	i, n := 0, 0
	e.Range(0, packedItems, func(elem []byte) bool {
		if bytes.Equal(elem, v) {
			at[n] = uint8(i)
			n++
		}
		i++
		return true
	})
	equal := at[:min(n, limit)]
	if back {
		equal = at[n-min(n, limit) : n]
	}
	if len(equal) == 0 {
		return 0
	}
	e.change()
	e.summed = false
	for j := len(equal) - 1; j >= 0; j-- {
		n, table := tableOf(e.d.p, listWidth)
		off, size := e.List().place(n, table, int(equal[j]))
		e.d.remove(listWidth, int(equal[j]), 1, off, size)
	}
	return len(equal)
}

// Trim keeps the elements of [lo, hi) and removes all others.
func (e *ListEdit) Trim(lo, hi int) {
	n := e.Len()
	lo, hi = max(lo, 0), min(hi, n)
	if lo == 0 && hi == n {
		return
	}
	e.dirty = true
	switch {
	case lo >= hi:
		e.large = nil
		e.d.begin(nil, false)
		e.open, e.summed = true, false
	case e.large != nil && hi-lo < n-(hi-lo):
		from := e.large
		e.large = newBigList()
		for i := lo; i < hi; i++ {
			e.large.pushBack(kept(from.index(i)))
		}
	case e.large != nil:
		for e.large.n > hi {
			e.large.popBack()
		}
		for range lo {
			e.large.popFront()
		}
	default:
		e.trimPacked(lo, hi)
	}
}

// trimPopped is up to how many elements a trim of a packed list takes out one by one, which keeps the sum.
const trimPopped = 8

func (e *ListEdit) trimPacked(lo, hi int) {
	e.change()
	n, table := tableOf(e.d.p, listWidth)
	if n-(hi-lo) <= trimPopped {
		for range n - hi {
			e.PopBack()
		}
		for range lo {
			e.PopFront()
		}
		return
	}
	e.summed = false
	off, _ := e.List().place(n, table, hi)
	e.d.remove(listWidth, hi, n-hi, off, table-off)
	n, table = tableOf(e.d.p, listWidth)
	off, _ = e.List().place(n, table, lo)
	e.d.remove(listWidth, 0, lo, 0, off)
}

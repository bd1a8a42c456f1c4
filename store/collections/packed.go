// SPDX-License-Identifier: Apache-2.0

package collections

// A packed collection of n items is
//
//	bodies of the items, one after the other
//	n × w bytes: the items' lengths
//	[16 bytes: the sum kept, lists and sorted sets only]
//	1 byte: n, or n + sumMark when the sum is kept
//
// so a walk adds lengths that stand side by side and never waits for one length to find the next. An item is
//
//	list       w 2: length, little-endian        body: the element
//	hash       w 2: length of field, of value    body: field, value
//	set        w 1: length                       body: the member
//	sorted set w 1: length of member             body: member, score (8 bytes IEEE, little-endian)
//
// An empty collection is no bytes at all. Items of a list are in order, of a hash and set in order of
// insertion, of a sorted set in order of (score, member).
const (
	listWidth   = 2
	hashWidth   = 2
	setWidth    = 1
	zsetWidth   = 1
	scoreSize   = 8
	sumKept     = 8 // a list or sorted set of more items keeps its sum
	sumSize     = 16
	sumMark     = 127
	packedItems = 128 // the most items of any packed form
)

// tableOf returns the number of items of a packed collection and where the table of lengths begins, which
// is where the bodies end. The sum may be kept.
func tableOf(p []byte, w int) (n, table int) {
	if len(p) == 0 {
		return 0, 0
	}
	n, table = int(p[len(p)-1]), len(p)-1
	if n > packedItems {
		n -= sumMark
		table -= sumSize
	}
	return n, table - n*w
}

// hasSum tells whether the sum is kept.
func hasSum(p []byte) bool { return len(p) > 0 && p[len(p)-1] > packedItems }

// draft is a packed collection while it is edited.
type draft struct {
	p []byte
	// writable: p may be written up to its capacity. Else it belongs to a reader too.
	writable bool
	scratch  []byte // where p moves when it may not be written or lacks room
}

func (d *draft) begin(p []byte, inPlace bool) { d.p, d.writable = p, inPlace }

// room makes p writable, with room for extra more bytes.
func (d *draft) room(extra int) {
	if d.writable && cap(d.p)-len(d.p) >= extra {
		return
	}
	if need := len(d.p) + extra; cap(d.scratch) < need {
		d.scratch = make([]byte, max(64, 2*need))
	}
	d.scratch = d.scratch[:cap(d.scratch)]
	copy(d.scratch, d.p)
	d.p, d.writable = d.scratch[:len(d.p)], true
}

// splice makes old bytes at off new ones of undefined content; room was made before.
func (d *draft) splice(off, old, wide int) {
	end := len(d.p)
	if old != wide {
		d.p = d.p[:max(end, end+wide-old)]
		copy(d.p[off+wide:], d.p[off+old:end])
		d.p = d.p[:end+wide-old]
	}
}

// insert puts an item of the body a, b before item i, whose body is at off, and returns its place in the
// table. No sum is kept then.
func (d *draft) insert(w, i, off int, a, b []byte) (lengths []byte) {
	size := len(a) + len(b)
	d.room(size + w + 1)
	if len(d.p) == 0 {
		d.p = append(d.p, 0)
	}
	_, table := tableOf(d.p, w)
	d.splice(off, 0, size)
	copy(d.p[off:], a)
	copy(d.p[off+len(a):], b)
	at := table + size + i*w
	d.splice(at, 0, w)
	d.p[len(d.p)-1]++
	return d.p[at : at+w]
}

// remove takes out count items from item i on, whose bodies are size bytes at off. No sum is kept then.
func (d *draft) remove(w, i, count, off, size int) {
	d.room(0)
	_, table := tableOf(d.p, w)
	d.splice(table+i*w, count*w, 0)
	d.splice(off, size, 0)
	last := len(d.p) - 1
	if d.p[last] -= byte(count); d.p[last] == 0 {
		d.p = d.p[:0]
	}
}

// takeSum takes out the sum that is kept, if any.
func (d *draft) takeSum() (a, b uint64, ok bool) {
	if !hasSum(d.p) {
		return 0, 0, false
	}
	d.room(0)
	a, b = keptSum(d.p)
	n := d.p[len(d.p)-1] - sumMark
	d.p = d.p[:len(d.p)-sumSize]
	d.p[len(d.p)-1] = n
	return a, b, true
}

// keepSum is the opposite of takeSum.
func (d *draft) keepSum(a, b uint64) {
	d.room(sumSize)
	last := len(d.p) - 1
	n := d.p[last]
	d.p = d.p[:last+sumSize+1]
	putSum(d.p[last:], a, b)
	d.p[last+sumSize] = n + sumMark
}

// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"encoding/binary"

	"github.com/kvorum/kvorum/store/keyed"
)

// Hash reads a hash in either form. The zero Hash is empty.
type Hash struct {
	p []byte
	o *BigHash
}

// PackedHash reads packed bytes.
func PackedHash(p []byte) Hash { return Hash{p: p} }

// LargeHash reads a large hash.
func LargeHash(o *BigHash) Hash { return Hash{o: o} }

// BigHash is a large hash: its fields in the order of the keyed hash.
type BigHash struct {
	hash  keyed.Hasher
	t     tree
	bytes int64 // sum of the lengths of fields and values
}

func newBigHash(h keyed.Hasher) *BigHash {
	return &BigHash{hash: h, t: tree{kind: pairs, summed: true}}
}

// Fork returns a hash of the same fields; a change of one does not show in the other.
func (o *BigHash) Fork() *BigHash { return &BigHash{o.hash, o.t.fork(), o.bytes} }

// Sum is the fingerprint of the fields and values.
func (o *BigHash) Sum() [2]uint64 { return o.t.sum.words() }

// appendPair appends the item of a field and value.
func appendPair(dst, field, value []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(field)))
	return append(append(dst, field...), value...)
}

func pairOf(item []byte) (field, value []byte) {
	n, size := binary.Uvarint(item)
	end := size + int(n)
	return item[size:end:end], item[end:]
}

// set stores a field; item is of use as scratch.
func (o *BigHash) set(field, value []byte, item *[]byte) (created bool) {
	size := uvarintLen(uint64(len(field))) + len(field) + len(value)
	p := *item
	if size > inlineMax {
		p = make([]byte, 0, size)
	}
	p = appendPair(p[:0], field, value)
	if size <= inlineMax {
		*item = p
	}
	before := o.t.put(o.hash.Sum(field), field, p)
	if created = before < 0; created {
		o.bytes += int64(len(field) + len(value))
	} else {
		o.bytes += int64(size - before)
	}
	return created
}

// packedField is where a field of a packed hash is.
type packedField struct{ i, off, field, value int }

// findField finds a field of a packed hash. When it is absent, the result is where the next item goes.
func findField(p, field []byte) (at packedField, ok bool) {
	n, table := tableOf(p, hashWidth)
	if n == 0 {
		return at, false
	}
	lengths := p[table : table+hashWidth*n]
	last := lastByte(field)
	off := 0
	for i := 0; i+1 < len(lengths); i += hashWidth {
		f, v := int(lengths[i]), int(lengths[i+1])
		if f == len(field) && isField(p[off:off+f], field, last) {
			return packedField{i / hashWidth, off, f, v}, true
		}
		off += f + v
	}
	return packedField{i: n, off: off}, false
}

// isField compares a name of the same length, whose last byte is last, with a field's.
func isField(p, field []byte, last byte) bool {
	return len(p) == 0 || p[len(p)-1] == last && string(p) == string(field)
}

// lastByte is what names of one length mostly differ in; 0 of none.
func lastByte(name []byte) byte {
	if len(name) == 0 {
		return 0
	}
	return name[len(name)-1]
}

// Len is the number of fields.
func (h Hash) Len() int {
	if h.o != nil {
		return h.o.t.n
	}
	n, _ := tableOf(h.p, hashWidth)
	return n
}

// Bytes is the sum of the lengths of fields and values.
func (h Hash) Bytes() int64 {
	if h.o != nil {
		return h.o.bytes
	}
	_, table := tableOf(h.p, hashWidth)
	return int64(table)
}

// Large tells whether the hash iterates in keyed-hash order.
func (h Hash) Large() bool { return h.o != nil }

// Get returns the value of a field; it is not nil when there is one.
func (h Hash) Get(field []byte) ([]byte, bool) {
	if h.o != nil {
		item, ok := h.o.t.find(h.o.hash.Sum(field), field)
		if !ok {
			return nil, false
		}
		_, v := pairOf(item)
		return v, true
	}
	return PackedField(h.p, field)
}

// PackedField is Get on a packed hash.
func PackedField(p, field []byte) ([]byte, bool) {
	last := len(p) - 1
	if last < 0 {
		return nil, false
	}
	off := 0
	// No sum is kept in a hash, so what tableOf would look for is not there.
	for at := last - hashWidth*int(p[last]); at < last; at += hashWidth {
		mid := off + int(p[at])
		end := mid + int(p[at+1])
		if mid-off == len(field) && (mid == off || p[mid-1] == field[len(field)-1] && string(p[off:mid]) == string(field)) {
			return p[mid:end:end], true
		}
		off = end
	}
	return nil, false
}

// At returns field i of [0, Len) in the visible order, and its value.
func (h Hash) At(i int) (field, value []byte) {
	assert(uint(i) < uint(h.Len()), "hash index out of range")
	if h.o != nil {
		_, item := h.o.t.at(i)
		return pairOf(item)
	}
	n, table := tableOf(h.p, hashWidth)
	lengths := h.p[table : table+hashWidth*n]
	off := 0
	for _, size := range lengths[:hashWidth*i] {
		off += int(size)
	}
	mid := off + int(lengths[hashWidth*i])
	end := mid + int(lengths[hashWidth*i+1])
	return h.p[off:mid:mid], h.p[mid:end:end]
}

// Each calls f for every field in the visible order until f returns false.
func (h Hash) Each(f func(field, value []byte) bool) { h.Range(0, h.Len(), f) }

// Range calls f for the fields [lo, hi) of the visible order until f returns false.
func (h Hash) Range(lo, hi int, f func(field, value []byte) bool) {
	lo, hi = max(lo, 0), min(hi, h.Len())
	if h.o != nil {
		h.o.t.walk(lo, hi, func(_ uint64, item []byte) bool { return f(pairOf(item)) })
		return
	}
	n, table := tableOf(h.p, hashWidth)
	lengths := h.p[table : table+hashWidth*n]
	off := 0
	for i := range hi {
		mid := off + int(lengths[hashWidth*i])
		end := mid + int(lengths[hashWidth*i+1])
		if i >= lo && !f(h.p[off:mid:mid], h.p[mid:end:end]) {
			return
		}
		off = end
	}
}

// Ascend calls f for the fields whose keyed hash is at least from, in that order, until f returns false. A
// packed hash has no such order: all its fields are visited in their own.
func (h Hash) Ascend(from uint64, f func(field, value []byte) bool) {
	if h.o == nil {
		h.Each(f)
		return
	}
	h.Range(h.o.t.rank(from, nil), h.o.t.n, f)
}

// Scan visits about count fields from a cursor on, 0 at the start, and returns the cursor to go on with, 0
// at the end. A field present from the first call to the last is visited at least once, however the hash
// grows, shrinks or is loaded elsewhere in between. A packed hash is visited whole at once; a hash that
// turns large between two calls starts over.
func (h Hash) Scan(cursor uint64, count int, f func(field, value []byte)) (next uint64) {
	if h.o == nil {
		h.Each(func(field, value []byte) bool {
			f(field, value)
			return true
		})
		return 0
	}
	return h.o.t.scan(cursor, max(count, 1), func(item []byte) { f(pairOf(item)) })
}

// Sum is the fingerprint of the form, the fields and values, and of the order of a packed hash.
func (h Hash) Sum() [2]uint64 {
	if h.o != nil {
		return h.o.Sum()
	}
	return hashPacked(h.p).words()
}

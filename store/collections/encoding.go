// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// A piece is a run of a collection's items in bytes. uv is an unsigned varint in its shortest form, bytes is
// uv length and that many bytes.
//
//	list        uv n, n × bytes element
//	hash        u8 large, uv n, n × (bytes field, bytes value)
//	set         u8 large, uv n, n × bytes member
//	sorted set  uv n, n × (8 bytes IEEE bits of the score, little-endian, bytes member)
//
// n is the number of items of the piece, at least 1; a collection is one piece or several that follow each
// other. Items come in the visible order. AppendPart writes a piece, Load reads one. Load takes the pieces of
// one collection on an edit that began with nothing; it refuses an item met before, a sorted set out of
// order, a score that is NaN or -0, pieces of both forms, and a form that the items contradict. What it
// allocates is bounded by a small multiple of the bytes it is given. After an error the edit is good for
// nothing but Begin.

// uvarintLen is the length of v as an unsigned varint.
func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

func appendBytes(dst, p []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(p)))
	return append(dst, p...)
}

// bytesLen is the length of p as bytes of a piece.
func bytesLen(p []byte) int { return uvarintLen(uint64(len(p))) + len(p) }

// reader reads a piece; once it failed it yields zeros.
type reader struct {
	p   []byte
	off int
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s at byte %d", ErrCorrupt, what, r.off)
		r.p = r.p[:r.off]
	}
}

func (r *reader) left() int { return len(r.p) - r.off }

func (r *reader) u8(what string) byte {
	if r.left() < 1 {
		r.fail(what)
		return 0
	}
	r.off++
	return r.p[r.off-1]
}

func (r *reader) u64(what string) uint64 {
	if r.left() < 8 {
		r.fail(what)
		return 0
	}
	r.off += 8
	return binary.LittleEndian.Uint64(r.p[r.off-8:])
}

// count reads a number of things of at least size bytes each, so that it is at most what the bytes left can
// hold.
func (r *reader) count(size int, what string) int {
	v, n := binary.Uvarint(r.p[r.off:])
	if n <= 0 || n != uvarintLen(v) || v > uint64((r.left()-n)/size) {
		r.fail(what)
		return 0
	}
	r.off += n
	return int(v)
}

// bytes aliases the piece.
func (r *reader) bytes(what string) []byte {
	n := r.count(1, what)
	r.off += n
	return r.p[r.off-n : r.off]
}

// items reads the number of items of a piece.
func (r *reader) items(size int) int {
	n := r.count(size, "number of items")
	if n == 0 {
		r.fail("empty piece")
	}
	return n
}

// form reads the form of a hash or set and tells whether it is large.
func (r *reader) form() bool {
	large := r.u8("form")
	if large > 1 {
		r.fail("form")
	}
	return large == 1
}

// AppendPart appends a piece of the elements from one on, at least one and more while they are together at
// most maxBytes long, and returns the number of the next, which is Len at the end.
func (l List) AppendPart(dst []byte, from, maxBytes int) (_ []byte, next int) {
	assert(from >= 0 && from < l.Len(), "a part begins behind the end")
	size := 0
	next = from
	l.Range(from, l.Len(), func(v []byte) bool {
		size += bytesLen(v)
		if next > from && size > maxBytes {
			return false
		}
		next++
		return true
	})
	dst = binary.AppendUvarint(dst, uint64(next-from))
	l.Range(from, next, func(v []byte) bool {
		dst = appendBytes(dst, v)
		return true
	})
	return dst, next
}

// Load appends the elements of a piece and returns its length. The error is ErrCorrupt.
func (e *ListEdit) Load(src []byte) (n int, err error) {
	r := &reader{p: src}
	for range r.items(1) {
		v := r.bytes("element")
		if r.err != nil {
			break
		}
		e.PushBack(v)
	}
	return r.off, r.err
}

// AppendPart appends a piece of the fields from one on, at least one and more while they are together at
// most maxBytes long, and returns the number of the next, which is Len at the end.
func (h Hash) AppendPart(dst []byte, from, maxBytes int) (_ []byte, next int) {
	assert(from >= 0 && from < h.Len(), "a part begins behind the end")
	size := 0
	next = from
	h.Range(from, h.Len(), func(field, value []byte) bool {
		size += bytesLen(field) + bytesLen(value)
		if next > from && size > maxBytes {
			return false
		}
		next++
		return true
	})
	dst = appendForm(dst, h.Large())
	dst = binary.AppendUvarint(dst, uint64(next-from))
	h.Range(from, next, func(field, value []byte) bool {
		dst = appendBytes(appendBytes(dst, field), value)
		return true
	})
	return dst, next
}

func appendForm(dst []byte, large bool) []byte {
	if large {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// Load adds the fields of a piece and returns its length. The error is ErrCorrupt.
func (e *HashEdit) Load(src []byte) (n int, err error) {
	r := &reader{p: src}
	large := r.form()
	if items := r.items(2); r.err == nil {
		if large && e.Len() == 0 {
			e.enlarge()
		}
		for i := 0; i < items && large == e.Large(); i++ {
			field := r.bytes("field")
			value := r.bytes("value")
			if r.err != nil {
				break
			}
			if !e.Set(field, value) {
				r.fail("field met twice")
			}
		}
		if large != e.Large() {
			r.fail("form")
		}
	}
	return r.off, r.err
}

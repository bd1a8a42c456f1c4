// SPDX-License-Identifier: Apache-2.0

package rdb

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// What ends a listpack, a ziplist and a zipmap.
const packedEnd = 0xff

// The headers of listpacks (bytes, elements) and ziplists (bytes, offset of the last, elements), in bytes.
const (
	listpackHead = 6
	ziplistHead  = 10
	// uncounted says, in place of a number of elements, that there are as many or more.
	uncounted = 1<<16 - 1
)

// singles gives elements.
func (r *reader) singles(elems iter.Seq[[]byte]) {
	for v := range elems {
		r.give(&Item{A: v})
	}
}

// pairs gives every two elements to f.
func (r *reader) pairs(elems iter.Seq[[]byte], f func(a, b []byte)) {
	var first []byte
	odd := false
	for v := range elems {
		if odd = !odd; odd {
			first = v
			continue
		}
		f(first, v)
	}
	if odd {
		r.fail(ErrFormat)
	}
}

func (r *reader) fields(elems iter.Seq[[]byte]) {
	r.pairs(elems, func(a, b []byte) { r.give(&Item{A: a, B: b}) })
}

func (r *reader) scored(elems iter.Seq[[]byte]) {
	r.pairs(elems, func(a, b []byte) {
		score, ok := r.number(b)
		if !ok {
			r.fail(ErrFormat)
		}
		r.give(&Item{A: a, Score: score})
	})
}

// signed reads a number of one to eight bytes, the lowest first.
func signed(b []byte) int64 {
	var n uint64
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	shift := 64 - 8*len(b)
	return int64(n<<shift) >> shift
}

// elements visits the elements of a packed list, whose next function takes the first off src; a number is worded in
// room. A visited element is valid until the second one behind it is visited.
func (r *reader) elements(src []byte, count int, next func(src []byte, room *[]byte) (v []byte, n int)) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		rooms, seen := [2]*[]byte{&r.one, &r.two}, 0
		for r.err == nil && len(src) > 0 && src[0] != packedEnd {
			v, n := next(src, rooms[seen&1])
			if n <= 0 || n >= len(src) {
				r.fail(ErrFormat)
				return
			}
			src = src[n:]
			seen++
			if !yield(v) {
				return
			}
		}
		if len(src) != 1 || count != uncounted && count != seen {
			r.fail(ErrFormat)
		}
	}
}

// listpack visits the elements of a listpack.
func (r *reader) listpack(b []byte) iter.Seq[[]byte] {
	if len(b) <= listpackHead || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(b)) {
		r.fail(ErrFormat)
		return r.elements(nil, 0, nil)
	}
	return r.elements(b[listpackHead:], int(binary.LittleEndian.Uint16(b[4:])), r.listpackElement)
}

// listpackElement reads an element, with its length behind it; n is 0 when it is none.
func (r *reader) listpackElement(src []byte, room *[]byte) (v []byte, n int) {
	head := src[0]
	size, number := 0, 0
	switch {
	case head < 0x80: // seven bits
		n, v = 1, r.decimal(room, int64(head))
	case head < 0xc0: // a string
		n, size = 1, int(head&63)
	case head < 0xe0: // a number of 13 bits
		if n = 2; len(src) > 1 {
			v = r.decimal(room, int64(int16(uint16(head&31)<<11|uint16(src[1])<<3)>>3))
		}
	case head < 0xf0: // a string
		if n = 2; len(src) > 1 {
			size = int(head&15)<<8 | int(src[1])
		}
	case head == 0xf0: // a long string
		if n = 5; len(src) > 5 {
			size = int(binary.LittleEndian.Uint32(src[1:]))
		}
	case head <= 0xf4:
		n, number = 1, [...]int{2, 3, 4, 8}[head-0xf1]
	default:
		return nil, 0
	}
	if n+size+number > len(src) {
		return nil, 0
	}
	switch {
	case number > 0:
		v = r.decimal(room, signed(src[n:n+number]))
	case v == nil:
		v = src[n : n+size : n+size]
	}
	n += size + number
	var back [maxBack]byte
	if tail := appendBack(back[:0], n); bytes.HasPrefix(src[n:], tail) {
		return v, n + len(tail)
	}
	return nil, 0
}

// ziplist visits the elements of a ziplist.
func (r *reader) ziplist(b []byte) iter.Seq[[]byte] {
	if len(b) <= ziplistHead || uint64(binary.LittleEndian.Uint32(b)) != uint64(len(b)) {
		r.fail(ErrFormat)
		return r.elements(nil, 0, nil)
	}
	return r.elements(b[ziplistHead:], int(binary.LittleEndian.Uint16(b[8:])), r.ziplistElement)
}

// ziplistElement reads an element behind the length of the one before.
func (r *reader) ziplistElement(src []byte, room *[]byte) (v []byte, n int) {
	const longBefore = 254
	if n = 1; src[0] == longBefore {
		n = 5
	}
	if n >= len(src) {
		return nil, 0
	}
	head, size, number := src[n], 0, 0
	n++
	switch {
	case head < 0x40:
		size = int(head)
	case head < 0x80:
		if n++; n > len(src) {
			return nil, 0
		}
		size = int(head&63)<<8 | int(src[n-1])
	case head == 0x80:
		if n += 4; n > len(src) {
			return nil, 0
		}
		size = int(binary.BigEndian.Uint32(src[n-4:]))
	case head > 0xf0 && head < 0xfe:
		return r.decimal(room, int64(head&15)-1), n
	default:
		if number = ziplistNumber(head); number == 0 {
			return nil, 0
		}
	}
	if n+size+number > len(src) {
		return nil, 0
	}
	if number > 0 {
		return r.decimal(room, signed(src[n:n+number])), n + number
	}
	return src[n : n+size : n+size], n + size
}

// ziplistNumber is the length of a number, 0 for what is none.
func ziplistNumber(head byte) int {
	switch head {
	case 0xfe:
		return 1
	case 0xc0:
		return 2
	case 0xf0:
		return 3
	case 0xd0:
		return 4
	case 0xe0:
		return 8
	}
	return 0
}

// intset gives the members of a set of integers.
func (r *reader) intset(b []byte) {
	const head = 8
	if len(b) < head {
		r.fail(ErrFormat)
		return
	}
	width, n := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
	if width != 2 && width != 4 && width != 8 || uint64(len(b)) != head+width*n {
		r.fail(ErrFormat)
		return
	}
	for b = b[head:]; len(b) > 0 && r.err == nil; b = b[width:] {
		r.give(&Item{A: r.decimal(&r.one, signed(b[:width]))})
	}
}

// zipmap gives the fields of a small hash of old.
func (r *reader) zipmap(b []byte) {
	if len(b) < 2 {
		r.fail(ErrFormat)
		return
	}
	in := reader{src: b[1:]}
	for in.err == nil && len(in.src) > 0 && in.src[0] != packedEnd {
		field := in.take(in.zipmapLength())
		n := in.zipmapLength()
		free := uint64(in.byte())
		value := in.take(n)
		in.take(free)
		if in.err == nil {
			r.give(&Item{A: field, B: value})
		}
	}
	if in.err != nil || len(in.src) != 1 {
		r.fail(ErrFormat)
	}
}

func (r *reader) zipmapLength() uint64 {
	const long = 254
	n := r.byte()
	if n < long {
		return uint64(n)
	}
	w := r.take(4)
	if n != long || w == nil {
		r.fail(ErrFormat)
		return 0
	}
	return uint64(binary.LittleEndian.Uint32(w))
}

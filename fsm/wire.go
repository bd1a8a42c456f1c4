// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Errors of the parsers. All parse functions return one of them, wrapped with the place; none panics,
// and none allocates more than a small multiple of what it was given.
var (
	// ErrTruncated: the bytes end inside the value.
	ErrTruncated = errors.New("truncated")
	// ErrMalformed: the bytes are not what any writer makes.
	ErrMalformed = errors.New("malformed")
	// ErrUnknown: a version, kind or mandatory extension of a newer writer.
	ErrUnknown = errors.New("unknown version or mandatory extension")
)

// reader takes values off the front of src. After the first fault err is set and every further value
// is zero, so that callers check once.
type reader struct {
	src []byte
	off int
	err error
}

func (r *reader) fail(err error, what string) {
	if r.err == nil {
		r.err = fmt.Errorf("fsm: parse %s at byte %d: %w", what, r.off, err)
	}
}

func (r *reader) rest() int { return len(r.src) - r.off }

func (r *reader) byte(what string) byte {
	if r.err != nil {
		return 0
	}
	if r.off >= len(r.src) {
		r.fail(ErrTruncated, what)
		return 0
	}
	b := r.src[r.off]
	r.off++
	return b
}

// uvarint refuses encodings longer than needed: every value has one form only.
func (r *reader) uvarint(what string) uint64 {
	if r.err != nil {
		return 0
	}
	if r.off < len(r.src) && r.src[r.off] < 0x80 {
		r.off++
		return uint64(r.src[r.off-1])
	}
	v, n := binary.Uvarint(r.src[r.off:])
	switch {
	case n == 0:
		r.fail(ErrTruncated, what)
		return 0
	case n < 0 || r.src[r.off+n-1] == 0:
		r.fail(ErrMalformed, what)
		return 0
	}
	r.off += n
	return v
}

// uint is a uvarint of at most limit.
func (r *reader) uint(limit uint64, what string) uint64 {
	v := r.uvarint(what)
	if r.err == nil && v > limit {
		r.fail(ErrMalformed, what)
		return 0
	}
	return v
}

// varint is a zigzag number.
func (r *reader) varint(what string) int64 {
	v := r.uvarint(what)
	return int64(v>>1) ^ -int64(v&1)
}

// count is a number of items that take at least one byte each of what is left.
func (r *reader) count(what string) int {
	v := r.uvarint(what)
	if r.err == nil && v > uint64(r.rest()) {
		r.fail(ErrTruncated, what)
		return 0
	}
	return int(v)
}

func (r *reader) fixed64(what string) uint64 {
	b := r.take(8, what)
	if r.err != nil {
		return 0
	}
	return binary.LittleEndian.Uint64(b)
}

func (r *reader) float(what string) float64 { return math.Float64frombits(r.fixed64(what)) }

// take gives the next n bytes, aliasing src, with no room behind them.
func (r *reader) take(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n > r.rest() {
		r.fail(ErrTruncated, what)
		return nil
	}
	b := r.src[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

// bytes is a length and that many bytes, aliasing src.
func (r *reader) bytes(what string) []byte { return r.take(r.count(what), what) }

// area gives a reader over the next length-prefixed stretch, such as an extension area.
func (r *reader) area(what string) reader {
	b := r.bytes(what)
	return reader{src: b, err: r.err}
}

// extensions calls f for each (tag, body) of an extension area. Tags ascend. f tells whether it knows
// the tag; an unknown even tag is skipped, an unknown odd one is ErrUnknown.
func (r *reader) extensions(what string, f func(tag uint64, body *reader) bool) {
	if r.err == nil && r.off < len(r.src) && r.src[r.off] == 0 { // nothing there: the usual case
		r.off++
		return
	}
	area := r.area(what)
	last := uint64(0)
	for area.err == nil && area.rest() > 0 {
		tag := area.uvarint(what)
		body := area.area(what)
		if area.err == nil && tag <= last {
			area.fail(ErrMalformed, what)
		}
		last = tag
		if area.err != nil {
			break
		}
		known := f(tag, &body)
		switch {
		case known && body.err == nil && body.rest() != 0:
			area.fail(ErrMalformed, what)
		case known && body.err != nil:
			area.err = body.err
		case !known && tag%2 == 1:
			area.fail(ErrUnknown, what)
		}
	}
	if r.err == nil {
		r.err = area.err
	}
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

func appendVarint(dst []byte, v int64) []byte {
	return binary.AppendUvarint(dst, uint64(v)<<1^uint64(v>>63))
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func bytesLen(n int) int { return uvarintLen(uint64(n)) + n }

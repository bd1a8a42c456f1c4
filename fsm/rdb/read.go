// SPDX-License-Identifier: Apache-2.0

package rdb

import (
	"encoding/binary"
	"math"
	"strconv"
)

// Kind is what a value is.
type Kind uint8

// The kinds.
const (
	None Kind = iota
	String
	List
	Set
	Hash
	ZSet
)

// Types of values, as their first byte names them.
const (
	typeString        = 0
	typeList          = 1
	typeSet           = 2
	typeZSet          = 3
	typeHash          = 4
	typeZSet2         = 5
	typeHashZipmap    = 9
	typeListZiplist   = 10
	typeSetIntset     = 11
	typeZSetZiplist   = 12
	typeHashZiplist   = 13
	typeListQuicklist = 14
	typeHashListpack  = 16
	typeZSetListpack  = 17
	typeQuicklist2    = 18
)

// Limits bound what is read.
type Limits struct {
	// Value bounds a string and an element, Bytes all of them together and what is decompressed on the way, in bytes.
	Value, Bytes int
	// Elements bounds the items.
	Elements int
}

// Item is a part of a value: A is the string, an element or member, or a field, B a field's value, Score a member's.
type Item struct {
	A, B  []byte
	Score float64
}

// Size is what a value has: the bytes of its items, and how many there are.
type Size struct {
	Kind     Kind
	Bytes, N int
}

// Number reads the score that a text is, as strtod does; false for none and for NaN.
type Number func(text []byte) (float64, bool)

// Read gives the items of a value one by one, in its order; those of a list come in the list's. An item is valid until
// f returns. f may be nil. After an error some items may have been given: whoever must not see them reads twice.
func Read(value []byte, l Limits, number Number, f func(i *Item)) (Size, error) {
	r := reader{src: value, limits: l, number: number, f: f}
	if len(value) == 0 {
		return Size{}, ErrFormat
	}
	r.src = value[1:]
	r.size.Kind = r.value(value[0])
	if r.err == nil && r.size.N == 0 {
		r.err = ErrFormat
	}
	return r.size, r.err
}

// reader reads from the front of src; err is the first error, after which nothing is given.
type reader struct {
	src    []byte
	limits Limits
	number Number
	f      func(i *Item)
	size   Size
	// unpacked counts the bytes that were decompressed.
	unpacked int
	err      error
	// Room for what is decompressed: a nested value, and the parts of an item.
	blob, one, two []byte
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.src = nil
}

func (r *reader) value(typ byte) Kind {
	switch typ {
	case typeString:
		r.give(&Item{A: r.text(&r.one)})
		return String
	case typeList, typeSet:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			r.give(&Item{A: r.text(&r.one)})
		}
		if typ == typeSet {
			return Set
		}
		return List
	case typeHash:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			r.give(&Item{A: r.text(&r.one), B: r.text(&r.two)})
		}
		return Hash
	case typeZSet, typeZSet2:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			i := Item{A: r.text(&r.one)}
			i.Score = r.score(typ)
			r.give(&i)
		}
		return ZSet
	case typeListQuicklist, typeQuicklist2:
		for n := r.count(); n > 0 && r.err == nil; n-- {
			r.node(typ)
		}
		return List
	}
	return r.nested(typ)
}

// nested reads a value that is one string.
func (r *reader) nested(typ byte) Kind {
	blob := r.text(&r.blob)
	if r.err != nil {
		return None
	}
	switch typ {
	case typeSetIntset:
		r.intset(blob)
		return Set
	case typeListZiplist:
		r.singles(r.ziplist(blob))
		return List
	case typeHashZipmap:
		r.zipmap(blob)
		return Hash
	case typeHashZiplist:
		r.fields(r.ziplist(blob))
		return Hash
	case typeHashListpack:
		r.fields(r.listpack(blob))
		return Hash
	case typeZSetZiplist:
		r.scored(r.ziplist(blob))
		return ZSet
	case typeZSetListpack:
		r.scored(r.listpack(blob))
		return ZSet
	}
	r.fail(ErrFormat)
	return None
}

// node reads a node of a quicklist.
func (r *reader) node(typ byte) {
	const plain, packed = 1, 2
	container := uint64(packed)
	if typ == typeQuicklist2 {
		container = r.length()
	}
	if container == plain {
		r.give(&Item{A: r.text(&r.one)})
		return
	}
	blob := r.text(&r.blob)
	switch {
	case container != packed:
		r.fail(ErrFormat)
	case typ == typeQuicklist2:
		r.singles(r.listpack(blob))
	default:
		r.singles(r.ziplist(blob))
	}
}

// give hands over an item.
func (r *reader) give(i *Item) {
	r.size.N++
	r.size.Bytes += len(i.A) + len(i.B)
	switch {
	case r.err != nil:
		return
	case len(i.A) > r.limits.Value || len(i.B) > r.limits.Value:
		r.fail(ErrTooBig)
	case r.size.N > r.limits.Elements || r.size.Bytes > r.limits.Bytes:
		r.fail(ErrTooMany)
	case math.IsNaN(i.Score):
		r.fail(ErrFormat)
	case r.f != nil:
		r.f(i)
	}
}

// take gives the next n bytes; they alias the value.
func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.src)) {
		r.fail(ErrFormat)
		return nil
	}
	b := r.src[:n:n]
	r.src = r.src[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// The first two bits of a length, and whole first bytes.
const (
	len6     = 0
	len14    = 1
	special  = 3
	len32    = 0x80
	len64    = 0x81
	asInt8   = 0xc0
	asInt16  = 0xc1
	asInt32  = 0xc2
	asPacked = 0xc3
)

// length reads a length that is no string's special form.
func (r *reader) length() uint64 {
	n, special := r.lengthOr()
	if special {
		r.fail(ErrFormat)
	}
	return n
}

// lengthOr reads a length, or the first byte of a special form.
func (r *reader) lengthOr() (n uint64, is bool) {
	b := r.byte()
	switch b >> 6 {
	case len6:
		return uint64(b), false
	case len14:
		return uint64(b&63)<<8 | uint64(r.byte()), false
	case special:
		return uint64(b), true
	}
	switch b {
	case len32:
		if w := r.take(4); w != nil {
			return uint64(binary.BigEndian.Uint32(w)), false
		}
	case len64:
		if w := r.take(8); w != nil {
			return binary.BigEndian.Uint64(w), false
		}
	default:
		r.fail(ErrFormat)
	}
	return 0, false
}

// count reads how many items there are. Each takes a byte at least.
func (r *reader) count() int {
	n := r.length()
	if n > uint64(len(r.src)) {
		r.fail(ErrFormat)
		return 0
	}
	return int(n)
}

// text reads a string. It aliases the value, or what is in room.
func (r *reader) text(room *[]byte) []byte {
	n, special := r.lengthOr()
	if !special {
		return r.take(n)
	}
	switch n {
	case asInt8:
		return r.decimal(room, int64(int8(r.byte())))
	case asInt16:
		if w := r.take(2); w != nil {
			return r.decimal(room, int64(int16(binary.LittleEndian.Uint16(w))))
		}
	case asInt32:
		if w := r.take(4); w != nil {
			return r.decimal(room, int64(int32(binary.LittleEndian.Uint32(w))))
		}
	case asPacked:
		return r.unpack(room)
	}
	r.fail(ErrFormat)
	return nil
}

func (r *reader) decimal(room *[]byte, n int64) []byte {
	*room = strconv.AppendInt((*room)[:0], n, 10)
	return *room
}

// unpack reads a compressed string.
func (r *reader) unpack(room *[]byte) []byte {
	packed := r.length()
	n := r.length()
	src := r.take(packed)
	if r.err != nil || n == 0 || n > uint64(len(src))*lzfMost {
		r.fail(ErrFormat)
		return nil
	}
	if r.unpacked += int(n); r.unpacked > r.limits.Bytes {
		r.fail(ErrTooMany)
		return nil
	}
	out, ok := unlzf(*room, src, int(n))
	if *room = out; !ok {
		r.fail(ErrFormat)
		return nil
	}
	return out
}

// score reads a score as it is beside a member.
func (r *reader) score(typ byte) float64 {
	if typ == typeZSet2 {
		if w := r.take(8); w != nil {
			return math.Float64frombits(binary.LittleEndian.Uint64(w))
		}
		return 0
	}
	const isNaN, isInf, isMinusInf = 253, 254, 255
	switch n := r.byte(); n {
	case isNaN:
		return math.NaN()
	case isInf:
		return math.Inf(1)
	case isMinusInf:
		return math.Inf(-1)
	default:
		v, ok := r.number(r.take(uint64(n)))
		if !ok {
			r.fail(ErrFormat)
		}
		return v
	}
}

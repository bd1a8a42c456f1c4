// SPDX-License-Identifier: Apache-2.0

package rdb

import (
	"encoding/binary"
	"math"
	"strconv"
)

// A value is begun with Begin and its number of parts, then its items are appended in order. Lists have a Listpacks for that.

// nodeBytes is how long a node of a list grows, as Redis has it by default; a longer element has one of its own.
const nodeBytes = 8 << 10

// maxBack is the longest length behind an element of a listpack.
const maxBack = 5

// ItemOverhead bounds what an item takes beside its bytes, and NodeBytes what a list takes beside its items.
const (
	ItemOverhead  = 24
	ValueOverhead = 64
)

// AppendString appends a value that is a string.
func AppendString(dst, v []byte) []byte { return appendText(append(dst, typeString), v) }

// Begin appends the head of a set, hash or sorted set of n items, which follow as AppendItem has them.
func Begin(dst []byte, k Kind, n int) []byte {
	typ := byte(typeSet)
	switch k {
	case Hash:
		typ = typeHash
	case ZSet:
		typ = typeZSet2
	case None, String, List, Set:
	}
	return appendLength(append(dst, typ), uint64(n))
}

// AppendItem appends a member, a field, or a member with its score.
func AppendItem(dst []byte, k Kind, i *Item) []byte {
	dst = appendText(dst, i.A)
	switch k {
	case Hash:
		dst = appendText(dst, i.B)
	case ZSet:
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(i.Score))
	case None, String, List, Set:
	}
	return dst
}

func appendLength(dst []byte, n uint64) []byte {
	switch {
	case n < 1<<6:
		return append(dst, byte(n))
	case n < 1<<14:
		return append(dst, len14<<6|byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, len32), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, len64), n)
}

// appendText appends a string, a small number in its short form.
func appendText(dst, v []byte) []byte {
	if n, ok := canonical(v); ok && n == int64(int32(n)) {
		switch {
		case n == int64(int8(n)):
			return append(dst, asInt8, byte(n))
		case n == int64(int16(n)):
			return binary.LittleEndian.AppendUint16(append(dst, asInt16), uint16(n))
		}
		return binary.LittleEndian.AppendUint32(append(dst, asInt32), uint32(n))
	}
	return append(appendLength(dst, uint64(len(v))), v...)
}

// canonical reads a number that is worded as numbers are.
func canonical(v []byte) (int64, bool) {
	const longest = 20
	if len(v) == 0 || len(v) > longest {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil {
		return 0, false
	}
	var room [longest]byte
	return n, string(strconv.AppendInt(room[:0], n, 10)) == string(v)
}

// Nodes tells how elements of a list are put into nodes: it counts them when every element is shown to it.
type Nodes struct {
	N    int
	size int
}

// Next shows the next element, and tells whether a node begins with it.
func (c *Nodes) Next(v []byte) bool {
	size := len(v) + maxBack + maxBack
	if c.N > 0 && c.size+size <= nodeBytes {
		c.size += size
		return false
	}
	c.N++
	c.size = size
	return true
}

// Listpacks appends a list.
type Listpacks struct {
	dst   []byte
	nodes Nodes
	pack  []byte // the node under way
	n     int    // its elements
}

// BeginList appends the head of a list that has this many nodes. Its elements follow.
func BeginList(dst []byte, nodes int) *Listpacks {
	return &Listpacks{dst: appendLength(append(dst, typeQuicklist2), uint64(nodes))}
}

// Add appends an element.
func (l *Listpacks) Add(v []byte) {
	if l.nodes.Next(v) {
		l.flush()
	}
	at := len(l.pack)
	l.pack = appendElement(l.pack, v)
	l.pack = appendBack(l.pack, len(l.pack)-at)
	l.n++
}

// End gives the value.
func (l *Listpacks) End() []byte {
	l.flush()
	return l.dst
}

func (l *Listpacks) flush() {
	const packed = 2
	if l.n == 0 {
		return
	}
	size := listpackHead + len(l.pack) + 1
	l.dst = appendLength(append(l.dst, packed), uint64(size))
	l.dst = binary.LittleEndian.AppendUint32(l.dst, uint32(size))
	l.dst = binary.LittleEndian.AppendUint16(l.dst, uint16(l.n))
	l.dst = append(append(l.dst, l.pack...), packedEnd)
	l.pack, l.n = l.pack[:0], 0
}

// appendElement appends an element of a listpack.
func appendElement(dst, v []byte) []byte {
	n, ok := canonical(v)
	switch {
	case ok && n >= 0 && n < 1<<7:
		return append(dst, byte(n))
	case ok && n >= -1<<12 && n < 1<<12:
		return append(dst, 0xc0|byte(n>>8)&31, byte(n))
	case ok:
		kind, width := byte(0xf4), 8
		switch {
		case n == int64(int16(n)):
			kind, width = 0xf1, 2
		case n >= -1<<23 && n < 1<<23:
			kind, width = 0xf2, 3
		case n == int64(int32(n)):
			kind, width = 0xf3, 4
		}
		dst = append(dst, kind)
		for range width {
			dst = append(dst, byte(n))
			n >>= 8
		}
		return dst
	case len(v) < 1<<6:
		dst = append(dst, 0x80|byte(len(v)))
	case len(v) < 1<<12:
		dst = append(dst, 0xe0|byte(len(v)>>8), byte(len(v)))
	default:
		dst = binary.LittleEndian.AppendUint32(append(dst, 0xf0), uint32(len(v)))
	}
	return append(dst, v...)
}

// appendBack appends the length of an element, to be read from its end: seven bits a byte, the lowest last, and all but
// the first byte with the highest bit.
func appendBack(dst []byte, n int) []byte {
	width := 1
	for _, most := range []int{127, 1<<14 - 2, 1<<21 - 2, 1<<28 - 2} {
		if n > most {
			width++
		}
	}
	for i := width - 1; i >= 0; i-- {
		b := byte(n>>(7*i)) & 127
		if i < width-1 {
			b |= 128
		}
		dst = append(dst, b)
	}
	return dst
}

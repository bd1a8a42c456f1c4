// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"github.com/kvorum/kvorum/store/arena"
)

// node is one key in its arena block; the slice may run on behind it.
//
//	offset  size
//	0       8   version
//	8       4   recency, atomic (recency.go)
//	12      1   type (low 3 bits) and the bits below
//	short:  1   key length; 2 value length; then the fields
//	wide:   3   key length; 4 value length; then the fields
//	fields: [4 flags] [16 sum of the body] key, value
//
// The value is the string; of a packed collection its encoding; of a large one the number of its object.
// A deadline stands in the segment, beside the word. Numbers are little-endian.
type node []byte

const (
	nodeType  = 7
	nodeWide  = 1 << 3 // the key is longer than 255 bytes or the value than 65535
	nodeFlags = 1 << 4 // flags are not 0
	nodeSum   = 1 << 5 // the sum of the body is kept: it would be dear to take anew
	nodeLarge = 1 << 6 // a large collection

	shortHeader = 16
	wideHeader  = 20
	sumSize     = 16
	objectSize  = 4

	// sumKept is the length from which on a string's sum is kept in its node.
	sumKept = 4096
)

func (n node) version() uint64         { return binary.LittleEndian.Uint64(n) }
func (n node) setVersion(v uint64)     { binary.LittleEndian.PutUint64(n, v) }
func (n node) recency() *atomic.Uint32 { return arena.Counter(n[8:]) }
func (n node) typ() Type               { return Type(n[12] & nodeType) }
func (n node) large() bool             { return n[12]&nodeLarge != 0 }

// span returns where the key and the value begin, and where the value ends.
func (n node) span() (key, value, end int) {
	kind := n[12]
	if kind&nodeWide == 0 {
		key = shortHeader
		value = int(n[13])
		end = int(binary.LittleEndian.Uint16(n[14:]))
	} else {
		key = wideHeader
		value = int(binary.LittleEndian.Uint32(n[12:]) >> 8)
		end = int(binary.LittleEndian.Uint32(n[16:]))
	}
	if kind&(nodeFlags|nodeSum) != 0 {
		key += fieldsSize(kind)
	}
	value += key
	return key, value, end + value
}

func fieldsSize(kind byte) (n int) {
	if kind&nodeFlags != 0 {
		n += 4
	}
	if kind&nodeSum != 0 {
		n += sumSize
	}
	return n
}

func (n node) key() []byte {
	k, v, _ := n.span()
	return n[k:v:v]
}

func (n node) value() []byte {
	_, v, e := n.span()
	return n[v:e:e]
}

func (n node) flags() uint32 {
	if n[12]&nodeFlags == 0 {
		return 0
	}
	k, _, _ := n.span()
	return binary.LittleEndian.Uint32(n[k-fieldsSize(n[12]):])
}

// object is the number of a large collection.
func (n node) object() uint32 { return binary.LittleEndian.Uint32(n.value()) }

// layout is the shape of a node: all that decides its header and size.
type layout struct {
	kind         byte
	keyLen, size int // size of the value
}

func newLayout(typ Type, large bool, flags uint32, keyLen, size int) layout {
	l := layout{kind: byte(typ), keyLen: keyLen, size: size}
	if keyLen > 255 || size > 65535 {
		l.kind |= nodeWide
	}
	if flags != 0 {
		l.kind |= nodeFlags
	}
	if large {
		l.kind |= nodeLarge
	} else if typ == TypeString && size >= sumKept {
		l.kind |= nodeSum
	}
	return l
}

// bytes is the node's length.
func (l layout) bytes() int {
	n := shortHeader + l.keyLen + l.size
	if l.kind&nodeWide != 0 {
		n += wideHeader - shortHeader
	}
	if l.kind&(nodeFlags|nodeSum) != 0 {
		n += fieldsSize(l.kind)
	}
	return n
}

// put writes the header, but not recency, and the flags.
func (l layout) put(n node, version uint64, flags uint32) {
	n.setVersion(version)
	at := shortHeader
	if l.kind&nodeWide == 0 {
		n[12], n[13] = l.kind, byte(l.keyLen)
		binary.LittleEndian.PutUint16(n[14:], uint16(l.size))
	} else {
		binary.LittleEndian.PutUint32(n[12:], uint32(l.kind)|uint32(l.keyLen)<<8)
		binary.LittleEndian.PutUint32(n[16:], uint32(l.size))
		at = wideHeader
	}
	if flags != 0 {
		binary.LittleEndian.PutUint32(n[at:], flags)
	}
}

// setSize changes the length of the value, of a node whose layout stays the same otherwise.
func (n node) setSize(size int) {
	if n[12]&nodeWide == 0 {
		binary.LittleEndian.PutUint16(n[14:], uint16(size))
	} else {
		binary.LittleEndian.PutUint32(n[16:], uint32(size))
	}
}

// keptSum is the sum of the body that stands in the node.
func (n node) keptSum() sum128 {
	k, _, _ := n.span()
	return sum128{lo: binary.LittleEndian.Uint64(n[k-16:]), hi: binary.LittleEndian.Uint64(n[k-8:])}
}

func (n node) keepSum(s sum128) {
	k, _, _ := n.span()
	binary.LittleEndian.PutUint64(n[k-16:], s.lo)
	binary.LittleEndian.PutUint64(n[k-8:], s.hi)
}

// stringBlock is the unit in which the sum of a long string is taken, so that a change within one costs
// no more than the blocks it touches.
const stringBlock = 4096

// stringSum is the sum of the hashes of a string's blocks, each under its number.
func stringSum(p []byte) (s sum128) { return s.plus(blockSums(p, 0, len(p))) }

// blockSums sums the blocks that [lo, hi) touches.
func blockSums(p []byte, lo, hi int) (s sum128) {
	for at := lo / stringBlock * stringBlock; at < hi; at += stringBlock {
		h := xxh3.Hash128Seed(p[at:min(at+stringBlock, len(p))], uint64(at/stringBlock))
		s = s.plus(sum128{h.Lo, h.Hi})
	}
	return s
}

// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/kvorum/kvorum/store/arena"
)

// block is a node of which only the beginning is known, in one word: what a Ref holds. It says what the methods
// of node of the same names say; that its lengths are right is all that keeps it within its block of the arena.
type block struct{ at arena.Block }

func (s *Store) block(r arena.Ref) block { return block{s.arena.Block(r)} }

// kind is the byte of the type, the lengths of a short header above it.
func (b block) kind() uint32 { return b.at.Uint32(12) }

func (b block) typ() Type { return Type(b.kind() & nodeType) }

func (b block) version() uint64         { return b.at.Uint64(0) }
func (b block) setVersion(v uint64)     { binary.LittleEndian.PutUint64(b.at.Slice(0, 8), v) }
func (b block) recency() *atomic.Uint32 { return b.at.Counter(8) }

// largeOf tells whether the node is a large collection of a type.
func (b block) largeOf(t Type) bool { return b.kind()&(nodeType|nodeLarge) == uint32(t)|nodeLarge }

// object is the number of a large collection.
func (b block) object() uint32 {
	v, _ := b.valueSpan()
	return b.at.Uint32(v)
}

const nodeLong = nodeWide | nodeFlags | nodeSum // key and value do not begin where those of most nodes do

// isShort tells whether the node is a key's and begins as most do. It is small enough to become part of the caller.
func (b block) isShort(key []byte) bool {
	w := b.kind()
	return w&nodeLong == 0 && w>>8&0xff == uint32(len(key)) && string(b.at.Slice(shortHeader, shortHeader+len(key))) == string(key)
}

// shortPacked is the value of a packed collection of a type in a node that begins as most do.
func (b block) shortPacked(t Type) ([]byte, bool) {
	w := b.kind()
	if w&(nodeType|nodeLarge|nodeLong) != uint32(t) {
		return nil, false
	}
	v := shortHeader + int(w>>8&0xff)
	return b.at.Slice(v, v+int(w>>16)), true
}

// is tells whether the node is a key's.
func (b block) is(key []byte) bool {
	if b.kind()&nodeLong == 0 {
		return b.isShort(key)
	}
	k, v, _ := b.longSpan()
	return string(b.at.Slice(k, v)) == string(key)
}

// valueSpan returns where the value begins and ends.
func (b block) valueSpan() (value, end int) {
	if w := b.kind(); w&nodeLong == 0 {
		value = shortHeader + int(w>>8&0xff)
		return value, value + int(w>>16)
	}
	_, value, end = b.longSpan()
	return value, end
}

// value is the bytes of the value.
func (b block) value() []byte {
	if w := b.kind(); w&nodeLong == 0 {
		v := shortHeader + int(w>>8&0xff)
		return b.at.Slice(v, v+int(w>>16))
	}
	_, v, e := b.longSpan()
	return b.at.Slice(v, e)
}

func (b block) longSpan() (key, value, end int) { return node(b.at.Slice(0, wideHeader)).span() }

// node is the node to its end.
func (b block) node() node {
	_, end := b.valueSpan()
	return b.at.Slice(0, end)
}

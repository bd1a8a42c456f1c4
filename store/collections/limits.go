// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"errors"
	"slices"
)

// A list is packed up to this many elements and this many bytes of encoding.
const (
	ListSmallElements = 128
	ListSmallBytes    = 4096
)

// A hash, set or sorted set is packed up to this many fields or members, and while no field, value or member
// is longer than SmallBytes.
const (
	SmallFields = 128
	SmallBytes  = 64
)

// shrink is by how much a list or sorted set must be below its limits to become packed again, so that one
// near the limit does not change form at each write.
const shrink = 4

// PositionBits is the width of a scan position: the high bits of the keyed hash.
const PositionBits = 48

// ErrCorrupt is returned by Load for bytes that AppendPart did not write.
var ErrCorrupt = errors.New("collections: corrupt encoding")

// assert stops the process on a caller's mistake: going on would let replicas diverge.
func assert(ok bool, what string) {
	if !ok {
		panic("collections: " + what)
	}
}

// owned copies v; the copy of an empty v is not nil.
func owned(v []byte) []byte { return slices.Clip(append([]byte{}, v...)) }

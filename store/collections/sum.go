// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// sum128 is a sum of hashes mod 2^128.
type sum128 struct{ lo, hi uint64 }

func (s sum128) words() [2]uint64 { return [2]uint64{s.lo, s.hi} }

func hashItem(item []byte) sum128 {
	h := xxh3.Hash128(item)
	return sum128{h.Lo, h.Hi}
}

// packedSeed sets the sum of a packed hash or set apart from that of a large one.
const packedSeed = 1

// hashPacked is the sum of a packed hash or set: of its items in their order.
func hashPacked(p []byte) sum128 {
	h := xxh3.Hash128Seed(p, packedSeed)
	return sum128{h.Lo, h.Hi}
}

func (s *sum128) add(o sum128) {
	var carry uint64
	s.lo, carry = bits.Add64(s.lo, o.lo, 0)
	s.hi, _ = bits.Add64(s.hi, o.hi, carry)
}

func (s *sum128) sub(o sum128) {
	var borrow uint64
	s.lo, borrow = bits.Sub64(s.lo, o.lo, 0)
	s.hi, _ = bits.Sub64(s.hi, o.hi, borrow)
}

// keptSum reads the sum that a packed collection keeps.
func keptSum(p []byte) (a, b uint64) {
	s := p[len(p)-1-sumSize:]
	return binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])
}

func putSum(p []byte, a, b uint64) {
	binary.LittleEndian.PutUint64(p, a)
	binary.LittleEndian.PutUint64(p[8:], b)
}

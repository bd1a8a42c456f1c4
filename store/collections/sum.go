// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// sum128 is a sum of hashes mod 2^128, low half first.
type sum128 [2]uint64

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
	s[0], carry = bits.Add64(s[0], o[0], 0)
	s[1], _ = bits.Add64(s[1], o[1], carry)
}

func (s *sum128) sub(o sum128) {
	var borrow uint64
	s[0], borrow = bits.Sub64(s[0], o[0], 0)
	s[1], _ = bits.Sub64(s[1], o[1], borrow)
}

// keptSum reads the sum that a packed collection keeps.
func keptSum(p []byte) [2]uint64 {
	s := p[len(p)-1-sumSize:]
	return [2]uint64{binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])}
}

func putSum(p []byte, sum [2]uint64) {
	binary.LittleEndian.PutUint64(p, sum[0])
	binary.LittleEndian.PutUint64(p[8:], sum[1])
}

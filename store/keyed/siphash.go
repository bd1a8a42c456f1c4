// SPDX-License-Identifier: Apache-2.0

package keyed

import (
	"encoding/binary"
	"math/bits"
)

// Hasher is SipHash-1-3 under one key. The zero Hasher has the key of zeros.
type Hasher struct {
	k0, k1 uint64
}

// New returns the hasher of a key.
func New(key [16]byte) Hasher {
	return Hasher{
		k0: binary.LittleEndian.Uint64(key[:8]),
		k1: binary.LittleEndian.Uint64(key[8:]),
	}
}

// Sum is the hash of p.
func (h Hasher) Sum(p []byte) uint64 {
	v0 := h.k0 ^ 0x736f6d6570736575
	v1 := h.k1 ^ 0x646f72616e646f6d
	v2 := h.k0 ^ 0x6c7967656e657261
	v3 := h.k1 ^ 0x7465646279746573
	last := uint64(len(p))<<56 | tail(p)
	for len(p) >= 8 {
		m := binary.LittleEndian.Uint64(p)
		p = p[8:]
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
	}
	v3 ^= last
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= last
	v2 ^= 0xff
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	return v0 ^ v1 ^ v2 ^ v3
}

// tail is the last len(p)%8 bytes of p as a number, in few loads.
func tail(p []byte) uint64 {
	n := len(p) & 7
	switch {
	case n == 0:
		return 0
	case len(p) >= 8:
		return binary.LittleEndian.Uint64(p[len(p)-8:]) >> (64 - 8*uint(n))
	case n >= 4:
		low := uint64(binary.LittleEndian.Uint32(p))
		high := uint64(binary.LittleEndian.Uint32(p[n-4:]))
		return low | high<<(8*uint(n-4))
	default: // bytes 0, n/2 and n-1 are all there are
		return uint64(p[0]) | uint64(p[n>>1])<<(8*uint(n>>1)) | uint64(p[n-1])<<(8*uint(n-1))
	}
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13)
	v1 ^= v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16)
	v3 ^= v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21)
	v3 ^= v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17)
	v1 ^= v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}

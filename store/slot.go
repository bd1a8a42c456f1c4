// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Slots is the number of slots of a keyspace, as in Redis Cluster.
const Slots = 16384

// SlotOf tells the slot of a key: CRC16/XMODEM mod Slots of the whole key or, when the key contains
// a '{' and behind it a '}' with at least one byte between, of the bytes between the first '{' and
// the first '}' behind it.
func SlotOf(key []byte) uint16 {
	if len(key) < 4 {
		var crc uint16
		for _, b := range key {
			if b == '{' {
				return taggedSlot(key)
			}
			crc = crc<<8 ^ crcTables[0][byte(crc>>8)^b]
		}
		return crc % Slots
	}
	x, p := head(key)
	if hasBrace(x) {
		return taggedSlot(key)
	}
	crc := crc8(x)
	for len(p) >= 8 {
		x = binary.LittleEndian.Uint64(p)
		if hasBrace(x) {
			return taggedSlot(key)
		}
		crc = crc8(x ^ uint64(bits.ReverseBytes16(crc)))
		p = p[8:]
	}
	return crc % Slots
}

// head is the first bytes of a key of at least 4, so many that a multiple of 8 is left, with zero bytes before
// them, which the CRC does not see. Bytes are in the order of memory, the first in the lowest bits.
func head(key []byte) (x uint64, rest []byte) {
	if len(key) < 8 {
		// The two loads overlap.
		n := uint(len(key))
		x = uint64(binary.LittleEndian.Uint32(key))<<(64-8*n) | uint64(binary.LittleEndian.Uint32(key[n-4:]))<<32
		return x, nil
	}
	n := uint(len(key)-1)&7 + 1
	return binary.LittleEndian.Uint64(key) << (64 - 8*n), key[n:]
}

// hasBrace tells whether one of eight bytes is a '{': a byte of x is 0 then.
func hasBrace(x uint64) bool {
	x ^= 0x7b7b7b7b7b7b7b7b
	return (x-0x0101010101010101)&^x&0x8080808080808080 != 0
}

// crc8 is the CRC of eight bytes.
func crc8(x uint64) uint16 {
	t := &crcTables
	return t[7][byte(x)] ^ t[6][byte(x>>8)] ^ t[5][byte(x>>16)] ^ t[4][byte(x>>24)] ^
		t[3][byte(x>>32)] ^ t[2][byte(x>>40)] ^ t[1][byte(x>>48)] ^ t[0][byte(x>>56)]
}

// taggedSlot is SlotOf for a key with a '{'.
func taggedSlot(key []byte) uint16 {
	open := bytes.IndexByte(key, '{')
	if n := bytes.IndexByte(key[open+1:], '}'); n > 0 {
		key = key[open+1 : open+1+n]
	}
	return crc16(key) % Slots
}

// crcTables are CRC-16/XMODEM of each byte with 0 to 7 zero bytes behind it: polynomial 0x1021, start 0, not
// reflected. They let eight bytes be taken at once ("slicing by 8", Kounavis and Berry, ISCC 2005).
var crcTables = func() (t [8][256]uint16) {
	for i := range t[0] {
		crc := uint16(i) << 8
		for range 8 {
			crc = crc<<1 ^ crc>>15*0x1021
		}
		t[0][i] = crc
	}
	for k := 1; k < 8; k++ {
		for i, crc := range t[k-1] {
			t[k][i] = crc<<8 ^ t[0][crc>>8]
		}
	}
	return t
}()

func crc16(p []byte) (crc uint16) {
	for _, b := range p {
		crc = crc<<8 ^ crcTables[0][byte(crc>>8)^b]
	}
	return crc
}

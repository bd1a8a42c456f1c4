// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
)

// Slots is the number of slots of a keyspace, as in Redis Cluster.
const Slots = 16384

// SlotOf tells the slot of a key: CRC16/XMODEM mod Slots of the whole key or, when the key contains
// a '{' and behind it a '}' with at least one byte between, of the bytes between the first '{' and
// the first '}' behind it.
func SlotOf(key []byte) uint16 {
	var crc uint16
	t := &crcTables
	p := key
	for len(p) >= 8 {
		// A byte of x is 0 where p has a '{'; y has a bit set if any byte of x is 0.
		x := binary.LittleEndian.Uint64(p) ^ 0x7b7b7b7b7b7b7b7b
		if y := (x - 0x0101010101010101) &^ x & 0x8080808080808080; y != 0 {
			return taggedSlot(key)
		}
		crc = t[7][byte(crc>>8)^p[0]] ^ t[6][byte(crc)^p[1]] ^ t[5][p[2]] ^ t[4][p[3]] ^
			t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]]
		p = p[8:]
	}
	for _, b := range p {
		if b == '{' {
			return taggedSlot(key)
		}
		crc = crc<<8 ^ t[0][byte(crc>>8)^b]
	}
	return crc % Slots
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

// SPDX-License-Identifier: Apache-2.0

package store

import "bytes"

// Slots is the number of slots of a keyspace, as in Redis Cluster.
const Slots = 16384

// SlotOf tells the slot of a key: CRC16/XMODEM mod Slots of the whole key or, when the key contains
// a '{' and behind it a '}' with at least one byte between, of the bytes between the first '{' and
// the first '}' behind it.
func SlotOf(key []byte) uint16 {
	if open := bytes.IndexByte(key, '{'); open >= 0 {
		if n := bytes.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	return crc16(key) % Slots
}

// crc16 is CRC-16/XMODEM: polynomial 0x1021, start 0, not reflected. The shifts are the polynomial
// multiplied out for a whole byte, so no table is needed.
func crc16(p []byte) uint16 {
	var crc uint16
	for _, b := range p {
		x := crc>>8 ^ uint16(b)
		x ^= x >> 4
		crc = crc<<8 ^ x<<12 ^ x<<5 ^ x
	}
	return crc
}

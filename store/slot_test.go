// SPDX-License-Identifier: Apache-2.0

package store

import (
	"strings"
	"testing"
)

// Goal: slots are those of Redis Cluster. Method: its specification's vector and hashtag examples,
// and a bit-by-bit CRC as oracle.
func TestSlotOf(t *testing.T) {
	if got := crc16([]byte("123456789")); got != 0x31C3 {
		t.Fatalf("crc16 = %#x, want 0x31c3", got)
	}
	for _, tc := range []struct{ name, key, hashed string }{
		{"plain", "123456789", "123456789"},
		{"empty", "", ""},
		{"tag", "{user1000}.following", "user1000"},
		{"same tag", "{user1000}.followers", "user1000"},
		{"empty tag hashes all", "foo{}{bar}", "foo{}{bar}"},
		{"first brace pair", "foo{{bar}}zap", "{bar"},
		{"first tag only", "foo{bar}{zap}", "bar"},
		{"no closing", "foo{bar", "foo{bar"},
		{"closing first", "}foo{bar}", "bar"},
		{"only braces", "{}", "{}"},
		{"one byte tag", "{x}", "x"},
		{"binary", "\x00{\xff\x00}\x01", "\xff\x00"},
		{"long", strings.Repeat("k", 70000), strings.Repeat("k", 70000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, want := SlotOf([]byte(tc.key)), slowCRC(tc.hashed)%16384; got != want {
				t.Errorf("SlotOf(%.40q) = %d, want %d", tc.key, got, want)
			}
		})
	}
	if SlotOf([]byte("123456789")) != 12739 {
		t.Error("slot of 123456789 is not 12739")
	}
	if SlotOf([]byte("foo")) != 12182 || SlotOf([]byte("somekey")) != 11058 {
		t.Error("slots differ from Redis' documentation")
	}
}

func slowCRC(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

// Goal: the keyed hash is SipHash. Method: a plain implementation with any number of rounds,
// checked at 2-4 with the vector of the SipHash paper, is the oracle at 1-3.
func TestSipHash(t *testing.T) {
	var key [16]byte
	for i := range key {
		key[i] = byte(i)
	}
	var msg [64]byte
	for i := range msg {
		msg[i] = byte(i)
	}
	if got := slowSip(key, msg[:15], 2, 4); got != 0xa129ca6149be45e5 {
		t.Fatalf("oracle = %#x", got)
	}
	h := newHasher(key)
	for n := range msg {
		if got, want := h.sum(msg[:n]), slowSip(key, msg[:n], 1, 3); got != want {
			t.Errorf("length %d: %#x, want %#x", n, got, want)
		}
	}
}

func slowSip(key [16]byte, msg []byte, c, d int) uint64 {
	le := func(p []byte) (v uint64) {
		for i := range 8 {
			v |= uint64(p[i]) << (8 * i)
		}
		return v
	}
	k0, k1 := le(key[:8]), le(key[8:])
	v := [4]uint64{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}
	rot := func(x uint64, n uint) uint64 { return x<<n | x>>(64-n) }
	round := func() {
		v[0] += v[1]
		v[2] += v[3]
		v[1], v[3] = rot(v[1], 13)^v[0], rot(v[3], 16)^v[2]
		v[0] = rot(v[0], 32)
		v[2] += v[1]
		v[0] += v[3]
		v[1], v[3] = rot(v[1], 17)^v[2], rot(v[3], 21)^v[0]
		v[2] = rot(v[2], 32)
	}
	padded := append([]byte(nil), msg...)
	for len(padded)%8 != 7 {
		padded = append(padded, 0)
	}
	padded = append(padded, byte(len(msg)))
	for i := 0; i < len(padded); i += 8 {
		m := le(padded[i:])
		v[3] ^= m
		for range c {
			round()
		}
		v[0] ^= m
	}
	v[2] ^= 0xff
	for range d {
		round()
	}
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

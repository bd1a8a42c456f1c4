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

// Goal: the slot does not depend on how a key is cut into words. Method: keys of every length up to 40, plain and
// with a brace or a tag at every place, against the rule written down byte by byte.
func TestSlotOfEveryLength(t *testing.T) {
	check := func(key string) {
		hashed := key
		if open := strings.IndexByte(key, '{'); open >= 0 {
			if n := strings.IndexByte(key[open+1:], '}'); n > 0 {
				hashed = key[open+1 : open+1+n]
			}
		}
		if got, want := SlotOf([]byte(key)), slowCRC(hashed)%16384; got != want {
			t.Errorf("SlotOf(%q) = %d, want %d", key, got, want)
		}
	}
	for n := range 41 {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(i*37 + n*11)
			if p[i] == '{' || p[i] == '}' {
				p[i]++
			}
		}
		key := string(p)
		check(key)
		for at := range n {
			check(key[:at] + "{" + key[at+1:])
			for end := at + 1; end < n; end++ {
				check(key[:at] + "{" + key[at+1:end] + "}" + key[end+1:])
			}
		}
	}
}

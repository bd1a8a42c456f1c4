// SPDX-License-Identifier: Apache-2.0

package keyed_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kvorum/kvorum/store/keyed"
)

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
	h := keyed.New(key)
	for n := range msg {
		if got, want := h.Sum(msg[:n]), slowSip(key, msg[:n], 1, 3); got != want {
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

// Goal: every length agrees with the oracle whatever the bytes. Method: random messages up to 100 bytes
// under random keys.
func TestSipHashRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var key [16]byte
		msg := make([]byte, rng.IntN(100))
		for i := range key {
			key[i] = byte(rng.Uint32())
		}
		for i := range msg {
			msg[i] = byte(rng.Uint32())
		}
		if got, want := keyed.New(key).Sum(msg), slowSip(key, msg, 1, 3); got != want {
			t.Fatalf("%x under %x: %#x, want %#x", msg, key, got, want)
		}
	}
}

// Goal: the hash is the same for ever. Method: numbers written down.
func TestSipHashStays(t *testing.T) {
	h := keyed.New([16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	for msg, want := range map[string]uint64{
		"": 0x1142ee460f0401d3, "a": 0xff9226353a365de8, "key:000000000042": 0xfa8f6307a2562a14,
		"memtier-1234567": 0xf79aa14982b1efc6,
	} {
		if got := h.Sum([]byte(msg)); got != want {
			t.Errorf("%q: %#x, want %#x", msg, got, want)
		}
	}
}

func BenchmarkSum(b *testing.B) {
	h := keyed.New([16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
	for _, n := range []int{1, 7, 8, 15, 24, 64} {
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			msg := make([]byte, n)
			b.ReportAllocs()
			var sum uint64
			for b.Loop() {
				sum ^= h.Sum(msg)
			}
			_ = sum
		})
	}
}

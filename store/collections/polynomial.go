// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"math/bits"

	"github.com/zeebo/xxh3"
)

// The sum of a list h0, h1, … is h0 + h1·r + h2·r² + …, in two lanes mod the prime 2^61-1, each with an r of
// its own, a primitive root, so that a change at either end is O(1). An element's h is its 128-bit hash, half a lane.
const (
	prime = 1<<61 - 1

	root0, unroot0 = 0x9d36b029113a916, 0x1ade03688a9a9115
	root1, unroot1 = 0x4479945d753dfc6, 0x33fa5c8a1448dd9
)

// lanes are two numbers below prime.
type lanes [2]uint64

func hashElement(v []byte) lanes {
	h := xxh3.Hash128(v)
	return lanes{reduce(h.Lo), reduce(h.Hi)}
}

// reduce returns x mod prime.
func reduce(x uint64) uint64 {
	x = x&prime + x>>61
	if x >= prime {
		x -= prime
	}
	return x
}

// mul multiplies mod prime.
func mul(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	x := lo&prime + (lo>>61 | hi<<3)
	if x >= prime {
		x -= prime
	}
	return x
}

func add(a, b uint64) uint64 {
	x := a + b
	if x >= prime {
		x -= prime
	}
	return x
}

func sub(a, b uint64) uint64 { return add(a, prime-b) }

func (a lanes) mul(b lanes) lanes { return lanes{mul(a[0], b[0]), mul(a[1], b[1])} }
func (a lanes) add(b lanes) lanes { return lanes{add(a[0], b[0]), add(a[1], b[1])} }
func (a lanes) sub(b lanes) lanes { return lanes{sub(a[0], b[0]), sub(a[1], b[1])} }

// power returns r^n.
func power(n int) lanes {
	p, square := lanes{1, 1}, lanes{root0, root1}
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			p = p.mul(square)
		}
		square = square.mul(square)
	}
	return p
}

// polynomial is the sum of a list of n elements, and r^n.
type polynomial struct{ sum, pow lanes }

func newPolynomial() polynomial { return polynomial{pow: lanes{1, 1}} }

func (p *polynomial) pushFront(h lanes) {
	p.sum = lanes{add(mul(p.sum[0], root0), h[0]), add(mul(p.sum[1], root1), h[1])}
	p.pow = lanes{mul(p.pow[0], root0), mul(p.pow[1], root1)}
}

func (p *polynomial) pushBack(h lanes) {
	p.sum = p.sum.add(h.mul(p.pow))
	p.pow = lanes{mul(p.pow[0], root0), mul(p.pow[1], root1)}
}

func (p *polynomial) popFront(h lanes) {
	p.sum = p.sum.sub(h).mul(lanes{unroot0, unroot1})
	p.pow = p.pow.mul(lanes{unroot0, unroot1})
}

func (p *polynomial) popBack(h lanes) {
	p.pow = p.pow.mul(lanes{unroot0, unroot1})
	p.sum = p.sum.sub(h.mul(p.pow))
}

// set replaces element i.
func (p *polynomial) set(i int, before, after lanes) {
	p.sum = p.sum.add(after.sub(before).mul(power(i)))
}

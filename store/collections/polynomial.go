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

	// The hash of an empty element, which is frequent.
	empty0, empty1 = 0x1c324468d4982, 0x19aa06d3014798dc

	root0, unroot0 = 0x9d36b029113a916, 0x1ade03688a9a9115
	root1, unroot1 = 0x4479945d753dfc6, 0x33fa5c8a1448dd9
)

// lanes are two numbers below prime. A struct stays in registers, an array would not.
type lanes struct{ a, b uint64 }

func hashElement(v []byte) lanes {
	if len(v) == 0 {
		return lanes{empty0, empty1}
	}
	return hashBytes(v)
}

func hashBytes(v []byte) lanes {
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

func (l lanes) mul(m lanes) lanes { return lanes{mul(l.a, m.a), mul(l.b, m.b)} }
func (l lanes) add(m lanes) lanes { return lanes{add(l.a, m.a), add(l.b, m.b)} }
func (l lanes) sub(m lanes) lanes { return lanes{sub(l.a, m.a), sub(l.b, m.b)} }

func (l lanes) words() [2]uint64 { return [2]uint64{l.a, l.b} }

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

// polynomial is the sum of a list, and r^n for some number n of elements, from which those that are needed
// follow: a list that is changed at its front alone needs none.
type polynomial struct {
	sum, pow lanes
	n        int
}

func newPolynomial() polynomial { return polynomial{pow: lanes{1, 1}} }

// power makes pow r^n and returns it.
func (p *polynomial) power(n int) lanes {
	switch n - p.n {
	case 0:
	case 1:
		p.pow = p.pow.mul(lanes{root0, root1})
	case -1:
		p.pow = p.pow.mul(lanes{unroot0, unroot1})
	default:
		p.pow = power(n)
	}
	p.n = n
	return p.pow
}

func (p *polynomial) pushFront(h lanes) {
	p.sum.a = add(mul(p.sum.a, root0), h.a)
	p.sum.b = add(mul(p.sum.b, root1), h.b)
}

// pushBack adds an element behind n others.
func (p *polynomial) pushBack(n int, h lanes) {
	p.sum = p.sum.add(h.mul(p.power(n)))
}

func (p *polynomial) popFront(h lanes) {
	p.sum.a = mul(sub(p.sum.a, h.a), unroot0)
	p.sum.b = mul(sub(p.sum.b, h.b), unroot1)
}

// popBack removes an element behind n others.
func (p *polynomial) popBack(n int, h lanes) {
	p.sum = p.sum.sub(h.mul(p.power(n)))
}

// set replaces element i.
func (p *polynomial) set(i int, before, after lanes) {
	p.sum = p.sum.add(after.sub(before).mul(power(i)))
}

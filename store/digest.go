// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// sum128 is a number mod 2^128. The digest of a slot is the sum of one hash per item: an item comes and
// goes at the cost of its own hash, and the order of items does not matter.
type sum128 struct{ lo, hi uint64 }

func (a sum128) plus(b sum128) sum128 {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(a.hi, b.hi, carry)
	return sum128{lo, hi}
}

func (a sum128) minus(b sum128) sum128 {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, _ := bits.Sub64(a.hi, b.hi, borrow)
	return sum128{lo, hi}
}

// The kinds of items; part of each item's seed.
const (
	digestEntry   = 1
	digestToken   = 2
	digestRemoved = 3
	// digestForgotten is the newest time of a forgotten token.
	digestForgotten = 4
)

// seedOf folds numbers into the seed of a hash.
func seedOf(kind uint64, numbers ...uint64) uint64 {
	h := mix(kind)
	for _, n := range numbers {
		h = mix(h ^ n)
	}
	return h
}

// entrySum is the hash of all that an entry is, recency aside.
func (s *Store) entrySum(n node, due int64) sum128 {
	k, v, e := n.span()
	seed := seedOf(digestEntry, n.version(), uint64(due), uint64(n.typ())|uint64(v-k)<<8|uint64(n.flags())<<32)
	body := n[k:e]
	switch {
	case n.typ() != TypeString:
		sum := s.bodySum(n)
		seed, body = mix(mix(seed^sum.lo)^sum.hi), n[k:v]
	case n[12]&nodeSum != 0:
		sum := n.keptSum()
		seed, body = mix(mix(seed^sum.lo)^sum.hi), n[k:v]
	}
	h := xxh3.Hash128Seed(body, seed)
	return sum128{h.Lo, h.Hi}
}

func (r *TokenRecord) sum(client *[16]byte) sum128 {
	seed := seedOf(digestToken, r.Seq, uint64(r.Code), r.Version, uint64(r.At))
	seed = mix(mix(seed^binary.LittleEndian.Uint64(client[:8])) ^ binary.LittleEndian.Uint64(client[8:]))
	h := xxh3.Hash128Seed(r.Reply, seed)
	return sum128{h.Lo, h.Hi}
}

// Digest is the fingerprint of a slot's logical state: of every entry its key, type, value in
// visible order, deadline, flags and version, of every token record all it holds, what is known of forgotten ones, and Removed. It
// does not depend on recency, memory layout, nor on the order of writes beyond what is visible. A slot that
// holds nothing has the zero digest. It takes constant time. Needs the slot's lock.
func (s *Store) Digest(slot uint16) (sum [16]byte) {
	t := s.slots[slot].t
	if t == nil {
		return sum
	}
	d := t.sum.plus(t.tokens.sum)
	if h := &t.hot; h.open {
		d = d.plus(s.entrySum(h.b.node(), h.g.deadline(h.i)))
	}
	if t.removed != 0 {
		d = d.plus(sum128{seedOf(digestRemoved, t.removed), seedOf(digestRemoved, ^t.removed)})
	}
	if at := uint64(t.tokens.forgotten); at != 0 {
		d = d.plus(sum128{seedOf(digestForgotten, at), seedOf(digestForgotten, ^at)})
	}
	binary.LittleEndian.PutUint64(sum[:8], d.lo)
	binary.LittleEndian.PutUint64(sum[8:], d.hi)
	return sum
}

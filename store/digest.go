// SPDX-License-Identifier: Apache-2.0

package store

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math/bits"
)

// digester hashes one item after another and sums the hashes mod 2^128, so that the order of items
// does not matter. An item is fed as fields, each with its length or of fixed width: two items of
// different content never feed the same bytes.
type digester struct {
	h      hash.Hash
	lo, hi uint64
	buf    []byte
}

// The kinds of items; the first byte of each.
const (
	digestEntry   = 1
	digestToken   = 2
	digestRemoved = 3
	digestField   = 4 // of a large hash
)

func (d *digester) begin(kind byte) {
	d.h.Reset()
	d.buf = append(d.buf[:0], kind)
}

func (d *digester) u64(v uint64) { d.buf = binary.LittleEndian.AppendUint64(d.buf, v) }

func (d *digester) bytes(p []byte) {
	d.u64(uint64(len(p)))
	if len(d.buf)+len(p) > 4096 {
		d.flush()
		_, _ = d.h.Write(p)
		return
	}
	d.buf = append(d.buf, p...)
}

func (d *digester) flush() {
	_, _ = d.h.Write(d.buf)
	d.buf = d.buf[:0]
}

func (d *digester) end() {
	d.flush()
	var sum [sha256.Size]byte
	d.h.Sum(sum[:0])
	var carry uint64
	d.lo, carry = bits.Add64(d.lo, binary.LittleEndian.Uint64(sum[:8]), 0)
	d.hi, _ = bits.Add64(d.hi, binary.LittleEndian.Uint64(sum[8:16]), carry)
}

// Digest is the fingerprint of a slot's logical state: of every entry its key, type, value in
// visible order, deadline, flags and version, of every token record all it holds, and Removed. It
// does not depend on recency, Config.HashKey, memory layout, nor on the order of writes beyond what
// is visible.
// A slot that holds nothing has the zero digest. It reads the whole slot. Needs the slot's lock.
func (s *Store) Digest(slot uint16) (sum [16]byte) {
	t := s.slots[slot].t
	if t == nil || t.n == 0 && t.removed == 0 && len(t.tokens.order) == 0 {
		return sum
	}
	d := &digester{h: sha256.New()}
	if t.removed != 0 {
		d.begin(digestRemoved)
		d.u64(t.removed)
		d.end()
	}
	for _, k := range t.tokens.order {
		r := t.tokens.records[k.client]
		d.begin(digestToken)
		d.bytes(k.client[:])
		d.u64(r.Seq)
		d.u64(uint64(r.Code))
		d.u64(r.Version)
		d.u64(uint64(r.At))
		d.bytes(r.Reply)
		d.end()
	}
	t.ascend(0, func(nd *node[entry]) bool {
		e := &nd.val
		d.begin(digestEntry)
		d.bytes(nd.key)
		d.u64(uint64(e.typ))
		d.u64(uint64(e.flags))
		d.u64(e.version)
		d.u64(uint64(e.expireAt))
		if e.coll != nil {
			e.coll.absorb(d)
		} else {
			d.bytes(e.str)
		}
		d.end()
		return true
	})
	binary.LittleEndian.PutUint64(sum[:8], d.lo)
	binary.LittleEndian.PutUint64(sum[8:], d.hi)
	return sum
}

func (l *List) absorb(d *digester) {
	d.u64(uint64(l.n))
	l.Range(0, l.n, func(elem []byte) bool {
		d.bytes(elem)
		return true
	})
}

// absorb: the visible order of a small hash is state of its own; that of a large one follows from
// its fields and Config.HashKey, so the fields are summed and the digest does not depend on the key.
func (h *Hash) absorb(d *digester) {
	d.u64(uint64(h.Len()))
	if h.large == nil {
		d.u64(0)
		h.Each(func(field, value []byte) bool {
			d.bytes(field)
			d.bytes(value)
			return true
		})
		return
	}
	fields := &digester{h: sha256.New()}
	h.Each(func(field, value []byte) bool {
		fields.begin(digestField)
		fields.bytes(field)
		fields.bytes(value)
		fields.end()
		return true
	})
	d.u64(1)
	d.u64(fields.lo)
	d.u64(fields.hi)
}

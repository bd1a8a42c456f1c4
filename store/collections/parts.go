// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"bytes"
	"encoding/binary"
	"math"
)

// AppendPart appends a piece of the members from one on, at least one and more while they are together at
// most maxBytes long, and returns the number of the next, which is Len at the end.
func (s Set) AppendPart(dst []byte, from, maxBytes int) (_ []byte, next int) {
	assert(from >= 0 && from < s.Len(), "a part begins behind the end")
	size := 0
	next = from
	s.Range(from, s.Len(), func(member []byte) bool {
		size += bytesLen(member)
		if next > from && size > maxBytes {
			return false
		}
		next++
		return true
	})
	dst = appendForm(dst, s.Large())
	dst = binary.AppendUvarint(dst, uint64(next-from))
	s.Range(from, next, func(member []byte) bool {
		dst = appendBytes(dst, member)
		return true
	})
	return dst, next
}

// Load adds the members of a piece and returns its length. The error is ErrCorrupt.
func (e *SetEdit) Load(src []byte) (n int, err error) {
	r := &reader{p: src}
	large := r.form()
	if items := r.items(1); r.err == nil {
		if large && e.Len() == 0 {
			e.enlarge()
		}
		for i := 0; i < items && large == e.Large(); i++ {
			member := r.bytes("member")
			if r.err != nil {
				break
			}
			if !e.Add(member) {
				r.fail("member met twice")
			}
		}
		if large != e.Large() {
			r.fail("form")
		}
	}
	return r.off, r.err
}

// AppendPart appends a piece of the members from one on, at least one and more while they are together at
// most maxBytes long, and returns the number of the next, which is Len at the end.
func (z ZSet) AppendPart(dst []byte, from, maxBytes int) (_ []byte, next int) {
	assert(from >= 0 && from < z.Len(), "a part begins behind the end")
	size := 0
	next = from
	z.Range(from, z.Len(), func(member []byte, _ float64) bool {
		size += scoreSize + bytesLen(member)
		if next > from && size > maxBytes {
			return false
		}
		next++
		return true
	})
	dst = binary.AppendUvarint(dst, uint64(next-from))
	z.Range(from, next, func(member []byte, score float64) bool {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(score))
		dst = appendBytes(dst, member)
		return true
	})
	return dst, next
}

// Load adds the members of a piece and returns its length. The error is ErrCorrupt.
func (e *ZSetEdit) Load(src []byte) (n int, err error) {
	r := &reader{p: src}
	var last []byte
	var before float64
	if e.Len() > 0 {
		last, before = e.At(e.Len() - 1)
		last = bytes.Clone(last)
	}
	for range r.items(scoreSize + 1) {
		bits := r.u64("score")
		score := math.Float64frombits(bits)
		member := r.bytes("member")
		switch {
		case r.err != nil:
		case math.IsNaN(score) || bits == 1<<63:
			r.fail("score")
		case e.Len() > 0 && (score < before || score == before && bytes.Compare(member, last) <= 0):
			r.fail("member out of order")
		default:
			if created, _ := e.Add(member, score); !created {
				r.fail("member met twice")
			}
		}
		if r.err != nil {
			break
		}
		last, before = member, score
	}
	return r.off, r.err
}

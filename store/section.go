// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"math/bits"
)

// A section is one slot in bytes. uv is an unsigned varint, bytes is uv length and that many bytes.
//
//	offset  field
//	0       u8     version, 1
//	1       uv     Removed of the slot
//	        uv     number of tokens, then for each in order of (At, client):
//	                 16 bytes client, uv seq, u8 code, uv version, uv at, bytes reply
//	        uv     number of entries, then for each in keyed-hash order of the writer:
//	                 u8 type, u8 fields present (fieldFlags …), bytes key, uv version,
//	                 [uv flags] [uv deadline] [uv recency], value
//
// where value is, by type:
//
//	string  bytes
//	list    uv n, n × bytes
//	hash    u8 large, uv n, n × (bytes field, bytes value) in visible order
//
// Nothing follows the last entry. Every bit of fields present is mandatory: a reader that does not
// know one refuses the section. Recency is no part of the logical state and may be dropped.
const sectionVersion = 1

const (
	fieldFlags    = 1 << 0
	fieldDeadline = 1 << 1
	fieldRecency  = 1 << 2
	fieldsKnown   = fieldFlags | fieldDeadline | fieldRecency
)

// AppendSection appends a slot's section to dst; a slot that holds nothing, not even a Removed, has
// none and appends nothing. Needs the slot's lock.
func (s *Store) AppendSection(dst []byte, slot uint16) []byte {
	t := s.slots[slot].t
	if t == nil || t.n == 0 && t.removed == 0 && len(t.tokens.order) == 0 {
		return dst
	}
	if dst == nil {
		dst = make([]byte, 0, t.sectionSize())
	}
	dst = append(dst, sectionVersion)
	dst = binary.AppendUvarint(dst, t.removed)
	dst = t.tokens.appendTo(dst)
	dst = binary.AppendUvarint(dst, uint64(t.n))
	t.ascend(0, func(nd *node[entry]) bool {
		dst = appendEntry(dst, nd)
		return true
	})
	return dst
}

// sectionSize is an upper bound, for the common case, of the section's length.
func (t *slotTable) sectionSize() int64 {
	return 64 + t.count.LogicalBytes
}

func appendEntry(dst []byte, nd *node[entry]) []byte {
	e := &nd.val
	recency := e.recency.Load()
	var fields byte
	if e.flags != 0 {
		fields |= fieldFlags
	}
	if e.expireAt != 0 {
		fields |= fieldDeadline
	}
	if recency != 0 {
		fields |= fieldRecency
	}
	dst = append(dst, byte(e.typ), fields)
	dst = appendBytes(dst, nd.key)
	dst = binary.AppendUvarint(dst, e.version)
	if fields&fieldFlags != 0 {
		dst = binary.AppendUvarint(dst, uint64(e.flags))
	}
	if fields&fieldDeadline != 0 {
		dst = binary.AppendUvarint(dst, uint64(e.expireAt))
	}
	if fields&fieldRecency != 0 {
		dst = binary.AppendUvarint(dst, recency)
	}
	if e.coll != nil {
		return e.coll.appendTo(dst)
	}
	return appendBytes(dst, e.str)
}

func appendBytes(dst, p []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(p)))
	return append(dst, p...)
}

func (ts *tokenSet) appendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ts.order)))
	for _, k := range ts.order {
		r := ts.records[k.client]
		dst = append(dst, k.client[:]...)
		dst = binary.AppendUvarint(dst, r.Seq)
		dst = append(dst, r.Code)
		dst = binary.AppendUvarint(dst, r.Version)
		dst = binary.AppendUvarint(dst, uint64(r.At))
		dst = appendBytes(dst, r.Reply)
	}
	return dst
}

func (l *List) appendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(l.n))
	l.Range(0, l.n, func(elem []byte) bool {
		dst = appendBytes(dst, elem)
		return true
	})
	return dst
}

func (h *Hash) appendTo(dst []byte) []byte {
	large := byte(0)
	if h.large != nil {
		large = 1
	}
	dst = append(dst, large)
	dst = binary.AppendUvarint(dst, uint64(h.Len()))
	h.Each(func(field, value []byte) bool {
		dst = appendBytes(appendBytes(dst, field), value)
		return true
	})
	return dst
}

// uvarintLen is the length of v as an unsigned varint.
func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

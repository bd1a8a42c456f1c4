// SPDX-License-Identifier: Apache-2.0

package store

import "encoding/binary"

// A section is a slot, or a piece of one, in bytes. uv is an unsigned varint in its shortest form, bytes is
// uv length and that many bytes.
//
//	offset  field
//	0       u8     version, 3
//	1       uv     Removed of the slot
//	        uv     newest time of a token that was forgotten before it expired, 0 for none
//	        uv     number of tokens, then for each in order of (At, client):
//	                 16 bytes client, uv seq, u8 code, uv version, uv at, bytes reply
//	        then for each entry, in keyed-hash order of the writer, to the end:
//	                 u8 type, u8 fields present (fieldFlags …), bytes key, uv version,
//	                 [uv flags] [uv deadline] [uv recency], value
//
// where value is, by type, bytes for a string and else what package collections writes. The sections of one
// slot follow one another; the first has Removed and what there is of tokens, the others 0 of each. A collection may
// be cut: the section that it was cut in ends with it, under fieldMore, and the next section begins with
// the same key under fieldRest and the items that follow.
//
// Every bit of fields present is mandatory: a reader that does not know one refuses the section. Recency is
// no part of the logical state and may be dropped.
const sectionVersion = 3

const (
	fieldFlags    = 1 << 0
	fieldDeadline = 1 << 1
	fieldRecency  = 1 << 2
	fieldMore     = 1 << 3
	fieldRest     = 1 << 4
	fieldsKnown   = 1<<5 - 1
)

// SectionBytes is the length at which a section ends and the next begins; the last entry may pass it.
const SectionBytes = 512 << 10

// sectionWriter makes the sections of one slot.
type sectionWriter struct {
	s   *Store
	add func(data []byte) error
	// head is the beginning of the next section.
	head []byte
	buf  []byte
	// begun: buf has a head.
	begun bool
	// warmth means nothing; adding to it keeps the loads of warm.
	warmth uint64
}

// emptyHead is the head of a slot that holds no more than entries.
var emptyHead = (&slotTable{}).appendHead(nil)

// plain tells whether the head of the slot's section says nothing.
func (t *slotTable) plain() bool {
	return t.removed == 0 && t.tokens.forgotten == 0 && len(t.tokens.order) == 0
}

// appendHead appends a section's beginning, up to the entries.
func (t *slotTable) appendHead(dst []byte) []byte {
	dst = append(dst, sectionVersion)
	dst = binary.AppendUvarint(dst, t.removed)
	return t.tokens.appendTo(dst)
}

func (w *sectionWriter) begin() {
	if !w.begun {
		w.begun = true
		w.buf = append(w.buf[:0], w.head...)
		w.head = emptyHead
	}
}

func (w *sectionWriter) flush() error {
	w.begun = false
	return w.add(w.buf)
}

// end hands over what is left. A slot without entries has a section when its head says something.
func (w *sectionWriter) end() error {
	if string(w.head) != string(emptyHead) {
		w.begin()
	}
	if !w.begun {
		return nil
	}
	return w.flush()
}

func (w *sectionWriter) piece(p *piece) error {
	for i, word := range p.words {
		if i%WarmMax == 0 {
			w.warm(p.words[i:min(i+WarmMax, len(p.words))])
		}
		var due int64
		if p.due != nil {
			due = p.due[i]
		}
		if err := w.entry(w.s.arena.Bytes(refOf(word)), due); err != nil {
			return err
		}
	}
	return nil
}

// warm reads some nodes that are to be written next, as Warm does: nodes of neighbouring words are
// anywhere in memory.
func (w *sectionWriter) warm(words []uint64) {
	var ends [WarmMax]int
	for i, word := range words {
		_, _, ends[i] = node(w.s.arena.Bytes(refOf(word))).span()
	}
	for i, word := range words {
		n := w.s.arena.Bytes(refOf(word))
		for at := shortHeader; at < min(ends[i], warmBytes); at += cacheLine {
			w.warmth += uint64(n[at])
		}
	}
}

func (w *sectionWriter) entry(n node, due int64) error {
	items := 0
	if n.typ() != TypeString {
		items = w.s.items(n)
	}
	for from := 0; ; {
		w.begin()
		at := w.header(n, due, from > 0)
		if n.typ() == TypeString {
			w.buf = appendBytes(w.buf, n.value())
		} else {
			w.buf, from = w.s.appendPart(w.buf, n, from, max(SectionBytes-len(w.buf), SectionBytes/8))
		}
		if from < items {
			w.buf[at] |= fieldMore
		} else if len(w.buf) < SectionBytes {
			return nil
		}
		if err := w.flush(); err != nil || from >= items {
			return err
		}
	}
}

// header appends what stands before a value, and returns where its fields present are.
func (w *sectionWriter) header(n node, due int64, rest bool) (at int) {
	recency, flags := n.recency().Load(), n.flags()
	var fields byte
	if flags != 0 {
		fields |= fieldFlags
	}
	if due != 0 {
		fields |= fieldDeadline
	}
	if recency != 0 {
		fields |= fieldRecency
	}
	if rest {
		fields |= fieldRest
	}
	w.buf = append(w.buf, byte(n.typ()), fields)
	at = len(w.buf) - 1
	w.buf = appendBytes(w.buf, n.key())
	w.buf = binary.AppendUvarint(w.buf, n.version())
	if flags != 0 {
		w.buf = binary.AppendUvarint(w.buf, uint64(flags))
	}
	if due != 0 {
		w.buf = binary.AppendUvarint(w.buf, uint64(due))
	}
	if recency != 0 {
		w.buf = binary.AppendUvarint(w.buf, uint64(recency))
	}
	return at
}

// items is the number of items of a collection.
func (s *Store) items(n node) int {
	switch n.typ() {
	case TypeList:
		return s.list(n).Len()
	case TypeHash:
		return s.hashOf(n).Len()
	case TypeSet:
		return s.set(n).Len()
	case TypeZSet:
		return s.zset(n).Len()
	case TypeNone, TypeString:
	}
	panic("store: no collection")
}

// appendPart appends a collection's items from one on, about size bytes of them, and returns the next.
func (s *Store) appendPart(dst []byte, n node, from, size int) (_ []byte, next int) {
	switch n.typ() {
	case TypeList:
		return s.list(n).AppendPart(dst, from, size)
	case TypeHash:
		return s.hashOf(n).AppendPart(dst, from, size)
	case TypeSet:
		return s.set(n).AppendPart(dst, from, size)
	case TypeZSet:
		return s.zset(n).AppendPart(dst, from, size)
	case TypeNone, TypeString:
	}
	panic("store: no collection")
}

func appendBytes(dst, p []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(p)))
	return append(dst, p...)
}

func (ts *tokenSet) appendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(ts.forgotten))
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

// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// AddSection adds what a section holds to a slot: its entries, in place of those of the same key, its
// tokens, its Removed. The sections of a slot are added in their order. The store keeps nothing of data.
// On error, ErrSectionCorrupt or ErrSectionVersion, the slot is as it was, unless the section goes on with a
// collection whose earlier piece it contradicts. What it allocates is bounded by a small multiple
// of len(data). Needs the slot's write lock.
func (s *Store) AddSection(slot uint16, data []byte) error {
	return s.addSection(slot, data, true)
}

// LoadSection is AddSection for a store that is of no use after an error, as in a restore: the slot may be left with
// a part of the section. It is faster: strings are read once.
func (s *Store) LoadSection(slot uint16, data []byte) error {
	return s.addSection(slot, data, false)
}

func (s *Store) addSection(slot uint16, data []byte, whole bool) error {
	c := &cursor{p: data}
	if v := c.u8("version"); c.err == nil && v != sectionVersion {
		c.fail(ErrSectionVersion, "version")
	}
	removed := c.uv("removed")
	var tokens tokenSet
	c.tokens(&tokens)
	if whole {
		check := *c
		for first := true; check.err == nil && check.left() > 0; first = false {
			s.checkEntry(slot, &check, first)
		}
		c.err = check.err
	}
	if c.err == nil {
		t := s.writable(slot)
		t.removed = max(t.removed, removed)
		s.addTokens(slot, t, &tokens)
		for first := true; c.err == nil && c.left() > 0; first = false {
			if !whole && Type(c.p[c.off]) != TypeString {
				check := *c
				s.checkEntry(slot, &check, first)
				c.err = check.err
			}
			s.addEntry(slot, c)
		}
	}
	if c.err != nil {
		return fmt.Errorf("store: section of slot %d: %w", slot, c.err)
	}
	return nil
}

func (s *Store) addTokens(slot uint16, t *slotTable, from *tokenSet) {
	before := t.tokens.bytes
	t.tokens.forgotten = max(t.tokens.forgotten, from.forgotten)
	for _, k := range from.order {
		t.tokens.put(k.client, from.records[k.client])
	}
	s.account(slot, Stats{TokenBytes: t.tokens.bytes - before})
}

// cursor reads a section; once it failed it yields zeros.
type cursor struct {
	p   []byte
	off int
	err error
}

func (c *cursor) fail(err error, what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s at byte %d", err, what, c.off)
		c.p = c.p[:c.off]
	}
}

func (c *cursor) left() int { return len(c.p) - c.off }

func (c *cursor) u8(what string) byte {
	if c.left() < 1 {
		c.fail(ErrSectionCorrupt, what)
		return 0
	}
	c.off++
	return c.p[c.off-1]
}

// uv reads a varint in its shortest form: each state has one encoding.
func (c *cursor) uv(what string) uint64 {
	v, n := binary.Uvarint(c.p[c.off:])
	if n <= 0 || n != uvarintLen(v) {
		c.fail(ErrSectionCorrupt, what)
		return 0
	}
	c.off += n
	return v
}

// uvarintLen is the length of v as an unsigned varint.
func uvarintLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// uv32 reads a number of 32 bits that is not 0.
func (c *cursor) uv32(what string) uint32 {
	v := c.uv(what)
	if v == 0 || v>>32 != 0 {
		c.fail(ErrSectionCorrupt, what)
	}
	return uint32(v)
}

// time reads a non-negative number of milliseconds.
func (c *cursor) time(what string) int64 {
	v := int64(c.uv(what))
	if v < 0 {
		c.fail(ErrSectionCorrupt, what)
		return 0
	}
	return v
}

// count reads a number of things of at least size bytes each, so that it is at most what the bytes
// left can hold.
func (c *cursor) count(size int, what string) int {
	n := c.uv(what)
	if n > uint64(c.left()/size) {
		c.fail(ErrSectionCorrupt, what)
		return 0
	}
	return int(n)
}

// bytes aliases the section.
func (c *cursor) bytes(what string) []byte {
	n := c.count(1, what)
	c.off += n
	return c.p[c.off-n : c.off]
}

func (c *cursor) tokens(ts *tokenSet) {
	ts.forgotten = c.time("time of forgotten tokens")
	n := c.count(21, "number of tokens")
	if n > MaxTokens {
		c.fail(ErrSectionCorrupt, "number of tokens")
	}
	var last tokenKey
	for i := 0; i < n && c.err == nil; i++ {
		var client [16]byte
		if c.left() < len(client) {
			c.fail(ErrSectionCorrupt, "token client")
			return
		}
		c.off += copy(client[:], c.p[c.off:])
		r := TokenRecord{
			Seq: c.uv("token sequence"), Code: c.u8("token code"), Version: c.uv("token version"),
			At: c.time("token time"),
		}
		r.Reply = append([]byte(nil), c.bytes("token reply")...)
		if c.err != nil {
			return
		}
		k := tokenKey{r.At, client}
		if len(r.Reply) > MaxTokenReply || i > 0 && !last.less(k) {
			c.fail(ErrSectionCorrupt, "token order or size")
			return
		}
		last = k
		ts.put(client, r)
	}
}

// entryHead is an entry of a section up to its value.
type entryHead struct {
	typ     Type
	fields  byte
	key     []byte
	m       Meta
	recency uint32
}

func (c *cursor) head(slot uint16) (h entryHead) {
	h.typ, h.fields = Type(c.u8("type")), c.u8("fields")
	if h.fields&^fieldsKnown != 0 {
		c.fail(ErrSectionVersion, "fields")
	}
	h.key = c.bytes("key")
	h.m.Version = c.uv("version")
	if h.fields&fieldFlags != 0 {
		h.m.Flags = c.uv32("flags")
	}
	if h.fields&fieldDeadline != 0 {
		if h.m.ExpireAt = c.time("deadline"); h.m.ExpireAt == 0 {
			c.fail(ErrSectionCorrupt, "deadline")
		}
	}
	if h.fields&fieldRecency != 0 {
		h.recency = c.uv32("recency")
	}
	switch {
	case h.typ == TypeNone || h.typ > TypeZSet:
		c.fail(ErrSectionVersion, "type")
	case h.typ == TypeString && h.fields&(fieldMore|fieldRest) != 0:
		c.fail(ErrSectionCorrupt, "a string in pieces")
	case c.err == nil && SlotOf(h.key) != slot:
		c.fail(ErrSectionCorrupt, "key of another slot")
	}
	return h
}

// checkEntry reads one entry and changes nothing.
func (s *Store) checkEntry(slot uint16, c *cursor, first bool) {
	h := c.head(slot)
	if h.fields&fieldRest != 0 {
		if r, ok := s.Lookup(slot, h.key); !first || !ok || r.Type() != h.typ {
			c.fail(ErrSectionCorrupt, "the rest of a collection that is not there")
		}
	}
	if c.err != nil {
		return
	}
	if h.typ == TypeString {
		c.bytes("string")
		return
	}
	e := s.editorOf(h.typ)
	e.begin(nil, false)
	n, err := e.load(c.p[c.off:])
	_, packed, large := e.end()
	if err == nil && len(packed) == 0 && large == nil {
		err = errEmpty
	}
	if err != nil {
		c.fail(ErrSectionCorrupt, err.Error())
		return
	}
	if c.off += n; h.fields&fieldMore != 0 && c.left() > 0 {
		c.fail(ErrSectionCorrupt, "bytes behind a collection that goes on")
	}
}

var errEmpty = errors.New("empty collection")

// addEntry adds one entry.
func (s *Store) addEntry(slot uint16, c *cursor) {
	h := c.head(slot)
	var value []byte
	if h.typ == TypeString {
		value = c.bytes("string")
	}
	if c.err != nil {
		return
	}
	if h.typ == TypeString {
		s.SetString(slot, h.key, value, h.m)
	} else if s.addItems(slot, c, &h); c.err != nil {
		return
	}
	r, ok := s.Lookup(slot, h.key)
	assert(ok, "an entry that was added is not there")
	r.node().recency().Store(h.recency)
}

// addItems adds a collection, or the rest of one.
func (s *Store) addItems(slot uint16, c *cursor, h *entryHead) {
	e := s.editorOf(h.typ)
	if h.fields&fieldRest == 0 { // what is replaced counts as no removal
		t := s.writable(slot)
		removed := t.removed
		s.Delete(slot, h.key)
		t.removed = removed
	}
	x := s.beginEdit(slot, h.key, h.typ, e)
	n, err := e.load(c.p[c.off:])
	s.endEdit(slot, &x, h.key, h.typ, h.m.Version, e)
	if err != nil {
		c.fail(ErrSectionCorrupt, err.Error())
		return
	}
	c.off += n
	s.SetMeta(slot, h.key, h.m)
}

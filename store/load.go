// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"fmt"
)

// LoadSection replaces a slot by a section that View.Section made, on this node or another. The
// store keeps nothing of data. On error, ErrSectionCorrupt or ErrSectionVersion, the slot is as it
// was. What it allocates is bounded by a small multiple of len(data). Needs the slot's write lock.
func (s *Store) LoadSection(slot uint16, data []byte) error {
	t, err := s.parseSection(slot, data)
	if err != nil {
		return fmt.Errorf("store: load section of slot %d: %w", slot, err)
	}
	s.capture(slot)
	s.replace(slot, t)
	return nil
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

func (s *Store) parseSection(slot uint16, data []byte) (*slotTable, error) {
	c := &cursor{p: data}
	if v := c.u8("version"); c.err == nil && v != sectionVersion {
		c.fail(ErrSectionVersion, "version")
	}
	t := new(slotTable)
	t.removed = c.uv("removed")
	c.tokens(&t.tokens)
	for range c.count(5, "number of entries") {
		if c.entry(s.hash, slot, t); c.err != nil {
			break
		}
	}
	if c.err == nil && c.left() != 0 {
		c.fail(ErrSectionCorrupt, "bytes behind the last entry")
	}
	if c.err != nil {
		return nil, c.err
	}
	return t, nil
}

func (c *cursor) tokens(ts *tokenSet) {
	n := c.count(21, "number of tokens")
	if n > MaxTokens {
		c.fail(ErrSectionCorrupt, "number of tokens")
	}
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
		_, twice := ts.records[client]
		if len(r.Reply) > MaxTokenReply || twice || i > 0 && !ts.order[i-1].less(k) {
			c.fail(ErrSectionCorrupt, "token order or size")
			return
		}
		ts.put(client, r)
	}
}

func (c *cursor) entry(hash hasher, slot uint16, t *slotTable) {
	typ, fields := Type(c.u8("type")), c.u8("fields")
	if fields&^fieldsKnown != 0 {
		c.fail(ErrSectionVersion, "fields")
	}
	key := c.bytes("key")
	m := Meta{Version: c.uv("version")}
	if fields&fieldFlags != 0 {
		v := c.uv("flags")
		if m.Flags = uint32(v); v == 0 || v>>32 != 0 {
			c.fail(ErrSectionCorrupt, "flags")
		}
	}
	if fields&fieldDeadline != 0 {
		if m.ExpireAt = c.time("deadline"); m.ExpireAt == 0 {
			c.fail(ErrSectionCorrupt, "deadline")
		}
	}
	var recency uint64
	if fields&fieldRecency != 0 {
		if recency = c.uv("recency"); recency == 0 {
			c.fail(ErrSectionCorrupt, "recency")
		}
	}
	var str []byte
	var coll collection
	switch typ {
	case TypeString:
		str = owned(c.bytes("string"))
	case TypeList:
		coll = c.list()
	case TypeHash:
		coll = c.hash(hash)
	case TypeNone, TypeSet, TypeZSet:
		fallthrough
	default:
		c.fail(ErrSectionVersion, "type")
	}
	sum := hash.sum(key)
	if c.err == nil && (SlotOf(key) != slot || t.find(sum, key) != nil) {
		c.fail(ErrSectionCorrupt, "key of another slot or met twice")
	}
	if c.err != nil {
		return
	}
	nd := t.insert(sum, owned(key))
	nd.val.typ, nd.val.str, nd.val.coll = typ, str, coll
	nd.val.flags, nd.val.version, nd.val.expireAt = m.Flags, m.Version, m.ExpireAt
	nd.val.recency.Store(recency)
}

func (c *cursor) list() *List {
	n := c.count(1, "list length")
	if n == 0 {
		c.fail(ErrSectionCorrupt, "empty list")
	}
	l := &List{open: true}
	for i := 0; i < n && c.err == nil; i++ {
		l.PushBack(c.bytes("list element"))
	}
	l.open, l.dirty = false, false
	return l
}

func (c *cursor) hash(hash hasher) *Hash {
	large := c.u8("hash form")
	n := c.count(2, "hash length")
	if n == 0 || large > 1 {
		c.fail(ErrSectionCorrupt, "hash form or length")
	}
	h := &Hash{hash: hash, open: true}
	if large == 1 {
		h.enlarge()
	}
	for i := 0; i < n && c.err == nil; i++ {
		field := c.bytes("field")
		if !h.Set(field, c.bytes("field value")) && c.err == nil {
			c.fail(ErrSectionCorrupt, "field met twice")
		}
	}
	if c.err == nil && (large == 1) != h.Large() {
		c.fail(ErrSectionCorrupt, "small hash over its limits")
	}
	h.open, h.dirty = false, false
	return h
}

// SPDX-License-Identifier: Apache-2.0

package store

import "bytes"

// Hash is a map of fields to values. Slices read from it alias the store. Changing it is allowed
// inside EditHash only.
//
// A small hash keeps insertion order; a large one (see HashSmallFields) iterates in keyed-hash
// order of its fields. Large is for good: a hash that shrinks stays large, so being large is part
// of the logical state.
type Hash struct {
	hash  hasher
	small []pair
	large *table[[]byte]
	bytes int64 // sum of the lengths of fields and values
	// open while EditHash runs; dirty once it changed something.
	open, dirty bool
}

type pair struct{ field, value []byte }

func (h *Hash) find(field []byte) int {
	for i := range h.small {
		if bytes.Equal(h.small[i].field, field) {
			return i
		}
	}
	return -1
}

// Len is the number of fields.
func (h *Hash) Len() int {
	if h.large != nil {
		return h.large.n
	}
	return len(h.small)
}

// Large tells whether the hash iterates in keyed-hash order.
func (h *Hash) Large() bool { return h.large != nil }

// Get returns the value of a field.
func (h *Hash) Get(field []byte) ([]byte, bool) {
	if h.large != nil {
		if nd := h.large.find(h.hash.sum(field), field); nd != nil {
			return nd.val, true
		}
		return nil, false
	}
	if i := h.find(field); i >= 0 {
		return h.small[i].value, true
	}
	return nil, false
}

// Each calls f for every field in the visible order until f returns false.
func (h *Hash) Each(f func(field, value []byte) bool) {
	if h.large != nil {
		h.large.ascend(0, func(nd *node[[]byte]) bool { return f(nd.key, nd.val) })
		return
	}
	for i := range h.small {
		if !f(h.small[i].field, h.small[i].value) {
			return
		}
	}
}

// Scan visits about count fields from a cursor on, 0 at the start, and returns the cursor to go on
// with, 0 at the end. A small hash is visited whole at once. Cursors are positions as those of
// Store.Scan, with the same promise; a hash that turns large between two calls starts over.
func (h *Hash) Scan(cursor uint64, count int, f func(field, value []byte)) (next uint64) {
	if h.large == nil {
		for i := range h.small {
			f(h.small[i].field, h.small[i].value)
		}
		return 0
	}
	return h.large.scan(cursor, max(count, 1), func(nd *node[[]byte]) { f(nd.key, nd.val) })
}

// Set stores copies of field and value and tells whether the field is new.
func (h *Hash) Set(field, value []byte) (created bool) {
	assert(h.open, "a hash is changed outside EditHash")
	h.dirty = true
	if h.large == nil {
		if i := h.find(field); i >= 0 {
			h.bytes += int64(len(value)) - int64(len(h.small[i].value))
			h.small[i].value = owned(value)
			if len(value) > HashSmallBytes {
				h.enlarge()
			}
			return false
		}
		h.bytes += int64(len(field)) + int64(len(value))
		h.small = append(h.small, pair{owned(field), owned(value)})
		if len(h.small) > HashSmallFields || len(field) > HashSmallBytes || len(value) > HashSmallBytes {
			h.enlarge()
		}
		return true
	}
	hash := h.hash.sum(field)
	nd := h.large.find(hash, field)
	if created = nd == nil; created {
		nd = h.large.insert(hash, owned(field))
		h.bytes += int64(len(field))
	}
	h.bytes += int64(len(value)) - int64(len(nd.val))
	nd.val = owned(value)
	return created
}

func (h *Hash) enlarge() {
	h.large = new(table[[]byte])
	for _, p := range h.small {
		h.large.insert(h.hash.sum(p.field), p.field).val = p.value
	}
	h.small = nil
}

// Delete removes a field and tells whether it was there.
func (h *Hash) Delete(field []byte) bool {
	assert(h.open, "a hash is changed outside EditHash")
	if h.large != nil {
		nd := h.large.find(h.hash.sum(field), field)
		if nd == nil {
			return false
		}
		h.large.remove(nd)
		h.bytes -= int64(len(nd.key)) + int64(len(nd.val))
		h.dirty = true
		return true
	}
	i := h.find(field)
	if i < 0 {
		return false
	}
	h.bytes -= int64(len(h.small[i].field)) + int64(len(h.small[i].value))
	h.small = append(h.small[:i], h.small[i+1:]...)
	h.small[:len(h.small)+1][len(h.small)] = pair{}
	h.dirty = true
	return true
}

func (h *Hash) weigh() (value, overhead int64) {
	return h.bytes, CollectionOverhead + int64(h.Len())*FieldOverhead
}

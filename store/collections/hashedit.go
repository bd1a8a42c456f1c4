// SPDX-License-Identifier: Apache-2.0

package collections

import "github.com/kvorum/kvorum/store/keyed"

// HashEdit changes a hash (see the package comment). Begin or BeginLarge comes first, End last.
type HashEdit struct {
	hash  keyed.Hasher
	d     draft
	large *BigHash
	dirty bool
	item  []byte
}

// NewHashEdit returns an edit that orders large hashes by a hasher.
func NewHashEdit(h keyed.Hasher) *HashEdit { return &HashEdit{hash: h} }

// Begin begins on packed bytes, or on nothing. With inPlace it may write packed[:cap(packed)], otherwise it
// copies them at the first change.
func (e *HashEdit) Begin(packed []byte, inPlace bool) {
	e.d.begin(packed, inPlace)
	e.large, e.dirty = nil, false
}

// BeginLarge begins on a large hash, which it changes.
func (e *HashEdit) BeginLarge(o *BigHash) {
	e.Begin(nil, false)
	e.large = o
}

// End returns the hash in the one form it has now; it is empty when packed is empty and large nil. packed
// aliases the edit's scratch or what Begin was given. dirty tells whether anything was changed; when not,
// the form is that of Begin.
func (e *HashEdit) End() (dirty bool, packed []byte, large *BigHash) {
	dirty, packed, large = e.dirty, e.d.p, e.large
	if large != nil {
		if e.large = nil; large.t.n == 0 {
			large = nil
		}
	}
	return dirty, packed, large
}

// Hash reads the hash as it is now; it is valid until the next change.
func (e *HashEdit) Hash() Hash { return Hash{p: e.d.p, o: e.large} }

// Len is the number of fields.
func (e *HashEdit) Len() int { return e.Hash().Len() }

// Bytes is the sum of the lengths of fields and values.
func (e *HashEdit) Bytes() int64 { return e.Hash().Bytes() }

// Large tells whether the hash iterates in keyed-hash order.
func (e *HashEdit) Large() bool { return e.large != nil }

// Get returns the value of a field, valid until the next change.
func (e *HashEdit) Get(field []byte) ([]byte, bool) { return e.Hash().Get(field) }

// Each calls f for every field in the visible order until f returns false. f must not change the hash.
func (e *HashEdit) Each(f func(field, value []byte) bool) { e.Hash().Each(f) }

// Set stores a field and value and tells whether the field is new.
func (e *HashEdit) Set(field, value []byte) (created bool) {
	e.dirty = true
	if e.large != nil {
		return e.large.set(field, value, &e.item)
	}
	at, found := findField(e.d.p, field)
	if len(value) > SmallBytes || !found && (at.i == SmallFields || len(field) > SmallBytes) {
		e.enlarge()
		return e.large.set(field, value, &e.item)
	}
	if !found {
		lengths := e.d.insert(hashWidth, at.i, at.off, field, value)
		lengths[0], lengths[1] = byte(len(field)), byte(len(value))
		return true
	}
	from := at.off + at.field
	if len(value) != at.value || !e.d.writable {
		e.d.room(max(len(value)-at.value, 0))
		e.d.splice(from, at.value, len(value))
		_, table := tableOf(e.d.p, hashWidth)
		e.d.p[table+hashWidth*at.i+1] = byte(len(value))
	}
	copy(e.d.p[from:], value)
	return false
}

// enlarge makes a packed hash large.
func (e *HashEdit) enlarge() {
	o := newBigHash(e.hash)
	PackedHash(e.d.p).Each(func(field, value []byte) bool {
		o.set(field, value, &e.item)
		return true
	})
	e.large = o
	e.d.begin(nil, false)
}

// Delete removes a field and tells whether it was there.
func (e *HashEdit) Delete(field []byte) bool {
	if e.large != nil {
		hash := e.large.hash.Sum(field)
		item, ok := e.large.t.find(hash, field)
		if ok {
			f, v := pairOf(item)
			e.large.bytes -= int64(len(f) + len(v))
			e.large.t.remove(hash, field)
			e.dirty = true
		}
		return ok
	}
	at, ok := findField(e.d.p, field)
	if ok {
		e.d.remove(hashWidth, at.i, 1, at.off, at.field+at.value)
		e.dirty = true
	}
	return ok
}

// SPDX-License-Identifier: Apache-2.0

package collections

import "github.com/kvorum/kvorum/store/keyed"

// SetEdit changes a set (see the package comment). Begin or BeginLarge comes first, End last.
type SetEdit struct {
	hash  keyed.Hasher
	d     draft
	large *BigSet
	dirty bool
}

// NewSetEdit returns an edit that orders large sets by a hasher.
func NewSetEdit(h keyed.Hasher) *SetEdit { return &SetEdit{hash: h} }

// Begin begins on packed bytes, or on nothing. With inPlace it may write packed[:cap(packed)], otherwise it
// copies them at the first change.
func (e *SetEdit) Begin(packed []byte, inPlace bool) {
	e.d.begin(packed, inPlace)
	e.large, e.dirty = nil, false
}

// BeginLarge begins on a large set, which it changes.
func (e *SetEdit) BeginLarge(o *BigSet) {
	e.Begin(nil, false)
	e.large = o
}

// End returns the set in the one form it has now; it is empty when packed is empty and large nil. packed
// aliases the edit's scratch or what Begin was given. dirty tells whether anything was changed; when not,
// the form is that of Begin.
func (e *SetEdit) End() (dirty bool, packed []byte, large *BigSet) {
	dirty, packed, large = e.dirty, e.d.p, e.large
	if large != nil {
		if e.large = nil; large.t.n == 0 {
			large = nil
		}
	}
	return dirty, packed, large
}

// Set reads the set as it is now; it is valid until the next change.
func (e *SetEdit) Set() Set { return Set{p: e.d.p, o: e.large} }

// Len is the number of members.
func (e *SetEdit) Len() int { return e.Set().Len() }

// Bytes is the sum of the members' lengths.
func (e *SetEdit) Bytes() int64 { return e.Set().Bytes() }

// Large tells whether the set iterates in keyed-hash order.
func (e *SetEdit) Large() bool { return e.large != nil }

// Has tells whether a member is there.
func (e *SetEdit) Has(member []byte) bool { return e.Set().Has(member) }

// At returns member i of [0, Len) in the visible order, valid until the next change.
func (e *SetEdit) At(i int) []byte { return e.Set().At(i) }

// Each calls f for every member in the visible order until f returns false. f must not change the set.
func (e *SetEdit) Each(f func(member []byte) bool) { e.Set().Each(f) }

// Add adds a member and tells whether it is new.
func (e *SetEdit) Add(member []byte) (created bool) {
	if e.large == nil {
		i, off, found := findMember(e.d.p, member)
		if found {
			return false
		}
		if i < SmallFields && len(member) <= SmallBytes {
			e.dirty = true
			e.d.insert(setWidth, i, off, member, nil)[0] = byte(len(member))
			return true
		}
		e.enlarge()
	}
	created = e.large.add(member)
	e.dirty = e.dirty || created
	return created
}

// enlarge makes a packed set large.
func (e *SetEdit) enlarge() {
	o := newBigSet(e.hash)
	PackedSet(e.d.p).Each(func(member []byte) bool {
		o.add(member)
		return true
	})
	e.large = o
	e.d.begin(nil, false)
}

// Remove removes a member and tells whether it was there.
func (e *SetEdit) Remove(member []byte) bool {
	if e.large != nil {
		hash := e.large.hash.Sum(member)
		_, ok := e.large.t.find(hash, member)
		if ok {
			e.large.bytes -= int64(len(member))
			e.large.t.remove(hash, member)
			e.dirty = true
		}
		return ok
	}
	i, off, ok := findMember(e.d.p, member)
	if ok {
		e.d.remove(setWidth, i, 1, off, len(member))
		e.dirty = true
	}
	return ok
}

// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"sort"
)

// TokenRecord is the outcome of the last request of one client in one slot.
type TokenRecord struct {
	Seq uint64
	// Code and Reply are the caller's; Reply is at most MaxTokenReply bytes.
	Code    uint8
	Version uint64
	Reply   []byte
	// At is when the request was applied, in milliseconds on the caller's clock; not 0.
	At int64
}

// tokenSet is the token records of a slot: at most one a client, MaxTokens in all.
type tokenSet struct {
	records map[[16]byte]TokenRecord
	// order is sorted by (At, client); the oldest stands first.
	order []tokenKey
	bytes int64 // logical
	// forgotten is the newest At among the records that went before they expired, 0 for none.
	forgotten int64
	// sum is the digest of all records.
	sum sum128
}

type tokenKey struct {
	at     int64
	client [16]byte
}

func (k tokenKey) less(o tokenKey) bool {
	if k.at != o.at {
		return k.at < o.at
	}
	return bytes.Compare(k.client[:], o.client[:]) < 0
}

func (r *TokenRecord) cost() int64 { return TokenOverhead + int64(len(r.Reply)) }

func (r *TokenRecord) expired(now int64) bool { return tokenExpired(r.At, now) }

func tokenExpired(at, now int64) bool { return at <= now-TokenLife }

func (ts *tokenSet) search(k tokenKey) int {
	return sort.Search(len(ts.order), func(i int) bool { return !ts.order[i].less(k) })
}

func (ts *tokenSet) drop(i int) {
	k := ts.order[i]
	r := ts.records[k.client]
	ts.bytes -= r.cost()
	ts.sum = ts.sum.minus(r.sum(&k.client))
	delete(ts.records, k.client)
	if i == 0 {
		ts.order = ts.order[1:]
	} else {
		ts.order = append(ts.order[:i], ts.order[i+1:]...)
	}
	if len(ts.order) == 0 {
		*ts = tokenSet{forgotten: ts.forgotten}
	}
}

// forget drops the oldest record before its time.
func (ts *tokenSet) forget() {
	ts.forgotten = max(ts.forgotten, ts.order[0].at)
	ts.drop(0)
}

func (ts *tokenSet) put(client [16]byte, r TokenRecord) {
	if old, ok := ts.records[client]; ok {
		ts.drop(ts.search(tokenKey{old.At, client}))
	}
	for len(ts.order) >= MaxTokens {
		ts.forget()
	}
	if ts.records == nil {
		ts.records = make(map[[16]byte]TokenRecord)
	}
	k := tokenKey{r.At, client}
	i := ts.search(k)
	ts.order = append(ts.order, tokenKey{})
	copy(ts.order[i+1:], ts.order[i:])
	ts.order[i] = k
	ts.records[client] = r
	ts.bytes += r.cost()
	ts.sum = ts.sum.plus(r.sum(&client))
}

func (ts *tokenSet) expire(now int64, limit int) (n int) {
	for n < limit && len(ts.order) > 0 {
		if r := ts.records[ts.order[0].client]; !r.expired(now) {
			break
		}
		ts.drop(0)
		n++
	}
	if tokenExpired(ts.forgotten, now) {
		ts.forgotten = 0
	}
	return n
}

// due tells whether expire would change anything.
func (ts *tokenSet) due(now int64) bool {
	return len(ts.order) > 0 && tokenExpired(ts.order[0].at, now) || ts.forgotten != 0 && tokenExpired(ts.forgotten, now)
}

// PutToken keeps a copy of r as the client's record in the slot, in place of an earlier one, and
// removes what expired by r.At and forgets, past MaxTokens, the oldest by (At, client). A reply longer than
// MaxTokenReply is not kept: the caller marks that in Code. Needs the slot's write lock.
func (s *Store) PutToken(slot uint16, client [16]byte, r TokenRecord) {
	if len(r.Reply) > MaxTokenReply {
		r.Reply = nil
	}
	r.Reply = append([]byte(nil), r.Reply...)
	t := s.writable(slot)
	before := t.tokens.bytes
	t.tokens.expire(r.At, MaxTokens)
	t.tokens.put(client, r)
	s.account(slot, Stats{TokenBytes: t.tokens.bytes - before})
}

// GetToken returns the client's record in the slot unless it expired by now. Reply aliases the
// store. Needs the slot's lock.
func (s *Store) GetToken(slot uint16, client [16]byte, now int64) (TokenRecord, bool) {
	t := s.slots[slot].t
	if t == nil {
		return TokenRecord{}, false
	}
	r, ok := t.tokens.records[client]
	if !ok || r.expired(now) {
		return TokenRecord{}, false
	}
	return r, true
}

// ForgetToken forgets the oldest record of a slot by (At, client), if there is one: for a caller that bounds
// TokenBytes. Needs the slot's write lock.
func (s *Store) ForgetToken(slot uint16) bool {
	if s.Tokens(slot) == 0 {
		return false
	}
	t := s.writable(slot)
	before := t.tokens.bytes
	t.tokens.forget()
	s.account(slot, Stats{TokenBytes: t.tokens.bytes - before})
	return true
}

// TokensForgotten tells whether the slot gave up, for want of room, a record that would not have expired by now:
// a client without a record may have had one. Needs the slot's lock.
func (s *Store) TokensForgotten(slot uint16, now int64) bool {
	t := s.slots[slot].t
	return t != nil && t.tokens.forgotten != 0 && !tokenExpired(t.tokens.forgotten, now)
}

// NewestToken is the latest time of a record that the slot holds or gave up for want of room, 0 for none. Needs the
// slot's lock.
func (s *Store) NewestToken(slot uint16) int64 {
	t := s.slots[slot].t
	if t == nil {
		return 0
	}
	newest := t.tokens.forgotten
	if n := len(t.tokens.order); n > 0 {
		newest = max(newest, t.tokens.order[n-1].at)
	}
	return newest
}

// Tokens is the number of records a slot keeps. Needs the slot's lock.
func (s *Store) Tokens(slot uint16) int {
	if t := s.slots[slot].t; t != nil {
		return len(t.tokens.order)
	}
	return 0
}

// ExpireTokens removes the slot's records that expired by now and returns how many; of those that were
// forgotten it then remembers as little. A caller that
// wants idle slots to be cleaned visits them in an order that is a function of the log. Needs the
// slot's write lock.
func (s *Store) ExpireTokens(slot uint16, now int64) int {
	t := s.slots[slot].t
	if t == nil || !t.tokens.due(now) {
		return 0
	}
	t = s.writable(slot)
	before := t.tokens.bytes
	n := t.tokens.expire(now, MaxTokens)
	s.account(slot, Stats{TokenBytes: t.tokens.bytes - before})
	return n
}

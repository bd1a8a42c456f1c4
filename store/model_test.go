// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/kvorum/kvorum/store/keyed"
)

var testHashKey = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

func hashOf(s string) uint64 { return keyed.New(testHashKey).Sum([]byte(s)) }

// model is the keyspace done naively: no shared structure with the store but the formulas of its
// documentation.
type model struct {
	keys    map[string]*modelEntry
	removed map[uint16]uint64
	tokens  map[uint16]map[[16]byte]TokenRecord
	held    map[uint16]bool
	// forgotten is the newest time of a token that went before it expired.
	forgotten map[uint16]int64
}

type modelEntry struct {
	typ   Type
	str   string
	list  []string
	hash  [][2]string // insertion order while small
	large bool
	meta  Meta
}

func newModel() *model {
	return &model{
		keys: map[string]*modelEntry{}, removed: map[uint16]uint64{},
		tokens: map[uint16]map[[16]byte]TokenRecord{}, held: map[uint16]bool{},
		forgotten: map[uint16]int64{},
	}
}

func (m *model) clone() *model {
	c := newModel()
	for k, e := range m.keys {
		d := *e
		d.list, d.hash = slices.Clone(e.list), slices.Clone(e.hash)
		c.keys[k] = &d
	}
	for s, v := range m.removed {
		c.removed[s] = v
	}
	maps.Copy(c.forgotten, m.forgotten)
	for s, ts := range m.tokens {
		c.tokens[s] = map[[16]byte]TokenRecord{}
		for k, v := range ts {
			c.tokens[s][k] = v
		}
	}
	return c
}

func (m *model) remove(key string) bool {
	e, ok := m.keys[key]
	if ok {
		slot := SlotOf([]byte(key))
		m.removed[slot] = max(m.removed[slot], e.meta.Version)
		delete(m.keys, key)
	}
	return ok
}

func (m *model) inSlot(slot uint16) (keys []string) {
	for k := range m.keys {
		if SlotOf([]byte(k)) == slot {
			keys = append(keys, k)
		}
	}
	sortByHash(keys)
	return keys
}

func sortByHash(keys []string) {
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(hashOf(a), hashOf(b)), strings.Compare(a, b))
	})
}

// fields are the pairs of a hash in visible order.
func (e *modelEntry) fields() [][2]string {
	out := slices.Clone(e.hash)
	if e.large {
		slices.SortFunc(out, func(a, b [2]string) int {
			return cmp.Compare(hashOf(a[0]), hashOf(b[0]))
		})
	}
	return out
}

func (e *modelEntry) setField(f, v string) bool {
	i := slices.IndexFunc(e.hash, func(p [2]string) bool { return p[0] == f })
	if i >= 0 {
		e.hash[i][1] = v
	} else {
		e.hash = append(e.hash, [2]string{f, v})
	}
	e.large = e.large || len(e.hash) > 128 || len(f) > 64 || len(v) > 64
	return i < 0
}

func (e *modelEntry) delField(f string) bool {
	n := len(e.hash)
	e.hash = slices.DeleteFunc(e.hash, func(p [2]string) bool { return p[0] == f })
	return len(e.hash) < n
}

func (e *modelEntry) removeEqual(v string, count int) (removed int) {
	limit := len(e.list)
	if count > 0 && count < limit {
		limit = count
	}
	if count < 0 && count > -limit {
		limit = -count
	}
	for i := range e.list {
		at := i
		if count < 0 {
			at = len(e.list) - 1 - i
		}
		if e.list[at] == v && removed < limit {
			e.list[at] = "\x00gone"
			removed++
		}
	}
	e.list = slices.DeleteFunc(e.list, func(s string) bool { return s == "\x00gone" })
	return removed
}

func (e *modelEntry) valueBytes() (n int64) {
	n = int64(len(e.str))
	for _, v := range e.list {
		n += int64(len(v))
	}
	for _, p := range e.hash {
		n += int64(len(p[0]) + len(p[1]))
	}
	return n
}

func (m *model) stats(slot uint16) (st Stats) {
	for _, k := range m.inSlot(slot) {
		e := m.keys[k]
		st.Keys++
		st.KeyBytes += int64(len(k))
		st.ValueBytes += e.valueBytes()
		st.LogicalBytes += int64(len(k)) + e.valueBytes() + 48
		if e.meta.ExpireAt != 0 {
			st.LogicalBytes += 16
		}
		if e.typ == TypeList {
			st.LogicalBytes += 32 + 16*int64(len(e.list))
		}
		if e.typ == TypeHash {
			st.LogicalBytes += 32 + 32*int64(len(e.hash))
		}
	}
	for _, r := range m.tokens[slot] {
		st.TokenBytes += 80 + int64(len(r.Reply))
	}
	return st
}

func (m *model) due(now int64) (keys []string) {
	for k, e := range m.keys {
		if e.meta.ExpireAt != 0 && e.meta.ExpireAt <= now && !m.held[SlotOf([]byte(k))] {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(
			cmp.Compare(m.keys[a].meta.ExpireAt, m.keys[b].meta.ExpireAt),
			cmp.Compare(SlotOf([]byte(a)), SlotOf([]byte(b))),
			cmp.Compare(hashOf(a), hashOf(b)))
	})
	return keys
}

func (m *model) nextDeadline() (first int64) {
	for k, e := range m.keys {
		if at := e.meta.ExpireAt; at != 0 && !m.held[SlotOf([]byte(k))] && (first == 0 || at < first) {
			first = at
		}
	}
	return first
}

func (m *model) putToken(slot uint16, client [16]byte, r TokenRecord) {
	ts := m.tokens[slot]
	if ts == nil {
		ts = map[[16]byte]TokenRecord{}
		m.tokens[slot] = ts
	}
	m.expireTokens(slot, r.At)
	delete(ts, client)
	if len(ts) >= 1024 {
		m.forgetToken(slot)
	}
	ts[client] = r
}

func (m *model) forgetToken(slot uint16) bool {
	ts := m.tokens[slot]
	var oldest [16]byte
	first := true
	for c, o := range ts {
		if first || o.At < ts[oldest].At || o.At == ts[oldest].At && bytes.Compare(c[:], oldest[:]) < 0 {
			oldest, first = c, false
		}
	}
	if first {
		return false
	}
	m.forgotten[slot] = max(m.forgotten[slot], ts[oldest].At)
	delete(ts, oldest)
	return true
}

func (m *model) expireTokens(slot uint16, now int64) (n int) {
	for c, r := range m.tokens[slot] {
		if r.At+600_000 <= now {
			delete(m.tokens[slot], c)
			n++
		}
	}
	if m.forgotten[slot]+600_000 <= now {
		delete(m.forgotten, slot)
	}
	return n
}

// same compares a slot of a store with the model and names the first difference.
func (m *model) same(s *Store, slot uint16) string {
	s.RLock(slot)
	defer s.RUnlock(slot)
	var got []string
	diff := ""
	s.Each(slot, func(key []byte, r Ref) bool {
		got = append(got, string(key))
		e, ok := m.keys[string(key)]
		if !ok {
			diff = "extra key " + string(key)
			return false
		}
		diff = e.same(r)
		return diff == ""
	})
	if diff != "" {
		return diff
	}
	if want := m.inSlot(slot); !slices.Equal(got, want) {
		return "keys or their order differ: " + strings.Join(got, ",") + " want " + strings.Join(want, ",")
	}
	if s.Stats(slot) != m.stats(slot) {
		return "stats differ"
	}
	if s.Removed(slot) != m.removed[slot] {
		return "removed differs"
	}
	if s.Tokens(slot) != len(m.tokens[slot]) {
		return "number of tokens differs"
	}
	if at := m.forgotten[slot]; s.TokensForgotten(slot, at) != (at != 0) || s.TokensForgotten(slot, at+600_000) {
		return "what is known of forgotten tokens differs"
	}
	for c, r := range m.tokens[slot] {
		got, ok := s.GetToken(slot, c, r.At)
		if !ok || got.Seq != r.Seq || got.Code != r.Code || got.Version != r.Version || got.At != r.At || !bytes.Equal(got.Reply, r.Reply) {
			return "a token differs"
		}
	}
	return ""
}

func (e *modelEntry) same(r Ref) string {
	if r.Type() != e.typ || r.Meta() != e.meta {
		return "type or meta of " + string(r.Key()) + " differs"
	}
	switch e.typ {
	case TypeString:
		if string(r.Bytes()) != e.str {
			return "string differs"
		}
	case TypeList:
		l := r.List()
		if l.Len() != len(e.list) {
			return "list length differs"
		}
		for i, want := range e.list {
			if string(l.Index(i)) != want {
				return "list element differs"
			}
		}
	case TypeHash:
		h := r.Hash()
		var got [][2]string
		h.Each(func(f, v []byte) bool {
			got = append(got, [2]string{string(f), string(v)})
			return true
		})
		if h.Large() != e.large || h.Len() != len(e.hash) || !slices.Equal(got, e.fields()) {
			return "hash differs"
		}
		for _, p := range e.hash {
			if v, ok := h.Get([]byte(p[0])); !ok || string(v) != p[1] {
				return "hash field differs"
			}
		}
	case TypeNone, TypeSet, TypeZSet:
		return "type"
	}
	return ""
}

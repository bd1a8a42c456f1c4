// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"slices"
	"sync"
)

// Limits of sessions.
const (
	// SessionWindow is how many Subs of a session may be unacknowledged: Seq - Low stays below it.
	SessionWindow = 128
	// MaxSessions bounds the open sessions of a group; OPENSESSION beyond it fails.
	MaxSessions = 4096
	// MaxCachedReplies bounds, in bytes, the replies kept of one Sub. Replies that do not fit are
	// replaced by CodeReplyDropped.
	MaxCachedReplies = 64 << 10
	// MaxSessionBytes bounds the replies kept of a group's sessions together; a Sub beyond it keeps
	// CodeReplyDropped for every command.
	MaxSessionBytes = 64 << 20
	// sessionOrdinalShift places, above the log index, the number of a session among those that one
	// entry opened: 0 for the first, so that its id is the index itself.
	sessionOrdinalShift = 48
	// maxSessionsPerEntry keeps ids below 2^63.
	maxSessionsPerEntry = 1 << 14
)

// session is one frontend's exactly-once state. cached holds the replies of [low, next).
type session struct {
	low, next uint64
	cached    [][]byte
}

// sessionTable holds the open sessions. The applying goroutine alone changes it; mu guards the set of
// ids against list.
type sessionTable struct {
	// opened counts the sessions that the entry at index opened.
	index  uint64
	opened uint64
	// bytes is the size of all cached replies.
	bytes int

	mu   sync.RWMutex
	byID map[uint64]*session
}

func (t *sessionTable) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID, t.bytes = make(map[uint64]*session), 0
}

func (t *sessionTable) begin(index uint64) { t.index, t.opened = index, 0 }

// open makes a session; ok false when there are too many.
func (t *sessionTable) open() (id uint64, ok bool) {
	if len(t.byID) >= MaxSessions || t.opened >= maxSessionsPerEntry {
		return 0, false
	}
	id = t.index | t.opened<<sessionOrdinalShift
	t.opened++
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[id] = &session{low: 1, next: 1}
	return id, true
}

func (t *sessionTable) end(id uint64) {
	if s := t.byID[id]; s != nil {
		t.forget(s, s.next)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, id)
}

func (t *sessionTable) list() []uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	ids := make([]uint64, 0, len(t.byID))
	for id := range t.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// verdict is what is to be done with a Sub: execute it and record, or answer with status.
type verdict struct {
	execute bool
	status  SubStatus
	next    uint64 // with SubGap
	cached  []byte // with SubApplied
}

// admit decides about a Sub of a session by the rules of DESIGN.md, and forgets the replies that the
// Sub says are acknowledged.
func (t *sessionTable) admit(l *EntrySub) verdict {
	s := t.byID[l.Session]
	if s == nil {
		return verdict{status: SubExpired}
	}
	// The frontend cannot have an answer to what was never executed, nor to the Sub it is sending.
	t.forget(s, min(l.Low, l.Seq, s.next))
	switch {
	case l.Seq < s.low:
		return verdict{status: SubStale}
	case l.Seq < s.next && !planted("no-dedupe"):
		return verdict{status: SubApplied, cached: s.cached[l.Seq-s.low]}
	case l.Seq > s.next || s.next-s.low >= SessionWindow:
		return verdict{status: SubGap, next: s.next}
	}
	return verdict{execute: true}
}

// record keeps the replies of the Sub that admit let in.
func (t *sessionTable) record(l *EntrySub, cached []byte) {
	s := t.byID[l.Session]
	if s == nil { // the Sub's own entry cannot have closed it: closing comes first
		return
	}
	if t.bytes+len(cached) > MaxSessionBytes {
		cached = cached[:0]
		for range l.Writes {
			cached = appendDropped(cached)
		}
	}
	t.bytes += len(cached)
	s.cached = append(s.cached, slices.Clone(cached))
	s.next++
}

// forget drops what a session keeps below low.
func (t *sessionTable) forget(s *session, low uint64) {
	if low <= s.low {
		return
	}
	n := low - s.low
	for _, c := range s.cached[:n] {
		t.bytes -= len(c)
	}
	s.cached = slices.Delete(s.cached, 0, int(n))
	s.low = low
}

// appendCached appends a reply as sessions keep it. A reply that does not fit in MaxCachedReplies is
// kept as CodeReplyDropped without its text.
func appendCached(cache []byte, res *Result) []byte {
	n := len(cache)
	if leastEncoded(res) > MaxCachedReplies {
		return appendDropped(cache) // without making what would be cut off again
	}
	cache = AppendResult(cache, res)
	if len(cache) <= MaxCachedReplies {
		return cache
	}
	return appendDropped(cache[:n])
}

func appendDropped(cache []byte) []byte {
	dropped := Result{Kind: KindError, Code: CodeReplyDropped}
	return AppendResult(cache, &dropped)
}

// parseCached gives the n replies that appendCached kept. They share no bytes with the cache. A sender that
// repeats a number with more commands than it had finds the rest dropped: only the leader looks for replies, so
// that they cannot be found is no reason to stop.
func parseCached(cached []byte, n int) []Result {
	own := slices.Clone(cached)
	out := make([]Result, n)
	for i := range out {
		res, size, err := ParseResult(own)
		if err != nil {
			res, size = Result{Kind: KindError, Code: CodeReplyDropped}, len(own)
		}
		if res.Code == CodeReplyDropped {
			res.Str = []byte(TextReplyDropped)
		}
		out[i], own = res, own[size:]
	}
	return out
}

// append encodes the sessions for the shell's section, in ascending order of id.
func (t *sessionTable) append(dst []byte) []byte {
	ids := t.list()
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		s := t.byID[id]
		dst = binary.AppendUvarint(dst, id)
		dst = binary.AppendUvarint(dst, s.low)
		dst = binary.AppendUvarint(dst, uint64(len(s.cached)))
		for _, c := range s.cached {
			dst = appendBytes(dst, c)
		}
	}
	return dst
}

// load is the reverse of append, into an empty table.
func (t *sessionTable) load(r *reader) {
	t.reset()
	for n := r.count("session count"); n > 0 && r.err == nil; n-- {
		id := r.uvarint("session")
		s := &session{low: r.uvarint("session low")}
		for c := r.count("cached count"); c > 0 && r.err == nil; c-- {
			s.cached = append(s.cached, slices.Clone(r.bytes("cached replies")))
			t.bytes += len(s.cached[len(s.cached)-1])
		}
		s.next = s.low + uint64(len(s.cached))
		t.byID[id] = s
	}
}

// adopt takes over what another table holds.
func (t *sessionTable) adopt(o *sessionTable) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID, t.bytes = o.byID, o.bytes
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"fmt"
	"math"
)

// entryVersion is the first byte of every entry. Another one stops the replica.
const entryVersion = 1

// Victim names a key to evict: it is removed iff its version still is Version.
type Victim struct {
	Slot    uint16
	Key     []byte
	Version uint64
	// Bytes is the logical size that the proposer reckons with. It is not written to the log.
	Bytes int64
}

// MaxClock is the latest clock, in milliseconds, that an entry may carry (in the year 2248): shifted by
// versionShift it still fits a version.
const MaxClock = 1<<(63-versionShift) - 1

// Header is what an entry says about itself.
type Header struct {
	// ClusterVersion is what the entry needs its readers to understand: a replica that does not know
	// it stops.
	ClusterVersion uint32
	// Proposer is the incarnation of the node that proposed the entry, Batch its number of the entry:
	// together they find the pending requests on that node.
	Proposer, Batch uint64
	// Clock is the leader's clock in milliseconds since 1970, within 0 … MaxClock.
	Clock int64
	// Seed is drawn by the proposer for commands that take chances.
	Seed uint64
	// Close names sessions that end with this entry, before its commands.
	Close []uint64
	// Evict names keys to remove, before the entry's commands.
	Evict []Victim
}

// EntrySub is a Sub as the log holds it. Body aliases the entry.
type EntrySub struct {
	Session, Seq, Low uint64
	Writes            int
	Body              []byte
}

// Entry is a parsed entry. Everything in it aliases the data it was parsed from.
type Entry struct {
	Header Header
	Subs   []EntrySub
}

// AppendEntryHeader appends the front of an entry; AppendSub appends its Subs behind it.
func AppendEntryHeader(dst []byte, h *Header) []byte {
	dst = append(dst, entryVersion)
	dst = binary.LittleEndian.AppendUint64(dst, h.Proposer)
	dst = binary.LittleEndian.AppendUint64(dst, h.Batch)
	dst = binary.AppendUvarint(dst, uint64(h.ClusterVersion))
	dst = binary.AppendUvarint(dst, uint64(min(max(h.Clock, 0), MaxClock)))
	dst = binary.LittleEndian.AppendUint64(dst, h.Seed)
	dst = binary.AppendUvarint(dst, uint64(len(h.Close)))
	for _, id := range h.Close {
		dst = binary.AppendUvarint(dst, id)
	}
	dst = binary.AppendUvarint(dst, uint64(len(h.Evict)))
	for i := range h.Evict {
		v := &h.Evict[i]
		dst = binary.AppendUvarint(dst, uint64(v.Slot))
		dst = binary.AppendUvarint(dst, v.Version)
		dst = appendBytes(dst, v.Key)
	}
	return append(dst, 0) // extension area
}

// AppendSub appends s to an entry. It copies the body.
func AppendSub(dst []byte, s *Sub) []byte {
	dst = binary.AppendUvarint(dst, s.Session)
	dst = binary.AppendUvarint(dst, s.Seq)
	dst = binary.AppendUvarint(dst, s.Low)
	dst = binary.AppendUvarint(dst, uint64(s.Writes))
	dst = appendBytes(dst, s.Body)
	return append(dst, 0) // extension area
}

// maxSubOverhead is the most that AppendSub adds to the length of a body.
const maxSubOverhead = 5*binary.MaxVarintLen64 + 1

// SubSize gives a bound on the length of what AppendSub appends.
func SubSize(s *Sub) int { return len(s.Body) + maxSubOverhead }

// PeekOrigin reads who proposed the entry, without parsing the rest.
func PeekOrigin(data []byte) (proposer, batch uint64, ok bool) {
	if len(data) < 17 || data[0] != entryVersion {
		return 0, 0, false
	}
	return binary.LittleEndian.Uint64(data[1:]), binary.LittleEndian.Uint64(data[9:]), true
}

// ParseEntry reads a whole entry down to its Subs, whose bodies it does not look into.
func ParseEntry(data []byte) (Entry, error) {
	var e Entry
	err := parseEntry(data, &e)
	return e, err
}

// parseEntry fills e, reusing the room of its slices.
func parseEntry(data []byte, e *Entry) error {
	r := reader{src: data}
	if v := r.byte("entry version"); r.err == nil && v != entryVersion {
		return fmt.Errorf("fsm: parse entry: version %d: %w", v, ErrUnknown)
	}
	h := &e.Header
	h.Proposer = r.fixed64("proposer")
	h.Batch = r.fixed64("batch")
	h.ClusterVersion = uint32(r.uint(math.MaxUint32, "cluster version"))
	h.Clock = int64(r.uint(MaxClock, "clock"))
	h.Seed = r.fixed64("seed")
	h.Close = h.Close[:0]
	for n := r.count("session count"); n > 0 && r.err == nil; n-- {
		h.Close = append(h.Close, r.uvarint("session"))
	}
	h.Evict = h.Evict[:0]
	for n := r.count("victim count"); n > 0 && r.err == nil; n-- {
		v := Victim{Slot: uint16(r.uint(Slots-1, "victim slot")), Version: r.uvarint("victim version")}
		v.Key = r.bytes("victim key")
		h.Evict = append(h.Evict, v)
	}
	r.extensions("entry extensions", func(uint64, *reader) bool { return false })
	e.Subs = e.Subs[:0]
	for r.err == nil && r.rest() > 0 {
		e.Subs = append(e.Subs, r.sub())
	}
	return r.err
}

func (r *reader) sub() EntrySub {
	s := EntrySub{Session: r.uvarint("session"), Seq: r.uvarint("sequence"), Low: r.uvarint("lowest sequence")}
	s.Writes = int(r.uint(math.MaxInt32, "write count"))
	s.Body = r.bytes("body")
	if r.err == nil && s.Writes > len(s.Body) {
		r.fail(ErrMalformed, "write count")
	}
	r.extensions("sub extensions", func(uint64, *reader) bool { return false })
	return s
}

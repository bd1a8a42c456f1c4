// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// message types. The numbers are on the wire and never change.
const (
	typeAppend     = 1
	typeVote       = 2
	typePreVote    = 3
	typeTimeoutNow = 4
	typeInstall    = 5
)

// envelope precedes every message: who speaks to whom. Node ids are those the link proved.
type envelope struct {
	Type     byte
	Group    uint32
	From, To uint64
	// Protocol is raft's protocol version of the sender.
	Protocol byte
}

const envelopeSize = 1 + 4 + 8 + 8 + 1

func appendEnvelope(dst []byte, e envelope) []byte {
	dst = append(dst, e.Type)
	dst = binary.BigEndian.AppendUint32(dst, e.Group)
	dst = binary.BigEndian.AppendUint64(dst, e.From)
	dst = binary.BigEndian.AppendUint64(dst, e.To)
	return append(dst, e.Protocol)
}

// parseEnvelope returns the envelope and what follows it, which aliases src.
func parseEnvelope(src []byte) (envelope, []byte, error) {
	if len(src) < envelopeSize {
		return envelope{}, nil, fmt.Errorf("%w: envelope", ErrMalformed)
	}
	return envelope{
		Type: src[0], Group: binary.BigEndian.Uint32(src[1:]),
		From: binary.BigEndian.Uint64(src[5:]), To: binary.BigEndian.Uint64(src[13:]),
		Protocol: src[21],
	}, src[envelopeSize:], nil
}

// reader takes fields off a message; bad sticks.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// bytes returns a slice of the message, nil when empty.
func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	if n == 0 {
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// end reports whether the message was read exactly.
func (r *reader) end(what string) error {
	if r.bad || len(r.b) > 0 {
		return fmt.Errorf("%w: %s", ErrMalformed, what)
	}
	return nil
}

func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}

// Entries

const (
	entryHasTime = 0x80
	// minEntry is the least size of an entry on the wire: term, type, two lengths.
	minEntry = 4
	// entryOverhead bounds what an entry takes on the wire beside Data and Extensions.
	entryOverhead = 10 + 1 + 10 + 5 + 5
)

// appendEntryHead appends all of an entry but its Data, which follows, and its extensions.
func appendEntryHead(dst []byte, e *raft.Log) []byte {
	dst = binary.AppendUvarint(dst, e.Term)
	dst = append(dst, byte(e.Type)|flag(!e.AppendedAt.IsZero(), entryHasTime))
	if !e.AppendedAt.IsZero() {
		dst = binary.AppendVarint(dst, e.AppendedAt.UnixNano())
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Extensions)))
	dst = append(dst, e.Extensions...)
	return binary.AppendUvarint(dst, uint64(len(e.Data)))
}

// entry reads one; Data and Extensions alias the message.
func (r *reader) entry(e *raft.Log) {
	e.Term = r.uint()
	t := r.byte()
	e.Type = raft.LogType(t &^ entryHasTime)
	if t&entryHasTime != 0 {
		e.AppendedAt = time.Unix(0, r.int())
	}
	e.Extensions = r.bytes()
	e.Data = r.bytes()
}

// AppendEntries

// appendAppend appends the message in pieces: what is small is written to one buffer, large
// Data is referred to. Entries follow PrevLogEntry without a gap, so indexes are not sent.
func appendAppend(head []byte, a *raft.AppendEntriesRequest) [][]byte {
	head = binary.AppendUvarint(head, a.Term)
	head = binary.AppendUvarint(head, a.PrevLogEntry)
	head = binary.AppendUvarint(head, a.PrevLogTerm)
	head = binary.AppendUvarint(head, a.LeaderCommitIndex)
	head = binary.AppendUvarint(head, uint64(len(a.Entries)))
	var parts [][]byte
	start := 0
	for _, e := range a.Entries {
		head = appendEntryHead(head, e)
		if len(e.Data) < referData {
			head = append(head, e.Data...)
			continue
		}
		parts = append(parts, head[start:len(head):len(head)], e.Data)
		start = len(head)
	}
	return append(parts, head[start:])
}

// referData is the size from which an entry's Data is not copied into the message.
const referData = 4 << 10

// parseAppend reads what appendAppend wrote. Entries alias src.
func parseAppend(src []byte) (*raft.AppendEntriesRequest, error) {
	r := reader{b: src}
	a := &raft.AppendEntriesRequest{
		Term: r.uint(), PrevLogEntry: r.uint(), PrevLogTerm: r.uint(), LeaderCommitIndex: r.uint(),
	}
	n := r.uint()
	if n > uint64(len(r.b))/minEntry {
		return nil, fmt.Errorf("%w: append of %d entries in %d bytes", ErrMalformed, n, len(r.b))
	}
	if n > 0 {
		logs := make([]raft.Log, n)
		a.Entries = make([]*raft.Log, n)
		for i := range logs {
			logs[i].Index = a.PrevLogEntry + 1 + uint64(i)
			r.entry(&logs[i])
			a.Entries[i] = &logs[i]
		}
	}
	return a, r.end("append")
}

func appendAppendReply(dst []byte, v *raft.AppendEntriesResponse) []byte {
	dst = binary.AppendUvarint(dst, v.Term)
	dst = binary.AppendUvarint(dst, v.LastLog)
	return append(dst, flag(v.Success, 1)|flag(v.NoRetryBackoff, 2))
}

func parseAppendReply(src []byte, v *raft.AppendEntriesResponse) error {
	r := reader{b: src}
	term, last, flags := r.uint(), r.uint(), r.byte()
	if err := r.end("append reply"); err != nil {
		return err
	}
	*v = raft.AppendEntriesResponse{
		Term: term, LastLog: last, Success: flags&1 != 0, NoRetryBackoff: flags&2 != 0,
	}
	return nil
}

// Votes

func appendVote(dst []byte, v *raft.RequestVoteRequest) []byte {
	dst = binary.AppendUvarint(dst, v.Term)
	dst = binary.AppendUvarint(dst, v.LastLogIndex)
	dst = binary.AppendUvarint(dst, v.LastLogTerm)
	return append(dst, flag(v.LeadershipTransfer, 1))
}

func parseVote(src []byte) (*raft.RequestVoteRequest, error) {
	r := reader{b: src}
	v := &raft.RequestVoteRequest{Term: r.uint(), LastLogIndex: r.uint(), LastLogTerm: r.uint()}
	v.LeadershipTransfer = r.byte()&1 != 0
	return v, r.end("vote")
}

func appendPreVote(dst []byte, v *raft.RequestPreVoteRequest) []byte {
	dst = binary.AppendUvarint(dst, v.Term)
	dst = binary.AppendUvarint(dst, v.LastLogIndex)
	return binary.AppendUvarint(dst, v.LastLogTerm)
}

func parsePreVote(src []byte) (*raft.RequestPreVoteRequest, error) {
	r := reader{b: src}
	v := &raft.RequestPreVoteRequest{Term: r.uint(), LastLogIndex: r.uint(), LastLogTerm: r.uint()}
	return v, r.end("pre-vote")
}

// appendVerdict is the reply to votes, pre-votes and snapshots: a term and yes or no.
func appendVerdict(dst []byte, term uint64, yes bool) []byte {
	return append(binary.AppendUvarint(dst, term), flag(yes, 1))
}

func parseVerdict(src []byte) (term uint64, yes bool, err error) {
	r := reader{b: src}
	term, yes = r.uint(), r.byte()&1 != 0
	return term, yes, r.end("verdict")
}

// TimeoutNow

func appendTimeoutNow(dst []byte, term uint64) []byte { return binary.AppendUvarint(dst, term) }

func parseTimeoutNow(src []byte) (term uint64, err error) {
	r := reader{b: src}
	term = r.uint()
	return term, r.end("timeout-now")
}

// InstallSnapshot; the body follows on the stream.

func appendInstall(dst []byte, v *raft.InstallSnapshotRequest) []byte {
	dst = binary.AppendUvarint(dst, uint64(v.SnapshotVersion))
	dst = binary.AppendUvarint(dst, v.Term)
	dst = binary.AppendUvarint(dst, v.LastLogIndex)
	dst = binary.AppendUvarint(dst, v.LastLogTerm)
	dst = binary.AppendUvarint(dst, v.ConfigurationIndex)
	dst = binary.AppendUvarint(dst, uint64(v.Size))
	dst = binary.AppendUvarint(dst, uint64(len(v.Configuration)))
	return append(dst, v.Configuration...)
}

func parseInstall(src []byte) (*raft.InstallSnapshotRequest, error) {
	r := reader{b: src}
	version := r.uint()
	v := &raft.InstallSnapshotRequest{
		SnapshotVersion: raft.SnapshotVersion(version), Term: r.uint(),
		LastLogIndex: r.uint(), LastLogTerm: r.uint(), ConfigurationIndex: r.uint(),
		Size: int64(r.uint()), Configuration: r.bytes(),
	}
	if v.Size < 0 || version > uint64(raft.SnapshotVersionMax) {
		return nil, fmt.Errorf("%w: snapshot of %d bytes, version %d", ErrMalformed, v.Size, version)
	}
	return v, r.end("snapshot")
}

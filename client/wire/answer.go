// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"time"
)

// Kind is the cause of a delivery failure. The numbers up to 63 are those of the server's own
// delivery errors; from 64 on they belong to the protocol.
type Kind uint8

// The kinds. Failure.Applied says, for each failure, whether the command may have been applied.
const (
	FailNotLeader     Kind = 1  // no node that was asked leads the group
	FailNoQuorum      Kind = 2  // the group has no leader that reaches a majority
	FailOverloaded    Kind = 3  // a queue or budget was full
	FailNoSpace       Kind = 4  // the disk of the leader, or of a majority, is full
	FailClosing       Kind = 5  // the node is shutting down
	FailUninitialised Kind = 6  // the node belongs to no cluster yet
	FailTimeout       Kind = 7  // time ended before the command was sent to a group
	FailUnknown       Kind = 8  // the command may have been applied, or may be later
	FailDenied        Kind = 9  // not permitted
	FailInvalid       Kind = 10 // the command can never run here
	FailProtocol      Kind = 64 // the bytes make no sense; the server closes the connection
	FailVersion       Kind = 65 // no common protocol version
	FailConnections   Kind = 66 // the server has as many connections as it may
)

// Applied is what a failure says about the command's effect.
type Applied uint8

// The two answers.
const (
	// AppliedNo: definitely not applied, and it never will be.
	AppliedNo Applied = 0
	// AppliedUnknown: it may have been applied, or may be later.
	AppliedUnknown Applied = 1
)

// Failure is the body of a FrameFailure: the command could not be delivered, so it has no Value.
type Failure struct {
	Kind    Kind
	Applied Applied
	// RetryAfter is how long to wait before another try; 0 leaves it to the client. Whole
	// milliseconds on the wire.
	RetryAfter time.Duration
	// Leader is the node id of the leader of the command's group, empty when unknown.
	Leader string
	Text   string
}

// AppendFailure appends f as a whole frame. id 0 means that the failure concerns the connection.
func AppendFailure(dst []byte, id uint64, f *Failure) []byte {
	at := len(dst)
	dst = append(beginFrame(dst, FrameFailure, id), byte(f.Kind), byte(f.Applied))
	dst = appendU32(dst, uint32(min(f.RetryAfter/time.Millisecond, 1<<32-1)))
	return endFrame(appendText(appendName(dst, f.Leader), f.Text), at)
}

// ParseFailure reads the body of a FrameFailure.
func ParseFailure(body []byte) (f Failure, err error) {
	r := reader{src: body}
	f.Kind, f.Applied = Kind(r.u8()), Applied(r.u8())
	f.RetryAfter = time.Duration(r.u32()) * time.Millisecond
	f.Leader, f.Text = r.name(), r.text()
	if !r.done() || f.Kind == 0 || f.Applied > AppliedUnknown {
		return f, ErrMalformed
	}
	return f, nil
}

// resultLeader is the flag of a FrameResult that a leader's node id follows. All others must be
// zero.
const resultLeader = 1 << 0

// BeginResult appends a FrameResult up to its value. The caller appends exactly one value and
// calls EndResult with the length that dst had before. leader is the node id of the leader that
// answered, when it is not the node that was asked; else empty.
func BeginResult(dst []byte, id uint64, leader string) []byte {
	dst = beginFrame(dst, FrameResult, id)
	if leader == "" {
		return append(dst, 0)
	}
	return appendName(append(dst, resultLeader), leader)
}

// EndResult completes the frame that BeginResult began at dst[at:].
func EndResult(dst []byte, at int) []byte { return endFrame(dst, at) }

// EndResultHead is EndResult for a value of n bytes that is not in dst but follows it.
func EndResultHead(dst []byte, at, n int) []byte {
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4+n))
	return dst
}

// ParseResult reads the body of a FrameResult; the value aliases body.
func ParseResult(body []byte) (v Value, leader string, err error) {
	r := reader{src: body}
	switch r.u8() {
	case 0:
	case resultLeader:
		leader = r.name()
	default:
		return v, "", ErrMalformed
	}
	if r.bad {
		return v, "", ErrMalformed
	}
	v, n, err := ParseValue(r.src)
	if err != nil {
		return v, "", err
	}
	if n != len(r.src) {
		return v, "", ErrMalformed
	}
	return v, leader, nil
}

// PushKind says what a FramePush is about.
type PushKind uint8

// The pushes. A client skips those that it does not know.
const (
	// PushTopology: the topology changed; Push.Version is the new one. Several changes may be
	// told by one push.
	PushTopology PushKind = 1
	// PushClosing: the node is shutting down. It answers what is in flight; the client sends new
	// requests elsewhere and closes the connection when its last answer came.
	PushClosing PushKind = 2
)

// Push is the body of a FramePush.
type Push struct {
	Kind    PushKind
	Version uint64
}

// AppendPush appends p as a whole frame.
func AppendPush(dst []byte, p Push) []byte {
	at := len(dst)
	return endFrame(appendU64(append(beginFrame(dst, FramePush, 0), byte(p.Kind)), p.Version), at)
}

// ParsePush reads the body of a FramePush. What follows the known fields is skipped.
func ParsePush(body []byte) (p Push, err error) {
	r := reader{src: body}
	p.Kind, p.Version = PushKind(r.u8()), r.u64()
	if r.bad || p.Kind == 0 {
		return p, ErrMalformed
	}
	return p, nil
}

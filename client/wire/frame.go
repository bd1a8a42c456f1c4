// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"time"
)

// FrameType is the byte behind a frame's length. Requests are below 0x80, what a server sends is
// at or above it.
type FrameType uint8

// The frames of version 2.
const (
	FrameRequest  FrameType = 0x01 // one command
	FrameTopology FrameType = 0x02 // asks for the topology
	FramePing     FrameType = 0x03 // asks for a pong
	FrameResult   FrameType = 0x81 // a command's outcome
	FrameFailure  FrameType = 0x82 // a command that could not be delivered
	FrameView     FrameType = 0x83 // the topology
	FramePush     FrameType = 0x84 // unasked news, id 0
	FramePong     FrameType = 0x85
)

// frameHead is the length of type and id, which every frame has behind its length field.
const frameHead = 1 + 8

// Frame is one frame of version 2 before its body is looked into.
type Frame struct {
	Type FrameType
	// ID is chosen by the client, unique among its requests in flight on this connection and not
	// 0; the answer carries it back. Push frames have 0.
	ID uint64
	// Body aliases the parsed bytes.
	Body []byte
}

// ParseFrame reads one frame off the front of src. limit bounds the length field. When src holds
// only part of a frame, n is 0 and need is how many bytes the whole frame takes, as far as known.
func ParseFrame(src []byte, limit int) (f Frame, n, need int, err error) {
	if len(src) < 4 {
		return f, 0, 4 + frameHead, nil
	}
	size := binary.BigEndian.Uint32(src)
	if uint64(size) > uint64(limit) {
		return f, 0, 0, ErrTooLong
	}
	if size < frameHead {
		return f, 0, 0, ErrMalformed
	}
	n = 4 + int(size)
	if len(src) < n {
		return f, 0, n, nil
	}
	f = Frame{Type: FrameType(src[4]), ID: binary.BigEndian.Uint64(src[5:]), Body: src[4+frameHead : n : n]}
	return f, n, 0, nil
}

// beginFrame appends a frame's head with its length left open; endFrame fills it in.
func beginFrame(dst []byte, t FrameType, id uint64) []byte {
	return appendU64(append(appendU32(dst, 0), byte(t)), id)
}

func endFrame(dst []byte, at int) []byte {
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// AppendBare appends a frame without a body: FramePing or FramePong.
func AppendBare(dst []byte, t FrameType, id uint64) []byte {
	return endFrame(beginFrame(dst, t, id), len(dst))
}

// Consistency is what a read may miss.
type Consistency uint8

// The consistencies.
const (
	// Linearizable: the read sees every write acknowledged before it was sent.
	Linearizable Consistency = 0
	// Stale: the read is answered by whatever replica the asked node has, as far as it got.
	Stale Consistency = 1
)

// Token identifies one write of one client end to end, so that sending it again applies it at most
// once. The zero Token means none.
type Token struct {
	Client [16]byte
	// Seq grows with each new write of Client on the same slot, and is below TokenAgain. TokenAgain is
	// added to it in every try behind one of unknown outcome.
	Seq uint64
}

// TokenAgain marks a try of a write that may have been applied already. When the servers no longer know
// whether it was, they answer such a try with CodeTokenExpired, while they execute a first one.
const TokenAgain = 1 << 63

// IsZero tells whether there is no token.
func (t Token) IsZero() bool { return t == Token{} }

// Request is one command of version 2.
type Request struct {
	// Op is the command's number; 0 means that Args[0] is its name.
	Op Op
	// Args are the arguments behind the command's name (after parsing, they alias the frame).
	Args [][]byte
	// Token is honoured on writes of a single slot.
	Token Token
	// Deadline is how long the server may try; 0 leaves it to the server. On the wire it is
	// whole milliseconds, rounded up.
	Deadline    time.Duration
	Consistency Consistency
	// Ordered: behind every earlier ordered request of this connection. Without
	// FeatureConcurrent every request is ordered.
	Ordered bool
}

// The flags of a request. All others must be zero.
const (
	flagToken       = 1 << 0 // 16 bytes of client and u64 of sequence follow
	flagDeadline    = 1 << 1 // u32 of milliseconds follows
	flagConsistency = 1 << 2 // u8 of consistency follows
	flagOrdered     = 1 << 3
	flagsKnown      = flagToken | flagDeadline | flagConsistency | flagOrdered
)

// AppendRequest appends q as a whole frame.
func AppendRequest(dst []byte, id uint64, q *Request) []byte {
	at := len(dst)
	dst = appendRequestHead(beginFrame(dst, FrameRequest, id), q, len(q.Args))
	for _, a := range q.Args {
		dst = appendLong(dst, a)
	}
	return endFrame(dst, at)
}

func appendRequestHead(dst []byte, q *Request, argc int) []byte {
	var flags byte
	if !q.Token.IsZero() {
		flags |= flagToken
	}
	if q.Deadline > 0 {
		flags |= flagDeadline
	}
	if q.Consistency != Linearizable {
		flags |= flagConsistency
	}
	if q.Ordered {
		flags |= flagOrdered
	}
	dst = append(appendU16(dst, uint16(q.Op)), flags)
	if flags&flagToken != 0 {
		dst = appendU64(append(dst, q.Token.Client[:]...), q.Token.Seq)
	}
	if flags&flagDeadline != 0 {
		ms := (q.Deadline + time.Millisecond - 1) / time.Millisecond
		dst = appendU32(dst, uint32(min(ms, 1<<32-1)))
	}
	if flags&flagConsistency != 0 {
		dst = append(dst, byte(q.Consistency))
	}
	return appendU32(dst, uint32(argc))
}

// RequestSize is the length of the frame that AppendRequest makes of q at most, length field
// included.
func RequestSize(q *Request) int {
	n := 4 + frameHead + 2 + 1 + 24 + 4 + 1 + 4
	for _, a := range q.Args {
		n += 4 + len(a)
	}
	return n
}

// ParseRequest reads the body of a FrameRequest. The arguments are appended to room, which is
// returned grown; Args is what was appended. After an error room's elements are as before.
func ParseRequest(body []byte, room [][]byte) (q Request, grown [][]byte, err error) {
	r := reader{src: body}
	q.Op = Op(r.u16())
	flags := r.u8()
	if flags&^flagsKnown != 0 {
		return q, room, ErrMalformed
	}
	if flags&flagToken != 0 {
		copy(q.Token.Client[:], r.take(16))
		if q.Token.Seq = r.u64(); q.Token.IsZero() {
			return q, room, ErrMalformed
		}
	}
	if flags&flagDeadline != 0 {
		if q.Deadline = time.Duration(r.u32()) * time.Millisecond; q.Deadline == 0 {
			return q, room, ErrMalformed
		}
	}
	if flags&flagConsistency != 0 {
		if q.Consistency = Consistency(r.u8()); q.Consistency != Stale {
			return q, room, ErrMalformed
		}
	}
	q.Ordered = flags&flagOrdered != 0
	count := r.u32()
	if count > MaxArgs {
		return q, room, ErrTooLong
	}
	if r.bad || uint64(count)*4 > uint64(len(r.src)) {
		return q, room, ErrMalformed
	}
	grown = room
	for range count {
		grown = append(grown, r.long())
	}
	if !r.done() {
		return q, room, ErrMalformed
	}
	q.Args = grown[len(room):len(grown):len(grown)]
	return q, grown, nil
}

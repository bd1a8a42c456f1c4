// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"strings"
	"time"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

// failureOf is the one place where delivery errors become the wire's. A nil error means that there
// is neither result nor error: then nothing is known.
func failureOf(err error) wire.Failure {
	e, ok := errors.AsType[*shard.Error](err)
	if !ok {
		return wire.Failure{Kind: wire.FailUnknown, Applied: wire.AppliedUnknown, Text: shard.KindUnknown.String()}
	}
	f := wire.Failure{
		Kind: wire.Kind(e.Kind), Applied: wire.AppliedUnknown, RetryAfter: retryAfter(e.Kind),
		Leader: e.Leader, Text: strings.TrimPrefix(e.Error(), "shard: "),
	}
	if e.NotApplied() {
		f.Applied = wire.AppliedNo
	}
	return f
}

// retryAfter is how long a client should wait before it tries again.
func retryAfter(k shard.Kind) time.Duration {
	switch k {
	case shard.KindNotLeader:
		return 20 * time.Millisecond
	case shard.KindOverloaded:
		return 10 * time.Millisecond
	case shard.KindNoQuorum, shard.KindClosing:
		return 100 * time.Millisecond
	case shard.KindNoSpace, shard.KindUninitialised:
		return time.Second
	case shard.KindTimeout, shard.KindUnknown, shard.KindDenied, shard.KindInvalid:
	}
	return 0
}

// appendReply appends the answer of one version 2 request. A leader is only named when it is another
// node.
func (h *Handler) appendReply(dst []byte, id uint64, r *shard.Reply, write bool) []byte {
	if r.Err != nil || r.Result.Kind == fsm.KindNone {
		f := failureOf(r.Err)
		if f.Leader == "" {
			f.Leader = r.Leader
		}
		return wire.AppendFailure(dst, id, &f)
	}
	leader := r.Leader
	if leader == h.cfg.NodeID {
		leader = ""
	}
	at := len(dst)
	dst = wire.EndResult(appendResult(wire.BeginResult(dst, id, leader), &r.Result), at)
	if len(dst)-at-4 <= h.maxReply {
		return dst
	}
	res := tooLong(write)
	return wire.EndResult(appendResult(wire.BeginResult(dst[:at], id, leader), &res), at)
}

// isLarge tells whether a result is written piece by piece.
func isLarge(r *fsm.Result) bool {
	return len(r.Str) > largeReply || len(r.Elems) > 0 && atLeast(r, largeReply) > largeReply
}

// atLeast adds up the sizes in r until they are beyond enough.
func atLeast(r *fsm.Result, enough int) int {
	n := fsm.ReplyOverhead/2 + len(r.Str)
	for i := 0; i < len(r.Elems) && n <= enough; i++ {
		n += atLeast(&r.Elems[i], enough-n)
	}
	return n
}

// sendLarge answers b's next request with a reply that is written from where it is.
func (h *Handler) sendLarge(b *batch, r *shard.Reply) error {
	if err := b.flush(); err != nil {
		return err
	}
	leader := r.Leader
	if leader == h.cfg.NodeID {
		leader = ""
	}
	p := pieces{c: b.to.c, buf: wire.BeginResult(b.out[:0], b.ids[b.at], leader)}
	size := valueSize(&r.Result)
	if len(p.buf)-4+size > h.maxReply {
		b.out = h.appendReply(b.out, b.ids[b.at], &shard.Reply{Result: tooLong(b.writes[b.at]), Leader: r.Leader}, false)
		return nil
	}
	p.buf = wire.EndResultHead(p.buf, 0, size)
	if err := b.to.claim(); err != nil {
		return err
	}
	p.value(&r.Result)
	err := b.to.release(p.buf, p.err)
	b.out = p.buf[:0]
	return err
}

// tooLong stands for a reply that no frame holds.
func tooLong(write bool) fsm.Result {
	if write {
		return fsm.Error(fsm.CodeReplyDropped, fsm.TextReplyDropped)
	}
	return fsm.Error(fsm.CodeTooBig, fsm.TextReplyTooBig)
}

// pieces writes a value: small parts are gathered in buf, long strings go as they are.
type pieces struct {
	c   *tcpd.Conn
	buf []byte
	err error
}

func (p *pieces) value(r *fsm.Result) {
	switch r.Kind {
	case fsm.KindArray, fsm.KindMap, fsm.KindSet, fsm.KindPush:
		p.buf = wire.AppendListHead(p.buf, wire.ValueKind(r.Kind), len(r.Elems))
		for i := range r.Elems {
			p.value(&r.Elems[i])
		}
	case fsm.KindBigNumber, fsm.KindBulk, fsm.KindVerbatim, fsm.KindStatus:
		if len(r.Str) <= largeReply {
			p.buf = appendResult(p.buf, r)
			break
		}
		p.buf = wire.AppendBytesHead(p.buf, wire.ValueKind(r.Kind), len(r.Str))
		p.write(p.buf)
		p.write(r.Str)
		p.buf = p.buf[:0]
	default:
		p.buf = appendResult(p.buf, r)
	}
	if len(p.buf) >= largeReply {
		p.write(p.buf)
		p.buf = p.buf[:0]
	}
}

func (p *pieces) write(b []byte) {
	if p.err == nil {
		p.err = p.c.Write(b)
	}
}

// valueSize is the length of what pieces writes for r.
func valueSize(r *fsm.Result) int {
	switch r.Kind {
	case fsm.KindArray, fsm.KindMap, fsm.KindSet, fsm.KindPush:
		n := len(wire.AppendListHead(nil, wire.ValueKind(r.Kind), len(r.Elems)))
		for i := range r.Elems {
			n += valueSize(&r.Elems[i])
		}
		return n
	case fsm.KindBigNumber, fsm.KindBulk, fsm.KindVerbatim, fsm.KindStatus:
		return bytesHead + len(r.Str)
	default:
		var room [64]byte
		return len(appendResult(room[:0], r))
	}
}

// bytesHead is the length of what wire.AppendBytesHead appends.
const bytesHead = 5

// appendResult is the one place where outcomes become version 2: wire.Value's bytes, written
// straight from the result.
func appendResult(dst []byte, r *fsm.Result) []byte {
	switch r.Kind {
	case fsm.KindInt:
		return wire.AppendInt(dst, r.Int)
	case fsm.KindDouble:
		return wire.AppendDouble(dst, r.Dbl)
	case fsm.KindBool:
		return wire.AppendBool(dst, r.Int != 0)
	case fsm.KindBigNumber, fsm.KindBulk, fsm.KindVerbatim, fsm.KindStatus:
		return wire.AppendBytes(dst, wire.ValueKind(r.Kind), r.Str)
	case fsm.KindError:
		return wire.AppendErrorValue(dst, wire.Code(r.Code), r.Str)
	case fsm.KindArray, fsm.KindMap, fsm.KindSet, fsm.KindPush:
		dst = wire.AppendListHead(dst, wire.ValueKind(r.Kind), len(r.Elems))
		for i := range r.Elems {
			dst = appendResult(dst, &r.Elems[i])
		}
		return dst
	case fsm.KindNone, fsm.KindNull:
	}
	return wire.AppendNull(dst)
}

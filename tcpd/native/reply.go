// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"strings"
	"time"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
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
	res := fsm.Error(fsm.CodeTooBig, "ERR reply exceeds maximum allowed size")
	if write {
		res = fsm.Error(fsm.CodeReplyDropped, fsm.TextReplyDropped)
	}
	return wire.EndResult(appendResult(wire.BeginResult(dst[:at], id, leader), &res), at)
}

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

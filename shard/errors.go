// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"strings"

	"github.com/kvorum/kvorum/raftnode"
)

// Kind is the cause of a delivery failure. The enum is closed and its numbers are stable: edges
// write them to wires.
type Kind uint8

// The kinds. All but KindUnknown say that the command was definitely not applied and never will be.
const (
	// KindNotLeader: no node that was asked leads the group, until the budget was spent.
	KindNotLeader Kind = 1
	// KindNoQuorum: the group has no leader that can reach a majority, so a read was refused, or
	// a write was never proposed.
	KindNoQuorum Kind = 2
	// KindOverloaded: a queue, byte budget or credit was full.
	KindOverloaded Kind = 3
	// KindNoSpace: the disk of the leader, or of a majority, is below its reserve.
	KindNoSpace Kind = 4
	// KindClosing: this node is shutting down.
	KindClosing Kind = 5
	// KindUninitialised: this node belongs to no cluster yet, or no group owns the slot yet.
	KindUninitialised Kind = 6
	// KindTimeout: the caller's time ended before the command was ever sent to a group, or before a
	// read was answered.
	KindTimeout Kind = 7
	// KindUnknown: the command may have been applied, may be applied later, or neither.
	KindUnknown Kind = 8
	// KindDenied: the authorise hook refused the command.
	KindDenied Kind = 9
	// KindInvalid: the command can never run here, such as one of an internal opcode.
	KindInvalid Kind = 10
)

var kindTexts = [...]string{
	KindNotLeader:     "no leader found",
	KindNoQuorum:      "no quorum",
	KindOverloaded:    "overloaded",
	KindNoSpace:       "no disk space",
	KindClosing:       "closing",
	KindUninitialised: "cluster is not initialised",
	KindTimeout:       "timed out, not applied",
	KindUnknown:       "outcome unknown",
	KindDenied:        "not permitted",
	KindInvalid:       "invalid command",
}

// String returns a short text for people.
func (k Kind) String() string {
	if int(k) < len(kindTexts) && kindTexts[k] != "" {
		return kindTexts[k]
	}
	return "unknown kind"
}

// Error is a delivery failure: the command has no Result. It is never used for outcomes, which are
// fsm.Codes.
type Error struct {
	Kind Kind
	// Op names what was being done: "read", "write", "scan" …
	Op string
	// Leader is the node id of the group's leader as far as known, empty when it is not.
	Leader string
	// Err is the cause, nil when Kind says it all.
	Err error
}

// Error words the failure with its kind first.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("shard: ")
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteString(": ")
	}
	b.WriteString(e.Kind.String())
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// NotApplied tells whether the command was definitely not applied and never will be, so that
// sending it again is safe. False means that the outcome is unknown.
func (e *Error) NotApplied() bool { return e.Kind != KindUnknown && e.Kind != 0 }

// NotApplied tells whether err says that a command was definitely not applied. Any error that is
// not an Error is an unknown outcome.
func NotApplied(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.NotApplied()
}

// verdict is what one attempt to deliver something proves. Numbers of refusals are written to
// forward frames and never change.
type verdict uint8

const (
	// answered: the group answered; for a Sub its Status says what.
	answered verdict = 0
	// refusedNotLeader: the replica asked does not lead its group, or is handing leadership over.
	refusedNotLeader verdict = 1
	// refusedNoReplica: the node asked has no running replica of the group.
	refusedNoReplica verdict = 2
	// refusedOverloaded: a queue or credit was full.
	refusedOverloaded verdict = 3
	// refusedNoSpace: the Sub would grow the data, and disk space ran out.
	refusedNoSpace verdict = 4
	// refusedTooLarge: the Sub does not fit into a log entry.
	refusedTooLarge verdict = 5
	// refusedOrder: the frame came before its predecessors, or after its stream was given up.
	refusedOrder verdict = 6
	// refusedNoQuorum: the leader could not prove its leadership.
	refusedNoQuorum verdict = 7
	// refusedInvalid: the frame or a command in it can never be accepted.
	refusedInvalid verdict = 8
	// refusedTimeout: the time ended before anything was written.
	refusedTimeout verdict = 9
	// notSent: nothing left this node.
	notSent verdict = 10
	// refusedClosing: this node is closing.
	refusedClosing verdict = 11
	// refusedGone: the group no longer exists.
	refusedGone verdict = 12
	// refusedUnowned: no group owns the slot yet.
	refusedUnowned verdict = 13
	// retryAtOnce: a read did not run with its Sub. retryMoved and retryFrozen: the group answered
	// that it does not own the slot, or that the slot is frozen by a move.
	retryAtOnce verdict = 14
	retryMoved  verdict = 15
	retryFrozen verdict = 16
	// shortOfRoom: there was no memory for the reply, and the command did not run.
	shortOfRoom verdict = 17
	// lost: nothing is known.
	lost verdict = 255
)

// refusal is an attempt that definitely did not happen, as the leader's node reported it.
type refusal struct {
	verdict verdict
	hint    raftnode.Hint
}

// Error names the reason.
func (e *refusal) Error() string { return "shard: forward: refused: " + e.verdict.kind().String() }

// errClosing: this node's Router is closing.
var errClosing = &refusal{verdict: refusedClosing}

// errNoTarget: no node is known that could lead the group.
var errNoTarget = &refusal{verdict: refusedNoReplica}

// classify tells what the error of an attempt proves. Whatever it does not know is lost.
func classify(err error) (verdict, raftnode.Hint) {
	if err == nil {
		return answered, raftnode.Hint{}
	}
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.verdict, r.hint
	}
	if nl, ok := errors.AsType[raftnode.ErrNotLeader](err); ok {
		return refusedNotLeader, nl.Hint
	}
	for _, c := range [...]struct {
		err error
		v   verdict
	}{
		{raftnode.ErrUnknown, lost},
		{raftnode.ErrLost, lost},
		{raftnode.ErrTransferring, refusedNotLeader},
		{raftnode.ErrClosed, refusedNoReplica},
		{raftnode.ErrNoGroup, refusedNoReplica},
		{raftnode.ErrOverloaded, refusedOverloaded},
		{raftnode.ErrNoSpace, refusedNoSpace},
		{raftnode.ErrTooLarge, refusedTooLarge},
		{raftnode.ErrNoQuorum, refusedNoQuorum},
		{raftnode.ErrTimeout, refusedTimeout},
		{raftnode.ErrNotSent, notSent},
	} {
		if errors.Is(err, c.err) {
			return c.v, raftnode.Hint{}
		}
	}
	if raftnode.IsNotApplied(err) {
		return refusedOverloaded, raftnode.Hint{}
	}
	return lost, raftnode.Hint{}
}

// kind is what a caller is told when v was the last thing heard before its time ended.
func (v verdict) kind() Kind {
	switch v {
	case refusedNotLeader, refusedNoReplica, notSent:
		return KindNotLeader
	case refusedOverloaded, refusedOrder, shortOfRoom:
		return KindOverloaded
	case refusedNoSpace:
		return KindNoSpace
	case refusedNoQuorum:
		return KindNoQuorum
	case refusedTooLarge, refusedInvalid:
		return KindInvalid
	case lost:
		return KindUnknown
	case refusedClosing:
		return KindClosing
	case refusedUnowned:
		return KindUninitialised
	case answered, refusedTimeout, refusedGone, retryAtOnce, retryMoved, retryFrozen:
	}
	return KindTimeout
}

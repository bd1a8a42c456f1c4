// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"strings"
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
	// KindTimeout: the caller's time ended before the command was ever sent to a group.
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
	KindTimeout:       "timed out before it was sent",
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

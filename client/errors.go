// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"fmt"

	"github.com/kvorum/kvorum/client/wire"
)

// The two classes of delivery errors: every *DeliveryError matches exactly one of them.
var (
	// ErrNotApplied: the command was not applied and never will be. Sending it again is safe.
	ErrNotApplied = errors.New("client: not applied")
	// ErrUnknown: the command may have been applied, or may be later.
	ErrUnknown = errors.New("client: outcome unknown")
)

// Causes that a *DeliveryError may wrap.
var (
	// ErrClosed is returned by calls on a Client, Pipeline or Conn after Close.
	ErrClosed = errors.New("client: closed")
	// ErrNoNode is returned when no node could be reached.
	ErrNoNode = errors.New("client: no node reached")
	// ErrConnLost is returned when a connection ended before the answer came.
	ErrConnLost = errors.New("client: connection lost")
	// ErrTimeout is returned when the answer did not come in time.
	ErrTimeout = errors.New("client: no answer in time")
	// ErrRefused is returned when a server does not take the connection: credentials, version, or
	// too many connections.
	ErrRefused = errors.New("client: connection refused by the server")
	// ErrProtocol is returned when a server sends what makes no sense.
	ErrProtocol = errors.New("client: protocol error")
)

// Outcomes that callers tell apart: a *CommandError matches the one of its code. The command changed
// nothing, but for ErrReplyDropped.
var (
	ErrWrongType    = errors.New("client: the key holds another type")
	ErrSyntax       = errors.New("client: syntax error")
	ErrNotInteger   = errors.New("client: not an integer")
	ErrOverflow     = errors.New("client: increment would overflow")
	ErrNoSuchKey    = errors.New("client: no such key")
	ErrOutOfRange   = errors.New("client: index out of range")
	ErrTooBig       = errors.New("client: too big")
	ErrVersion      = errors.New("client: version does not match")
	ErrOutOfMemory  = errors.New("client: memory limit reached")
	ErrArity        = errors.New("client: wrong number of arguments")
	ErrNoSuchCmd    = errors.New("client: no such command")
	ErrCrossSlot    = errors.New("client: keys in several slots")
	ErrReplyDropped = errors.New("client: applied, but the reply is lost")
)

// ErrUnexpected is returned when a command's answer is not of the kind that the method knows.
var ErrUnexpected = errors.New("client: unexpected kind of answer")

// CommandError is an outcome: the command ran and answered with an error.
type CommandError struct {
	Code wire.Code
	// Text is the server's, such as "WRONGTYPE Operation against …".
	Text string
}

// Error is the server's text.
func (e *CommandError) Error() string { return "client: " + e.Text }

// Is matches the sentinel of the code.
func (e *CommandError) Is(target error) bool {
	s := sentinel(e.Code)
	return s != nil && s == target
}

func sentinel(c wire.Code) error {
	switch c {
	case wire.CodeWrongType:
		return ErrWrongType
	case wire.CodeSyntax:
		return ErrSyntax
	case wire.CodeNotInteger:
		return ErrNotInteger
	case wire.CodeOverflow:
		return ErrOverflow
	case wire.CodeNoSuchKey:
		return ErrNoSuchKey
	case wire.CodeOutOfRange:
		return ErrOutOfRange
	case wire.CodeTooBig:
		return ErrTooBig
	case wire.CodeVersion:
		return ErrVersion
	case wire.CodeOOM:
		return ErrOutOfMemory
	case wire.CodeArity:
		return ErrArity
	case wire.CodeUnknown:
		return ErrNoSuchCmd
	case wire.CodeCrossSlot:
		return ErrCrossSlot
	case wire.CodeReplyDropped:
		return ErrReplyDropped
	case wire.CodeOK, wire.CodeError, wire.CodeSlotMoved, wire.CodeSlotFrozen, wire.CodeTokenExpired:
	}
	return nil
}

// DeliveryError says that a command has no answer.
type DeliveryError struct {
	// Kind is what the server said last; 0 when no server said anything.
	Kind wire.Kind
	// NotApplied: the command was not applied and never will be. Otherwise nothing is known.
	NotApplied bool
	// Attempts counts how often the command was tried.
	Attempts int
	// Err is the last cause.
	Err error
}

// Error names the class first.
func (e *DeliveryError) Error() string {
	class := ErrUnknown
	if e.NotApplied {
		class = ErrNotApplied
	}
	return fmt.Sprintf("%v after %d attempts: %v", class, e.Attempts, e.Err)
}

// Unwrap returns the last cause.
func (e *DeliveryError) Unwrap() error { return e.Err }

// Is matches the class.
func (e *DeliveryError) Is(target error) bool {
	if e.NotApplied {
		return target == ErrNotApplied
	}
	return target == ErrUnknown
}

// failure is a server's word that a command was not delivered.
type failure struct{ wire.Failure }

func (f *failure) Error() string { return "client: server: " + f.Text }

// SPDX-License-Identifier: Apache-2.0

package fsm

// Kind is the shape of a Result; together the kinds cover RESP3. Numbers are stable: they are
// written to wires.
type Kind uint8

// The kinds and the field of Result that carries each.
const (
	KindNone      Kind = 0  // no result: the command did not run here
	KindNull      Kind = 1  // –
	KindInt       Kind = 2  // Int
	KindDouble    Kind = 3  // Dbl
	KindBool      Kind = 4  // Int: 0 or 1
	KindBigNumber Kind = 5  // Str: decimal digits
	KindBulk      Kind = 6  // Str
	KindVerbatim  Kind = 7  // Str: three bytes of format, ':', text
	KindStatus    Kind = 8  // Str: one line
	KindError     Kind = 9  // Code and Str: the error text with its prefix, as Redis words it
	KindArray     Kind = 10 // Elems
	KindMap       Kind = 11 // Elems: key, value, key, value …
	KindSet       Kind = 12 // Elems
	KindPush      Kind = 13 // Elems
)

// Code is a command's outcome: deterministic, replicated, part of the Result and never a Go error.
// Numbers are stable.
type Code uint8

// The outcomes. Every code but CodeOK comes with KindError, and the command changed nothing.
const (
	CodeOK           Code = 0
	CodeError        Code = 1  // any other error; the text says which
	CodeWrongType    Code = 2  // the key holds another type
	CodeSyntax       Code = 3  // options that do not fit together
	CodeNotInteger   Code = 4  // value is not an integer or out of range
	CodeOverflow     Code = 5  // the increment would overflow
	CodeNoSuchKey    Code = 6  // the key must exist and does not
	CodeOutOfRange   Code = 7  // index or offset out of range
	CodeTooBig       Code = 8  // key, value or argument over its limit
	CodeVersion      Code = 9  // IFVERSION did not match
	CodeOOM          Code = 10 // memory limit reached under a policy that refuses
	CodeSlotMoved    Code = 11 // the slot is not owned by this group at this epoch
	CodeSlotFrozen   Code = 12 // the slot is frozen by a move: retry shortly
	CodeArity        Code = 13 // wrong number of arguments
	CodeUnknown      Code = 14 // no such command
	CodeCrossSlot    Code = 15 // keys of one command in several slots
	CodeTokenExpired Code = 16 // the token's record was replaced or forgotten: outcome unknown
	CodeReplyDropped Code = 17 // applied, but the cached reply was too large to keep
	CodeReplyRoom    Code = 18 // the reply of this write needs more room (Command.Room): make it and retry
)

// Result is a command's answer. It never aliases the store or a log entry: its bytes belong to
// whoever received it.
type Result struct {
	Kind  Kind
	Code  Code
	Int   int64
	Dbl   float64
	Str   []byte
	Elems []Result
}

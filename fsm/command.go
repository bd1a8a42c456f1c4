// SPDX-License-Identifier: Apache-2.0

package fsm

// Op is a command's stable number. Numbers are written to logs and wires: once released, a number
// never changes its meaning and is never reused.
type Op uint16

// Token identifies one request of one client end to end, so that a retry is applied at most once.
// The zero Token means that the client sent none.
type Token struct {
	// Client is chosen at random by the client, once per client instance.
	Client [16]byte
	// Seq grows by one with each new request of the client, from 1.
	Seq uint64
}

// IsZero tells whether the client sent no token.
func (t Token) IsZero() bool { return t.Seq == 0 && t.Client == [16]byte{} }

// Command is one command as every layer passes it on.
type Command struct {
	Op Op
	// Args are the arguments behind the command's name. They may alias the caller's read buffer:
	// they are valid until the call that took the command returns, and are copied by whoever keeps
	// them longer.
	Args [][]byte
	// Token is honoured on writes of a single slot and ignored elsewhere.
	Token Token
	// Room is the longest reply, in bytes, that the sender of a write made room for, if that is more than
	// WriteReply. A write whose reply would be longer is refused with CodeReplyRoom. Reads ignore it.
	Room int64
}

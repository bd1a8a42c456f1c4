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
	// Seq grows by one with each new request of the client, from 1. TokenAgain is added to it in every
	// try behind one of unknown outcome.
	Seq uint64
}

// TokenAgain marks a try of a request that may have been applied already. When the slot no longer knows
// whether it was, such a try is answered with CodeTokenExpired, while a first one is executed.
const TokenAgain = 1 << 63

// number is Seq without the mark.
func (t *Token) number() uint64 { return t.Seq &^ TokenAgain }

func (t *Token) again() bool { return t.Seq&TokenAgain != 0 }

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

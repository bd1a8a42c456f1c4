// SPDX-License-Identifier: Apache-2.0

package store

// The terms of the formula of logical bytes (see the package comment).
const (
	EntryOverhead      = 48
	DeadlineOverhead   = 16
	CollectionOverhead = 32
	ElementOverhead    = 16
	FieldOverhead      = 32
	MemberOverhead     = 24
	ScoreOverhead      = 40
	TokenOverhead      = 80
)

const (
	// MaxTokens bounds the client tokens kept per slot; beyond it the oldest by (At, client) is
	// forgotten.
	MaxTokens = 1024
	// MaxTokenReply bounds the bytes of a token record's reply; PutToken drops a longer one.
	MaxTokenReply = 1 << 10
	// TokenLife is how long a token record is kept, in milliseconds of the caller's now.
	TokenLife = 10 * 60 * 1000
	// MaxSlotViews bounds the live views made by ViewSlots.
	MaxSlotViews = 16
	// MaxVictims bounds one answer of Sample.
	MaxVictims = 1024
)

// assert stops the process on a caller's mistake: going on would let replicas diverge.
func assert(ok bool, what string) {
	if !ok {
		panic("store: " + what)
	}
}

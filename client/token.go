// SPDX-License-Identifier: Apache-2.0

package client

import (
	"math/bits"
	"sync/atomic"

	"github.com/kvorum/kvorum/client/wire"
)

// tokens gives each write of a slot a token that the servers remember it by.
//
// The servers keep, per slot and client id, the newest sequence only: a second write in flight under
// the same id would make them forget the first. So this client has 64 ids, which differ in the last
// byte, and in each slot an id is used by one write at a time, until its outcome is known or nobody
// asks any more. What arrives late after that has an old sequence, and is refused.
type tokens struct {
	base [16]byte
	seq  atomic.Uint64
	// busy has a bit for each id that is in use in the slot.
	busy [wire.Slots]atomic.Uint64
}

// take returns a token for a write of the slot; false when all ids are in use there.
func (t *tokens) take(slot uint16) (tok wire.Token, ok bool) {
	for {
		busy := t.busy[slot].Load()
		id := bits.TrailingZeros64(^busy)
		if id == 64 {
			return tok, false
		}
		if t.busy[slot].CompareAndSwap(busy, busy|1<<id) {
			tok.Client, tok.Seq = t.base, t.seq.Add(1)
			tok.Client[15] = byte(id)
			return tok, true
		}
	}
}

// give ends the use of a token.
func (t *tokens) give(slot uint16, tok wire.Token) {
	t.busy[slot].And(^(uint64(1) << tok.Client[15]))
}

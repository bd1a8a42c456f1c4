// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// replay answers a request whose token is known in the slot, or may have been; false: it is to be executed.
func (x *execution) replay(t *Token) (Result, bool) {
	rec, ok := x.k.st.GetToken(x.slot, t.Client, x.ctx.Age())
	fresh := !ok || t.number() > rec.Seq
	switch {
	case fresh && t.again() && x.forgotten():
		return Error(CodeTokenExpired, TextTokenForgotten), true
	case fresh:
		return Result{}, false
	case t.number() < rec.Seq:
		return Error(CodeTokenExpired, TextTokenExpired), true
	case len(rec.Reply) == 0:
		return Error(CodeReplyDropped, TextReplyDropped), true
	}
	res, _, err := ParseResult(clone(rec.Reply))
	if err != nil {
		return Error(CodeReplyDropped, TextReplyDropped), true
	}
	return res, true
}

// forgotten tells whether the slot may have lost, before its time, the record of a request that is tried again. A
// record of a lower number proves nothing: it may be of an earlier request that was held up.
func (x *execution) forgotten() bool {
	age, ended := x.ctx.Age(), x.k.imports.ended
	return x.k.st.TokensForgotten(x.slot, age) || ended != 0 && age-ended < store.TokenLife
}

// recordToken keeps the outcome of a request that was executed. An empty reply stands for one that is
// too large to keep.
func (x *execution) recordToken(t *Token, res *Result) {
	rec := store.TokenRecord{Seq: t.number(), Code: uint8(res.Code), Version: x.ctx.m.version.Load(), At: x.ctx.Age()}
	if leastEncoded(res) <= store.MaxTokenReply {
		rec.Reply = AppendResult(nil, res)
	}
	if n := len(rec.Reply); n == 0 || n > store.MaxTokenReply {
		rec.Reply, rec.Code = nil, uint8(CodeReplyDropped)
	}
	x.k.st.PutToken(x.slot, t.Client, rec)
	x.k.boundTokens(x.slot, x.set)
}

// tokenShare is the part of maxmemory that tokens may take, besides: 1/16. They are written by commands that
// do not grow and by clients that come and go, so keys never make room for them.
const tokenShare = 16

// boundTokens forgets the oldest records of the slot at hand while the group's take more than they may.
func (k *Keyspace) boundTokens(slot uint16, set *settings) {
	if set.maxMemory == 0 {
		return
	}
	for k.st.Totals().TokenBytes > set.maxMemory/tokenShare && k.st.ForgetToken(slot) {
	}
}

// sweepTokens clears expired records, and those beyond the bound, from one slot an entry, all slots in turn: slots that nobody writes
// to are cleaned too, at the same entry on every replica.
func (k *Keyspace) sweepTokens(ctx *Ctx) {
	slot := uint16(ctx.Index % Slots)
	k.st.Lock(slot)
	if !k.slots[slot].frozen {
		k.st.ExpireTokens(slot, ctx.Age())
		k.boundTokens(slot, k.settings.Load())
	}
	k.st.Unlock(slot)
}

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"

	"github.com/kvorum/kvorum/fsm"
)

// The memory of replies: LANES.md, M1 to M6.
const (
	// DefaultReplyBytes bounds the replies that a node holds for its callers, beside the turns; as much
	// again is held by a leader for other nodes.
	DefaultReplyBytes = 128 << 20
	// replyTurns is how many calls may have a turn at one time.
	replyTurns = 2
	// freeReply is what a batch's replies may take without asking.
	freeReply = 64 << 10
	// frameReply is the room that a frame asks for while nobody came out short.
	frameReply = 2 << 20
	// shortRounds is how many rounds a call may get nowhere for lack of room before it waits for a turn.
	shortRounds = 2
	// scanBytes bounds the keys that one SCAN joins, in bytes.
	scanBytes = 1 << 20
)

// errLater marks the commands of a call that are left to its next part. No caller sees it.
var errLater = &Error{Kind: KindOverloaded, Op: "later"}

// replyBudget is memory for replies: shared is taken without waiting, turns in line.
type replyBudget struct{ shared, turns budget }

func (b *replyBudget) init(limit int64) {
	b.shared.limit, b.turns.limit = limit, replyTurns*fsm.MaxReply
}

// Try implements fsm.Ledger.
func (b *replyBudget) Try(n int64) bool { return b.shared.try(n) }

// Stream is Do for callers that hand replies on as they come. It calls hand with the replies from the
// first on, in order, as often as it takes, and gives their memory back when hand returns: by then they
// are written, or gone. An error of hand ends the run, and the commands that were not handed on may
// have run or not. The caller's budget of time holds for every part.
func (r *Router) Stream(ctx context.Context, c *Caller, cmds []fsm.Command, out []Reply, hand func(out []Reply) error) error {
	carried := int64(0)
	for from := 0; ; {
		held, turn := r.part(ctx, c, cmds[from:], out[from:], carried, from > 0, true)
		to := from
		for to < len(out) && !errors.Is(out[to].Err, errLater) {
			to++
		}
		carried = 0
		for i := to; i < len(out) && carried < held; i++ {
			if out[i].Err == nil {
				carried += fsm.ReplySize(&out[i].Result)
			}
		}
		carried = min(carried, held)
		err := hand(out[from:to])
		clear(out[from:to])
		r.replies.giveBack(held-carried, turn)
		if from = to; err != nil || from == len(cmds) {
			r.replies.giveBack(carried, false)
			return err
		}
	}
}

// giveBack returns what was taken.
func (b *replyBudget) giveBack(held int64, turn bool) {
	if held > 0 {
		b.shared.release(held)
	}
	if turn {
		b.turns.release(fsm.MaxReply)
	}
}

// handlerTime is the time of a request from another node.
type handlerTime struct{ ctx context.Context }

func (t handlerTime) sleep(ready <-chan struct{}) bool {
	select {
	case <-ready:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// short handles the lack of room behind a round. It tells whether the call goes on.
func (k *call) short() bool {
	k.nowhere++
	if done := k.answered(); done > k.progress {
		k.nowhere, k.progress = 0, done
	}
	switch {
	case k.parts && k.frontDone() && !k.torn():
		k.later = true
		return false
	case k.turn && k.nowhere > 0 && k.left < fsm.MaxReply:
		k.overdraw()
		return true
	case k.nowhere < shortRounds || k.turn:
		return !k.ended()
	}
	if k.turn = k.r.replies.turns.acquire(k, fsm.MaxReply); k.turn {
		k.left = fsm.MaxReply
	}
	return k.turn
}

// torn tells whether a write over several groups is not done yet: it cannot be left to a later part.
func (k *call) torn() bool {
	for i := range k.items {
		if it := &k.items[i]; !it.done && it.piece != nil && it.spec.Write {
			return true
		}
	}
	return false
}

// overdraw ends the first command that is not done: the rest of the turn is too little for it.
func (k *call) overdraw() {
	for i := range k.items {
		it := &k.items[i]
		if it.done {
			continue
		}
		if it.piece == nil {
			it.fail(KindOverloaded, "")
			return
		}
		it.done = true
		*it.reply = Reply{Result: fsm.Error(fsm.CodeTooBig, fsm.TextReplyTooBig)}
		return
	}
}

// answered counts the items that are done.
func (k *call) answered() int {
	n := 0
	for i := range k.items {
		if k.items[i].done {
			n++
		}
	}
	return n
}

// frontDone tells whether the first command of the call is answered.
func (k *call) frontDone() bool {
	if k.ahead || len(k.items) == 0 {
		return true
	}
	first := k.items[0].piece
	for i := range k.items {
		it := &k.items[i]
		if i > 0 && (first == nil || it.piece == nil || it.piece.of != first.of) {
			break
		}
		if !it.done {
			return false
		}
	}
	return true
}

// makeRoom takes memory for the reply of a write that answers with data; false when there is none.
func (k *call) makeRoom(it *item) bool {
	need := int64(fsm.WriteReply)
	switch {
	case k.turn:
		need = k.left
	case it.large && len(it.cmd.Args) > 1 && (it.cmd.Op == fsm.OpLPop || it.cmd.Op == fsm.OpRPop):
		need = fsm.MaxReply
	case it.large:
		need = fsm.DefaultMaxValue + 2*fsm.ReplyOverhead
	}
	if k.turn {
		k.giveRoom(it, 0)
		it.large = true
	} else if it.room < need {
		if !k.r.replies.Try(need - it.room) {
			return false
		}
		k.held.Add(need - it.room)
		it.room = need
	}
	if it.large && it.cmd.Room != need {
		c := *it.cmd
		c.Room = need
		it.cmd, it.size = &c, 0
	}
	return true
}

// giveRoom gives back what a write's reply does not need of its room.
func (k *call) giveRoom(it *item, need int64) {
	if rest := it.room - need; rest > 0 {
		it.room = need
		k.held.Add(-rest)
		k.r.replies.shared.release(rest)
	}
}

// account takes the replies of u into the call's own account; b's is closed behind it.
func (k *call) account(u *unit, b *batch) {
	foreign := b.node != k.r.cfg.Self
	large := b.room.Held > 0 && (!foreign || b.frame > freeReply)
	if !large && !u.turn && !u.answers {
		return
	}
	sum := int64(0)
	w, a := u.firstBody, u.firstAttached
	for i := u.first; i >= 0; i = k.items[i].next {
		it := &k.items[i]
		var res *fsm.Result
		if it.spec.Write || u.nAtt == 0 {
			res, w = &b.sub.Results[w], w+1
		} else {
			res, a = &b.sub.ReadResults[a], a+1
		}
		if foreign && len(b.units) > 1 && b.frame > freeReply {
			*res = res.Clone() // the call keeps no frame alive that it shares with others
		}
		switch {
		case res.Kind == fsm.KindNone:
		case it.spec.Write && !u.turn:
			k.giveRoom(it, fsm.ReplySize(res))
		case large || u.turn:
			sum += fsm.ReplySize(res)
		}
	}
	if u.turn {
		k.left -= sum
		return
	}
	k.held.Add(sum)
	k.r.replies.shared.used.Add(sum)
}

// openRoom opens b's account: what the replies of its reads may take.
func (b *batch) openRoom(r *Router) *fsm.Room {
	b.closeRoom(r)
	b.room = fsm.Room{Free: freeReply, Ledger: &r.replies}
	return &b.room
}

// closeRoom gives back what b holds.
func (b *batch) closeRoom(r *Router) {
	if b.room.Held > 0 {
		r.replies.shared.release(b.room.Held)
		b.room.Held = 0
	}
}

// askRoom takes the room that a frame to another node names.
func (b *batch) askRoom(r *Router, reads bool) int64 {
	switch {
	case !reads:
		return 0
	case len(b.units) == 1 && b.units[0].turn:
		return b.units[0].left
	}
	b.openRoom(r)
	if len(b.units) == 1 && b.units[0].wide && r.replies.Try(fsm.MaxBatchReply) {
		b.room.Held = fsm.MaxBatchReply
	} else if r.replies.Try(frameReply) {
		b.room.Held = frameReply
	}
	return max(b.room.Held, freeReply)
}

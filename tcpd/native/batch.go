// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

// terms are what one router call applies to all of its commands.
type terms struct {
	stale bool
	// class tells the deadline to an eighth of a power of two, 0 for none: deadlines of about the same
	// length share a call.
	class uint8
}

// batch is a run of requests on their way through the router. It belongs to one goroutine at a time.
type batch struct {
	ids    []uint64
	terms  []terms
	cmds   []fsm.Command
	writes []bool
	// deadlines are as the requests had them, 0 for none.
	deadlines []time.Duration
	args      [][]byte
	replies   []shard.Reply
	out       []byte
	// caller is what the router is shown.
	caller shard.Caller
	// hand is deliver, made once. h and to say how and where, at which request comes next.
	hand func([]shard.Reply) error
	h    *Handler
	to   *outbox
	at   int
	// inputs hold the bytes that args alias, in a concurrent session; nil in others.
	inputs []*sharedInput
	// size counts the bytes of the frames behind the requests.
	size int
	// key tells what the commands have in common, in a concurrent session.
	key splitKey
}

// sharedInput is bytes that several batches alias.
type sharedInput struct {
	buf   []byte
	lease tcpd.Lease // zero when buf is a copy
	refs  atomic.Int32
}

func (s *sharedInput) release() {
	if s.refs.Add(-1) == 0 {
		s.lease.Release()
		s.buf = nil
	}
}

func (h *Handler) newBatch() *batch {
	if b, ok := h.batches.Get().(*batch); ok {
		return b
	}
	return &batch{}
}

// recycle empties b for the next use; large rooms are dropped.
func (h *Handler) recycle(b *batch) {
	b.reset()
	h.batches.Put(b)
}

func (b *batch) reset() {
	for i, in := range b.inputs {
		in.release()
		b.inputs[i] = nil
	}
	if cap(b.cmds) > 8*maxBatch || cap(b.args) > 32*maxBatch || cap(b.out) > tcpd.KeepBuffer {
		*b = batch{}
		return
	}
	b.to = nil
	clear(b.cmds)
	clear(b.args)
	clear(b.replies)
	b.ids, b.terms, b.cmds, b.writes = b.ids[:0], b.terms[:0], b.cmds[:0], b.writes[:0]
	b.deadlines, b.args, b.replies = b.deadlines[:0], b.args[:0], b.replies[:0]
	b.out, b.inputs, b.size = b.out[:0], b.inputs[:0], 0
}

// parse reads a request's body; its arguments take room in b. It is no part of b before add.
func (b *batch) parse(body []byte) (q wire.Request, err error) {
	q, b.args, err = wire.ParseRequest(body, b.args)
	return q, err
}

// adopt is add for a request whose arguments have their room elsewhere.
func (b *batch) adopt(id uint64, q wire.Request, spec *fsm.Spec) {
	at := len(b.args)
	b.args = append(b.args, q.Args...)
	q.Args = b.args[at:len(b.args):len(b.args)]
	b.add(id, &q, spec)
}

func (b *batch) add(id uint64, q *wire.Request, spec *fsm.Spec) {
	b.ids = append(b.ids, id)
	b.cmds = append(b.cmds, fsm.Command{Op: spec.Op, Args: q.Args, Token: fsm.Token(q.Token)})
	b.writes = append(b.writes, spec.Write)
	b.deadlines = append(b.deadlines, min(q.Deadline, maxDeadline))
	b.terms = append(b.terms, termsOf(q))
}

func termsOf(q *wire.Request) terms {
	ms := uint64(min(q.Deadline, maxDeadline) / time.Millisecond)
	n := bits.Len64(ms)
	return terms{stale: q.Consistency == wire.Stale, class: uint8(8*n) | uint8(ms>>max(0, n-4))&7}
}

// run sends the requests to the router, those with equal terms in a row in one call, and appends the
// answers to b.out, which it sends whenever much has gathered.
func (h *Handler) run(ctx context.Context, caller shard.Caller, b *batch, to *outbox) error {
	if b.h, b.to = h, to; b.hand == nil {
		b.hand = b.deliver
	}
	b.replies = slices.Grow(b.replies[:0], len(b.cmds))[:len(b.cmds)]
	for lo := 0; lo < len(b.cmds); {
		hi := lo + 1
		timeout := b.deadlines[lo]
		for hi < len(b.cmds) && b.terms[hi] == b.terms[lo] && hi-lo < maxBatch {
			timeout = max(timeout, b.deadlines[hi])
			hi++
		}
		b.caller = caller
		b.caller.Stale, b.caller.Timeout = b.terms[lo].stale, timeout
		b.at = lo
		if err := h.cfg.Router.Stream(ctx, &b.caller, b.cmds[lo:hi], b.replies[lo:hi], b.hand); err != nil {
			return err
		}
		lo = hi
	}
	return nil
}

// deliver answers the next requests.
func (b *batch) deliver(replies []shard.Reply) error {
	for i := range replies {
		r := &replies[i]
		if isLarge(&r.Result) {
			if err := b.h.sendLarge(b, r); err != nil {
				return err
			}
		} else {
			b.out = b.h.appendReply(b.out, b.ids[b.at], r, b.writes[b.at])
		}
		*r = shard.Reply{}
		b.at++
		if len(b.out) >= flushAt {
			if err := b.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush sends what b gathered.
func (b *batch) flush() error {
	if len(b.out) == 0 {
		return nil
	}
	err := b.to.send(b.out)
	b.out = b.out[:0]
	return err
}

// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"errors"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

// A command that waits (BLPOP and its like) is tried once like any other write. If there is nothing to pop, the
// session copies it, lets its bytes go, registers with the router and waits, on its own goroutine: for a wake, upon which
// it tries again, for its timeout, for CLIENT UNBLOCK, and for the end of its connection. Commands behind it wait as well.

// textUnblocked is the reply of a client that CLIENT UNBLOCK ends with an error.
const textUnblocked = "UNBLOCKED client unblocked via CLIENT UNBLOCK"

// maxBlock is the longest timeout that is told from none, in milliseconds: about 250 years.
const maxBlock = 8 << 40

// blocked is what other connections may know and change of a session that waits; guarded by its card.
type blocked struct {
	on bool
	// unblock: the wait is to end, with an error if fails.
	unblock, fails bool
}

// block runs a command that waits and answers it. An error ends the connection.
func (s *session) block(ctx context.Context, c *command, args [][]byte) error {
	if err := s.run(ctx); err != nil {
		return err
	}
	b := blocking{s: s, c: c, args: args, began: time.Now()}
	if done, err := b.try(ctx, -1); done || err != nil {
		return err
	}
	b.args = copied(args)
	s.parked = &b
	return nil
}

// copied makes arguments that share nothing with args.
func copied(args [][]byte) [][]byte {
	size := 0
	for _, arg := range args {
		size += len(arg)
	}
	room, out := make([]byte, 0, size), make([][]byte, len(args))
	for i, arg := range args {
		from := len(room)
		room = append(room, arg...)
		out[i] = room[from:len(room):len(room)]
	}
	return out
}

// blocking is a command that waits.
type blocking struct {
	s    *session
	c    *command
	args [][]byte
	// waiting is nil before the first try failed.
	waiting shard.Waiting
	began   time.Time
	until   time.Time // zero: for ever
	spent   time.Duration
}

// wait registers the command and waits until it is answered.
func (b *blocking) wait(ctx context.Context) error {
	s := b.s
	w, _ := b.c.spec.WaitOf(b.args)
	if 0 < w.Millis && w.Millis < maxBlock {
		b.until = b.began.Add(time.Duration(w.Millis) * time.Millisecond)
	}
	waiting, err := s.h.cfg.Router.Wait(w, s.c.Interrupt)
	if err != nil {
		return firstError(b.answer(fsm.Error(fsm.CodeError, failureText(err))), s.flush())
	}
	b.waiting = waiting
	s.card.block(true)
	s.h.blocked.Add(1)
	defer func() {
		waiting.End()
		s.card.block(false)
		s.h.blocked.Add(-1)
	}()
	err = b.park(ctx)
	if err == nil || errors.Is(err, tcpd.ErrEnd) {
		err = firstError(s.flush(), err)
	}
	return err
}

// park waits until the command is answered.
func (b *blocking) park(ctx context.Context) error {
	s := b.s
	for {
		until, done, err := b.step(ctx)
		if done || err != nil {
			return err
		}
		if err := s.c.Await(until); err != nil {
			return err
		}
	}
}

// step does what there is to do now. Unless that answers the command, it gives the time until which to wait for more,
// zero for none.
func (b *blocking) step(ctx context.Context) (until time.Time, done bool, err error) {
	s := b.s
	for {
		select {
		case <-s.gone:
			return until, true, tcpd.ErrEnd
		default:
		}
		if unblock, fails := s.card.unblocked(); unblock {
			return until, true, b.unblock(fails)
		}
		pause, _ := s.h.pause.left(b.c) // CLIENT UNPAUSE interrupts
		var key int
		ready := false
		if pause <= 0 {
			key, ready, err = b.waiting.Ready()
		}
		switch {
		case err != nil:
			return until, true, b.answer(fsm.Error(fsm.CodeError, failureText(err)))
		case !ready && b.over():
			return until, true, b.unblock(false)
		case pause > 0:
			return b.sooner(time.Now().Add(pause)), false, nil
		case !ready:
			return b.until, false, nil
		}
		if done, err := b.try(ctx, key); done || err != nil {
			return until, true, err
		}
		b.waiting.Again()
	}
}

// sooner is at, or the end of the wait when that comes before.
func (b *blocking) sooner(at time.Time) time.Time {
	if b.until.IsZero() || at.Before(b.until) {
		return at
	}
	return b.until
}

func (b *blocking) over() bool {
	return !b.until.IsZero() && time.Now().After(b.until.Add(-time.Microsecond))
}

// try runs the command with one of its keys, or as it is, and answers it unless there was nothing.
func (b *blocking) try(ctx context.Context, key int) (done bool, err error) {
	s := b.s
	cmd := fsm.Command{Op: b.c.spec.Op, Args: b.args}
	if key >= 0 {
		cmd = b.c.spec.TryOf(b.args, key)
	}
	first := b.waiting == nil
	start := time.Now()
	var out [1]shard.Reply
	err = s.h.cfg.Router.Stream(ctx, &s.caller, []fsm.Command{cmd}, out[:], func(replies []shard.Reply) error {
		b.spent += time.Since(start)
		if len(replies) == 0 || b.vain(&replies[0], first) {
			return nil
		}
		done = true
		return b.answer(outcome(&replies[0]))
	})
	return done, err
}

// vain tells whether a try changed nothing and another one may be better.
func (b *blocking) vain(r *shard.Reply, first bool) bool {
	if e, ok := errors.AsType[*shard.Error](r.Err); ok && !first {
		switch e.Kind {
		case shard.KindNotLeader, shard.KindNoQuorum, shard.KindOverloaded, shard.KindTimeout, shard.KindUninitialised:
			return true
		case shard.KindNoSpace, shard.KindClosing, shard.KindUnknown, shard.KindDenied, shard.KindInvalid:
		}
		return false
	}
	// A key that holds something else does not matter to who waits already. Of a command with two keys that may be
	// the other one, which does.
	moves := b.c.spec.LastKey == 2
	return r.Err == nil && (r.Result.Kind == fsm.KindNull || r.Result.Code == fsm.CodeWrongType && !first && !moves)
}

// unblock answers without an element.
func (b *blocking) unblock(fails bool) error {
	if fails {
		return b.answer(fsm.Error(fsm.CodeError, textUnblocked))
	}
	return b.answer(fsm.Null())
}

// answer ends the command; the error is the connection's. Nothing is a null array, also where a transaction says null.
func (b *blocking) answer(res fsm.Result) error {
	b.c.stat.ran(b.spent, res.IsError())
	b.s.h.latency.note(&b.s.h.cfg, b.spent)
	if b.s.h.slow.takes(b.spent) {
		b.s.h.slow.add(b.s, b.spent, cutArgs([]string{b.c.name}, b.args))
	}
	sh := b.c.shapeOf(b.args, &res)
	if res.Kind == fsm.KindNull {
		sh = shapeNullArray
	}
	b.s.answer(&res, sh)
	return b.s.enc.err
}

// block notes that the session waits, or does no longer.
func (k *card) block(on bool) { k.with(func() { k.blocked = blocked{on: on} }) }

// unblocked tells whether CLIENT UNBLOCK ended the wait.
func (k *card) unblocked() (unblock, fails bool) {
	k.with(func() { unblock, fails = k.blocked.unblock, k.blocked.fails })
	return unblock, fails
}

// endBlock ends the wait of a session, and tells whether there was one.
func (k *card) endBlock(fails bool) (was bool) {
	k.with(func() {
		if was = k.blocked.on && !k.blocked.unblock; was {
			k.blocked.unblock, k.blocked.fails = true, fails
		}
	})
	if was {
		k.conn.Interrupt()
	}
	return was
}

// runClientUnblock ends the wait of a connection of this node.
func runClientUnblock(_ context.Context, s *session, args [][]byte) fsm.Result {
	fails := len(args) == 2 && is(args[1], "ERROR")
	if len(args) > 2 || len(args) == 2 && !fails && !is(args[1], "TIMEOUT") {
		return fail("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
	}
	id, ok := parseInt(args[0])
	if !ok {
		return fail(fsm.TextNotInteger)
	}
	s.h.mu.Lock()
	k := s.h.cards[uint64(id)]
	s.h.mu.Unlock()
	if k == nil || !k.endBlock(fails) {
		return fsm.Int(0)
	}
	return fsm.Int(1)
}

// stirBlocked has every session that waits look at its state again.
func (h *Handler) stirBlocked() {
	for _, k := range h.all() {
		on := false
		if k.with(func() { on = k.blocked.on }); on {
			k.conn.Interrupt()
		}
	}
}

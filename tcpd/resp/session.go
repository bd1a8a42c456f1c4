// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

// muting says which replies the client wants.
type muting uint8

const (
	replyAll muting = iota
	replyNone
	// replySkip drops the next reply.
	replySkip
)

// session is one connection.
type session struct {
	h      *Handler
	c      *tcpd.Conn
	w      *writer
	card   *card
	caller shard.Caller
	parser parser
	enc    encoder

	muting muting
	asking bool
	multi  multi
	sub    subscriber
	// parked is a command that is to wait behind the present Serve call, or nil.
	parked *blocking
	// executing: the commands of a transaction run.
	executing bool
	// ending: the connection ends behind the present reply.
	ending bool
	// holding: the session is in the middle of a reply that goes out in pieces.
	holding bool

	// The batch under way; all of it is used again for the next.
	batch   []*command // the command behind each of cmds
	cmds    []fsm.Command
	replies []shard.Reply
	args    [][]byte
	hand    func([]shard.Reply) error // deliver, made once
	at      int                       // which of cmds is answered next
	began   time.Time                 // of the Stream call
	mark    time.Time                 // of the replies handed on last

	leaving sync.Once
	gone    chan struct{} // closed when the connection is to end: Drain, CLIENT KILL
}

// Serve runs every complete command.
func (s *session) Serve(ctx context.Context, in []byte) (n, need int, err error) {
	s.card.seen(len(in))
	for {
		args, size, more, perr := s.parser.next(in[n:], s.args[len(s.args):])
		if perr != nil || size == 0 {
			need, err = more, perr
			break
		}
		n += size
		if len(args) == 0 {
			continue
		}
		if free := cap(s.args) - len(s.args); len(args) <= free {
			s.args = s.args[:len(s.args)+len(args)]
		} else {
			s.args = args // the parser made a larger room; older arguments keep the old one
		}
		if err = s.command(ctx, args); err == nil && len(s.cmds) == maxBatch {
			err = s.run(ctx)
		}
		if err != nil || s.parked != nil {
			break
		}
		if len(s.cmds) == 0 {
			s.args = emptied(s.args)
		}
	}
	fault, broken := errors.AsType[protocolError](err)
	if err == nil || broken {
		if rerr := s.run(ctx); rerr != nil {
			return n, 0, rerr
		}
	}
	s.args = emptied(s.args)
	if broken {
		s.h.protocolErrors.Add(1)
		s.muting = replyAll
		s.say(fsm.Error(fsm.CodeError, "ERR Protocol error: "+string(fault)))
		err = tcpd.ErrEnd
	}
	if err == nil || errors.Is(err, tcpd.ErrEnd) {
		err = firstError(s.flush(), err)
	}
	if s.parked != nil {
		s.c.After(s.parked.wait)
		s.parked = nil
	}
	return n, need, err
}

// firstError is the first error there is.
func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// command is the one way of every command: it is answered, or put into the batch.
func (s *session) command(ctx context.Context, args [][]byte) error {
	c := s.h.lookup(args[0])
	words := 1
	if c != nil && c.subs != nil && len(args) > 1 {
		if sub := find(c.subs, args[1]); sub != nil {
			c, words = sub, 2
		} else {
			return s.refuse(ctx, c, fsm.Errorf(fsm.CodeError, "ERR unknown subcommand '%s'. Try %s HELP.", cut(args[1]), upper(c.name)))
		}
	}
	switch {
	case c == nil && (is(args[0], "POST") || is(args[0], "HOST:")):
		return errForgery
	case c == nil:
		return s.refuse(ctx, nil, fsm.UnknownCommand(args[0], args[1:]))
	case c.spec == nil && (!c.arityFits(len(args)) || c.run == nil):
		return s.refuse(ctx, c, c.wrongArity())
	case s.parser.guarded && c.flags&flagNoAuth == 0:
		return s.refuse(ctx, c, fsm.Error(fsm.CodeError, "NOAUTH Authentication required."))
	case s.forbidden(c):
		return s.refuse(ctx, c, c.notSubscribed(len(args)))
	}
	s.card.cmd.Store(c)
	if s.queues(c) {
		return s.queue(ctx, c, args, words)
	}
	if s.h.pause.holds(c) {
		if err := s.wait(ctx, c); err != nil {
			return err
		}
	}
	if c.spec != nil {
		return s.route(ctx, c, args[1:])
	}
	return s.inPlace(ctx, c, args, words)
}

// errForgery ends a connection that a browser was made to open.
var errForgery = errors.New("resp: a request of HTTP")

// refuse answers a command that does not run. c is nil when there is none.
func (s *session) refuse(ctx context.Context, c *command, res fsm.Result) error {
	if err := s.run(ctx); err != nil {
		return err
	}
	if c != nil {
		c.stat.rejected.Add(1)
	}
	s.h.rejected.Add(1)
	s.multi.broken = true // which means nothing outside of a transaction
	s.say(res)
	return s.enc.err
}

// inPlace runs a command that the router has no part in.
func (s *session) inPlace(ctx context.Context, c *command, args [][]byte, words int) error {
	if err := s.run(ctx); err != nil {
		return err
	}
	start := time.Now()
	res := c.run(ctx, s, args[words:])
	d := time.Since(start)
	c.stat.ran(d, res.Kind == fsm.KindError)
	s.h.latency.note(&s.h.cfg, d)
	if s.h.slow.takes(d) {
		s.h.slow.add(s, d, cutArgs(nil, args))
	}
	s.say(res)
	if s.written(); s.enc.err != nil {
		return s.enc.err
	}
	if s.ending {
		return tcpd.ErrEnd
	}
	return nil
}

// route puts a command into the batch.
func (s *session) route(ctx context.Context, c *command, args [][]byte) error {
	if s.h.cfg.Redirect {
		if res, here := s.h.servedHere(s, c, args); !here {
			return s.refuse(ctx, c, res)
		}
		s.asking = false
	}
	if c.spec.Pops != fsm.PopsNothing {
		return s.block(ctx, c, args)
	}
	s.batch = append(s.batch, c)
	s.cmds = append(s.cmds, fsm.Command{Op: c.spec.Op, Args: args})
	return nil
}

// run sends the batch to the router and appends its replies. The error is the connection's.
func (s *session) run(ctx context.Context) (err error) {
	if len(s.cmds) > 0 {
		s.at = 0
		s.replies = slices.Grow(s.replies[:0], len(s.cmds))[:len(s.cmds)]
		s.began = time.Now()
		s.mark = s.began
		err = s.h.cfg.Router.Stream(ctx, &s.caller, s.cmds, s.replies, s.hand)
		clear(s.replies)
		clear(s.cmds)
		s.cmds, s.batch = s.cmds[:0], s.batch[:0]
	}
	return err
}

// emptied gives list's room back without what it pointed to, or nothing when it became large.
func emptied(list [][]byte) [][]byte {
	if cap(list) > 8*maxBatch {
		return nil
	}
	clear(list)
	return list[:0]
}

// deliver answers the next commands of the batch.
func (s *session) deliver(replies []shard.Reply) error {
	now := time.Now()
	share := now.Sub(s.mark) / time.Duration(max(1, len(replies)))
	s.mark = now
	s.h.latency.note(&s.h.cfg, now.Sub(s.began))
	for i := range replies {
		c, args := s.batch[s.at], s.cmds[s.at].Args
		s.at++
		res := outcome(&replies[i])
		c.stat.ran(share, res.Kind == fsm.KindError)
		if d := now.Sub(s.began); s.h.slow.takes(d) {
			s.h.slow.add(s, d, cutArgs([]string{c.name}, args))
		}
		s.answer(&res, c.shapeOf(args, &res))
		replies[i] = shard.Reply{}
		if s.enc.err != nil {
			return s.enc.err
		}
	}
	return nil
}

// say answers with a reply of plain shape. KindNone says nothing.
func (s *session) say(res fsm.Result) {
	if res.Kind == fsm.KindNone {
		return
	}
	s.answer(&res, shapePlain)
}

// answer appends a whole reply, or writes it when it is large.
func (s *session) answer(res *fsm.Result, sh shape) {
	if s.muted() {
		return
	}
	s.enc.reply(res, sh)
	s.written()
}

// muted tells whether the client wants no reply to the present command.
func (s *session) muted() bool {
	switch s.muting {
	case replyNone:
		return true
	case replySkip:
		s.muting = replyAll
		return true
	case replyAll:
	}
	return false
}

// written ends a reply that goes out in pieces.
func (s *session) written() {
	if s.holding {
		s.holding = false
		err := s.enc.err
		if err == nil && len(s.enc.buf) > 0 {
			err = s.c.Write(s.enc.buf)
		}
		s.enc.buf = s.enc.buf[:0]
		s.enc.err = s.w.release(err)
	}
}

// piece writes bytes in the middle of a reply; pushes wait for its end.
func (s *session) piece(b []byte) error {
	if s.begin(); s.enc.err != nil {
		return s.enc.err
	}
	return s.c.Write(b)
}

// begin holds pushes back until written.
func (s *session) begin() {
	if !s.holding && s.enc.err == nil {
		s.enc.err = s.w.hold()
		s.holding = s.enc.err == nil
	}
}

func (s *session) flush() error {
	if s.enc.err != nil || len(s.enc.buf) == 0 {
		return s.enc.err
	}
	s.enc.err = s.w.write(s.enc.buf)
	if s.enc.buf = s.enc.buf[:0]; cap(s.enc.buf) > tcpd.KeepBuffer {
		s.enc.buf = nil
	}
	return s.enc.err
}

// reset makes the session what it was when it began.
func (s *session) reset() {
	s.unsubscribeAll()
	s.speak(2)
	s.muting, s.asking = replyAll, false
	s.endMulti()
	s.caller.Stale, s.caller.User = false, ""
	s.parser.guarded = s.h.cfg.Authenticate != nil
	s.card.reset()
}

// do runs one command of the table for a command answered here. The reply is the caller's.
func (s *session) do(ctx context.Context, name string, args ...[]byte) fsm.Result {
	spec, ok := s.h.cfg.Table.Lookup([]byte(name))
	if !ok {
		return fsm.UnknownCommand([]byte(name), args)
	}
	var res fsm.Result
	if err := s.doAll(ctx, []fsm.Command{{Op: spec.Op, Args: args}}, func(_ int, r fsm.Result) { res = r }); err != nil {
		return fsm.Error(fsm.CodeError, failureText(err))
	}
	return res
}

// doAll runs commands for one that is answered here, and hands over the reply of each, in order.
func (s *session) doAll(ctx context.Context, cmds []fsm.Command, f func(i int, res fsm.Result)) error {
	at := 0
	return s.h.cfg.Router.Stream(ctx, &s.caller, cmds, make([]shard.Reply, len(cmds)), func(replies []shard.Reply) error {
		for i := range replies {
			f(at, outcome(&replies[i]))
			at++
		}
		return nil
	})
}

// leave ends the connection soon, from any goroutine.
func (s *session) leave() {
	s.leaving.Do(func() { close(s.gone) })
	s.c.Interrupt()
}

// Drain ends what waits; the connection itself is ended by the server.
func (s *session) Drain() { s.leave() }

// Close forgets the session.
func (s *session) Close() {
	s.leave()
	s.h.hub.leave(&s.sub)
	s.w.close()
	s.endMulti()
	s.h.forget(s)
}

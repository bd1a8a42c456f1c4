// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"bytes"
	"context"

	"github.com/kvorum/kvorum/fsm"
)

// A transaction lives in its connection until EXEC: the commands are kept here, and so are the marks of watched
// keys. EXEC sends those with keys as one command (fsm.Exec), which is one entry of one group's log: all of
// them run or none, with nobody in between. Servers remember nothing of a connection that ends.
//
// Commands without keys that answer from this node or from all groups (PING, CONFIG GET, DBSIZE, SCAN) run in
// their places behind that, not atomically with it.

// Limits of a transaction beside those of a command.
const (
	// maxQueued bounds the commands of a transaction.
	maxQueued = fsm.MaxTransaction
	// maxWatched bounds the keys that a connection watches.
	maxWatched = 1 << 10
	// maxHeld bounds the bytes that queued commands and watched keys of all connections of a node take.
	maxHeld = 256 << 20
	// queuedCost and argumentCost are what a queued command, and each of its arguments or a watched key, take
	// beside their bytes.
	queuedCost, argumentCost = 128, 64
)

// Texts of Redis.
const (
	textNested     = "ERR MULTI calls can not be nested"
	textNoMulti    = " without MULTI"
	textWatchIn    = "ERR WATCH inside MULTI is not allowed"
	textExecAbort  = "EXECABORT Transaction discarded because of previous errors."
	textNotQueued  = "ERR Command not allowed inside a transaction"
	textMuchQueued = "ERR transaction exceeds the largest size of a command"
	textMuchHeld   = "ERR too much memory is held by the transactions of all clients"
)

// queued is a command that waits for EXEC. Its arguments, name included, are its own.
type queued struct {
	c     *command
	args  [][]byte
	words int // of the name
	// bad is the reply to arguments that are wrong whatever the keys hold; KindNone when they are not.
	bad fsm.Result
}

// together tells whether it is part of the one command that EXEC sends.
func (q *queued) together() bool {
	return q.c.spec != nil && !q.c.spec.Whole && q.bad.Kind == fsm.KindNone
}

// multi is the transaction of a connection.
type multi struct {
	on bool
	// broken: a command could not be queued, so EXEC refuses.
	broken bool
	queue  []queued
	size   int // bytes of the queued arguments

	watched, marks [][]byte
	// held is what was taken of Handler.held for all of this, heldMarks the part of watched.
	held, heldMarks int64
}

func multiCommands() []row {
	const f = flagNoScript | flagLoading | flagStale | flagFast | flagAllowBusy
	return []row{
		local("multi", 1, f, runMulti).in("transactions"),
		local("exec", 1, flagNoScript|flagLoading|flagStale, runExec).in("transactions"),
		local("discard", 1, f, runDiscard).in("transactions"),
		local("watch", -2, f, runWatch).in("transactions"),
		local("unwatch", 1, f, runUnwatch).in("transactions"),
	}
}

// queues tells whether a command is to wait for EXEC.
func (s *session) queues(c *command) bool {
	if !s.multi.on {
		return false
	}
	switch c.name {
	case "multi", "exec", "discard", "watch", "quit", "reset":
		return false
	}
	return true
}

// queue keeps a command for EXEC.
func (s *session) queue(ctx context.Context, c *command, args [][]byte, words int) error {
	m := &s.multi
	if c.row != nil {
		c, words = c.row, 1
	}
	size := 0
	for _, a := range args {
		size += len(a)
	}
	switch limits := s.h.cfg.Table.Limits(); {
	case c.spec != nil && !c.arityFits(len(args)):
		return s.refuse(ctx, c, c.wrongArity())
	case c.spec != nil && c.spec.Whole && c.spec.Write, c.spec != nil && !c.spec.Whole && !c.spec.MayQueue(), c.name == "client|reply":
		return s.refuse(ctx, c, fail(textNotQueued))
	case len(m.queue) == maxQueued || m.size+size > limits.MaxCommand:
		return s.refuse(ctx, c, fail(textMuchQueued))
	case c.spec != nil && !c.spec.Whole && s.h.cfg.Redirect:
		if res, here := s.h.servedHere(s, c, args[words:]); !here {
			return s.refuse(ctx, c, res)
		}
	}
	if !s.hold(int64(queuedCost + size + len(args)*argumentCost)) {
		return s.refuse(ctx, c, fail(textMuchHeld))
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	own := make([][]byte, len(args))
	for i, a := range args {
		own[i] = bytes.Clone(a)
	}
	m.queue = append(m.queue, queued{c: c, args: own, words: words})
	m.size += size
	s.card.multi.Store(int64(len(m.queue)))
	s.say(fsm.Status("QUEUED"))
	return s.enc.err
}

// hold takes n bytes of what all transactions may hold, until endMulti gives them back.
func (s *session) hold(n int64) bool {
	ok := s.h.held.TryTake(n)
	if ok {
		s.multi.held += n
	}
	return ok
}

func runMulti(_ context.Context, s *session, _ [][]byte) fsm.Result {
	if s.multi.on {
		return fail(textNested)
	}
	s.multi.on, s.multi.broken = true, false
	s.card.multi.Store(0)
	return fsm.OK()
}

func runDiscard(_ context.Context, s *session, _ [][]byte) fsm.Result {
	if !s.multi.on {
		return fail("ERR DISCARD" + textNoMulti)
	}
	s.endMulti()
	return fsm.OK()
}

func (s *session) endMulti() {
	s.h.held.Give(s.multi.held)
	s.multi = multi{}
	s.card.multi.Store(-1)
}

// runWatch asks for the marks of keys, which may be anywhere.
func runWatch(ctx context.Context, s *session, args [][]byte) fsm.Result {
	m := &s.multi
	switch {
	case m.on:
		return fail(textWatchIn)
	case len(m.watched)+len(args) > maxWatched:
		return fail("ERR too many watched keys")
	}
	spec, _ := s.h.cfg.Table.Lookup([]byte("KV.WATCH"))
	var cmds []fsm.Command
	cost := 0
	for i, key := range args {
		if !s.watches(key) { // what it was when it was watched first counts
			cmds = append(cmds, fsm.Command{Op: spec.Op, Args: args[i : i+1 : i+1]})
			cost += len(key) + 2*argumentCost
		}
	}
	if len(cmds) == 0 {
		return fsm.OK()
	}
	if !s.hold(int64(cost)) {
		return fail(textMuchHeld)
	}
	m.heldMarks += int64(cost)
	res := s.remember(ctx, cmds)
	if res.IsError() {
		s.h.held.Give(int64(cost))
		m.held, m.heldMarks = m.held-int64(cost), m.heldMarks-int64(cost)
	}
	return res
}

// remember asks for marks and keeps them, or none of them where one is not to be had.
func (s *session) remember(ctx context.Context, cmds []fsm.Command) fsm.Result {
	m := &s.multi
	had, bad := len(m.watched), fsm.Result{}
	defer s.fresh()()
	err := s.doAll(ctx, cmds, func(i int, res fsm.Result) {
		if res.Kind != fsm.KindArray || len(res.Elems) != 1 {
			bad = res
			return
		}
		m.watched = append(m.watched, bytes.Clone(cmds[i].Args[0]))
		m.marks = append(m.marks, bytes.Clone(res.Elems[0].Str))
	})
	if err != nil {
		bad = fsm.Error(fsm.CodeError, failureText(err))
	}
	if bad.Kind != fsm.KindNone {
		m.watched, m.marks = m.watched[:had], m.marks[:had]
		return bad
	}
	return fsm.OK()
}

func (s *session) watches(key []byte) bool {
	for _, w := range s.multi.watched {
		if bytes.Equal(w, key) {
			return true
		}
	}
	return false
}

func runUnwatch(_ context.Context, s *session, _ [][]byte) fsm.Result {
	m := &s.multi
	s.h.held.Give(m.heldMarks)
	m.held, m.heldMarks = m.held-m.heldMarks, 0
	m.watched, m.marks = nil, nil
	return fsm.OK()
}

// runExec answers by itself, for each reply has the shape of its command.
func runExec(ctx context.Context, s *session, _ [][]byte) fsm.Result {
	m := s.multi
	if !m.on {
		return fail("ERR EXEC" + textNoMulti)
	}
	defer s.h.held.Give(m.held) // which EXEC uses until it has answered
	s.multi.held = 0
	s.endMulti()
	if m.broken {
		return fail(textExecAbort)
	}
	var cmds []fsm.Command
	for i := range m.queue {
		q := &m.queue[i]
		if q.c.spec == nil {
			continue
		}
		cmd := fsm.Command{Op: q.c.spec.Op, Args: q.args[q.words:]}
		if bad, ok := s.h.cfg.Table.Check(&cmd); !ok {
			q.bad = bad
		} else if q.together() {
			cmds = append(cmds, cmd)
		}
	}
	res := fsm.Array(nil)
	if len(cmds) > 0 || len(m.watched) > 0 {
		tx := fsm.Exec(s.h.cfg.Table, m.watched, m.marks, cmds)
		again := s.fresh()
		res = s.do(ctx, "KV.EXEC", tx.Args...)
		again()
		if res.Kind == fsm.KindNull {
			s.answer(&res, shapeNullArray)
			return nothing()
		} else if res.Kind != fsm.KindArray {
			return res
		}
	}
	s.answerExec(ctx, m.queue, res.Elems)
	return nothing()
}

// answerExec puts the replies of what ran together in their places, and runs the others.
func (s *session) answerExec(ctx context.Context, queue []queued, together []fsm.Result) {
	s.executing = true
	defer func() { s.executing = false }()
	mute := s.muted()
	if !mute {
		s.enc.head('*', len(queue))
	}
	for i := range queue {
		q := &queue[i]
		args, sh := q.args[q.words:], shapePlain
		var res fsm.Result
		switch {
		case q.together():
			if len(together) > 0 {
				res, together = together[0], together[1:]
			}
		case q.bad.Kind != fsm.KindNone:
			res = q.bad
		case q.c.spec != nil:
			res = s.do(ctx, q.c.spec.Name, args...)
		default:
			res = q.c.run(ctx, s, args)
		}
		if q.c.spec != nil {
			sh = q.c.shapeOf(args, &res)
		}
		q.c.stat.ran(0, res.Kind == fsm.KindError)
		if mute || q.c.spec == nil && res.Kind == fsm.KindNone {
			continue // a confirmation of (un)subscribing has been said
		}
		s.enc.reply(&res, sh)
	}
	s.written()
}

// fresh makes commands see no old state until the returned function is called.
func (s *session) fresh() (again func()) {
	stale := s.caller.Stale
	s.caller.Stale = false
	return func() { s.caller.Stale = stale }
}

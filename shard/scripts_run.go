// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/fsm/script"
	"github.com/kvorum/kvorum/raftnode"
)

// scriptCall is a script with its arguments.
type scriptCall struct {
	body       []byte
	keys, args [][]byte
	readOnly   bool
}

// parseScript takes apart an EVAL that passed Check. The text of EVALSHA is the caller's to find.
func parseScript(s *fsm.Spec, args [][]byte) scriptCall {
	first, end := s.CountedKeys(args)
	q := scriptCall{body: args[0], readOnly: !s.Write}
	if first == end { // there are none
		end = 2
	} else {
		q.keys = args[first:end]
	}
	q.args = args[end:]
	return q
}

// command is the EVAL that runs it.
func (q *scriptCall) command() fsm.Command {
	args := slices.Concat([][]byte{q.body, fmt.Append(nil, len(q.keys))}, q.keys, q.args)
	if q.readOnly {
		return fsm.Command{Op: fsm.OpEvalRO, Args: args}
	}
	return fsm.Command{Op: fsm.OpEval, Args: args}
}

// slots are those of the keys, in ascending order, each once.
func (q *scriptCall) slots() []uint16 {
	slots := make([]uint16, len(q.keys))
	for i, key := range q.keys {
		slots[i] = fsm.SlotOf(key)
	}
	slices.Sort(slots)
	return slices.Compact(slots)
}

// liveReads is what a script reads at a replica.
type liveReads struct {
	r     *Router
	local localGroup
}

// Read implements script.Live.
func (l liveReads) Read(cmd *fsm.Command) fsm.Result {
	l.r.point("script read")
	var out [1]fsm.Result
	l.local.ReadStale([]fsm.Command{*cmd}, out[:], &fsm.Room{Free: fsm.MaxReply})
	return out[0]
}

// enter compiles a script and waits until it may run: for its slots, if it is at home there and may write, and for a
// seat. Without bad and error, leave is called when it is done.
func (s *Scripts) enter(ctx context.Context, q *scriptCall, home bool) (c *cachedScript, leave func(), bad *fsm.Result, err error) {
	if c, bad = s.compile(q.body); bad != nil {
		return nil, nil, bad, nil
	}
	done, ok := s.wait(q)
	if !ok {
		return nil, nil, nil, errScripts
	}
	give := func() {}
	if home && !q.readOnly && !c.program.ReadOnly {
		if give, err = s.take(ctx, q.slots()); err != nil {
			done()
			return nil, nil, nil, err
		}
	}
	up, err := s.sit(ctx)
	if err != nil {
		give()
		done()
		return nil, nil, nil, err
	}
	return c, func() { up(); give(); done() }, nil, nil
}

// refusalOf is the reply that bad is, if any.
func refusalOf(bad *fsm.Result) fsm.Result {
	if bad == nil {
		return fsm.Result{}
	}
	return *bad
}

// alone runs a script without keys.
func (s *Scripts) alone(ctx context.Context, q *scriptCall) (fsm.Result, error) {
	c, leave, bad, err := s.enter(ctx, q, false)
	if bad != nil || err != nil {
		return refusalOf(bad), err
	}
	defer leave()
	out := s.execute(ctx, &script.Request{Program: c.program, Args: q.args, ReadOnly: q.readOnly})
	if fsm.ReplySize(&out.Reply) > fsm.MaxReply {
		return fsm.Error(fsm.CodeTooBig, textScriptReply), nil
	}
	s.send(out.Messages)
	return out.Reply, nil
}

// lead runs a script at a replica, which leads or refuses. The error is nil, or is classified as that of an attempt.
func (s *Scripts) lead(ctx context.Context, local localGroup, q *scriptCall) (fsm.Result, error) {
	c, leave, bad, err := s.enter(ctx, q, true)
	if bad != nil || err != nil {
		return refusalOf(bad), err
	}
	defer leave()
	for range maxScriptTries {
		res, again, err := s.try(ctx, local, q, c.program)
		if err != nil || !again {
			return res, err
		}
	}
	return fsm.Error(fsm.CodeError, textScriptTries), nil
}

// try runs a script once; again: others wrote meanwhile to what it touched.
func (s *Scripts) try(ctx context.Context, local localGroup, q *scriptCall, p *script.Program) (res fsm.Result, again bool, err error) {
	var seen [1]fsm.Result
	if err := local.Read(ctx, []fsm.Command{{Op: fsm.OpLook, Args: q.keys}}, seen[:], &fsm.Room{Free: fsm.MaxReply}); err != nil {
		return res, false, err
	}
	look, ok := fsm.ParseLook(&seen[0])
	if !ok || len(look.Marks) != len(q.keys) {
		return seen[0], false, nil
	}
	out := s.execute(ctx, &script.Request{
		Program: p, Keys: q.keys, Args: q.args, ReadOnly: q.readOnly, Look: look, Live: liveReads{s.r, local},
	})
	switch {
	case out.Again || out.Ended != nil:
		return out.Reply, false, nil
	case fsm.ReplySize(&out.Reply) > fsm.MaxReply:
		return fsm.Error(fsm.CodeTooBig, textScriptReply), false, nil
	}
	keys := make([][]byte, len(out.Touched))
	touched := look
	touched.Marks = make([][]byte, len(out.Touched))
	for i, at := range out.Touched {
		keys[i], touched.Marks[i] = q.keys[at], look.Marks[at]
	}
	switch {
	case len(keys) == 0:
	case len(out.Effects) == 0:
		local.ReadStale([]fsm.Command{{Op: fsm.OpWatch, Args: keys}}, seen[:], &fsm.Room{Free: fsm.MaxReply})
		if !touched.SameMarks(&seen[0]) && !planted("script-unchecked-read") {
			return res, true, nil
		}
	default:
		if bad, again, err := s.propose(ctx, fsm.Effect(&touched, keys, out.Effects)); bad != nil || again || err != nil {
			if bad != nil {
				res = *bad
			}
			return res, again, err
		}
	}
	s.send(out.Messages)
	return out.Reply, false, nil
}

// propose brings the effects about; again: the guard did not fit.
func (s *Scripts) propose(ctx context.Context, cmd fsm.Command) (bad *fsm.Result, again bool, err error) {
	var out [1]Reply
	s.r.Do(ctx, &Caller{Protocol: "internal"}, []fsm.Command{cmd}, out[:])
	reply := &out[0]
	if e, ok := errors.AsType[*Error](reply.Err); ok {
		return nil, false, e.attempt()
	}
	switch reply.Result.Kind {
	case fsm.KindNull:
		return nil, true, nil
	case fsm.KindError:
		return &reply.Result, false, nil
	}
	return nil, false, nil
}

// attempt words a delivery failure as the error of an attempt: what a frame can carry.
func (e *Error) attempt() error {
	v := refusedNotLeader
	switch e.Kind {
	case KindUnknown:
		return raftnode.ErrUnknown
	case KindOverloaded:
		v = refusedOverloaded
	case KindNoSpace:
		v = refusedNoSpace
	case KindNoQuorum:
		v = refusedNoQuorum
	case KindTimeout:
		v = refusedTimeout
	case KindInvalid, KindDenied:
		v = refusedInvalid
	case KindNotLeader, KindClosing, KindUninitialised:
	}
	return &refusal{verdict: v}
}

// execute runs a script with all that it needs of this node.
func (s *Scripts) execute(ctx context.Context, q *script.Request) script.Outcome {
	q.Table, q.Stop, q.Log = s.r.cfg.Table, new(script.Stop), s.log
	q.Micros = max(s.r.wall(), q.Look.Clock*1000)
	var trial *fsm.Trial
	q.Trial = func() *fsm.Trial {
		trial = s.trial()
		return trial
	}
	s.mu.Lock()
	s.mu.running[q.Stop] = struct{}{}
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.r.ctx, cancel)()
	out := s.engine.Run(ctx, q)
	s.mu.Lock()
	delete(s.mu.running, q.Stop)
	s.mu.Unlock()
	if trial != nil {
		s.rest(trial)
	}
	return out
}

// wall is the time of day in microseconds; without a clock it is 0, and scripts see the log clock.
func (r *Router) wall() int64 {
	if r.cfg.Wall == nil {
		return 0
	}
	return r.cfg.Wall().UnixMicro()
}

// point is a place where tests hold a script up.
func (r *Router) point(name string) {
	if r.cfg.Point != nil {
		r.cfg.Point(name)
	}
}

// log writes what a script logs. Its text is the client's.
func (s *Scripts) log(l script.Level, text string) {
	level := [...]slog.Level{slog.LevelDebug, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn}[l]
	s.r.cfg.Logger.Log(s.r.ctx, level, "a script logs", "text", text[:min(len(text), maxLogged)])
}

// maxLogged bounds a line that a script logs, in bytes.
const maxLogged = 1024

// send publishes what a script did, here and to the other nodes, without waiting for them.
func (s *Scripts) send(messages []script.Message) {
	batch := make([]Message, len(messages))
	for i := range messages {
		m := &messages[i]
		batch[i] = Message{Sharded: m.Sharded, Channel: m.Channel, Data: m.Data}
	}
	s.r.bus.offer(batch)
}

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/fsm/script"
	"github.com/kvorum/kvorum/raftnode"
)

// forwardScript has a frame of its own: SCRIPTS.md.
const forwardScript byte = 7

// script runs an EVAL or its like. The call's own time stands still meanwhile.
func (k *call) script(s *fsm.Spec, cmd *fsm.Command, reply *Reply) {
	if s.Write && cmd.Token.Seq&fsm.TokenAgain != 0 {
		reply.Result = fsm.Error(fsm.CodeTokenExpired, fsm.TextTokenForgotten) // no slot keeps the replies of scripts
		return
	}
	budget := time.Until(k.deadline)
	if !k.timer.Stop() || k.overOnce.Load() {
		reply.Err = &Error{Kind: KindTimeout, Op: s.Name}
		return
	}
	ctx, cancel := context.WithTimeout(k.ctx, script.DefaultTime+scriptBudget)
	*reply = k.r.scripts.eval(ctx, s, cmd)
	cancel()
	k.deadline = time.Now().Add(budget)
	k.timer.Reset(budget)
	if n := fsm.ReplySize(&reply.Result); n > freeReply {
		k.held.Add(n)
		k.r.replies.shared.used.Add(n)
	}
}

// eval runs an EVAL or its like at the leader of its keys.
func (s *Scripts) eval(ctx context.Context, spec *fsm.Spec, cmd *fsm.Command) Reply {
	q := parseScript(spec, cmd.Args)
	if spec.Op == fsm.OpEvalSHA || spec.Op == fsm.OpEvalSHARO {
		c := s.find(string(q.body))
		if c == nil {
			return Reply{Result: fsm.Error(fsm.CodeError, fsm.TextNoScript)}
		}
		q.body = c.body
	} else if _, bad := s.compile(q.body); bad != nil {
		return Reply{Result: *bad}
	}
	if len(q.keys) == 0 {
		res, err := s.alone(ctx, &q)
		if err != nil {
			v, _ := classify(err)
			return Reply{Err: &Error{Kind: v.kind(), Op: "script"}}
		}
		return Reply{Result: res}
	}
	slots := q.slots()
	for pause := firstPause; ; pause = min(2*pause, maxLeaderPause) {
		news := *s.r.news.Load()
		m := s.r.m.Load()
		if len(slots) > 1 && len(m.Groups) != 1 {
			return Reply{Result: fsm.Error(fsm.CodeCrossSlot, fsm.TextCrossSlot)}
		}
		res, leader, err := s.ask(ctx, m.Owner(slots[0]), &q)
		v, _ := classify(err)
		moved := res.Code == fsm.CodeSlotMoved || res.Code == fsm.CodeSlotFrozen
		switch {
		case v == answered && !moved:
			return Reply{Result: res, Leader: leader}
		case v == answered:
			v = retryMoved
		case v == lost && !q.readOnly:
			s.r.counts.unknown.Add(1)
			return Reply{Err: &Error{Kind: KindUnknown, Op: "script", Leader: leader}, Leader: leader}
		case v == refusedNoSpace || v == refusedInvalid || v == refusedTooLarge:
			return Reply{Err: &Error{Kind: v.kind(), Op: "script", Leader: leader}, Leader: leader}
		case v == lost:
			v = refusedTimeout
		}
		if !s.pause(ctx, pause, news) {
			return Reply{Err: &Error{Kind: v.kind(), Op: "script", Leader: leader}, Leader: leader}
		}
	}
}

// pause rests before the next try; false when there is none.
func (s *Scripts) pause(ctx context.Context, d time.Duration, news chan struct{}) bool {
	if s.r.closing.Load() {
		return false
	}
	t := time.NewTimer(s.r.jitter(d))
	defer t.Stop()
	select {
	case <-news:
	case <-t.C:
	case <-ctx.Done():
		return false
	case <-s.r.ctx.Done():
		return false
	}
	return true
}

// ask makes one attempt at the group's leader as far as it is known.
func (s *Scripts) ask(ctx context.Context, group uint32, q *scriptCall) (res fsm.Result, leader string, err error) {
	if group == 0 {
		return res, "", &refusal{verdict: refusedUnowned}
	}
	rt := s.r.route(group)
	t := rt.target()
	switch {
	case t.local != nil:
		t.node = s.r.cfg.Self
		res, err = s.lead(ctx, t.local, q)
	case t.node == "":
		return res, "", errNoTarget
	default:
		res, err = s.forward(ctx, t.node, group, q)
	}
	if v, hint := classify(err); v != answered {
		rt.disappointed(t.node, hint)
	}
	return res, rt.leader(), err
}

// forward sends a script to another node.
func (s *Scripts) forward(ctx context.Context, node string, group uint32, q *scriptCall) (fsm.Result, error) {
	s.r.counts.forwarded.Add(1)
	left := script.DefaultTime + scriptBudget
	if end, ok := ctx.Deadline(); ok {
		left = time.Until(end)
	}
	reply, err := s.r.cfg.Link.Call(ctx, node, raftnode.ClassForward, appendScriptRequest(&scriptHead{group, left, s.r.cfg.Incarnation, s.nextNumber()}, q))
	if err != nil {
		return fsm.Result{}, fmt.Errorf("shard: script: %w", err)
	}
	return parseScriptReply(reply)
}

// scriptHead is what stands before the command in a frame.
type scriptHead struct {
	group               uint32
	left                time.Duration
	incarnation, number uint64
}

func appendScriptRequest(h *scriptHead, q *scriptCall) []byte {
	be := binary.BigEndian
	dst := be.AppendUint32([]byte{forwardVersion, forwardScript}, h.group)
	dst = be.AppendUint32(dst, uint32(min(max(h.left.Milliseconds(), 1), math.MaxUint32)))
	dst = be.AppendUint64(dst, h.incarnation)
	dst = be.AppendUint64(dst, h.number)
	cmd := q.command()
	return fsm.AppendCommand(dst, &cmd)
}

// parseScriptRequest is the reverse. Everything aliases src.
func (r *Router) parseScriptRequest(src []byte) (h scriptHead, q scriptCall, err error) {
	d := frame{src: src}
	if d.byte() != forwardVersion || d.byte() != forwardScript {
		return h, q, errFrame
	}
	h = scriptHead{group: d.uint32(), left: time.Duration(d.uint32()) * time.Millisecond, incarnation: d.uint64(), number: d.uint64()}
	cmd, n, err := fsm.ParseCommand(d.src)
	if !d.ok() || err != nil || n != len(d.src) || cmd.Op != fsm.OpEval && cmd.Op != fsm.OpEvalRO {
		return h, q, errFrame
	}
	if _, ok := r.cfg.Table.Check(&cmd); !ok {
		return h, q, errFrame
	}
	q = parseScript(r.cfg.Table.Spec(cmd.Op), cmd.Args)
	if len(q.keys) == 0 {
		return h, q, errFrame
	}
	return h, q, nil
}

// parseScriptReply gives the result, which aliases src, or the refusal.
func parseScriptReply(src []byte) (fsm.Result, error) {
	d := frame{src: src}
	if _, err := d.replyHead(); err != nil {
		return fsm.Result{}, err
	}
	if !d.ok() {
		return fsm.Result{}, errFrame
	}
	res, n, err := fsm.ParseResult(d.src)
	if err != nil || n != len(d.src) {
		return fsm.Result{}, errFrame
	}
	return res, nil
}

// serveScript runs a script for another node, or refuses. An error means that nothing is known about its fate.
func (r *Router) serveScript(ctx context.Context, from string, req []byte) ([]byte, error) {
	h, q, err := r.parseScriptRequest(req)
	if err != nil {
		return appendReplyHead(nil, refusedInvalid, raftnode.Hint{}), nil
	}
	if !r.scripts.fresh(from, h.incarnation, h.number) {
		return nil, fmt.Errorf("shard: script: %w: a copy", raftnode.ErrUnknown)
	}
	local := r.localReplica(h.group)
	var res fsm.Result
	if local == nil {
		err = raftnode.ErrNoGroup
	} else {
		ctx, cancel := context.WithTimeout(ctx, h.left)
		defer cancel()
		res, err = r.scripts.lead(ctx, local, &q)
	}
	v, hint := classify(err)
	if v == lost {
		return nil, fmt.Errorf("shard: script: %w: %v", raftnode.ErrUnknown, err) //nolint:errorlint // the cause must not read as a verdict
	}
	if v == refusedNotLeader && hint.Node == "" && local != nil {
		hint = local.Leader()
	}
	dst := appendReplyHead(nil, v, hint)
	if v == answered {
		dst = fsm.AppendResult(dst, &res)
	}
	return dst, nil
}

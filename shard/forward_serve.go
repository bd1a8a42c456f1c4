// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// Limits at the leader, for each frontend and group. One frame of any size is always admitted.
const (
	creditFrames = 16
	creditBytes  = 8 << 20
	// turnWait is how long a frame waits for those before it in its stream.
	turnWait = 250 * time.Millisecond
)

// forwardServer is the leader's side of forwarding: it puts the frames of each lane in order, and
// bounds what each frontend may have under way.
type forwardServer struct {
	mu      sync.Mutex
	inbound map[inboundKey]*inbound
}

type inboundKey struct {
	node  string
	group uint32
}

// inbound is what one frontend has under way in one group; guarded by forwardServer.mu.
type inbound struct {
	incarnation, stream uint64
	// next is the position that may be submitted now, taken whether a frame has that turn. broken: a
	// frame of the stream was refused, so every later one is.
	next          uint64
	taken, broken bool
	// turn is closed and replaced when any of the above changes.
	turn   chan struct{}
	frames int
	bytes  int
}

// handleForward serves raftnode.ClassForward. It submits or refuses, and never forwards. An error
// means that nothing is known about the frame's fate.
func (r *Router) handleForward(ctx context.Context, from string, req []byte) ([]byte, error) {
	switch {
	case len(req) > 1 && req[1] == forwardPublish:
		return r.bus.serve(ctx, from, req), nil
	case len(req) > 1 && req[1] == forwardWaits:
		return r.serveWaits(from, req), nil
	case len(req) > 1 && req[1] == forwardWake:
		return r.serveWake(req), nil
	case len(req) > 1 && req[1] == forwardScript:
		return r.serveScript(ctx, from, req)
	}
	q, err := parseForwardRequest(req)
	if err != nil {
		return appendForwardReply(nil, q.Kind, refusedInvalid, raftnode.Hint{}, nil), nil
	}
	local := r.localReplica(q.Group)
	in, admitted := r.forwards.enter(from, &q, len(req))
	defer r.forwards.leave(in, len(req), admitted)
	var sub fsm.Sub
	switch {
	case !admitted:
		err = &refusal{verdict: refusedOverloaded}
	case local == nil:
		err = raftnode.ErrNoGroup
	case q.Kind == forwardRead:
		err = r.serveRead(ctx, local, from, &q, &sub)
	default:
		err = r.serveWrite(ctx, local, in, &q, &sub)
	}
	defer func() { r.serving.giveBack(q.answers+q.room.Held, q.turn) }()
	v, hint := classify(err)
	switch {
	case q.Kind == forwardRead && v == lost:
		v = refusedTimeout // whether a read ran or not, it changed nothing
	case v == lost || v != answered && !r.forwards.refuse(in, &q):
		return nil, fmt.Errorf("shard: forward: %w: %v", raftnode.ErrUnknown, err) //nolint:errorlint // the cause must not read as a verdict
	}
	if v == refusedNotLeader && hint.Node == "" {
		hint = local.Leader()
	}
	return appendForwardReply(nil, q.Kind, v, hint, &sub), nil
}

// errTurn: the frame's turn did not come, or is another copy's.
var errTurn = &refusal{verdict: refusedOrder}

// serveWrite submits a Sub in its turn and waits for its end. It waits however long that takes: the
// group owns the frame's bytes until then.
func (r *Router) serveWrite(ctx context.Context, local localGroup, in *inbound, q *forwardRequest, sub *fsm.Sub) error {
	if !r.forwards.await(ctx, in, q) {
		return errTurn
	}
	q.mine = true
	done := make(chan error, 1)
	err := r.prepare(ctx, local, q, sub)
	if err == nil {
		local.Submit(sub, func(_ *fsm.Sub, err error) { done <- err })
	}
	r.forwards.advance(in, q)
	if err == nil {
		err = <-done
	}
	if err != nil {
		return err
	}
	if q.Kind == forwardOpen {
		if len(sub.Results) != 1 || sub.Results[0].Kind != fsm.KindInt {
			return &refusal{verdict: refusedOverloaded}
		}
		sub.Next = uint64(sub.Results[0].Int)
	}
	return nil
}

// prepare makes the Sub of a frame, or says why there is none.
func (r *Router) prepare(ctx context.Context, local localGroup, q *forwardRequest, sub *fsm.Sub) error {
	if h := local.Leader(); !local.IsLeader() && h.Node != r.cfg.Self {
		return raftnode.ErrNotLeader{Hint: h}
	}
	if q.Kind == forwardOpen {
		open := fsm.OpenSession()
		*sub = fsm.Sub{Writes: 1, Body: fsm.AppendCommand(nil, &open)}
		return nil
	}
	answers, ok := r.acceptable(q)
	if !ok {
		return &refusal{verdict: refusedInvalid}
	}
	if answers > 0 {
		if !r.serving.shared.acquire(handlerTime{ctx}, answers) {
			return &refusal{verdict: refusedOverloaded}
		}
		q.answers = answers
	}
	*sub = fsm.Sub{Session: q.Session, Seq: q.Seq, Low: q.Low, Writes: q.Count, Body: q.Body, Reads: q.Reads}
	if len(q.Reads) > 0 {
		q.room = fsm.Room{Most: q.Room, Free: freeReply, Ledger: &r.serving}
		sub.Room = &q.room
	}
	return nil
}

// acceptable checks the commands of a frame as far as the frontend must have checked them, and tells
// how much the replies of its writes may take.
func (r *Router) acceptable(q *forwardRequest) (answers int64, ok bool) {
	answers, err := fsm.ValidateBody(r.cfg.Table, q.Body, q.Count)
	if err != nil {
		return 0, false
	}
	after := 0
	for i := range q.Reads {
		rd := &q.Reads[i]
		if rd.After < after || rd.After > q.Count || !r.isRead(&rd.Cmd) {
			return 0, false
		}
		after = rd.After
	}
	return answers, true
}

func (r *Router) isRead(cmd *fsm.Command) bool {
	s := r.cfg.Table.Spec(cmd.Op)
	return s != nil && !s.Write && !s.Internal
}

func (r *Router) serveRead(ctx context.Context, local localGroup, from string, q *forwardRequest, sub *fsm.Sub) error {
	cmds := make([]fsm.Command, q.Count)
	for i, body := 0, q.Body; i < q.Count; i++ {
		cmd, n, err := fsm.ParseCommand(body)
		if err != nil || !r.isRead(&cmd) || i == q.Count-1 && n != len(body) {
			return &refusal{verdict: refusedInvalid}
		}
		cmds[i], body = cmd, body[n:]
	}
	sub.Results = make([]fsm.Result, q.Count)
	q.room = fsm.Room{Most: q.Room, Free: freeReply, Ledger: &r.serving}
	var err error
	if !local.ReadVouched(from, q.Voucher, cmds, sub.Results, &q.room) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, q.Timeout)
		defer cancel()
		err = local.Read(ctx, cmds, sub.Results, &q.room)
	}
	if err != nil || !q.room.Short || q.room.Used > 0 || q.Room <= frameReply {
		return err
	}
	// The frontend made much room for the first command, and there was none here.
	if !r.serving.turns.acquire(handlerTime{ctx}, fsm.MaxReply) {
		return &refusal{verdict: refusedOverloaded}
	}
	q.turn = true
	q.room = fsm.Room{Most: q.Room, Free: fsm.MaxReply}
	return local.Read(ctx, cmds, sub.Results, &q.room)
}

// enter takes credit for a frame; false when there is none left.
func (s *forwardServer) enter(from string, q *forwardRequest, size int) (*inbound, bool) {
	key := inboundKey{node: from, group: q.Group}
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.inbound[key]
	if in == nil {
		if s.inbound == nil {
			s.inbound = make(map[inboundKey]*inbound)
		}
		in = &inbound{turn: make(chan struct{})}
		s.inbound[key] = in
	}
	if in.frames > 0 && (in.frames >= creditFrames || in.bytes+size > creditBytes) {
		return in, false
	}
	in.frames++
	in.bytes += size
	return in, true
}

func (s *forwardServer) leave(in *inbound, size int, admitted bool) {
	if !admitted {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in.frames--
	in.bytes -= size
}

// followLocked makes q's stream the present one if it is newer, and tells whether it is the present
// one.
func (in *inbound) followLocked(q *forwardRequest) bool {
	if q.Incarnation > in.incarnation || q.Incarnation == in.incarnation && q.Stream > in.stream {
		in.incarnation, in.stream, in.next, in.taken, in.broken = q.Incarnation, q.Stream, 0, false, false
		in.tellLocked()
	}
	return q.Incarnation == in.incarnation && q.Stream == in.stream
}

func (in *inbound) tellLocked() {
	close(in.turn)
	in.turn = make(chan struct{})
}

// await waits for the frame's turn and takes it; false when it will not come.
func (s *forwardServer) await(ctx context.Context, in *inbound, q *forwardRequest) bool {
	var late <-chan time.Time
	for {
		s.mu.Lock()
		current := in.followLocked(q)
		mine := current && !in.broken && !in.taken && q.Position == in.next
		hopeless := !current || in.broken || q.Position < in.next || q.Position == in.next && in.taken
		if mine {
			in.taken = true
		}
		turn := in.turn
		s.mu.Unlock()
		if mine || hopeless {
			return mine
		}
		if late == nil {
			t := time.NewTimer(turnWait)
			defer t.Stop()
			late = t.C
		}
		select {
		case <-turn:
		case <-late:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// advance lets the next frame of the stream go.
func (s *forwardServer) advance(in *inbound, q *forwardRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.followLocked(q) && q.Position == in.next {
		in.next++
		in.taken = false
		in.tellLocked()
	}
}

// refuse ends the frame's stream, so that no frame behind it, and no other copy of it, is accepted
// any more. It tells whether the refusal is definite: not when another copy had the turn, or may
// have had it.
func (s *forwardServer) refuse(in *inbound, q *forwardRequest) bool {
	if q.Kind == forwardRead {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	current := in.followLocked(q)
	if current && !in.broken {
		in.broken = true
		in.tellLocked()
	}
	return q.mine || current && (q.Position > in.next || q.Position == in.next && !in.taken)
}

// forget drops the places of frontends in a group that has no replica here any more.
func (s *forwardServer) forget(group uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, in := range s.inbound {
		if key.group == group && in.frames == 0 {
			delete(s.inbound, key)
		}
	}
}

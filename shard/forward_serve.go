// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
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
	// next is the position that may be submitted now; turn is closed and replaced when it, or the
	// stream, changes.
	next   uint64
	turn   chan struct{}
	frames int
	bytes  int
}

// handleForward serves raftnode.ClassForward. It submits or refuses, and never forwards.
func (r *Router) handleForward(ctx context.Context, from string, req []byte) ([]byte, error) {
	q, err := parseForwardRequest(req)
	if err != nil {
		return appendForwardReply(nil, q.Kind, refusedInvalid, raftnode.Hint{}, nil), nil
	}
	local := r.localReplica(q.Group)
	if local == nil {
		return appendForwardReply(nil, q.Kind, refusedNoReplica, raftnode.Hint{}, nil), nil
	}
	s := &r.forwards
	in := s.admit(from, &q, len(req))
	if in == nil {
		return appendForwardReply(nil, q.Kind, refusedOverloaded, raftnode.Hint{}, nil), nil
	}
	defer s.leave(in, len(req))
	var sub fsm.Sub
	if q.Kind == forwardRead {
		err = r.serveRead(ctx, local, &q, &sub)
	} else {
		err = r.serveWrite(ctx, local, in, &q, &sub)
	}
	v, hint := classify(err)
	switch {
	case v == lost && q.Kind == forwardRead:
		v = refusedTimeout // whether a read ran or not, it changed nothing
	case v == lost:
		return nil, err
	case v == refusedNotLeader && hint.Node == "":
		hint = local.Leader()
	}
	return appendForwardReply(nil, q.Kind, v, hint, &sub), nil
}

// serveWrite submits a Sub in its turn and waits for its end. It waits however long that takes: the
// group owns the frame's bytes until then.
func (r *Router) serveWrite(ctx context.Context, local localGroup, in *inbound, q *forwardRequest, sub *fsm.Sub) error {
	if h := local.Leader(); !local.IsLeader() && h.Node != r.cfg.Self {
		return raftnode.ErrNotLeader{Hint: h}
	}
	if q.Kind == forwardOpen {
		open := fsm.OpenSession()
		*sub = fsm.Sub{Writes: 1, Body: fsm.AppendCommand(nil, &open)}
	} else {
		if !r.acceptable(q) {
			return &refusal{verdict: refusedInvalid}
		}
		*sub = fsm.Sub{Session: q.Session, Seq: q.Seq, Low: q.Low, Writes: q.Count, Body: q.Body, Reads: q.Reads}
	}
	if !r.forwards.await(ctx, in, q) {
		return &refusal{verdict: refusedOrder}
	}
	done := make(chan error, 1)
	local.Submit(sub, func(_ *fsm.Sub, err error) { done <- err })
	r.forwards.advance(in, q)
	if err := <-done; err != nil {
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

// acceptable checks the commands of a frame as far as the frontend must have checked them.
func (r *Router) acceptable(q *forwardRequest) bool {
	if fsm.ValidateBody(r.cfg.Table, q.Body, q.Count) != nil {
		return false
	}
	after := 0
	for i := range q.Reads {
		rd := &q.Reads[i]
		if rd.After < after || rd.After > q.Count || !r.isRead(&rd.Cmd) {
			return false
		}
		after = rd.After
	}
	return true
}

func (r *Router) isRead(cmd *fsm.Command) bool {
	s := r.cfg.Table.Spec(cmd.Op)
	return s != nil && !s.Write && !s.Internal
}

func (r *Router) serveRead(ctx context.Context, local localGroup, q *forwardRequest, sub *fsm.Sub) error {
	cmds := make([]fsm.Command, q.Count)
	for i, body := 0, q.Body; i < q.Count; i++ {
		cmd, n, err := fsm.ParseCommand(body)
		if err != nil || !r.isRead(&cmd) || i == q.Count-1 && n != len(body) {
			return &refusal{verdict: refusedInvalid}
		}
		cmds[i], body = cmd, body[n:]
	}
	ctx, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()
	sub.Results = make([]fsm.Result, q.Count)
	return local.Read(ctx, cmds, sub.Results)
}

// admit takes credit for a frame, nil when there is none left.
func (s *forwardServer) admit(from string, q *forwardRequest, size int) *inbound {
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
		return nil
	}
	in.frames++
	in.bytes += size
	return in
}

func (s *forwardServer) leave(in *inbound, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in.frames--
	in.bytes -= size
}

// await waits for the frame's turn; false when it will not come.
func (s *forwardServer) await(ctx context.Context, in *inbound, q *forwardRequest) bool {
	var late <-chan time.Time
	for {
		s.mu.Lock()
		if q.Incarnation > in.incarnation || q.Incarnation == in.incarnation && q.Stream > in.stream {
			in.incarnation, in.stream, in.next = q.Incarnation, q.Stream, 0
			in.tellLocked()
		}
		current := q.Incarnation == in.incarnation && q.Stream == in.stream
		at, turn := in.next, in.turn
		s.mu.Unlock()
		if !current || q.Position < at {
			return false
		}
		if q.Position == at {
			return true
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
	if q.Incarnation == in.incarnation && q.Stream == in.stream && q.Position == in.next {
		in.next++
		in.tellLocked()
	}
}

func (in *inbound) tellLocked() {
	close(in.turn)
	in.turn = make(chan struct{})
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

// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"errors"
	"sync"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

// grantable are the features that this server knows.
const grantable = wire.FeatureConcurrent | wire.FeaturePush

// session2 speaks version 2.
type session2 struct {
	h        *Handler
	c        *tcpd.Conn
	caller   shard.Caller
	welcomed bool
	features wire.Features
	out      outbox
	// one is the batch of a session that is not concurrent.
	one batch
	// many is nil unless the session is concurrent.
	many *concurrent

	mu struct {
		sync.Mutex
		closed bool
		// subscribed: the session is to be told of the topology and of the end.
		subscribed bool
		toldEnd    bool
	}
	wg sync.WaitGroup
}

func newSession2(h *Handler, c *tcpd.Conn, caller shard.Caller) *session2 {
	return &session2{h: h, c: c, caller: caller, out: outbox{c: c}}
}

// spawn runs f on a goroutine that close joins; false when the session is closed.
func (s *session2) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return false
	}
	s.wg.Go(f)
	return true
}

func (s *session2) close() {
	s.h.unsubscribe(s)
	s.mu.Lock()
	s.mu.closed = true
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *session2) serve(ctx context.Context, in []byte) (n, need int, err error) {
	if !s.welcomed {
		n, err = s.hello(ctx, in)
		if err != nil || !s.welcomed {
			return n, 0, err
		}
	}
	var more int
	if s.many != nil {
		more, need, err = s.many.serve(ctx, in[n:])
	} else {
		more, need, err = s.inOrder(ctx, in[n:])
	}
	return n + more, need, err
}

// hello answers the client's first frame.
func (s *session2) hello(ctx context.Context, in []byte) (n int, err error) {
	hello, n, err := wire.ParseHello(in)
	if err == nil && n == 0 {
		return 0, nil
	}
	cfg := &s.h.cfg
	w := wire.Welcome{
		MaxInFlight: uint32(cfg.MaxInFlight), MaxFrame: uint32(s.h.maxFrame), NodeID: cfg.NodeID, Server: cfg.Version,
	}
	if cfg.ClusterID != nil {
		w.ClusterID = cfg.ClusterID()
	}
	switch {
	case errors.Is(err, wire.ErrMandatory):
		w.Kind, w.Text = wire.FailVersion, "a mandatory extension is not known here"
	case err != nil:
		w.Kind, w.Text = wire.FailProtocol, "malformed hello"
	case hello.MinVersion > wire.Version2 || hello.MaxVersion < wire.Version2:
		w.Kind, w.Text = wire.FailVersion, "only version 2 is spoken here"
	default:
		s.caller.User, w.Text = s.h.authenticate(ctx, &hello)
		if w.Text != "" {
			w.Kind = wire.FailDenied
		}
	}
	if w.Kind != 0 {
		if werr := s.out.send(wire.AppendWelcome(nil, &w)); werr != nil {
			return n, werr
		}
		return n, tcpd.ErrEnd
	}
	s.features = hello.Features & grantable
	known := s.h.version.Load()
	w.Version, w.Features = wire.Version2, s.features
	if err := s.out.send(wire.AppendWelcome(nil, &w)); err != nil {
		return n, err
	}
	s.begin(known)
	return n, nil
}

// begin makes the session what the features say. What became news since the version known, before the
// client was welcome, is told here: nobody else saw a subscriber then.
func (s *session2) begin(known uint64) {
	s.welcomed = true
	if s.features&wire.FeatureConcurrent != 0 {
		s.many = newConcurrent(s)
	}
	if s.features&wire.FeaturePush == 0 {
		return
	}
	s.mu.Lock()
	s.mu.subscribed = true
	s.mu.Unlock()
	s.h.subscribe(s)
	if v := s.h.version.Load(); v != known {
		s.offer(wire.AppendPush(nil, wire.Push{Kind: wire.PushTopology, Version: v}))
	}
	if s.c.Draining() {
		s.drain()
	}
}

// authenticate returns the user, or the text of the refusal.
func (h *Handler) authenticate(ctx context.Context, hello *wire.Hello) (user, refusal string) {
	if h.cfg.Authenticate == nil {
		if hello.Method != wire.MethodNone {
			return "", "authentication is off here: connect without credentials"
		}
		return "", ""
	}
	user, err := h.cfg.Authenticate(ctx, hello.Method, hello.User, hello.Secret)
	if err != nil {
		return "", err.Error()
	}
	return user, ""
}

// inOrder runs every complete frame, requests in batches, and answers in the order of the frames.
func (s *session2) inOrder(ctx context.Context, in []byte) (n, need int, err error) {
	b := &s.one
	var broken error
	for broken == nil && err == nil {
		f, size, more, perr := wire.ParseFrame(in[n:], s.h.maxFrame)
		if perr == nil && size == 0 {
			need = more
			break
		}
		n += size
		if broken = perr; broken == nil {
			broken, err = s.frame(ctx, b, f)
		}
	}
	if err == nil {
		err = s.runInOrder(ctx, b)
	}
	if broken != nil && err == nil {
		b.out, err = appendBroken(b.out, broken), tcpd.ErrEnd
	}
	if ferr := s.flushInOrder(b); ferr != nil {
		return n, 0, ferr
	}
	b.reset()
	return n, need, err
}

// frame adds a request to b, or runs b and answers the frame behind it. broken is the fault of a frame
// that makes no sense, err one of the connection.
func (s *session2) frame(ctx context.Context, b *batch, f wire.Frame) (broken, err error) {
	if f.Type != wire.FrameRequest {
		if err := s.runInOrder(ctx, b); err != nil {
			return nil, err
		}
		b.out, broken = s.answerBare(b.out, f)
		return broken, nil
	}
	q, err := b.parse(f.Body)
	if err != nil || f.ID == 0 {
		return errors.Join(wire.ErrMalformed, err), nil
	}
	spec, res := s.h.lookup(&q)
	if spec != nil {
		if b.add(f.ID, &q, spec); len(b.cmds) < maxBatch {
			return nil, nil
		}
		return nil, s.runInOrder(ctx, b)
	}
	if err := s.runInOrder(ctx, b); err != nil {
		return nil, err
	}
	b.out = s.h.appendReply(b.out, f.ID, &shard.Reply{Result: res}, false)
	return nil, nil
}

// lookup finds the command of q, and takes its name off the arguments when it came by name. A nil
// spec comes with the error to answer.
func (h *Handler) lookup(q *wire.Request) (*fsm.Spec, fsm.Result) {
	if q.Op == wire.OpNamed {
		if len(q.Args) == 0 {
			return nil, fsm.Error(fsm.CodeUnknown, "ERR command name is missing")
		}
		spec, ok := h.cfg.Table.Lookup(q.Args[0])
		if !ok || spec.Internal {
			return nil, fsm.UnknownCommand(q.Args[0], q.Args[1:])
		}
		q.Args = q.Args[1:]
		return spec, fsm.Result{}
	}
	spec := h.cfg.Table.Spec(fsm.Op(q.Op))
	if spec == nil || spec.Internal {
		return nil, fsm.Errorf(fsm.CodeUnknown, "ERR unknown command number %d", q.Op)
	}
	return spec, fsm.Result{}
}

// runInOrder runs what b holds and keeps its output.
func (s *session2) runInOrder(ctx context.Context, b *batch) error {
	if len(b.cmds) == 0 {
		return nil
	}
	err := s.h.run(ctx, s.caller, b, &s.out)
	out := b.out
	b.out = nil
	b.reset()
	b.out = out
	return err
}

func (s *session2) flushInOrder(b *batch) error {
	if len(b.out) == 0 {
		return nil
	}
	err := s.out.send(b.out)
	b.out = b.out[:0]
	return err
}

// answerBare answers a frame that is no request.
func (s *session2) answerBare(dst []byte, f wire.Frame) ([]byte, error) {
	switch f.Type {
	case wire.FramePing:
		if len(f.Body) == 0 && f.ID != 0 {
			return wire.AppendBare(dst, wire.FramePong, f.ID), nil
		}
	case wire.FrameTopology:
		if known, err := wire.ParseTopologyRequest(f.Body); err == nil && f.ID != 0 {
			return wire.AppendTopology(dst, f.ID, s.h.topology(known)), nil
		}
	case wire.FrameRequest, wire.FrameResult, wire.FrameFailure, wire.FrameView, wire.FramePush, wire.FramePong:
	}
	return dst, wire.ErrMalformed
}

// appendBroken appends the last frame of a connection whose bytes make no sense.
func appendBroken(dst []byte, err error) []byte {
	text := textBadFrame
	if errors.Is(err, wire.ErrTooLong) {
		text = textTooLong
	}
	return wire.AppendFailure(dst, 0, &wire.Failure{Kind: wire.FailProtocol, Text: text})
}

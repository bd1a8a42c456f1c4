// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"encoding/binary"
	"errors"
)

// ErrAnswered is returned by Stream.Write when the other side answered before the end of the
// body: Finish has the answer.
var ErrAnswered = errors.New("link: stream answered early")

// Stream is a call with a body. It belongs to one goroutine, which ends it with Finish or Cancel.
type Stream struct {
	ctx context.Context
	c   *clientConn
	ca  *call
	// over: res holds the outcome.
	over bool
	res  result

	// credit is how many bytes may be sent; guarded by the lock of the connection's wire.
	credit int
	// more has room for one token: credit has grown.
	more chan struct{}
}

// OpenStream begins a call with a body on the connection to node. ctx governs the whole stream; it
// should have a deadline in proportion to the body. req is taken over.
func (l *Link) OpenStream(ctx context.Context, node string, class Class, req []byte) (*Stream, error) {
	s, err := l.openStream(ctx, node, class, req)
	if err != nil {
		l.count(err)
	}
	return s, err
}

func (l *Link) openStream(ctx context.Context, node string, class Class, req []byte) (*Stream, error) {
	if len(req) > l.maxFrame {
		return nil, notSent(ErrTooLarge)
	}
	p, err := l.peer(node, class)
	if err != nil {
		return nil, notSent(err)
	}
	c, err := p.conn(ctx)
	if err != nil {
		return nil, notSent(err)
	}
	s := &Stream{ctx: ctx, c: c, credit: streamWindow, more: make(chan struct{}, 1)}
	f := outFrame{kind: kindOpen, one: req, size: len(req)}
	if limit, own := timeAllowed(ctx, 0); !own {
		f.left = milliseconds(limit)
	}
	if s.ca, err = c.start(f, s); err != nil {
		return nil, err
	}
	c.w.kick()
	return s, nil
}

// Write sends p, waiting for the other side to have room. p may be reused when it returns.
func (s *Stream) Write(p []byte) (n int, err error) {
	for n < len(p) {
		size, err := s.reserve(min(len(p)-n, streamChunk))
		if err != nil {
			return n, err
		}
		chunk := append([]byte(nil), p[n:n+size]...)
		f := outFrame{kind: kindData, id: s.ca.id, one: chunk, size: size}
		if err := s.c.w.send(s.ctx.Done(), f); err != nil {
			return n, s.broken()
		}
		n += size
	}
	return n, nil
}

// reserve waits for credit and takes up to want bytes of it.
func (s *Stream) reserve(want int) (int, error) {
	for {
		if s.over {
			return 0, s.failure()
		}
		s.c.w.mu.Lock()
		size := min(want, s.credit)
		s.credit -= size
		s.c.w.mu.Unlock()
		select {
		case s.res = <-s.ca.done:
			s.over = true
			continue
		default:
		}
		if size > 0 {
			return size, nil
		}
		select {
		case s.res = <-s.ca.done:
			s.over = true
		case <-s.more:
		case <-s.ctx.Done():
			s.abandon()
		}
	}
}

// broken finds the outcome after a frame could not be queued: ctx or the connection has ended.
func (s *Stream) broken() error {
	select {
	case s.res = <-s.ca.done:
		s.over = true
	case <-s.ctx.Done():
		s.abandon()
	}
	return s.failure()
}

func (s *Stream) failure() error {
	if s.res.err == nil {
		return ErrAnswered
	}
	return s.res.err
}

func (s *Stream) abandon() {
	s.res, s.over = s.c.abandon(s.ca, context.Cause(s.ctx)), true
}

// Finish ends the body and returns the answer. Its errors are those of Link.Call.
func (s *Stream) Finish() ([]byte, error) {
	if !s.over {
		_ = s.c.w.send(s.ctx.Done(), outFrame{kind: kindEnd, id: s.ca.id})
		select {
		case s.res = <-s.ca.done:
			s.over = true
		case <-s.ctx.Done():
			s.abandon()
		}
	}
	s.c.l.count(s.res.err)
	return s.res.reply, s.res.err
}

// Cancel gives the stream up; the other side's body fails. It does nothing after Finish.
func (s *Stream) Cancel() {
	if s.over {
		return
	}
	s.res, s.over = s.c.abandon(s.ca, context.Canceled), true
	s.c.l.count(s.res.err)
}

// credit lets the stream with this id send more.
func (c *clientConn) credit(id uint64, payload []byte) {
	more := binary.BigEndian.Uint32(payload)
	c.w.mu.Lock()
	ca := c.calls[id]
	if ca == nil || ca.stream == nil {
		c.w.mu.Unlock()
		return
	}
	ca.stream.credit = min(ca.stream.credit+int(min(more, streamWindow)), streamWindow)
	c.w.mu.Unlock()
	select {
	case ca.stream.more <- struct{}{}:
	default:
	}
}

// count keeps the books of finished calls.
func (l *Link) count(err error) {
	l.stats.calls.Add(1)
	switch {
	case err == nil:
	case errors.Is(err, ErrNotSent):
		l.stats.notSent.Add(1)
	case errors.Is(err, ErrLost):
		l.stats.lost.Add(1)
	}
}

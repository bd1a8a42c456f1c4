// SPDX-License-Identifier: Apache-2.0

package tcpd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Server runs the connections of any number of listeners of one protocol.
type Server struct {
	cfg    Config
	ctx    context.Context // of all sessions
	cancel context.CancelFunc
	wg     sync.WaitGroup // connections and drain calls
	stats  counters
	nextID atomic.Uint64
	full   atomic.Bool // the limit was reported and not yet left

	mu struct {
		sync.Mutex
		closing   bool
		listeners map[net.Listener]struct{}
		conns     map[*Conn]Session // nil until the session is open
	}
}

type counters struct {
	accepted, refused, bytesIn, bytesOut atomic.Uint64
}

// Stats are counts since the server began, and the connections open now.
type Stats struct {
	Open                                 int
	Accepted, Refused, BytesIn, BytesOut uint64
}

// New makes a Server. Nothing runs until Serve.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg.withDefaults()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.listeners = make(map[net.Listener]struct{})
	s.mu.conns = make(map[*Conn]Session)
	return s, nil
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := len(s.mu.conns)
	s.mu.Unlock()
	return Stats{
		Open: open, Accepted: s.stats.accepted.Load(), Refused: s.stats.refused.Load(),
		BytesIn: s.stats.bytesIn.Load(), BytesOut: s.stats.bytesOut.Load(),
	}
}

// Serve accepts connections of ln until Shutdown or Close, which close ln, and returns ErrClosed
// then. Another error means that ln is broken.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.mu.closing {
		s.mu.Unlock()
		_ = ln.Close()
		return ErrClosed
	}
	s.mu.listeners[ln] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	defer func() {
		s.mu.Lock()
		delete(s.mu.listeners, ln)
		s.mu.Unlock()
	}()
	backoff := acceptBackoff
	for {
		nc, err := ln.Accept()
		if err == nil {
			backoff = acceptBackoff
			s.admit(nc)
			continue
		}
		if s.ctx.Err() != nil || s.isClosing() {
			return ErrClosed
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		// Out of file descriptors or alike: connections that end make room.
		s.cfg.Logger.Warn("accept failed", slog.String("protocol", s.cfg.Protocol), slog.Any("error", err), slog.Duration("retry", backoff))
		select {
		case <-time.After(backoff):
		case <-s.ctx.Done():
			return ErrClosed
		}
		backoff = min(2*backoff, acceptBackoffMax)
	}
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.closing
}

// admit starts the connection's goroutine, or refuses it.
func (s *Server) admit(nc net.Conn) {
	c := &Conn{ID: s.nextID.Add(1), nc: nc, srv: s}
	c.in.budget, c.in.most = s.cfg.Budget, int64(s.cfg.MaxCommand)
	c.parking.calls = make(chan struct{}, 1)
	s.mu.Lock()
	closing, room := s.mu.closing, len(s.mu.conns) < s.cfg.MaxConns
	if !closing && room {
		s.mu.conns[c] = nil
		s.wg.Add(1)
	}
	s.mu.Unlock()
	switch {
	case closing:
		_ = nc.Close()
	case !room:
		s.refuse(nc)
	default:
		s.stats.accepted.Add(1)
		s.full.Store(false)
		go s.runConn(c)
	}
}

func (s *Server) refuse(nc net.Conn) {
	s.stats.refused.Add(1)
	if !s.full.Swap(true) {
		s.cfg.Logger.Warn("too many connections", slog.String("protocol", s.cfg.Protocol), slog.Int("limit", s.cfg.MaxConns))
	}
	if len(s.cfg.Refusal) > 0 && nc.SetWriteDeadline(time.Now().Add(refuseTime)) == nil {
		_, _ = nc.Write(s.cfg.Refusal)
	}
	_ = nc.Close()
}

func (s *Server) runConn(c *Conn) {
	defer s.wg.Done()
	err := c.run(s.ctx)
	s.mu.Lock()
	delete(s.mu.conns, c)
	s.mu.Unlock()
	if err != nil {
		s.cfg.Logger.Debug("connection ended", slog.String("protocol", s.cfg.Protocol), slog.Uint64("conn", c.ID),
			slog.String("remote", c.RemoteAddr().String()), slog.Any("error", err))
	}
}

// watchDrain notes the session, so that Shutdown finds it, or tells it at once when that has begun.
func (s *Server) watchDrain(c *Conn, sess Session) {
	s.mu.Lock()
	s.mu.conns[c] = sess
	closing := s.mu.closing
	s.mu.Unlock()
	if closing {
		sess.Drain()
	}
}

// Shutdown stops accepting, tells every session, goes on serving each connection for DrainGrace and
// ends it. It waits until all are gone; when ctx ends first, connections are cut as by Close.
func (s *Server) Shutdown(ctx context.Context) error {
	s.beginClosing()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.cancel()
		return nil
	case <-ctx.Done():
	}
	s.cut()
	<-done
	return context.Cause(ctx)
}

// Close cuts every connection and waits for their goroutines.
func (s *Server) Close() error {
	s.beginClosing()
	s.cut()
	s.wg.Wait()
	return nil
}

func (s *Server) beginClosing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closing {
		return
	}
	s.mu.closing = true
	for ln := range s.mu.listeners {
		_ = ln.Close()
	}
	at := time.Now().Add(s.cfg.DrainGrace)
	for c, sess := range s.mu.conns {
		c.drain(at)
		if sess != nil {
			s.wg.Go(sess.Drain)
		}
	}
}

// cut ends the sessions' context and closes their connections.
func (s *Server) cut() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.conns {
		_ = c.nc.Close()
	}
}

// SPDX-License-Identifier: Apache-2.0

package tcpd

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// Session is one connection as its protocol sees it.
type Session interface {
	// Serve gets all unread bytes. It runs every complete command at their front and writes the
	// replies with Conn.Write, at best in one call. n is how many bytes it is done with; need is
	// how many unread bytes there must be before another call makes sense, 0 when any more will
	// do. in is valid until Serve returns, unless Conn.Keep was called. An error ends the
	// connection; replies that explain it were written before. Called by one goroutine.
	Serve(ctx context.Context, in []byte) (n, need int, err error)
	// Drain is called at most once, from another goroutine, when the server begins to shut down;
	// it may overlap with Serve and Close and come after Close.
	Drain()
	// Close is called once, after the last Serve. It waits for what the session has running, whose
	// replies may still be written. The context of Serve has ended by then unless the end is an
	// orderly one.
	Close()
}

// Conn is one connection. Its methods may be called until Session.Close returned.
type Conn struct {
	// ID is unique in the process's servers that share a numbering; it identifies the connection
	// in logs.
	ID uint64

	nc       net.Conn
	srv      *Server
	in       input
	keep     bool
	armed    bool // a read deadline is set
	ahead    bool // there may be unread bytes that no Serve call has seen
	after    func(ctx context.Context) error
	parking  parking
	writeBy  time.Time // the write deadline that is set
	draining atomic.Bool
	drainAt  time.Time // written before draining is set
}

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// LocalAddr is the address that the peer connected to.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// Cut ends the connection from any goroutine: what reads or writes it fails, and the session is closed
// as after any other error.
func (c *Conn) Cut() {
	_ = c.nc.Close()
	c.Interrupt()
}

// Draining tells whether the server is shutting down.
func (c *Conn) Draining() bool { return c.draining.Load() }

// Keep makes the bytes of the present Serve call valid until the returned Lease is released. It is
// called within Serve, by its goroutine, at most once a call.
func (c *Conn) Keep() Lease {
	c.keep = true
	return Lease{taken: c.in.taken, budget: c.in.budget}
}

// After has f run once the present Serve call has returned and what it is done with is dropped, before the next one. It
// is called within Serve, by its goroutine. f may wait, with Await. Its error ends the connection.
func (c *Conn) After(f func(ctx context.Context) error) { c.after = f }

// Write sends b whole. It may be called from any goroutine, one call at a time. It fails when the
// peer takes less than 256 KiB within StallTimeout; after an error the connection ends.
func (c *Conn) Write(b []byte) error {
	c.srv.stats.bytesOut.Add(uint64(len(b)))
	for len(b) > 0 {
		chunk := b[:min(len(b), writeChunk)]
		if err := c.armWrite(); err != nil {
			return err
		}
		if _, err := c.nc.Write(chunk); err != nil {
			_ = c.nc.Close() // wakes the reader; the first error counts
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return ErrStalled
			}
			return err
		}
		b = b[len(chunk):]
	}
	return nil
}

// armWrite moves the write deadline only when a quarter of it is gone: most writes need no call.
func (c *Conn) armWrite() error {
	now, stall := time.Now(), c.srv.cfg.StallTimeout
	if c.writeBy.Sub(now) > stall-stall/4 {
		return nil
	}
	c.writeBy = now.Add(stall)
	return c.nc.SetWriteDeadline(c.writeBy)
}

// run serves the connection until it ends and returns why: nil when the peer closed it.
func (c *Conn) run(ctx context.Context) error {
	s := c.srv.cfg.Open(c)
	c.srv.watchDrain(c, s)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := c.loop(ctx, s)
	// A peer that closed its sending side may still wait for replies; after anything else nobody
	// does.
	orderly := errors.Is(err, io.EOF) || errors.Is(err, ErrEnd)
	if !orderly {
		cancel()
	}
	s.Close()
	c.in.drop()
	c.finish(err)
	if orderly {
		return nil
	}
	return err
}

func (c *Conn) loop(ctx context.Context, s Session) error {
	need := 0
	for {
		if max(need, c.in.w-c.in.r+1) > c.srv.cfg.MaxCommand {
			return ErrCommandTooLong
		}
		if !c.ahead {
			if err := c.fill(ctx, need); err != nil {
				return err
			}
		}
		c.ahead = false
		if c.in.w-c.in.r < need {
			continue
		}
		n, more, err := s.Serve(ctx, c.in.unread())
		c.in.consume(n)
		if c.keep {
			c.keep = false
			c.in.leave()
		}
		if err != nil {
			return err
		}
		need = more
		if c.after != nil {
			if err := c.runAfter(ctx); err != nil {
				return err
			}
		}
	}
}

func (c *Conn) runAfter(ctx context.Context) error {
	f := c.after
	c.after = nil
	c.in.settle()
	c.parking.full = time.Time{}
	err := f(ctx)
	c.ahead = c.in.w > c.in.r
	return err
}

// fill reads once. Between commands it waits as long as IdleTimeout allows, inside one as long as
// StallTimeout does.
func (c *Conn) fill(ctx context.Context, need int) error {
	inside := c.in.w > c.in.r
	if err := c.room(ctx, need); err != nil {
		return err
	}
	limit := c.srv.cfg.IdleTimeout
	if inside {
		limit = c.srv.cfg.StallTimeout
	}
	large := inside && c.in.taken > 0
	if large {
		if limit = c.in.patience(limit); limit <= 0 {
			return ErrStalled
		}
	}
	if err := c.setReadDeadline(limit); err != nil {
		return err
	}
	n, err := c.read(large)
	if n > 0 {
		c.srv.stats.bytesIn.Add(uint64(n))
		c.in.took(n)
		return nil
	}
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case c.draining.Load():
		return ErrEnd
	case inside:
		return ErrStalled
	default:
		return ErrIdle
	}
}

// read reads, and minds how long that takes where it fills a large buffer.
func (c *Conn) read(large bool) (int, error) {
	if !large {
		return c.nc.Read(c.in.buf[c.in.w:])
	}
	began := time.Now()
	n, err := c.nc.Read(c.in.buf[c.in.w:])
	c.in.waited += time.Since(began)
	c.in.got += int64(n)
	return n, err
}

// room waits for the budget no longer than a peer may stall.
func (c *Conn) room(ctx context.Context, need int) error {
	if need <= BaseBuffer && c.in.w-c.in.r < BaseBuffer || int64(need) <= c.in.asked {
		return c.in.room(ctx, need)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.srv.cfg.StallTimeout, ErrStalled)
	defer cancel()
	return c.in.room(ctx, need)
}

// setReadDeadline arms the next read; 0 is no deadline. Shutdown's own deadline wins: it is set
// again whenever it may have been overwritten.
func (c *Conn) setReadDeadline(limit time.Duration) error {
	if limit == 0 && !c.armed {
		return nil
	}
	var at time.Time
	if c.armed = limit > 0; c.armed {
		at = time.Now().Add(limit)
	}
	if err := c.nc.SetReadDeadline(at); err != nil {
		return err
	}
	if c.draining.Load() {
		return c.nc.SetReadDeadline(c.drainAt)
	}
	return nil
}

// drain makes the connection end at the given time at the latest, and sooner when it is silent.
func (c *Conn) drain(at time.Time) {
	c.drainAt = at
	c.draining.Store(true)
	_ = c.nc.SetReadDeadline(at) // a closed connection needs none
}

// finish closes the connection. When the server ends it, the peer may still have bytes on their way:
// closing at once would make its system discard replies it has not read.
func (c *Conn) finish(err error) {
	type closeWriter interface{ CloseWrite() error }
	cw, ok := c.nc.(closeWriter)
	if ok && !errors.Is(err, io.EOF) && cw.CloseWrite() == nil && c.nc.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, c.nc, lingerBytes)
	}
	_ = c.nc.Close()
}

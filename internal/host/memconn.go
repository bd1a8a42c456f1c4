// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// connWindow is how many bytes one direction of a connection holds, unread or in flight,
	// before its writer waits.
	connWindow = 64 << 10
	// connChunk is the least size of the buffers that make up a direction.
	connChunk = 4 << 10
)

// half is one direction of a connection. Everything that can end a wait closes and drops wake.
//
// Bytes, the end of the stream and a reset all travel in order and all wait while the link is
// held: a cut network delivers neither data nor news of a death.
type half struct {
	link *link // supplies delays; held follows its state
	back *link // the way a reset of the reader comes

	mu      sync.Mutex
	wake    chan struct{} // nil when nobody waits
	segs    []seg
	first   int       // index of the first unread segment in segs
	spare   []byte    // a buffer to use again
	pending int       // unread bytes
	last    time.Time // arrival of the newest segment: order never changes
	held    bool      // link cut or stalled
	ended   error     // after the bytes: io.EOF, or a reset; nil while open
	endAt   time.Time
	cutBoth error     // immediate failure of both ends
	deaf    bool      // the reader is gone: arriving bytes are answered by a reset
	broken  time.Time // when the writer learns of deaf; zero = not yet on its way
}

type seg struct {
	buf []byte
	off int // bytes of buf read
	at  time.Time
}

// changed wakes all waiters; needs mu.
func (h *half) changed() {
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
}

// waker needs mu.
func (h *half) waker() <-chan struct{} {
	if h.wake == nil {
		h.wake = make(chan struct{})
	}
	return h.wake
}

// read takes arrived bytes. With none it returns what to wait for: a change, and a time (zero =
// none) at which something arrives.
func (h *half) read(p []byte) (n int, wake <-chan struct{}, at time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cutBoth != nil {
		return 0, nil, at, h.cutBoth
	}
	now := time.Now()
	for !h.held && n < len(p) && h.first < len(h.segs) && !h.segs[h.first].at.After(now) {
		s := &h.segs[h.first]
		k := copy(p[n:], s.buf[s.off:])
		n += k
		if s.off += k; s.off == len(s.buf) {
			h.dropFirst()
		}
	}
	if n > 0 || len(p) == 0 {
		h.pending -= n
		h.changed()
		return n, nil, at, nil
	}
	if !h.held {
		if h.first < len(h.segs) {
			at = h.segs[h.first].at
		} else if h.ended != nil {
			if !h.endAt.After(now) {
				return 0, nil, at, h.ended
			}
			at = h.endAt
		}
	}
	return 0, h.waker(), at, nil
}

func (h *half) dropFirst() {
	if buf := h.segs[h.first].buf; cap(buf) > cap(h.spare) {
		h.spare = buf[:0]
	}
	h.segs[h.first] = seg{}
	h.first++
	if h.first == len(h.segs) {
		h.segs, h.first = h.segs[:0], 0
	}
}

// write takes what the window allows; a closed reader swallows bytes until its reset is back.
func (h *half) write(p []byte) (n int, wake <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.cutBoth != nil:
		return 0, nil, h.cutBoth
	case h.ended != nil: // our own end is closed; conn.Write has checked before
		return 0, nil, net.ErrClosed
	}
	now := time.Now()
	if h.deaf && !h.held {
		h.segs, h.first, h.pending = h.segs[:0], 0, 0
		if h.broken.IsZero() {
			h.broken = now.Add(h.link.draw() + h.back.draw())
			return len(p), nil, nil
		}
		if !h.broken.After(now) {
			return 0, nil, syscall.EPIPE
		}
		return len(p), nil, nil
	}
	room := connWindow - h.pending
	if room <= 0 {
		return 0, h.waker(), nil
	}
	p = p[:min(len(p), room)]
	h.push(p, now)
	h.changed()
	return len(p), nil, nil
}

// push appends bytes in flight, joining them to the newest segment where they arrive with it.
func (h *half) push(p []byte, now time.Time) {
	at := later(now.Add(h.link.draw()), h.last)
	h.last = at
	h.pending += len(p)
	if len(h.segs) > h.first {
		s := &h.segs[len(h.segs)-1]
		if s.at.Equal(at) || (!s.at.After(now) && !at.After(now)) {
			if cap(s.buf)-len(s.buf) >= len(p) {
				s.buf = append(s.buf, p...)
				return
			}
		}
	}
	buf := h.spare
	if h.spare = nil; cap(buf) < len(p) {
		buf = make([]byte, 0, max(connChunk, len(p)))
	}
	h.segs = append(h.segs, seg{buf: append(buf, p...), at: at})
}

// end closes the stream behind the bytes in flight.
func (h *half) end(with error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended != nil {
		return
	}
	h.ended = with
	h.endAt = time.Now().Add(h.link.draw())
	h.endAt = later(h.endAt, h.last)
	h.changed()
}

// stopReading marks the reader as gone and tells whether unread bytes were thrown away.
func (h *half) stopReading(silent bool) (unread bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	unread = h.first < len(h.segs) && !h.held && !h.segs[h.first].at.After(time.Now())
	h.deaf = !silent // after a silent death nothing answers: the window fills
	if h.deaf && !h.held && h.pending > 0 {
		h.broken = time.Now().Add(h.back.draw())
	}
	h.changed()
	return unread
}

// fail ends both sides at once.
func (h *half) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cutBoth == nil {
		h.cutBoth = err
	}
	h.changed()
}

// follow takes over the state of the link; bytes held back arrive one fresh delay after release.
func (h *half) follow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := h.link.holds()
	if h.held && !held {
		soonest := time.Now().Add(h.link.draw())
		for i := h.first; i < len(h.segs); i++ {
			h.segs[i].at = later(h.segs[i].at, soonest)
		}
		h.endAt, h.last = later(h.endAt, soonest), later(h.last, soonest)
	}
	h.held = held
	h.changed()
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func newHalf(there, back *link) *half {
	h := &half{link: there, back: back}
	there.mu.Lock()
	there.halves[h] = true
	there.mu.Unlock()
	h.follow()
	return h
}

func (h *half) leave() {
	h.link.mu.Lock()
	defer h.link.mu.Unlock()
	delete(h.link.halves, h)
}

func newMemConn(n *memNet, node string, local, remote memAddr, in, out *half) *memConn {
	return &memConn{
		net: n, node: node, local: local, remote: remote, in: in, out: out,
		closed: make(chan struct{}), deadlineWake: make(chan struct{}),
		reading: make(chan struct{}, 1), writing: make(chan struct{}, 1),
	}
}

// memConn is one end of a connection.
type memConn struct {
	net              *memNet
	node             string // that holds this end
	local, remote    memAddr
	in, out          *half
	peer             *memConn
	dialled          bool          // this end asked for the connection
	reading, writing chan struct{} // tokens: one reader, one writer at a time
	closed           chan struct{} // closed when this end is closed or its process died

	mu              sync.Mutex
	isClosed        bool
	readBy, writeBy time.Time     // deadlines, zero = none
	deadlineWake    chan struct{} // closed and replaced when a deadline changes
}

var _ net.Conn = (*memConn)(nil)

func (c *memConn) LocalAddr() net.Addr  { return c.local }
func (c *memConn) RemoteAddr() net.Addr { return c.remote }

func (c *memConn) Read(p []byte) (int, error) {
	if err := c.takeTurn(c.reading, true); err != nil {
		return 0, c.opError("read", err)
	}
	defer func() { <-c.reading }()
	for {
		if err := c.ready(true); err != nil {
			return 0, c.opError("read", err)
		}
		n, wake, at, err := c.in.read(p)
		if err != nil {
			return 0, c.opError("read", err)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
		c.wait(wake, at, true)
	}
}

func (c *memConn) Write(p []byte) (int, error) {
	if err := c.takeTurn(c.writing, false); err != nil {
		return 0, c.opError("write", err)
	}
	defer func() { <-c.writing }()
	done := 0
	for {
		if err := c.ready(false); err != nil {
			return done, c.opError("write", err)
		}
		if done == len(p) {
			return done, nil
		}
		n, wake, err := c.out.write(p[done:])
		if err != nil {
			return done, c.opError("write", err)
		}
		if done += n; n == 0 {
			c.wait(wake, time.Time{}, false)
		} else if done == len(p) {
			return done, nil
		}
	}
}

// takeTurn queues behind another caller of the same direction, within the deadline.
func (c *memConn) takeTurn(turn chan struct{}, reading bool) error {
	for {
		if err := c.ready(reading); err != nil {
			return err
		}
		by, wake := c.deadline(reading)
		timer, stop := timerAt(by)
		select {
		case turn <- struct{}{}:
			stop()
			return nil
		case <-c.closed:
		case <-wake:
		case <-timer:
		}
		stop()
	}
}

func (c *memConn) ready(reading bool) error {
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
	}
	if by, _ := c.deadline(reading); !by.IsZero() && !by.After(time.Now()) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (c *memConn) deadline(reading bool) (by time.Time, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if reading {
		return c.readBy, c.deadlineWake
	}
	return c.writeBy, c.deadlineWake
}

// wait returns when something may have changed: wake, the time at, the deadline or a close.
func (c *memConn) wait(wake <-chan struct{}, at time.Time, reading bool) {
	by, changed := c.deadline(reading)
	if at.IsZero() || (!by.IsZero() && by.Before(at)) {
		at = by
	}
	timer, stop := timerAt(at)
	defer stop()
	select {
	case <-wake:
	case <-changed:
	case <-c.closed:
	case <-timer:
	}
}

// timerAt is a timer for a moment; the zero moment never comes.
func timerAt(at time.Time) (<-chan time.Time, func()) {
	if at.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(time.Until(at))
	return t.C, func() { t.Stop() }
}

func (c *memConn) SetDeadline(t time.Time) error      { return c.setDeadline(t, true, true) }
func (c *memConn) SetReadDeadline(t time.Time) error  { return c.setDeadline(t, true, false) }
func (c *memConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(t, false, true) }

func (c *memConn) setDeadline(t time.Time, read, write bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed {
		return c.opError("set", net.ErrClosed)
	}
	if read {
		c.readBy = t
	}
	if write {
		c.writeBy = t
	}
	close(c.deadlineWake)
	c.deadlineWake = make(chan struct{})
	return nil
}

// Close sends the end of the stream behind what was written. As in TCP, closing with unread bytes
// resets the connection instead.
func (c *memConn) Close() error {
	if !c.shut() {
		return c.opError("close", net.ErrClosed)
	}
	if c.in.stopReading(false) {
		c.out.end(syscall.ECONNRESET)
	} else {
		c.out.end(io.EOF)
	}
	c.net.forget(c)
	return nil
}

// shut makes every call on this end fail from now on; false when it was so already.
func (c *memConn) shut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isClosed {
		return false
	}
	c.isClosed = true
	close(c.closed)
	return true
}

// die ends this end with its process: the far end is reset by way of the link, or hears nothing.
func (c *memConn) die(silent bool) {
	if !c.shut() {
		return
	}
	c.in.stopReading(silent)
	if !silent {
		c.out.end(syscall.ECONNRESET)
	}
}

func (c *memConn) opError(op string, err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.local, Addr: c.remote, Err: err}
}

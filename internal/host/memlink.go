// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// link is the directed path between two nodes.
type link struct {
	mu           sync.Mutex
	rng          *rand.Rand
	base, jitter time.Duration
	cut, stalled bool
	halves       map[*half]bool
}

// draw is the delay of one packet.
func (l *link) draw() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.jitter <= 0 {
		return l.base
	}
	return l.base + time.Duration(l.rng.Int64N(int64(l.jitter)))
}

func (l *link) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

func (l *link) holds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut || l.stalled
}

func (l *link) apply(change func(*link)) {
	l.mu.Lock()
	change(l)
	halves := make([]*half, 0, len(l.halves))
	for h := range l.halves {
		halves = append(halves, h)
	}
	l.mu.Unlock()
	for _, h := range halves {
		h.follow()
	}
}

// memListener queues connections for Accept.
type memListener struct {
	net  *memNet
	node string
	addr memAddr
	done chan struct{} // closed by Close

	mu      sync.Mutex
	queue   []*memConn
	closed  bool
	changed chan struct{} // closed and replaced when the queue changes
}

var _ net.Listener = (*memListener)(nil)

func (l *memListener) Addr() net.Addr { return l.addr }

func (l *memListener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
		}
		if len(l.queue) > 0 {
			c := l.queue[0]
			l.queue = l.queue[1:]
			l.announce()
			l.mu.Unlock()
			return c, nil
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-l.done:
		}
	}
}

// announce needs mu.
func (l *memListener) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// enqueue hands a connection to Accept, waiting while the backlog is full.
func (l *memListener) enqueue(ctx context.Context, dead <-chan struct{}, c *memConn) error {
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return syscall.ECONNREFUSED
		}
		if len(l.queue) < acceptBacklog {
			l.queue = append(l.queue, c)
			l.announce()
			l.mu.Unlock()
			return nil
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-l.done:
		case <-dead:
			return ErrCrashed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close resets the connections that nobody accepted.
func (l *memListener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return &net.OpError{Op: "close", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
	l.closed = true
	queue := l.queue
	l.queue = nil
	close(l.done)
	l.mu.Unlock()

	l.net.mu.Lock()
	if l.net.listeners[l.addr] == l {
		delete(l.net.listeners, l.addr)
	}
	l.net.mu.Unlock()
	for _, c := range queue {
		c.die(false)
		l.net.forget(c)
	}
	return nil
}

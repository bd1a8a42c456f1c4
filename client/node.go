// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kvorum/kvorum/client/wire"
)

const (
	// firstPause is how long a node is left alone after a failing dial; it doubles up to lastPause.
	firstPause = 20 * time.Millisecond
	lastPause  = 2 * time.Second
	// patience is how long a call waits for a connection to one node before it tries another; the
	// dial goes on meanwhile.
	patience = 500 * time.Millisecond
)

// node is the connections to one address.
type node struct {
	c    *Client
	addr string

	mu struct {
		sync.Mutex
		muxes []*mux
		next  int // turns over muxes
		// dialing is closed when the dial under way ended; nil when none is.
		dialing chan struct{}
		// pause is the wait after the next failure; resume is when the node may be dialled again.
		pause  time.Duration
		resume time.Time
		// err is why the last dial failed; nil when it did not.
		err error
		// idle are exclusive connections, the last used last; exclusive counts all that exist.
		idle      []*Conn
		exclusive int
	}
}

// failing tells whether the last dial failed and the pause after it is not over.
func (n *node) failing(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.err != nil && now.Before(n.mu.resume)
}

// ready returns a connection that is there, nil when none is.
func (n *node) ready() *mux {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.readyLocked()
}

func (n *node) readyLocked() *mux {
	for i := 0; i < len(n.mu.muxes); {
		if n.mu.muxes[i].usable() {
			i++
			continue
		}
		if err := n.mu.muxes[i].failure(); errors.Is(err, ErrTimeout) {
			n.noteLocked(err) // silent: a new connection would be so too
		}
		n.mu.muxes = append(n.mu.muxes[:i], n.mu.muxes[i+1:]...)
	}
	if len(n.mu.muxes) == 0 {
		return nil
	}
	if len(n.mu.muxes) < n.c.o.conns {
		n.dialLocked(time.Now())
	}
	n.mu.next++
	return n.mu.muxes[n.mu.next%len(n.mu.muxes)]
}

// shared returns a connection, waiting for one when there is none, as long as patience allows (0: as
// long as it takes).
func (n *node) shared(ctx context.Context, patience time.Duration) (*mux, error) {
	var over <-chan time.Time
	for {
		n.mu.Lock()
		if m := n.readyLocked(); m != nil {
			n.mu.Unlock()
			return m, nil
		}
		if !n.dialLocked(time.Now()) {
			err := n.mu.err
			n.mu.Unlock()
			return nil, err
		}
		dialing := n.mu.dialing
		n.mu.Unlock()
		if over == nil && patience > 0 {
			t := time.NewTimer(patience)
			defer t.Stop()
			over = t.C
		}
		select {
		case <-dialing:
		case <-over:
			return nil, fmt.Errorf("client: dial %s: %w", n.addr, ErrTimeout)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// dialLocked makes sure that a dial is under way; false when the node is left alone for now, for the
// reason in err.
func (n *node) dialLocked(now time.Time) bool {
	if n.mu.dialing != nil {
		return true
	}
	if n.mu.err != nil && now.Before(n.mu.resume) {
		return false
	}
	dialing := make(chan struct{})
	n.mu.dialing = dialing
	if !n.c.spawn(func() { n.dial(dialing) }) {
		n.mu.dialing, n.mu.err, n.mu.resume = nil, ErrClosed, now.Add(lastPause)
		return false
	}
	return true
}

func (n *node) dial(dialing chan struct{}) {
	l, err := connect(n.c.ctx, n.c.o, n.addr, wire.FeatureConcurrent|wire.FeaturePush)
	n.mu.Lock()
	n.mu.dialing = nil
	n.noteLocked(err)
	if err == nil {
		n.mu.muxes = append(n.mu.muxes, newMux(l, n.c.o.attemptTimeout, n.c.news))
	}
	n.mu.Unlock()
	close(dialing)
}

// noteLocked notes the end of a dial.
func (n *node) noteLocked(err error) {
	n.mu.err = err
	if err == nil {
		n.mu.pause = 0
		return
	}
	n.mu.pause = min(max(2*n.mu.pause, firstPause), lastPause)
	n.mu.resume = time.Now().Add(n.mu.pause/2 + n.c.jitter(n.mu.pause/2))
}

// alone returns a connection for one caller, nil when there are as many as allowed or none can be
// made now. It must be given back.
func (n *node) alone(ctx context.Context) *Conn {
	n.mu.Lock()
	if k := len(n.mu.idle); k > 0 {
		conn := n.mu.idle[k-1]
		n.mu.idle = n.mu.idle[:k-1]
		n.mu.Unlock()
		return conn
	}
	if n.mu.exclusive >= n.c.o.exclusive || n.mu.err != nil && time.Now().Before(n.mu.resume) || n.c.ctx.Err() != nil {
		n.mu.Unlock()
		return nil
	}
	n.mu.exclusive++
	n.mu.Unlock()
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := dialConn(short, n.c.o, n.addr, n.c.o.attemptTimeout)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		n.mu.exclusive--
		if ctx.Err() == nil {
			n.noteLocked(err)
		}
		return nil
	}
	n.noteLocked(nil)
	return conn
}

// giveBack ends the use of an exclusive connection.
func (n *node) giveBack(conn *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if conn.broken != nil || n.c.ctx.Err() != nil {
		if errors.Is(conn.broken, ErrTimeout) {
			n.noteLocked(conn.broken)
		}
		_ = conn.Close()
		n.mu.exclusive--
		return
	}
	n.mu.idle = append(n.mu.idle, conn)
}

// close ends all connections. No dial is under way any more.
func (n *node) close() {
	n.mu.Lock()
	muxes, idle := n.mu.muxes, n.mu.idle
	n.mu.muxes, n.mu.idle = nil, nil
	n.mu.Unlock()
	for _, m := range muxes {
		m.close()
	}
	for _, conn := range idle {
		_ = conn.Close()
	}
}

// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// peer is the dialing side towards one node and class: at most one connection, at most one dial
// at a time, and after a failure a pause during which callers fail at once.
type peer struct {
	l   *Link
	key peerKey
	cur atomic.Pointer[clientConn]

	mu struct {
		sync.Mutex
		// dialing is closed when the dial under way ends; nil when there is none.
		dialing chan struct{}
		waiters int
		// failures counts failed dials in a row.
		failures int
		retryAt  time.Time
		lastErr  error
	}
}

// peer returns the dialing side towards a node the directory knows.
func (l *Link) peer(node string, class Class) (*peer, error) {
	key := peerKey{node, class}
	l.mu.RLock()
	p, closed := l.mu.peers[key], l.mu.closed
	l.mu.RUnlock()
	if closed {
		return nil, ErrClosed
	}
	if p != nil {
		return p, nil
	}
	if !class.valid() {
		return nil, ErrNoHandler
	}
	if _, ok := l.address(node); !ok {
		return nil, ErrUnknownNode
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p = l.mu.peers[key]; p == nil {
		p = &peer{l: l, key: key}
		l.mu.peers[key] = p
	}
	return p, nil
}

func (l *Link) address(node string) (string, bool) {
	f := l.directory.Load()
	if f == nil || *f == nil {
		return "", false
	}
	return (*f)(node)
}

// conn returns the live connection, waiting for a dial if one is due or under way.
func (p *peer) conn(ctx context.Context) (*clientConn, error) {
	if c := p.cur.Load(); c != nil {
		return c, nil
	}
	c, done, patience, err := p.join()
	if c != nil || err != nil {
		return c, err
	}
	defer p.leave()
	var tired <-chan time.Time
	if patience > 0 {
		t := time.NewTimer(patience)
		defer t.Stop()
		tired = t.C
	}
	select {
	case <-done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-tired:
		return nil, fmt.Errorf("%w: dial under way", ErrUnreachable)
	}
	if c := p.cur.Load(); c != nil {
		return c, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return nil, p.unreachableLocked()
}

// join makes sure a dial is under way and counts the caller among those who wait for it, unless a
// connection has turned up. patience is zero when the caller may wait for the end of the dial.
func (p *peer) join() (c *clientConn, done <-chan struct{}, patience time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.cur.Load(); c != nil {
		return c, nil, 0, nil
	}
	if p.mu.dialing == nil {
		if now().Before(p.mu.retryAt) {
			return nil, nil, 0, p.unreachableLocked()
		}
		p.mu.dialing = make(chan struct{})
		if !p.l.spawn(p.redial) {
			p.mu.dialing = nil
			return nil, nil, 0, ErrClosed
		}
	}
	if p.mu.waiters >= maxDialWaiters {
		return nil, nil, 0, ErrBusy
	}
	p.mu.waiters++
	if p.mu.failures > 0 {
		patience = dialPatience
	}
	return nil, p.mu.dialing, patience, nil
}

func (p *peer) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.waiters--
}

func (p *peer) unreachableLocked() error {
	if p.mu.lastErr == nil {
		return ErrUnreachable
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, p.mu.lastErr)
}

// redial makes one attempt.
func (p *peer) redial() {
	addr, ok := p.l.address(p.key.node)
	var c *clientConn
	err := ErrUnknownNode
	if ok {
		ctx, cancel := context.WithTimeout(p.l.ctx, handshakeTimeout)
		c, err = p.l.dial(ctx, addr, p.key)
		cancel()
	}
	if err == nil {
		began := now()
		c.ended = func(c *clientConn) { p.lost(c, began) }
		// Published before it is served: its end must find it in place.
		p.cur.Store(c)
		if !p.l.spawn(c.serve) {
			p.cur.Store(nil)
			c.w.fail(ErrClosed)
			p.l.unregister(c.w)
			err = ErrClosed
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.mu.failures, p.mu.lastErr, p.mu.retryAt = 0, nil, time.Time{}
	} else {
		p.failedLocked(err)
	}
	close(p.mu.dialing)
	p.mu.dialing = nil
}

func (p *peer) failedLocked(err error) {
	pause := min(backoffBase<<min(p.mu.failures, 10), backoffMax)
	p.mu.failures++
	p.mu.lastErr = err
	p.mu.retryAt = now().Add(p.l.jitter(pause))
}

// lost notes the end of a connection. One that ended soon after it began, or because the peer went
// silent, counts as a failed dial.
func (p *peer) lost(c *clientConn, began time.Time) {
	cause := c.w.cause()
	if !p.cur.CompareAndSwap(c, nil) ||
		time.Since(began) > backoffMax && !errors.Is(cause, ErrUnresponsive) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failedLocked(cause)
}

// alive is told that the node behind this peer was heard from: the next dial need not wait.
func (p *peer) alive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.retryAt = time.Time{}
}

// jitter returns a random time in [d/2, d].
func (l *Link) jitter(d time.Duration) time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(l.cfg.Host.Rand, b[:]); err != nil {
		return d
	}
	return d/2 + time.Duration(binary.LittleEndian.Uint64(b[:])%uint64(d/2+1))
}

// dial connects to addr and shakes hands; key.node is "" when any node will do. The connection is
// registered but not yet served.
func (l *Link) dial(ctx context.Context, addr string, key peerKey) (*clientConn, error) {
	l.stats.dials.Add(1)
	c, err := l.tryDial(ctx, addr, key)
	if err != nil {
		l.stats.dialFailures.Add(1)
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	return c, nil
}

func (l *Link) tryDial(ctx context.Context, addr string, key peerKey) (*clientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	nc, err := l.cfg.Host.Net.Dial(ctx, addr)
	if err != nil {
		return nil, because(ctx, err)
	}
	// The handshake ends with ctx, or with the link.
	unlink := context.AfterFunc(ctx, func() { _ = nc.Close() })
	unclose := closeWith(l, nc)
	info := connInfo{peerKey: key, identity: l.Cluster()}
	got, err := greet(nc, &hello{
		MinVersion: version, MaxVersion: version, Features: knownFeatures, Class: key.class,
		Epoch: info.identity.Epoch, Cluster: info.identity.Cluster,
		Sender: l.cfg.Node, Receiver: key.node,
	})
	unclose()
	if !unlink() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		info.node = got.Sender
		w := newWire(nc, &l.stats)
		if err = l.register(w, info); err == nil {
			return newClientConn(l, w, info), nil
		}
	}
	_ = nc.Close()
	return nil, because(ctx, err)
}

// because adds the end of ctx, which usually is the true cause, to err.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// closeWith closes nc when the link closes, until the returned func is called.
func closeWith(l *Link, nc net.Conn) (stop func() bool) {
	return context.AfterFunc(l.ctx, func() { _ = nc.Close() })
}

// greet sends h and checks the answer.
func greet(nc net.Conn, h *hello) (welcome, error) {
	if _, err := nc.Write(appendHello(nil, h)); err != nil {
		return welcome{}, err
	}
	body, err := readGreeting(nc, welcomeMagic)
	if err != nil {
		return welcome{}, err
	}
	w, err := parseWelcome(body)
	if err != nil {
		return welcome{}, err
	}
	return w, judgeWelcome(h, &w)
}

// readGreeting reads the body of a greeting. It reads not one byte more.
func readGreeting(r io.Reader, magic string) ([]byte, error) {
	var head [greetingHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, unexpected(err)
	}
	n, err := parseGreetingHeader(head[:], magic)
	if err != nil {
		return nil, err
	}
	body := make([]byte, n)
	_, err = io.ReadFull(r, body)
	return body, unexpected(err)
}

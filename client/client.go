// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/client/wire"
)

// Client is a shared way into a cluster.
type Client struct {
	o      *options
	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc
	tokens tokens
	view   atomic.Pointer[view]
	// wanted asks the refresher for a newer view.
	wanted chan struct{}
	calls  sync.Pool // of *call with a done channel

	mu struct {
		sync.Mutex
		closed bool
		nodes  map[string]*node // by address; never shrinks but with Close
		seeds  []*node
	}
	wg sync.WaitGroup
}

// Dial connects to a cluster through any of the native addresses; more addresses make it more
// certain. It returns when one node answered. The other nodes are learnt from it.
func Dial(ctx context.Context, addrs []string, opts ...Option) (*Client, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, errors.New("client: dial: no address")
	}
	c := &Client{o: o, wanted: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.mu.nodes = make(map[string]*node)
	if _, err := rand.Read(c.tokens.base[:]); err != nil {
		return nil, fmt.Errorf("client: dial: %w", err)
	}
	for _, a := range addrs {
		c.mu.seeds = append(c.mu.seeds, c.nodeAt(a))
	}
	c.view.Store(&view{nodes: c.mu.seeds})
	if err := c.refresh(ctx); err != nil {
		_ = c.Close()
		return nil, &DeliveryError{NotApplied: true, Attempts: 1, Err: err}
	}
	c.spawn(c.keepView)
	return c, nil
}

// Close ends every connection and goroutine of the client; calls under way fail.
func (c *Client) Close() error {
	c.mu.Lock()
	closed := c.mu.closed
	c.mu.closed = true
	c.mu.Unlock()
	if closed {
		return nil
	}
	c.cancel(ErrClosed)
	c.mu.Lock()
	nodes := make([]*node, 0, len(c.mu.nodes))
	for _, n := range c.mu.nodes {
		nodes = append(nodes, n)
	}
	c.mu.Unlock()
	for _, n := range nodes {
		n.close()
	}
	c.wg.Wait()
	for _, n := range nodes { // a dial may have ended meanwhile
		n.close()
	}
	return nil
}

// spawn runs f on a goroutine that Close joins; false when the client is closed.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

// nodeAt returns the node with that address.
func (c *Client) nodeAt(addr string) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.mu.nodes[addr]
	if n == nil {
		n = &node{c: c, addr: addr}
		c.mu.nodes[addr] = n
	}
	return n
}

// jitter returns a time below d.
func (c *Client) jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return mrand.N(d)
}

// news is called by readers.
func (c *Client) news(wire.Push) { c.wantView() }

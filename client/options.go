// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/kvorum/kvorum/client/wire"
)

// Defaults.
const (
	// DefaultConns is the number of shared connections to each node.
	DefaultConns = 2
	// DefaultTimeout bounds a call whose context has no deadline.
	DefaultTimeout = 10 * time.Second
	// DefaultAttemptTimeout bounds one try of a call.
	DefaultAttemptTimeout = 2 * time.Second
	// DefaultDialTimeout bounds connecting to one node, HELLO included.
	DefaultDialTimeout = 3 * time.Second
	// MaxCredential bounds user and secret, in bytes.
	MaxCredential = 1 << 10
)

// Option changes how a Client or Conn works.
type Option func(*options)

type options struct {
	conns          int
	exclusive      int
	timeout        time.Duration
	attemptTimeout time.Duration
	dialTimeout    time.Duration
	maxReply       int
	tokens         bool
	name           string
	method         wire.Method
	user, secret   string
	dial           func(ctx context.Context, addr string) (net.Conn, error)
}

// WithConns sets the number of shared connections to each node, 1 at least.
func WithConns(n int) Option { return func(o *options) { o.conns = n } }

// WithExclusiveConns lets a call that waits for its answer use a connection alone, up to n to each
// node; calls beyond that share. One write and one read serve such a call, without another goroutine:
// the cheapest way for few callers, at the price of a connection each.
func WithExclusiveConns(n int) Option { return func(o *options) { o.exclusive = n } }

// WithTimeout bounds calls whose context has no deadline.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithAttemptTimeout bounds one try of a call; a try without answer counts as unknown.
func WithAttemptTimeout(d time.Duration) Option { return func(o *options) { o.attemptTimeout = d } }

// WithDialTimeout bounds connecting to one node.
func WithDialTimeout(d time.Duration) Option { return func(o *options) { o.dialTimeout = d } }

// WithMaxReply bounds a reply in bytes; a longer one ends the connection.
func WithMaxReply(n int) Option { return func(o *options) { o.maxReply = n } }

// WithoutTokens sends writes without tokens: cheaper for the servers, but a write whose outcome is
// unknown is then not tried again.
func WithoutTokens() Option { return func(o *options) { o.tokens = false } }

// WithName tells the servers what this client is.
func WithName(name string) Option { return func(o *options) { o.name = name } }

// WithPassword proves who the client is by user and password.
func WithPassword(user, password string) Option {
	return func(o *options) { o.method, o.user, o.secret = wire.MethodPassword, user, password }
}

// WithToken proves who the client is by a bearer token.
func WithToken(token string) Option {
	return func(o *options) { o.method, o.user, o.secret = wire.MethodToken, "", token }
}

// WithDialer replaces the way connections are made, for TLS and tests.
func WithDialer(dial func(ctx context.Context, addr string) (net.Conn, error)) Option {
	return func(o *options) { o.dial = dial }
}

func newOptions(list []Option) (*options, error) {
	o := &options{
		conns: DefaultConns, timeout: DefaultTimeout, attemptTimeout: DefaultAttemptTimeout,
		dialTimeout: DefaultDialTimeout, maxReply: wire.MaxReply, tokens: true,
	}
	for _, f := range list {
		f(o)
	}
	if o.dial == nil {
		var d net.Dialer
		o.dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("client: options: "+format, args...)) }
	if o.conns < 1 {
		bad("%d connections to each node, 1 at least", o.conns)
	}
	if o.exclusive < 0 {
		bad("%d exclusive connections", o.exclusive)
	}
	if o.timeout <= 0 || o.attemptTimeout <= 0 || o.dialTimeout <= 0 {
		bad("a timeout is not positive")
	}
	if o.maxReply < 1 || o.maxReply > wire.MaxReply {
		bad("largest reply of %d bytes is not within 1 … %d", o.maxReply, wire.MaxReply)
	}
	if len(o.user) > MaxCredential || len(o.secret) > MaxCredential {
		bad("user or secret is longer than %d bytes", MaxCredential)
	}
	return o, errors.Join(errs...)
}

// SPDX-License-Identifier: Apache-2.0

package tcpd

import (
	"errors"
	"log/slog"
	"time"
)

// Limits and defaults.
const (
	// DefaultMaxConns is how many connections one Server holds.
	DefaultMaxConns = 10_000
	// DefaultStallTimeout is how long a peer may make no progress inside a command or while
	// replies wait for it.
	DefaultStallTimeout = 30 * time.Second
	// DefaultDrainGrace is how long a connection is still read from after Shutdown began.
	DefaultDrainGrace = 250 * time.Millisecond
	// DefaultBudget bounds unread bytes beyond BaseBuffer over all connections.
	DefaultBudget = 256 << 20
	// MinBuffer is the size of an idle connection's read buffer.
	MinBuffer = 4 << 10
	// BaseBuffer is the size that the read buffer of a busy connection grows to without asking
	// the Budget.
	BaseBuffer = 64 << 10
	// KeepBuffer is the largest buffer that a connection keeps for later use.
	KeepBuffer = 64 << 10

	// writeChunk is how much must reach the peer within StallTimeout.
	writeChunk = 256 << 10
	// readChunk is how much of a large command must come from the peer within StallTimeout.
	readChunk = 256 << 10
	// lingerTime and lingerBytes bound how long, after the last reply, a connection waits for the
	// peer to close, so that unread input does not destroy replies on their way.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 1 << 20
	// refuseTime bounds the write to a connection that is over the limit.
	refuseTime = 100 * time.Millisecond
	// acceptBackoff is the first wait after a failing Accept; it doubles up to acceptBackoffMax.
	acceptBackoff    = 5 * time.Millisecond
	acceptBackoffMax = time.Second
	// shrinkAfter is how many reads in a row must use less than a quarter of the buffer before
	// it shrinks.
	shrinkAfter = 64
)

// Errors.
var (
	// ErrClosed is returned by Serve after Shutdown or Close.
	ErrClosed = errors.New("tcpd: server closed")
	// ErrEnd is returned by a Session to end the connection after an orderly last reply.
	ErrEnd = errors.New("tcpd: session ended")
	// ErrStalled ends a connection whose peer made no progress for StallTimeout.
	ErrStalled = errors.New("tcpd: peer stalled")
	// ErrIdle ends a connection that was silent for IdleTimeout.
	ErrIdle = errors.New("tcpd: idle")
	// ErrCommandTooLong ends a connection whose session asks for more than MaxCommand.
	ErrCommandTooLong = errors.New("tcpd: command too long")
)

// Config says how a Server treats its connections. Open is required; zero fields take the defaults.
type Config struct {
	// Protocol names the edge in logs.
	Protocol string
	// Open makes the Session of a new connection, on its goroutine. It must be quick.
	Open func(c *Conn) Session
	// MaxConns is how many connections may be open; one more is sent Refusal and closed.
	MaxConns int
	// MaxCommand is the most bytes that a Session may ask for at once; 0 means BaseBuffer.
	MaxCommand int
	// Refusal is sent to a connection over MaxConns; empty sends nothing.
	Refusal []byte
	// IdleTimeout ends a connection that sends nothing for so long; 0 never does.
	IdleTimeout time.Duration
	// StallTimeout ends a connection that makes no progress inside a command, or while replies
	// wait for it.
	StallTimeout time.Duration
	// DrainGrace is how long Shutdown goes on reading from each connection.
	DrainGrace time.Duration
	// Budget bounds unread bytes beyond BaseBuffer. Several servers may share one; nil makes one
	// of DefaultBudget.
	Budget *Budget
	// Logger receives news of the listener; nil discards them.
	Logger *slog.Logger
}

// Validate reports every fault of the configuration, joined.
func (c *Config) Validate() error {
	var errs []error
	if c.Open == nil {
		errs = append(errs, errors.New("tcpd: config: Open is missing"))
	}
	if c.MaxConns < 0 {
		errs = append(errs, errors.New("tcpd: config: MaxConns is negative"))
	}
	if c.MaxCommand < 0 {
		errs = append(errs, errors.New("tcpd: config: MaxCommand is negative"))
	}
	if c.IdleTimeout < 0 || c.StallTimeout < 0 || c.DrainGrace < 0 {
		errs = append(errs, errors.New("tcpd: config: a duration is negative"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.MaxConns == 0 {
		c.MaxConns = DefaultMaxConns
	}
	if c.MaxCommand == 0 {
		c.MaxCommand = BaseBuffer
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = DefaultStallTimeout
	}
	if c.DrainGrace == 0 {
		c.DrainGrace = DefaultDrainGrace
	}
	if c.Budget == nil {
		c.Budget = NewBudget(DefaultBudget)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

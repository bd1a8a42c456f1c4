// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/kvorum/kvorum/client/wire"
)

// Conn is one connection to one node, for one goroutine at a time: no retries, no tokens, no other
// goroutine. A call is one write and one read. Answers come in the order of the requests.
type Conn struct {
	l       *link
	timeout time.Duration
	out     []byte
	// lastID is the newest request's, nextID the one that the next answer must carry.
	lastID, nextID uint64
	// until is the deadline that is set on the connection; zero when none is.
	until time.Time
	// interrupt makes all waiting end at once.
	interrupt func()
	broken    error
}

// DialConn connects to a node's native address. Of the options, those about a Client have no effect;
// WithTimeout bounds each call.
func DialConn(ctx context.Context, addr string, opts ...Option) (*Conn, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	return dialConn(ctx, o, addr, o.timeout)
}

func dialConn(ctx context.Context, o *options, addr string, timeout time.Duration) (*Conn, error) {
	l, err := connect(ctx, o, addr, 0)
	if err != nil {
		return nil, err
	}
	c := &Conn{l: l, timeout: timeout, nextID: 1}
	c.interrupt = func() { _ = l.nc.SetDeadline(time.Unix(1, 0)) }
	return c, nil
}

// Close ends the connection.
func (c *Conn) Close() error {
	if c.broken == nil {
		c.broken = ErrClosed
	}
	return c.l.nc.Close()
}

// NodeID is the id of the node that the connection leads to.
func (c *Conn) NodeID() string { return c.l.welcome.NodeID }

// Do sends a command and waits for its answer. The value is valid until the next call. An outcome
// that is an error comes as a *CommandError, a failure to deliver as a *DeliveryError; after one
// without the server's word (Kind 0) the Conn is of no more use.
func (c *Conn) Do(ctx context.Context, cmd Cmd) (Value, error) {
	q := wire.Request{Op: cmd.op, Args: cmd.args}
	if cmd.stale {
		q.Consistency = wire.Stale
	}
	return settled(c.do(ctx, &q, time.Now(), c.timeout))
}

// Send puts a command behind those not yet flushed.
func (c *Conn) Send(cmd Cmd) error {
	q := wire.Request{Op: cmd.op, Args: cmd.args}
	if cmd.stale {
		q.Consistency = wire.Stale
	}
	return c.append(&q)
}

// Flush sends what Send gathered.
func (c *Conn) Flush(ctx context.Context) error {
	stop, err := c.begin(ctx, time.Now(), c.timeout)
	if err != nil {
		return err
	}
	err = c.flush()
	return c.end(ctx, stop, err)
}

// Receive waits for the next answer in the order of Send; see Do for what it returns.
func (c *Conn) Receive(ctx context.Context) (Value, error) {
	if c.nextID > c.lastID {
		return Value{}, fmt.Errorf("%w: no command awaits an answer", ErrProtocol)
	}
	a := answer{sent: true}
	if c.broken != nil {
		a.err = c.broken
		return settled(a)
	}
	there, err := c.take(&a)
	if err == nil && there {
		return settled(a)
	}
	stop := func() bool { return true }
	if err == nil {
		if stop, err = c.begin(ctx, time.Now(), c.timeout); err != nil {
			a.err = err
			return settled(a)
		}
		err = c.receive(&a)
	}
	a.err = c.end(ctx, stop, err)
	return settled(a)
}

// answer is what became of one try.
type answer struct {
	value  Value
	leader string
	// fail is the server's word that there is no value.
	fail *wire.Failure
	// err says that the server said nothing; sent tells whether it may have got the request.
	err  error
	sent bool
}

// settled words an answer for callers of a Conn.
func settled(a answer) (Value, error) {
	switch {
	case a.err != nil:
		return Value{}, &DeliveryError{NotApplied: !a.sent, Attempts: 1, Err: a.err}
	case a.fail != nil:
		return Value{}, &DeliveryError{Kind: a.fail.Kind, NotApplied: a.fail.Applied == wire.AppliedNo, Attempts: 1, Err: &failure{*a.fail}}
	case a.value.Kind == wire.KindError && a.value.Code == wire.CodeTokenExpired:
		return Value{}, &DeliveryError{Attempts: 1, Err: &CommandError{Code: a.value.Code, Text: string(a.value.Str)}}
	case a.value.Kind == wire.KindError:
		return a.value, &CommandError{Code: a.value.Code, Text: string(a.value.Str)}
	default:
		return a.value, nil
	}
}

// do is Do before its answer is worded. Commands sent by Send must be answered before.
func (c *Conn) do(ctx context.Context, q *wire.Request, now time.Time, left time.Duration) (a answer) {
	if c.broken == nil && c.nextID <= c.lastID {
		a.err = fmt.Errorf("%w: commands await answers", ErrProtocol)
		return a
	}
	if a.err = c.append(q); a.err != nil {
		return a
	}
	stop, err := c.begin(ctx, now, left)
	if err != nil {
		c.broken, a.err = err, err // the request is in out
		return a
	}
	a.sent = true
	err = c.flush()
	if err == nil {
		err = c.receive(&a)
	}
	a.err = c.end(ctx, stop, err)
	return a
}

func (c *Conn) append(q *wire.Request) error {
	if c.broken != nil {
		return c.broken
	}
	if err := fits(q, &c.l.welcome); err != nil {
		return err
	}
	c.lastID++
	c.out = wire.AppendRequest(c.out, c.lastID, q)
	return nil
}

// fits tells whether the server takes a request of this size.
func fits(q *wire.Request, w *wire.Welcome) error {
	if wire.RequestSize(q)-4 > int(w.MaxFrame) || len(q.Args) > wire.MaxArgs {
		return fmt.Errorf("%w: the server takes requests of %d bytes", ErrTooBig, w.MaxFrame)
	}
	return nil
}

// begin arms the deadline and the context. Deadlines are moved only when a quarter of the time is
// gone, so that most calls need none of it.
func (c *Conn) begin(ctx context.Context, now time.Time, timeout time.Duration) (stop func() bool, err error) {
	if c.broken != nil {
		return nil, c.broken
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	until := now.Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	} else if left := c.until.Sub(now); left > timeout-timeout/4 && left <= timeout {
		until = c.until
	}
	if until != c.until {
		if err := c.l.nc.SetDeadline(until); err != nil {
			return nil, err
		}
		c.until = until
	}
	if ctx.Done() == nil {
		return nil, nil
	}
	return context.AfterFunc(ctx, c.interrupt), nil
}

// end disarms the context. err ends the connection: where the stream stands is unknown then.
func (c *Conn) end(ctx context.Context, stop func() bool, err error) error {
	cut := stop != nil && !stop()
	if err == nil && !cut {
		return nil
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrTimeout
		if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
			err = context.DeadlineExceeded // the socket's timer was faster than the context's
		}
	}
	if c.broken = err; cut && err == nil {
		c.broken = context.Cause(ctx)
	}
	_ = c.l.nc.Close()
	return err
}

func (c *Conn) flush() error {
	_, err := c.l.nc.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > keepBuffer {
		c.out = nil
	}
	return err
}

// receive reads the next answer.
func (c *Conn) receive(a *answer) error {
	for {
		if ok, err := c.take(a); err != nil || ok {
			return err
		}
		if err := c.l.fill(); err != nil {
			return fmt.Errorf("%w: %w", ErrConnLost, err)
		}
	}
}

// take parses the next answer when it has arrived already.
func (c *Conn) take(a *answer) (ok bool, err error) {
	f, ok, err := c.l.next()
	if err != nil || !ok {
		return false, err
	}
	if f.ID != c.nextID {
		return false, unasked(f)
	}
	c.nextID++
	return true, a.parse(f)
}

// unasked words a frame that answers no request: the server's last word on a connection, or a fault.
func unasked(f wire.Frame) error {
	if f.ID == 0 && f.Type == wire.FrameFailure {
		if fail, err := wire.ParseFailure(f.Body); err == nil {
			return fmt.Errorf("%w: %s", ErrProtocol, fail.Text)
		}
	}
	return fmt.Errorf("%w: an answer to no request", ErrProtocol)
}

// parse reads an answer; the value aliases the frame.
func (a *answer) parse(f wire.Frame) error {
	switch f.Type {
	case wire.FrameResult:
		v, leader, err := wire.ParseResult(f.Body)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		a.value, a.leader = v, leader
		return nil
	case wire.FrameFailure:
		fail, err := wire.ParseFailure(f.Body)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		a.fail, a.leader = &fail, fail.Leader
		return nil
	case wire.FrameRequest, wire.FrameTopology, wire.FramePing, wire.FrameView, wire.FramePush, wire.FramePong:
	}
	return fmt.Errorf("%w: frame of type %#x", ErrProtocol, uint8(f.Type))
}

// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"time"
)

// Future is an answer that is still to come. Any goroutine may wait for it, any number of times.
type Future struct {
	done  chan struct{}
	value Value
	err   error

	// What follows belongs to the call until done is closed.
	c   *Client
	ctx context.Context
	r   request
	k   call
	v   *view
	n   *node
	// over is called once, before done is closed; nil for none.
	over func()
}

// Go sends a command and returns at once, unless as many are in flight as the server takes. The call
// is tried again as Do would; ctx ends its tries, and one that is under way when ctx ends is answered
// or given up within the attempt timeout. Calls run in any order.
func (c *Client) Go(ctx context.Context, cmd Cmd) *Future {
	f := c.newFuture(ctx, cmd, false)
	if err := c.over(ctx, &f.r); err != nil {
		f.resolve(Value{}, err)
		return f
	}
	f.v = c.view.Load()
	f.n = f.v.choose(&f.r, f.r.now)
	m := f.n.ready()
	if m == nil {
		f.later(0)
		return f
	}
	f.issue(m)
	return f
}

func (c *Client) newFuture(ctx context.Context, cmd Cmd, ordered bool) *Future {
	f := &Future{done: make(chan struct{}), c: c, ctx: ctx}
	f.r.noRetry = ordered
	c.prepare(ctx, &f.r, cmd)
	f.r.q.Ordered = ordered
	return f
}

func (f *Future) issue(m *mux) {
	left := f.c.budget(&f.r)
	f.k.notify = f.arrived
	if _, err := m.issue(f.ctx, &f.k, &f.r.q, left); err != nil {
		f.k.answer = answer{err: err}
		f.arrived(&f.k)
	}
}

// arrived is called with the answer, by a connection's goroutine.
func (f *Future) arrived(k *call) {
	value, delay, err, done := f.c.judge(&f.r, f.v, f.n, &k.answer)
	if done {
		f.resolve(value, err)
		return
	}
	f.later(delay)
}

// later goes on as Do would, on a goroutine.
func (f *Future) later(delay time.Duration) {
	more := func() {
		if err := f.c.sleep(f.ctx, &f.r, delay); err != nil {
			f.resolve(Value{}, err)
			return
		}
		f.resolve(f.c.run(f.ctx, &f.r))
	}
	if !f.c.spawn(more) {
		f.r.err = ErrClosed
		f.resolve(Value{}, f.r.failed())
	}
}

func (f *Future) resolve(v Value, err error) {
	f.c.release(&f.r)
	f.value, f.err = v, err
	if f.over != nil {
		f.over()
	}
	close(f.done)
}

// Done is closed when the answer is there.
func (f *Future) Done() <-chan struct{} { return f.done }

// Value waits for the answer; it returns what Do would. When ctx ends first the call goes on, and may
// be asked for again; the error is then the context's and says nothing about the command.
func (f *Future) Value(ctx context.Context) (Value, error) {
	select {
	case <-f.done:
		return f.value, f.err
	default:
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return Value{}, context.Cause(ctx)
	}
}

// Bytes is Value for commands that answer bytes; ok is false when there is nothing.
func (f *Future) Bytes(ctx context.Context) (b []byte, ok bool, err error) {
	return asBytes(f.Value(ctx))
}

// Int is Value for commands that answer a number.
func (f *Future) Int(ctx context.Context) (int64, error) { return asInt(f.Value(ctx)) }

// Err is Value for commands whose answer says no more than that they are done.
func (f *Future) Err(ctx context.Context) error {
	_, err := f.Value(ctx)
	return err
}

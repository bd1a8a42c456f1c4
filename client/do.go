// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"math/bits"
	"time"

	"github.com/kvorum/kvorum/client/wire"
)

const (
	// firstDelay is the wait before the second try where the server names none; it doubles up to
	// lastDelay.
	firstDelay = 4 * time.Millisecond
	lastDelay  = 250 * time.Millisecond
	// freeTries is how many tries may follow a new leader without a wait.
	freeTries = 3
	// maxCall bounds a call whatever its context says: servers remember tokens for ten minutes, and
	// no try may come after that.
	maxCall = 5 * time.Minute
)

// request is one call from its beginning to its answer, over any number of tries. It belongs to one
// goroutine at a time.
type request struct {
	cmd     Cmd
	q       wire.Request
	slot    uint16
	slotted bool // all keys are in slot
	// reads: it changes nothing, so that its outcome is never unknown.
	reads bool
	// safe: sending it again applies it once at most.
	safe bool
	// noRetry: one try is all there is.
	noRetry bool
	// now is when the present try began: the clock is read once a try.
	now time.Time
	// end is when the call's time is over; ctxEnd says that it is the context's deadline.
	end      time.Time
	ctxEnd   bool
	attempts int
	// unknown: some try may have been applied, so that only an answer makes the outcome known.
	unknown bool
	// avoid is the node that the last try failed at.
	avoid *node
	kind  wire.Kind // the server's last word
	err   error     // the last cause
}

// Do runs a command and waits for its answer, trying again where that is safe. An outcome that is an
// error comes as a *CommandError together with its Value, a failure to deliver as a *DeliveryError.
func (c *Client) Do(ctx context.Context, cmd Cmd) (Value, error) {
	var r request
	c.prepare(ctx, &r, cmd)
	v, err := c.run(ctx, &r)
	c.release(&r)
	return v, err
}

// prepare finds out where a command belongs and whether it may be sent twice.
func (c *Client) prepare(ctx context.Context, r *request, cmd Cmd) {
	r.cmd, r.q = cmd, wire.Request{Op: cmd.op, Args: cmd.args}
	if cmd.stale {
		r.q.Consistency = wire.Stale
	}
	r.now = time.Now()
	r.end = r.now.Add(c.o.timeout)
	if d, ok := ctx.Deadline(); ok {
		r.end, r.ctxEnd = d, true
	}
	if last := r.now.Add(maxCall); r.end.After(last) {
		r.end, r.ctxEnd = last, false
	}
	row := wire.Lookup(cmd.op)
	if row == nil {
		return
	}
	r.slot, r.slotted = row.KeySlot(cmd.args)
	r.reads = !row.Write
	r.safe = r.reads
	if !r.reads && r.slotted && c.o.tokens && !r.noRetry {
		r.q.Token, r.safe = c.tokens.take(r.slot)
	}
}

// release ends the use of the request's token.
func (c *Client) release(r *request) {
	if !r.q.Token.IsZero() {
		c.tokens.give(r.slot, r.q.Token)
	}
}

// run tries until there is an answer, no further try is safe, or the time is over.
func (c *Client) run(ctx context.Context, r *request) (Value, error) {
	for {
		if err := c.over(ctx, r); err != nil {
			return Value{}, err
		}
		if r.unknown && !r.q.Token.IsZero() {
			r.q.Token.Seq |= wire.TokenAgain
		}
		v := c.view.Load()
		n := v.choose(r, r.now)
		a := c.try(ctx, r, n)
		value, delay, err, done := c.judge(r, v, n, &a)
		if done {
			return value, err
		}
		if err := c.sleep(ctx, r, delay); err != nil {
			return Value{}, err
		}
	}
}

// over returns the error of a call whose time is over.
func (c *Client) over(ctx context.Context, r *request) error {
	if r.attempts > 0 {
		r.now = time.Now()
	}
	switch {
	case ctx.Err() != nil:
		r.err = withCause(context.Cause(ctx), r.err)
	case c.ctx.Err() != nil:
		r.err = ErrClosed
	case !r.now.Before(r.end):
		r.err = withCause(r.timeout(), r.err)
	default:
		return nil
	}
	return r.failed()
}

func (r *request) timeout() error {
	if r.ctxEnd {
		return context.DeadlineExceeded // the context's own timer may be a little late
	}
	return ErrTimeout
}

// withCause keeps why the tries failed beside why they ended.
func withCause(end, last error) error {
	if last == nil || errors.Is(last, end) {
		return end
	}
	return errors.Join(end, last)
}

// failed is the final word on a request without an answer.
func (r *request) failed() error {
	return &DeliveryError{Kind: r.kind, NotApplied: !r.unknown, Attempts: r.attempts, Err: r.err}
}

func (c *Client) sleep(ctx context.Context, r *request, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(min(d, time.Until(r.end)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return c.over(ctx, r)
}

// budget begins a try and returns how long it may take: the attempt timeout where another try may
// follow, else all that is left. The server is told a little less, in steps of an eighth of a power of
// two, so that requests of many callers share their way through it.
func (c *Client) budget(r *request) time.Duration {
	r.attempts++
	left := r.end.Sub(r.now)
	if r.safe && !r.noRetry {
		left = min(left, c.o.attemptTimeout)
	}
	ms := max(1, left.Milliseconds())
	step := int64(1) << max(0, bits.Len64(uint64(ms))-4)
	r.q.Deadline = time.Duration(ms/step*step) * time.Millisecond
	return left
}

// try sends the request to n once and waits for what becomes of it.
func (c *Client) try(ctx context.Context, r *request, n *node) (a answer) {
	left := c.budget(r)
	if c.o.exclusive > 0 {
		if conn := n.alone(ctx); conn != nil {
			a = conn.do(ctx, &r.q, r.now, left)
			own(&a.value)
			n.giveBack(conn)
			return a
		}
	}
	m, err := n.shared(ctx, patience)
	if err != nil {
		a.err = err
		return a
	}
	k := c.newCall()
	id, err := m.issue(ctx, k, &r.q, left)
	if err != nil {
		a.err = err
		return a
	}
	if !c.wait(ctx, m, id, k) {
		return answer{err: context.Cause(ctx), sent: true}
	}
	a = k.answer
	c.recycle(k)
	return a
}

// wait waits for a call's completion; false when ctx ended first and the call was taken back.
func (c *Client) wait(ctx context.Context, m *mux, id uint64, k *call) bool {
	select {
	case <-k.done:
		return true
	case <-ctx.Done():
	}
	if m.abandon(id) {
		return false
	}
	<-k.done
	return true
}

func (c *Client) newCall() *call {
	if k, ok := c.calls.Get().(*call); ok {
		return k
	}
	return &call{done: make(chan struct{}, 1)}
}

func (c *Client) recycle(k *call) {
	k.answer = answer{}
	c.calls.Put(k)
}

// judge decides what an answer means: done with a value or error, or another try after a delay. It
// never waits.
func (c *Client) judge(r *request, v *view, n *node, a *answer) (value Value, delay time.Duration, err error, done bool) {
	if answered := a.err == nil && a.fail == nil; answered && r.slotted && !r.cmd.stale {
		if a.leader != "" {
			v.learn(r.slot, a.leader)
		} else {
			v.served(r.slot, n)
		}
	}
	switch {
	case a.err != nil:
		delay, done = c.judgeLost(r, v, n, a)
	case a.fail != nil:
		delay, done = c.judgeFailure(r, v, n, a)
	case a.value.Kind == wire.KindError:
		value, delay, err, done = c.judgeOutcome(r, a)
		if done {
			return value, 0, err, true
		}
	default:
		return a.value, 0, nil, true
	}
	if done || r.noRetry {
		return Value{}, 0, r.failed(), true
	}
	return Value{}, delay, nil, false
}

// judgeLost handles a try without a word from the server.
func (c *Client) judgeLost(r *request, v *view, n *node, a *answer) (delay time.Duration, done bool) {
	r.err, r.kind = a.err, 0
	if errors.Is(a.err, ErrTooBig) {
		return 0, true
	}
	if a.sent && !r.reads {
		r.unknown = true
	}
	r.avoid = n
	if r.slotted {
		v.forget(r.slot, n)
	}
	c.wantView()
	return c.delay(r, 0), a.sent && !r.safe
}

// judgeFailure handles a try that the server says was not delivered.
func (c *Client) judgeFailure(r *request, v *view, n *node, a *answer) (delay time.Duration, done bool) {
	r.err, r.kind = &failure{*a.fail}, a.fail.Kind
	unknown := a.fail.Applied == wire.AppliedUnknown
	if unknown && !r.reads {
		r.unknown = true
	}
	r.avoid = n
	led := false
	if r.slotted {
		v.forget(r.slot, n)
		if a.leader != "" {
			v.learn(r.slot, a.leader)
			g := v.group(r.slot)
			led = g != nil && g.leader.Load() != nil && g.leader.Load() != n
		}
	}
	switch a.fail.Kind {
	case wire.FailNotLeader, wire.FailNoQuorum, wire.FailOverloaded, wire.FailClosing, wire.FailTimeout, wire.FailUnknown:
	case wire.FailUninitialised:
		// Another node may know the cluster; one that was asked twice does not.
		if r.attempts > len(v.nodes) {
			return 0, true
		}
	case wire.FailNoSpace, wire.FailDenied, wire.FailInvalid, wire.FailProtocol, wire.FailVersion, wire.FailConnections:
		return 0, true
	}
	if a.fail.Kind == wire.FailOverloaded || a.fail.Kind == wire.FailTimeout {
		r.avoid = nil // the leader is right, only busy
	} else {
		c.wantView()
	}
	if led && r.attempts <= freeTries {
		return 0, unknown && !r.safe
	}
	return c.delay(r, a.fail.RetryAfter), unknown && !r.safe
}

// judgeOutcome handles outcomes that are errors: three of them are not what the caller asked about.
func (c *Client) judgeOutcome(r *request, a *answer) (value Value, delay time.Duration, err error, done bool) {
	out := &CommandError{Code: a.value.Code, Text: string(a.value.Str)}
	switch a.value.Code {
	case wire.CodeSlotMoved, wire.CodeSlotFrozen:
		r.err = out
		c.wantView()
		return Value{}, c.delay(r, 0), nil, false
	case wire.CodeTokenExpired:
		r.err, r.unknown = out, true
		return Value{}, 0, r.failed(), true
	case wire.CodeOOM, wire.CodeTooBig, wire.CodeUnknown:
		// Refused before it ran, by what may be otherwise elsewhere or later: no token was looked at, so an
		// earlier try may still be applied. Not wrapped, since a *CommandError says that nothing changed.
		if r.unknown {
			r.err = errors.New("client: a later try was refused: " + out.Text)
			return Value{}, 0, r.failed(), true
		}
		return a.value, 0, out, true
	default:
		return a.value, 0, out, true
	}
}

// delay grows with the number of tries, half of it left to chance.
func (c *Client) delay(r *request, least time.Duration) time.Duration {
	d := min(firstDelay<<min(r.attempts-1, 10), lastDelay)
	return max(least, d/2+c.jitter(d/2))
}

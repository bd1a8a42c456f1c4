// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"sync"
	"time"
)

// requestContext is the context of one request. The real context, with its timer, is made only
// when a handler waits on it: most handlers answer at once and never look.
type requestContext struct {
	parent context.Context
	// deadline is zero when the caller set none.
	deadline time.Time

	mu struct {
		sync.Mutex
		inner context.Context
		stop  context.CancelFunc
		ended bool
	}
}

var _ context.Context = (*requestContext)(nil)

func (r *requestContext) force() context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.inner == nil {
		if r.deadline.IsZero() {
			r.mu.inner, r.mu.stop = context.WithCancel(r.parent)
		} else {
			r.mu.inner, r.mu.stop = context.WithDeadline(r.parent, r.deadline)
		}
		if r.mu.ended {
			r.mu.stop()
		}
	}
	return r.mu.inner
}

// end cancels the context.
func (r *requestContext) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.ended = true
	if r.mu.stop != nil {
		r.mu.stop()
	}
}

// expired tells whether the caller has stopped waiting: what the handler says comes too late.
func (r *requestContext) expired() bool {
	return !r.deadline.IsZero() && !now().Before(r.deadline)
}

func (r *requestContext) Deadline() (time.Time, bool) { return r.deadline, !r.deadline.IsZero() }
func (r *requestContext) Done() <-chan struct{}       { return r.force().Done() }
func (r *requestContext) Err() error                  { return r.force().Err() }
func (r *requestContext) Value(key any) any           { return r.force().Value(key) }

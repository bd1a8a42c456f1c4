// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
)

// holdup measures what an open view costs the apply goroutine, entry by entry: the longest Apply until the view was
// closed, which includes the entry's own work, and the longest that captures for the view took of one. The latter, and
// what making the view took, leave out the time for which others had the processor: both are short, but may meet with that.
type holdup struct {
	view     atomic.Pointer[fsm.View]
	longest  atomic.Int64 // ns; like captures and watch written by the apply goroutine alone
	captures atomic.Int64 // ns
	watch    host.Stopwatch
}

// longHold is how long a snapshot may hold up the apply goroutine without a word in the log.
const longHold = time.Millisecond

// captureWatch is a store's stopwatch in nanoseconds.
type captureWatch struct{ *host.Stopwatch }

func (w captureWatch) Stop() int64 { return int64(w.Stopwatch.Stop()) }

// make makes a view with f and tells how long that took, on the apply goroutine.
func (h *holdup) make(f func() (*fsm.View, error)) (v *fsm.View, took time.Duration, err error) {
	h.watch.Reset()
	h.watch.Start()
	if v, err = f(); err != nil {
		return nil, 0, err
	}
	took = h.watch.Stop()
	h.begin(v)
	return v, took, nil
}

func (h *holdup) begin(v *fsm.View) {
	v.Measure(captureWatch{&h.watch})
	h.longest.Store(0)
	h.captures.Store(0)
	h.view.Store(v)
}

// apply runs f, an entry's Apply, on the apply goroutine, and tells how long captures held it up.
func (h *holdup) apply(f func()) (captures time.Duration) {
	v := h.view.Load()
	if v == nil {
		f()
		return 0
	}
	h.watch.Reset()
	began, held := monotonic(), v.Held()
	f()
	h.longest.Store(max(h.longest.Load(), int64(time.Since(began))))
	held = v.Held() - held
	h.captures.Store(max(h.captures.Load(), held))
	return time.Duration(held)
}

// end gives the longest since begin.
func (h *holdup) end() (apply, captures time.Duration) {
	h.view.Store(nil)
	return time.Duration(h.longest.Load()), time.Duration(h.captures.Load())
}

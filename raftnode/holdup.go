// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
)

// holdup measures what an open view costs the apply goroutine, entry by entry: the longest Apply until the view was
// closed, which includes the entry's own work, and the longest that captures for the view took of one. The latter leaves
// out the time for which the system gave the processor to others: a capture is short, but may meet with that.
type holdup struct {
	view     atomic.Pointer[fsm.View]
	longest  atomic.Int64 // ns; like captures and watch written by the apply goroutine alone
	captures atomic.Int64 // ns
	watch    host.Stopwatch
}

// captureWatch is a store's stopwatch in nanoseconds.
type captureWatch struct{ *host.Stopwatch }

func (w captureWatch) Stop() int64 { return int64(w.Stopwatch.Stop()) }

// begin is called on the apply goroutine.
func (h *holdup) begin(v *fsm.View) {
	v.Measure(captureWatch{&h.watch})
	h.longest.Store(0)
	h.captures.Store(0)
	h.view.Store(v)
}

// apply runs f, an entry's Apply, on the apply goroutine.
func (h *holdup) apply(f func()) {
	v := h.view.Load()
	if v == nil {
		f()
		return
	}
	h.watch.Reset()
	began, held := monotonic(), v.Held()
	f()
	h.longest.Store(max(h.longest.Load(), int64(time.Since(began))))
	h.captures.Store(max(h.captures.Load(), v.Held()-held))
}

// end gives the longest since begin.
func (h *holdup) end() (apply, captures time.Duration) {
	h.view.Store(nil)
	return time.Duration(h.longest.Load()), time.Duration(h.captures.Load())
}

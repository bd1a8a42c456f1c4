// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"sync/atomic"
	"time"
)

// holdup measures what an open view costs the apply goroutine: how long making it took, and the longest
// Apply of one entry until it was closed. That includes the entry's own work, so it bounds what captures
// took from above.
type holdup struct {
	open    atomic.Bool
	longest atomic.Int64 // ns; written by the apply goroutine alone
}

// begin is called on the apply goroutine.
func (h *holdup) begin() {
	h.longest.Store(0)
	h.open.Store(true)
}

// apply runs f, an entry's Apply, on the apply goroutine.
func (h *holdup) apply(f func()) {
	if !h.open.Load() {
		f()
		return
	}
	began := monotonic()
	f()
	h.longest.Store(max(h.longest.Load(), int64(time.Since(began))))
}

// end gives the longest Apply since begin.
func (h *holdup) end() time.Duration {
	h.open.Store(false)
	return time.Duration(h.longest.Load())
}

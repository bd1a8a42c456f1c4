// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"slices"
	"sync"
	"time"
)

// OverdueRate is the least speed in bytes per second that an append may show before it counts as
// overdue.
const OverdueRate = 8 << 20

// runList holds the appends under way, oldest first.
type runList struct {
	mu   sync.Mutex
	runs []*run
}

type run struct {
	since time.Time
	bytes int64
}

func (r *runList) begin(bytes int64) *run {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := &run{since: time.Now(), bytes: bytes}
	r.runs = append(r.runs, n)
	return n
}

func (r *runList) end(n *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs = slices.DeleteFunc(r.runs, func(o *run) bool { return o == n })
}

func (s *store) Running() (since time.Time, bytes int64, ok bool) {
	s.running.mu.Lock()
	defer s.running.mu.Unlock()
	if len(s.running.runs) == 0 {
		return time.Time{}, 0, false
	}
	oldest := s.running.runs[0]
	return oldest.since, oldest.bytes, true
}

func (s *store) Overdue(grace time.Duration) bool {
	since, bytes, ok := s.Running()
	return ok && time.Since(since) > grace+time.Duration(bytes)*time.Second/OverdueRate
}

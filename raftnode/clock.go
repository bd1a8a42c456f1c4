// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"sync"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

// clockSlew is how much faster or slower than monotonic time a leader's clock may run to come
// closer to wall time: 500 ppm, what NTP allows itself.
const clockSlew = 2000

// monotonic is read for ages and deadlines, which go by its monotonic part, never for dates.
func monotonic() time.Time { return time.Now() } //nolint:forbidigo // monotonic, see above

// leaderClock is the clock a leader stamps entries with, in ms. It starts at the larger of the log
// clock and wall time, runs by monotonic time, leans towards wall time, and never goes back; a step
// of the wall clock during a leadership therefore never expires keys in a heap.
//
// The proposer may cut entries before the node has noticed that it leads, so the first of start and now
// starts the clock.
type leaderClock struct {
	wall host.Wall

	mu struct {
		sync.Mutex
		// at is the clock's value when monotonic time was mono; a zero mono is a clock not yet started.
		at   time.Duration
		mono time.Time
	}
}

// start begins a leadership; floor is the log clock in ms.
func (c *leaderClock) start(floor int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startLocked(floor)
}

func (c *leaderClock) startLocked(floor int64) {
	c.mu.mono = monotonic()
	c.mu.at = max(c.mu.at, time.Duration(max(floor, c.wall.Now().UnixMilli()))*time.Millisecond)
}

// now reads the clock, at least floor.
func (c *leaderClock) now(floor int64) int64 {
	wall := time.Duration(c.wall.Now().UnixMilli()) * time.Millisecond
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.mono.IsZero() && !planted("unstarted-clock") {
		c.startLocked(floor)
	}
	mono := monotonic()
	ran := mono.Sub(c.mu.mono)
	lean := ran / clockSlew
	at := c.mu.at + ran
	at += min(max(wall-at, -lean), lean)
	c.mu.at = max(at, c.mu.at, time.Duration(floor)*time.Millisecond)
	c.mu.mono = mono
	return int64(c.mu.at / time.Millisecond)
}

// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

// TestLeaderClock: it starts at the larger of log clock and wall, follows monotonic time, leans
// towards the wall by half a millisecond a second, and never goes back.
func TestLeaderClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		wall := w.Host("n1").Wall
		c := leaderClock{wall: wall}
		now := wall.Now().UnixMilli()
		c.start(now - 1000)
		if got := c.now(0); got != now {
			t.Errorf("it started at %d for wall %d", got, now)
		}
		c.start(now + 5000)
		if got := c.now(0); got != now+5000 {
			t.Errorf("it started at %d for log clock %d", got, now+5000)
		}
		time.Sleep(100 * time.Second)
		if got, want := c.now(0), now+105000-50; got < want-1 || got > want+1 {
			t.Errorf("ahead of the wall it ran to %d, not %d", got, want)
		}
		last := c.now(0)
		w.SetWallOffset("n1", -time.Hour)
		for range 100 {
			time.Sleep(time.Millisecond)
			got := c.now(0)
			if got < last {
				t.Fatalf("it went back from %d to %d", last, got)
			}
			last = got
		}
		w.SetWallOffset("n1", time.Hour)
		time.Sleep(10 * time.Second)
		if got := c.now(0); got > last+10000+5+1 {
			t.Errorf("a step of the wall moved it by %d ms in 10 s", got-last)
		}
		if got := c.now(last + 100000); got != last+100000 {
			t.Errorf("floor %d gave %d", last+100000, got)
		}
	})
}

// TestLeaderClockUnstarted: an entry may be cut before its leadership was seen to begin, on a node that
// never led: its clock is then the wall, or the log clock if that is ahead.
func TestLeaderClockUnstarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		now := w.Host("n1").Wall.Now().UnixMilli()
		for _, floor := range []int64{0, now + 5000} {
			c := leaderClock{wall: w.Host("n1").Wall}
			if got, want := c.now(floor), max(now, floor); got != want {
				t.Errorf("log clock %d, wall %d: the first entry has %d", floor, now, got)
			}
			c.start(floor)
			if got, want := c.now(floor), max(now, floor); got != want {
				t.Errorf("log clock %d, wall %d: after the start it has %d", floor, now, got)
			}
		}
	})
}

// TestSessionWatch: a session is closed after ten minutes of silence, one that the watcher has not
// met counts from the first sweep, and one that is heard lives on.
func TestSessionWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w sessionWatch
		open := func() []uint64 { return []uint64{1, 2} }
		if got := w.silent(open); got != nil {
			t.Errorf("before the first leadership: %v", got)
		}
		w.reset()
		for range 25 {
			time.Sleep(30 * time.Second)
			w.heard(1)
			w.heard(0)
			if got := w.silent(open); len(got) != 0 {
				if len(got) != 1 || got[0] != 2 {
					t.Fatalf("closed %v", got)
				}
				return
			}
		}
		t.Error("a silent session was never closed")
	})
}

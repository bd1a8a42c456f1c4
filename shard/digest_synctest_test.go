// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"
	"testing/synctest"
	"time"
)

// A comparison that nobody ends is over after digestLife, and one that is begun twice counts once.
func TestDigestsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m groupMachine
		var runs digestRuns
		for range maxDigestRuns {
			runs.add(7, map[uint32]digestWaiter{1: {machine: &m, c: m.arm()}})
		}
		if len(m.mu.waiting) != 1 || len(runs.mu.order) != 1 {
			t.Fatalf("%d wait in %d runs, want one", len(m.mu.waiting), len(runs.mu.order))
		}
		time.Sleep(digestLife - 1)
		synctest.Wait()
		if !m.armed.Load() {
			t.Fatal("ended early")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if m.armed.Load() || len(m.mu.waiting) != 0 {
			t.Fatal("nobody ended it, and the machine is still armed")
		}
	})
}

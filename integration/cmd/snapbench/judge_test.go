// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"testing"
	"time"
)

// TestJudge: what no phase without snapshots excuses fails, however much the two differ; what only one of them excuses
// is measured again.
func TestJudge(t *testing.T) {
	s := settings{margin: 5 * time.Millisecond}
	for _, c := range []struct {
		before, during, after int // in ms
		fails, void           bool
	}{
		{10, 15, 10, false, false},
		{10, 16, 10, true, false},
		{10, 16, 14, true, false}, // the first phase is what counts when they agree
		{14, 18, 10, false, false},
		{10, 8, 60, false, false},
		{10, 30, 60, true, true},
		{60, 30, 10, true, true},
		{60, 66, 10, true, false},
		{10, 66, 60, true, false},
	} {
		ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
		err := s.judge(ms(c.before), ms(c.during), ms(c.after))
		if (err != nil) != c.fails || errors.Is(err, errVoid) != c.void {
			t.Errorf("before %d, during %d, after %d: %v", c.before, c.during, c.after, err)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"
)

// TestPhase: writes that met with a theft do not count, those before and long behind it do.
func TestPhase(t *testing.T) {
	const ms = time.Millisecond
	w := watch{}
	w.saw(950*ms, 1000*ms, 10*ms) // too little
	w.saw(1000*ms, 1050*ms, 20*ms)
	w.saw(1050*ms, 1100*ms, 60*ms) // goes on
	w.saw(1100*ms, 1150*ms, 0)
	w.saw(3000*ms, 3050*ms, 100*ms)
	p := newPhase(time.Now(), w.thefts)
	for _, c := range []struct {
		due, late time.Duration
		counts    bool
	}{
		{0, 900 * ms, true},
		{940 * ms, 9 * ms, true},
		{940 * ms, 10 * ms, false}, // answered when the theft may have begun
		{1000 * ms, ms, false},
		{1340 * ms, ms, false},
		{1350 * ms, ms, true},
		{1350 * ms, 1600 * ms, false}, // met with the next one
		{2900 * ms, ms, true},
		{3100 * ms, ms, false},
	} {
		was := p.counted.TotalCount()
		if p.add(write{c.due, c.late}); p.counted.TotalCount() == was == c.counts {
			t.Errorf("due at %v, answered %v later: want it to count: %v", c.due, c.late, c.counts)
		}
	}
	if got := p.lost(); got < 5./9-.01 || got > 5./9+.01 {
		t.Errorf("%v were lost, want 5/9", got)
	}
}

func TestStolen(t *testing.T) {
	got, err := stolen(strings.NewReader("cpu  7155180 275918 2665700 6484693 253606 0 431978 509282 0 0\ncpu0 1 2\n"))
	if want := 509282 * 10 * time.Millisecond; err != nil || got != want {
		t.Errorf("stolen is %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "cpu 1 2", "intr 1 2 3 4 5 6 7 8 9", "cpu 1 2 3 4 5 6 7 x 9"} {
		if _, err := stolen(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

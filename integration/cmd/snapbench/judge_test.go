// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"testing"
	"time"
)

// TestJudge: the middle phases are compared, to the disadvantage of snapshots where there are two, and phases that were
// another's are left out.
func TestJudge(t *testing.T) {
	s := settings{margin: 5 * time.Millisecond}
	const lost = -1 // a phase that was another's
	for _, c := range []struct {
		without, during []int // p99.9 in ms
		fails, void     bool
	}{
		{[]int{10, 10}, []int{15}, false, false},
		{[]int{10, 10}, []int{16}, true, false},
		{[]int{10, 12, 90, 14}, []int{17, 90, 16}, false, false},
		{[]int{10, 12, 90, 14}, []int{18, 18, 1}, true, false},
		{[]int{10, 90}, []int{16}, true, false}, // the lower of two
		{[]int{10, 10, lost, 10}, []int{1, 16, lost}, true, false},
		{[]int{10, 10, lost, 10}, []int{1, 15, lost}, false, false},
		{[]int{10, lost}, []int{10}, true, true},
		{[]int{10, 10, 10, lost}, []int{lost, 10, lost}, true, true},
	} {
		phases := func(all []int) (phases []*phase) {
			for _, n := range all {
				var thefts []theft
				if n == lost {
					thefts = []theft{{0, time.Minute}}
				}
				p := newPhase(time.Now(), thefts)
				p.add(write{time.Second, time.Duration(n) * time.Millisecond})
				phases = append(phases, p)
			}
			return phases
		}
		err := s.judge(phases(c.without), phases(c.during))
		if (err != nil) != c.fails || errors.Is(err, errVoid) != c.void {
			t.Errorf("without %d, during %d: %v", c.without, c.during, err)
		}
	}
}

// TestHoldups: what held up the node's apply goroutine is read from its log, and does not count where a theft was.
func TestHoldups(t *testing.T) {
	began := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	p := newPhase(began, []theft{{from: time.Second, to: 2 * time.Second}})
	log := `time=2026-11-01T12:00:00.500Z level=DEBUG msg="a snapshot held up apply" node=a group=1 by=view pieces=1 took=1.5ms
time=2026-11-01T12:00:02.100Z level=DEBUG msg="a snapshot held up apply" node=a group=1 by=captures pieces=900 took=7ms
time=2026-11-01T13:00:03.000+01:00 level=DEBUG msg="a snapshot held up apply" node=a group=1 by=captures pieces=900 took=1.25ms
time=2026-11-01T12:00:04.000Z level=DEBUG msg="snapshot done" node=a group=1 index=7 took=3s view=1.5ms longest_apply=9ms longest_captures=7ms
`
	most, counted, err := readHoldups(log, []*phase{p})
	if want := (holdup{1500 * time.Microsecond, 7 * time.Millisecond, 9 * time.Millisecond}); err != nil || most != want || counted != 1500*time.Microsecond {
		t.Errorf("%v, of which %v counts, %v", most, counted, err)
	}
	if _, _, err := readHoldups("", nil); err == nil {
		t.Error("a log without a snapshot is taken")
	}
}

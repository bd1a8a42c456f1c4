// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"
	"time"
)

// spellOf plays a spell: batches of n commands are answered each so long behind the last one, and what each waits for
// comes.
func (g *gather) spellOf(n int, each time.Duration, now *time.Time) (batches int) {
	for on := g.on; g.on == on; batches++ {
		*now = now.Add(each)
		g.answered(n, 0, *now)
		g.cut(n, true)
	}
	return batches
}

// TestGatherGoesByWhatItBrings: spells that bring nineteen twentieths of the commands a second get longer, up to the
// most; others end, and those without get longer.
func TestGatherGoesByWhatItBrings(t *testing.T) {
	now := time.Unix(1, 0)
	for _, c := range []struct {
		name string
		each time.Duration // with gathering; without it 1 ms
		pays bool
	}{
		{"faster", 900 * time.Microsecond, true},
		{"as fast", time.Millisecond, true},
		{"a little slower", 1040 * time.Microsecond, true},
		{"slower", 1070 * time.Microsecond, false},
		{"far slower", 3 * time.Millisecond, false},
		{"too slow to be measured", gatherGap, false},
	} {
		var g gather
		if n := g.spellOf(50, time.Millisecond, &now); n < gatherSpell || n > gatherSpell+2 || !g.on {
			t.Fatalf("%s: the first spell has %d batches", c.name, n)
		}
		longest := 0
		for range 10 {
			with := g.spellOf(50, c.each, &now)
			without := g.spellOf(50, time.Millisecond, &now)
			if c.pays && without > gatherSpell+2 || !c.pays && with > gatherSpell+2 {
				t.Fatalf("%s: %d batches with, %d without", c.name, with, without)
			}
			longest = max(longest, with, without)
		}
		if longest < maxGatherSpell || longest > maxGatherSpell+2 {
			t.Errorf("%s: the longest spell has %d batches", c.name, longest)
		}
	}
}

// TestGatherEndsAtOnce: a spell ends when the awaited do not come, and when as many come as wait for no answer; not when
// the batch was full before.
func TestGatherEndsAtOnce(t *testing.T) {
	now := time.Unix(1, 0)
	for _, c := range []struct {
		name   string
		n      int  // commands of the next batch
		waited bool // it had room for more
		queued int  // commands that came while it was under way
		ends   bool
	}{
		{"all came", 45, true, 10, false},
		{"some did not", 44, true, 10, true},
		{"full", 30, false, 10, false},
		{"more come than were answered", 45, true, 23, true},
		{"more come than fit", 30, false, 23, false},
	} {
		var g gather
		g.spellOf(50, time.Millisecond, &now)
		now = now.Add(time.Millisecond)
		g.answered(50, 0, now)
		if limit := 900 * time.Microsecond; g.want != 45 || g.wait(44, now) != limit || g.wait(45, now) != 0 || g.wait(1, now.Add(limit)) != 0 {
			t.Fatalf("%s: waits for %d commands, %v", c.name, g.want, g.wait(44, now))
		}
		g.cut(c.n, c.waited)
		now = now.Add(time.Millisecond)
		g.answered(c.n, c.queued, now)
		if g.on == c.ends {
			t.Errorf("%s: on: %t", c.name, g.on)
		}
	}
}

// TestGatherWaitsNoLongerThanItCanGain: callers that come when they please, as in an open loop, make those that are there
// wait for no longer than the commands that are awaited took without gathering, and never longer than gatherLimit.
func TestGatherWaitsNoLongerThanItCanGain(t *testing.T) {
	now := time.Unix(1, 0)
	for _, c := range []struct {
		each, most time.Duration // between two batches of 40 without gathering; of a wait
	}{
		{500 * time.Microsecond, 450 * time.Microsecond},
		{2 * time.Millisecond, 1800 * time.Microsecond},
		{20 * time.Millisecond, gatherLimit},
		{2 * gatherGap, gatherLimit}, // nothing was measured
	} {
		var g gather
		g.spellOf(40, c.each, &now)
		now = now.Add(c.each)
		g.answered(40, 0, now)
		if got := g.wait(1, now); got != c.most {
			t.Errorf("batches of 40 every %v: waits for %v instead of %v", c.each, got, c.most)
		}
	}
}

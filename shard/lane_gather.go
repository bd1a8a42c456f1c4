// SPDX-License-Identifier: Apache-2.0

package shard

import "time"

const (
	// gatherLeast is the number of commands below which a batch does not wait for more: it costs little.
	gatherLeast = 8
	// gatherShare, of a hundred, is the part of the callers that a batch waits for.
	gatherShare = 90
	// gatherLimit bounds a wait, however slow the group is.
	gatherLimit = 10 * time.Millisecond
	// gatherSpell is the least number of batches for which a lane gathers, or does not; maxGatherSpell the most.
	gatherSpell    = 16
	maxGatherSpell = 1024
	// gatherSettle is how many batches of a spell are left out of its measure, while callers get into step.
	gatherSettle = 4
	// gatherGap: a longer time between two answers is no measure of anything.
	gatherGap = 100 * time.Millisecond
	// gatherWorth, of a hundred, is what gathering must at least bring of the commands a second without it, to go
	// on: fewer entries for as many commands are a gain, too.
	gatherWorth = 95
)

// gather has the next batch of a lane wait for the callers of the last one. In a closed loop they come back soon, and one
// log entry carries what would have taken two or three. Whether that costs commands a second is measured: spells
// with and without it take turns, and the better kind gets longer and longer ones. A spell ends at once when callers
// do not come in time, or do not seem to wait for answers. The lane's lock guards it; the zero value is ready.
type gather struct {
	// on: the present spell gathers.
	on                 bool
	gathering, without spell
	// batches were answered in the present spell in a row under load, and after the first ones commands in the time
	// took, gaps left out. A spell of nothing but gaps has no rate, and does not go on.
	batches, commands int
	took              time.Duration
	// last is when the last batch under load was answered; zero when there was less since.
	last time.Time
	// want is how many commands the next batch waits for, until the time until; 0 for no wait.
	want  int
	until time.Time
	// waited: all that the last batch waited for came.
	waited bool
	// armed: the lane's timer rings at until.
	armed bool
}

// spell is what is known of one kind of spell.
type spell struct {
	length int     // in batches, of the next one; 0 is gatherSpell
	rate   float64 // in commands a second, of the last one; 0 before it
}

// answered is told that a batch of n commands was answered while queued more waited.
func (g *gather) answered(n, queued int, now time.Time) {
	last := g.last
	g.want, g.last = 0, time.Time{}
	if n+queued < gatherLeast {
		return
	}
	g.last = now
	if !last.IsZero() {
		g.batches++
		if d := now.Sub(last); g.batches > gatherSettle && d < gatherGap {
			g.commands, g.took = g.commands+n, g.took+d
		}
	}
	length := g.without.length
	if g.on {
		length = g.gathering.length
	}
	switch {
	case g.on && g.waited && queued > n/2: // after such a wait most callers are in the batch
		g.end(false)
	case g.batches >= max(length, gatherSpell):
		g.end(true)
	}
	if g.on {
		g.want = (n + queued) * gatherShare / 100
		g.until = now.Add(g.limit())
	}
}

// limit bounds the next wait by the time in which as many commands as it waits for were answered without gathering:
// a longer one can bring nothing. Where callers do not work in a closed loop, all that are there wait for it in vain.
func (g *gather) limit() time.Duration {
	if g.without.rate == 0 {
		return gatherLimit
	}
	return min(gatherLimit, time.Duration(float64(g.want)/g.without.rate*float64(time.Second)))
}

// alone tells whether a batch of n commands is to be under way alone, so that its callers can be in the next one.
func (g *gather) alone(n int) bool { return g.on && n >= gatherLeast }

// wait tells how long a batch of n commands waits for others to join it. With 0 it is to be cut now.
func (g *gather) wait(n int, now time.Time) time.Duration {
	if n >= g.want {
		return 0
	}
	return max(0, g.until.Sub(now))
}

// cut is told that a batch of n commands was cut; waited: no other one is under way, and it had room for more.
func (g *gather) cut(n int, waited bool) {
	g.waited = waited && g.want > 0 && n >= g.want
	if waited && n < g.want {
		g.end(false)
	}
	g.want, g.armed = 0, false
}

// end begins a spell of the other kind. whole tells that the one before went well to its end.
func (g *gather) end(whole bool) {
	kind := &g.without
	if g.on {
		kind = &g.gathering
	}
	kind.rate = 0
	if g.took > 0 {
		kind.rate = float64(g.commands) / g.took.Seconds()
	}
	if g.on {
		if whole && kind.rate*100 > g.without.rate*gatherWorth {
			g.gathering.length, g.without.length = longer(g.gathering.length), 0
		} else {
			g.gathering.length, g.without.length = 0, longer(g.without.length)
		}
	}
	g.on = !g.on
	g.commands, g.batches, g.took = 0, 0, 0
}

func longer(length int) int { return min(2*max(length, gatherSpell), maxGatherSpell) }

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// loop is a model of callers in front of one group in virtual time.
type loop struct {
	// callers[i] callers come back thinks[i] after each answer.
	callers []int
	thinks  []time.Duration
	// entry is what a log entry costs the one processor, command what a command does; 0 for a disk group alone.
	entry, command time.Duration
	// value is the size of what is written; 0 is one byte.
	value int
	// every: callers come at this pace instead, whether others were answered or not.
	every time.Duration
}

// costGroup has one processor, which is busy for a time with each entry, before its disks are.
type costGroup struct {
	*diskGroup
	entry, command time.Duration

	mu      sync.Mutex
	entries int
}

func (g *costGroup) Submit(sub *fsm.Sub, done func(*fsm.Sub, error)) {
	g.mu.Lock()
	g.entries++
	time.Sleep(g.entry + time.Duration(sub.Writes)*g.command)
	g.mu.Unlock()
	g.diskGroup.Submit(sub, done)
}

// run returns the commands answered in a second after a first one, the entries they took and their mean latency.
func (l loop) run(t *testing.T, gathers bool) (commands, entries int, latency time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		r := newInstantRouter(1)
		g := &costGroup{diskGroup: newDiskGroup(), entry: l.entry, command: l.command}
		r.attach(1, g)
		if !gathers {
			r.route(1).lane.gather.without.length = 1 << 40
		}
		value := strings.Repeat("v", max(1, l.value))
		var wg sync.WaitGroup
		began, before := time.Now(), 0
		once := func() {
			at := time.Now()
			r.Do(context.Background(), &Caller{}, []fsm.Command{cmd(fsm.OpSet, "k", value)}, make([]Reply, 1))
			g.mu.Lock()
			defer g.mu.Unlock()
			switch {
			case time.Since(began) < time.Second:
				before = g.entries
			case time.Since(began) < 2*time.Second:
				commands, entries = commands+1, g.entries-before
				latency += time.Since(at)
			}
		}
		for i, n := range l.callers {
			for range n {
				wg.Go(func() {
					for time.Since(began) < 2*time.Second {
						once()
						time.Sleep(l.thinks[i])
					}
				})
			}
		}
		for l.every > 0 && time.Since(began) < 2*time.Second {
			wg.Go(once)
			time.Sleep(l.every)
		}
		wg.Wait()
		r.close()
		close(g.stages[0])
	})
	return commands, entries, latency / time.Duration(commands)
}

// TestGather: gathering makes fewer and larger entries where that pays, and little harm where it does not. Callers fall
// into step or not, by chance, so that one pair of runs of three is enough.
func TestGather(t *testing.T) {
	ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
	for _, c := range []struct {
		name string
		loop
		// Each in relation to a lane that never gathers.
		least, mostEntries, mostLatency float64
	}{
		{"closed loop", loop{callers: []int{50}, thinks: []time.Duration{ms(0.1)}}, 0.93, 0.6, 1.08},
		{"slow processor", loop{callers: []int{50}, thinks: []time.Duration{ms(1)}, entry: ms(3)}, 1.1, 0.85, 0.95},
		{"large values", loop{callers: []int{50}, thinks: []time.Duration{ms(0.1)}, value: 6 << 10}, 0.8, 0.8, 1.25},
		{"few callers", loop{callers: []int{4}, thinks: []time.Duration{ms(0.1)}}, 0.99, 1.05, 1.05},
		{"callers far away", loop{callers: []int{50}, thinks: []time.Duration{ms(20)}}, 0.97, 1.1, 1.1},
		{"some slower", loop{callers: []int{25, 25}, thinks: []time.Duration{ms(0.1), ms(5)}}, 0.7, 1.2, 1.45},
		{"open loop", loop{every: ms(0.1)}, 0.99, 1.1, 1.05},
		{"slow open loop", loop{every: ms(1)}, 0.99, 1.1, 1.05},
	} {
		good := false
		for i := 0; i < 3 && !good; i++ {
			n0, e0, l0 := c.run(t, false)
			n, e, l := c.run(t, true)
			t.Logf("%-17s without: %6d commands, %5d entries, %v; with: %6d, %5d, %v", c.name, n0, e0, l0, n, e, l)
			good = float64(n) >= c.least*float64(n0) && float64(e)*float64(n0) <= c.mostEntries*float64(e0)*float64(n) &&
				float64(l) <= c.mostLatency*float64(l0)
		}
		if !good {
			t.Errorf("%s: not at least %.2f times the commands, at most %.2f of the entries a command and %.2f of the latency", c.name, c.least, c.mostEntries, c.mostLatency)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"fmt"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// perTick is how many due keys an entry removes.
const perTick = 512

// expiring writes count keys; key i expires ms(i) from now.
func (n *testNode) expiring(count int, ms func(i int) int) {
	n.b.t.Helper()
	var cmds []fsm.Command
	for i := range count {
		key := fmt.Append(nil, "due", i)
		cmds = append(cmds, setCmd(string(key), "v"),
			fsm.Command{Op: fsm.OpPExpire, Args: [][]byte{key, fmt.Append(nil, ms(i))}})
	}
	n.must(cmds...)
}

// entries counts the entries appended while f runs.
func (n *testNode) entries(f func()) int {
	n.b.t.Helper()
	before, err := n.group.logs.LastIndex()
	if err != nil {
		n.b.t.Fatal(err)
	}
	f()
	after, err := n.group.logs.LastIndex()
	if err != nil {
		n.b.t.Fatal(err)
	}
	return int(after - before)
}

// TestExpiryBacklog: keys that are due all at once go as fast as one tick after the other allows, on an
// idle group, with no entry more than they need.
func TestExpiryBacklog(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		const ticks = 20
		lead.expiring(ticks*perTick, func(int) int { return 2000 })
		gone := func() bool {
			for _, n := range b.live() {
				if n.keys.Stats().Keys > 0 {
					return false
				}
			}
			return true
		}
		var took time.Duration
		made := lead.entries(func() {
			b.sleep(2 * time.Second)
			start := time.Now()
			b.waitFor("the due keys to go", gone)
			took = time.Since(start)
		})
		if most := tickPeriod + 3*ticks*tickGap/2; took > most || took < (ticks-1)*tickGap {
			t.Errorf("it took %v", took)
		}
		if made != ticks {
			t.Errorf("%d entries for %d keys", made, ticks*perTick)
		}
		if idle := lead.entries(func() { b.sleep(10 * time.Second) }); idle != 0 {
			t.Errorf("%d entries in ten seconds with nothing due", idle)
		}
	})
}

// TestExpiryBacklogOfNewLeader: a leader takes over the backlog of the one before.
func TestExpiryBacklogOfNewLeader(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		old := b.leader()
		const ticks = 40
		old.expiring(ticks*perTick, func(int) int { return 1000 })
		b.waitFor("half of the due keys to go", func() bool { return old.keys.Stats().Keys < ticks*perTick/2 })
		old.crash()
		lead := b.leader()
		start := time.Now()
		b.waitFor("the due keys to go", func() bool { return lead.keys.Stats().Keys == 0 })
		if took := time.Since(start); took > tickPeriod+3*ticks*tickGap/4 {
			t.Errorf("it took %v", took)
		}
		b.converged()
	})
}

// TestExpiryTrickle: keys that become due one after the other, fewer than a tick removes, go once a
// second; keys that are not due make no entries.
func TestExpiryTrickle(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		const seconds, spacing = 10, 25 // 40 keys a second
		lead.expiring(seconds*1000/spacing, func(i int) int { return 10000 + i*spacing })
		if idle := lead.entries(func() { b.sleep(9 * time.Second) }); idle != 0 {
			t.Errorf("%d entries in nine seconds with nothing due", idle)
		}
		made := lead.entries(func() { b.sleep((seconds + 3) * time.Second) })
		if made < seconds || made > seconds+1 {
			t.Errorf("%d entries for %d seconds of keys that become due", made, seconds)
		}
		if left := lead.keys.Stats().Keys; left != 0 {
			t.Errorf("%d keys are left", left)
		}
	})
}

// TestExpiryBesideWrites: writes go on beside a backlog, each entry takes its share of it, and reads that
// meet due keys ask for no more than the backlog does.
func TestExpiryBesideWrites(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		const ticks, writes = 30, 20
		lead.expiring(ticks*perTick, func(int) int { return 1000 })
		made := lead.entries(func() {
			b.sleep(time.Second)
			for range writes {
				if err := lead.set("k", "v"); err != nil {
					t.Error(err)
				}
				_ = lead.local("due1")
				b.sleep(5 * time.Millisecond)
			}
			b.waitFor("the due keys to go", func() bool { return lead.keys.Stats().Keys == 1 })
			b.sleep(5 * time.Second)
		})
		if made < ticks || made > ticks+2 {
			t.Errorf("%d entries for %d keys and %d writes", made, ticks*perTick, writes)
		}
	})
}

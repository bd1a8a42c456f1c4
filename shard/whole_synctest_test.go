// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// TestWholeOverEpochChange: whole-keyspace commands answer only for 16,384 slots covered once, while
// slots change their owners.
func TestWholeOverEpochChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 2, 3, nil)
		defer w.close()
		w.delay = 3 * time.Millisecond
		const keys = 300
		home := uint32(2) // nothing of this group moves, so its keys stay
		for _, k := range inSlots(home, 3, keys) {
			w.nodes[0].do(time.Second, cmd(fsm.OpSet, k, "v"))
		}
		stop := make(chan struct{})
		var movers, askers sync.WaitGroup
		movers.Go(func() {
			var empty []uint16 // slots that begin in group 1
			for s := range uint16(SlotCount) {
				if s%3 == 0 {
					empty = append(empty, s)
				}
			}
			for from, to := uint32(1), uint32(3); ; from, to = to, from {
				select {
				case <-stop:
					return
				default:
					w.move(from, to, 7*time.Millisecond, empty...)
					time.Sleep(25 * time.Millisecond)
				}
			}
		})
		for _, n := range w.nodes {
			askers.Go(func() {
				for i := range 60 {
					out := n.do(5*time.Second, cmd(fsm.OpDBSize), cmd(fsm.OpKVStats), cmd(fsm.OpScan, "0", "COUNT", "5"))
					if text(out[0]) != fmt.Sprint(keys) || out[1].Err != nil || len(out[1].Result.Elems) != 4 || out[1].Result.Elems[0].Int != keys {
						t.Errorf("%s, turn %d: DBSIZE %s, KV.STATS %s", n.id, i, text(out[0]), text(out[1]))
					}
					if out[2].Err != nil || len(out[2].Result.Elems) != 2 {
						t.Errorf("%s, turn %d: SCAN %s", n.id, i, text(out[2]))
					}
					if i%20 != 0 { // what looks at all slots takes long under the race detector
						continue
					}
					named := n.do(5*time.Second, cmd(fsm.OpKeys, "*"))[0]
					if named.Err != nil || len(named.Result.Elems) != keys {
						t.Errorf("%s, turn %d: KEYS %.200s", n.id, i, text(named))
					}
					drawn := n.do(5*time.Second, cmd(fsm.OpRandomKey))[0]
					if drawn.Err != nil || drawn.Result.Kind != fsm.KindBulk || len(drawn.Result.Str) == 0 {
						t.Errorf("%s, turn %d: RANDOMKEY %s", n.id, i, text(drawn))
					}
				}
			})
		}
		askers.Wait()
		close(stop)
		movers.Wait()
		if got := text(w.nodes[1].do(5*time.Second, cmd(fsm.OpFlushAll))[0]); got != "OK" {
			t.Errorf("FLUSHALL: %s", got)
		}
		if got := text(w.nodes[0].do(5*time.Second, cmd(fsm.OpDBSize))[0]); got != "0" {
			t.Errorf("DBSIZE after FLUSHALL: %s", got)
		}
	})
}

// TestWholeUncovered: when a slot has no owner, no answer is better than a wrong one.
func TestWholeUncovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 1, 2, nil)
		defer w.close()
		w.rafts[2].run(fsm.Drop(9, []uint16{1}))
		if r := w.nodes[0].do(time.Second, cmd(fsm.OpDBSize))[0]; kindOf(r) != KindTimeout {
			t.Errorf("DBSIZE: %s", text(r))
		}
		if r := w.nodes[0].do(time.Second, cmd(fsm.OpFlushAll))[0]; kindOf(r) != KindUnknown {
			t.Errorf("FLUSHALL: %s", text(r))
		}
	})
}

// TestWholeInPipeline: whole-keyspace commands run behind what stands before them.
func TestWholeInPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 2, 3, nil)
		defer w.close()
		w.delay = time.Millisecond
		out := w.nodes[0].do(time.Second,
			cmd(fsm.OpMSet, "a", "1", "b", "2", "c", "3"), cmd(fsm.OpDBSize), cmd(fsm.OpFlushAll),
			cmd(fsm.OpDBSize), cmd(fsm.OpSet, "d", "4"), cmd(fsm.OpDBSize))
		got := ""
		for _, r := range out {
			got += text(r) + " "
		}
		if got != "OK 3 OK 0 OK 1 " {
			t.Error(got)
		}
	})
}

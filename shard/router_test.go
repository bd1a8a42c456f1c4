// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// TestDoBasics runs commands of every kind through a node that leads nothing.
func TestDoBasics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 4, 3, func(_, node int) bool { return node < 3 })
		defer w.close()
		w.delay = time.Millisecond
		for _, n := range w.nodes {
			k := func(s string) string { return n.id + s }
			for i, step := range []struct {
				cmds []fsm.Command
				want string
			}{
				{[]fsm.Command{cmd(fsm.OpGet, k("a"))}, "[nil]"},
				{[]fsm.Command{cmd(fsm.OpSet, k("a"), "1"), cmd(fsm.OpGet, k("a")), cmd(fsm.OpIncr, k("a")), cmd(fsm.OpGet, k("a"))}, "[OK 1 2 2]"},
				{[]fsm.Command{cmd(fsm.OpMSet, k("a"), "x", k("b"), "y", k("c"), "z", k("d"), "v")}, "[OK]"},
				{[]fsm.Command{cmd(fsm.OpMGet, k("d"), k("nope"), k("a"), k("b"), k("a"))}, "[[v nil x y x]]"},
				{[]fsm.Command{cmd(fsm.OpExists, k("a"), k("b"), k("zz"), k("a"))}, "[3]"},
				{[]fsm.Command{cmd(fsm.OpDel, k("a"), k("b"), k("zz")), cmd(fsm.OpExists, k("a"), k("c"), k("d"))}, "[2 2]"},
				{[]fsm.Command{cmd(fsm.OpMSetNX, k("e"), "1", k("f"), "2")}, "[" + fsm.TextCrossSlot + "]"},
				{[]fsm.Command{cmd(fsm.OpMSetNX, "{"+k("e")+"}1", "1", "{"+k("e")+"}2", "2")}, "[1]"},
				{[]fsm.Command{cmd(fsm.OpGet)}, "[ERR wrong number of arguments for 'get' command]"},
				{[]fsm.Command{cmd(fsm.OpOpenSession)}, "[ERR shard: admit: invalid command]"},
			} {
				got := "["
				for j, r := range n.do(time.Second, step.cmds...) {
					if j > 0 {
						got += " "
					}
					got += text(r)
				}
				if got += "]"; got != step.want {
					t.Errorf("%s step %d: %s, want %s", n.id, i, got, step.want)
				}
			}
		}
		for _, n := range w.nodes {
			if got := text(n.do(time.Second, cmd(fsm.OpDBSize))[0]); got != "16" {
				t.Errorf("%s: DBSIZE %s", n.id, got)
			}
		}
		if got := text(w.nodes[3].do(time.Second, cmd(fsm.OpFlushAll), cmd(fsm.OpDBSize))[1]); got != "0" {
			t.Errorf("DBSIZE after FLUSHALL: %s", got)
		}
	})
}

// TestScanFindsEveryKey walks the whole keyspace over interleaved slots of several groups.
func TestScanFindsEveryKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 2, 3, nil)
		defer w.close()
		const keys = 500
		for i := range keys {
			w.nodes[i%2].do(time.Second, cmd(fsm.OpSet, fmt.Sprintf("key%d", i), "v"))
		}
		for _, count := range []string{"1", "10", "100", "10000"} {
			seen := make(map[string]bool)
			cursor, calls := "0", 0
			for {
				r := w.nodes[calls%2].do(5*time.Second, cmd(fsm.OpScan, cursor, "count", count))[0]
				if r.Err != nil || len(r.Result.Elems) != 2 {
					t.Fatalf("SCAN %s: %s", cursor, text(r))
				}
				for _, e := range r.Result.Elems[1].Elems {
					seen[string(e.Str)] = true
				}
				calls++
				if cursor = string(r.Result.Elems[0].Str); cursor == "0" {
					break
				}
			}
			if len(seen) != keys || calls > keys+50 {
				t.Errorf("COUNT %s: %d keys in %d calls", count, len(seen), calls)
			}
		}
	})
}

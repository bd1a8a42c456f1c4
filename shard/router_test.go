// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"context"
	"errors"
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
				{[]fsm.Command{cmd(fsm.OpZUnion, "2", k("e"), k("f"))}, "[" + fsm.TextCrossSlot + "]"},
				{[]fsm.Command{cmd(fsm.OpZUnionStore, k("e"), "1", k("f"))}, "[" + fsm.TextCrossSlot + "]"},
				{[]fsm.Command{cmd(fsm.OpZUnionStore, k("e"), "1", "{"+k("e")+"}")}, "[0]"},
				{[]fsm.Command{cmd(fsm.OpZMPop, "2", k("e"), "{"+k("e")+"}", "MIN")}, "[nil]"},
				{[]fsm.Command{cmd(fsm.OpZMPop, "9", k("e"), "MIN")}, "[ERR syntax error]"},
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

// TestAuthorise: the hook sees every command first, and a command that it denies does not run.
func TestAuthorise(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, _ *fakeRaft) {
		r := w.nodes[0].router
		var seen []string
		deny := errors.New("no")
		r.Authorise = func(c *Caller, s *fsm.Spec, cmd *fsm.Command) error {
			for _, key := range s.Keys(cmd.Args) {
				seen = append(seen, c.User+" "+s.Name+" "+string(key))
			}
			if s.Name == "DEL" || s.Name == "FLUSHALL" {
				return deny
			}
			return nil
		}
		cmds := []fsm.Command{cmd(fsm.OpSet, "a", "1"), cmd(fsm.OpDel, "a", "b"), cmd(fsm.OpFlushAll), cmd(fsm.OpGet, "a")}
		out := make([]Reply, len(cmds))
		r.Do(context.Background(), &Caller{User: "joe"}, cmds, out)
		if text(out[0]) != "OK" || kindOf(out[1]) != KindDenied || kindOf(out[2]) != KindDenied || text(out[3]) != "1" {
			t.Errorf("%v %v %v %v", text(out[0]), text(out[1]), text(out[2]), text(out[3]))
		}
		if !errors.Is(out[1].Err, deny) || !NotApplied(out[1].Err) {
			t.Errorf("%v", out[1].Err)
		}
		if got := fmt.Sprint(seen); got != "[joe SET a joe DEL a joe DEL b joe GET a]" {
			t.Error(got)
		}
	})
}

// TestStale: stale reads come from the local replica, whoever leads; without one they are ordinary.
func TestStale(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		w.nodes[0].do(time.Second, cmd(fsm.OpSet, "a", "1"))
		raft.lead("")
		stale := &Caller{Stale: true, Timeout: time.Second}
		out := make([]Reply, 1)
		w.nodes[1].router.Do(context.Background(), stale, []fsm.Command{cmd(fsm.OpGet, "a")}, out)
		if text(out[0]) != "1" {
			t.Errorf("a stale read without leader: %s", text(out[0]))
		}
		raft.lead("n0")
		w.nodes[1].router.detach(1)
		w.nodes[1].router.Do(context.Background(), stale, []fsm.Command{cmd(fsm.OpGet, "a")}, out)
		if text(out[0]) != "1" {
			t.Errorf("a stale read without replica: %s", text(out[0]))
		}
	})
}

// TestUninitialised: before there is a cluster nothing is executed, and callers hear why.
func TestUninitialised(t *testing.T) { synctest.Test(t, testUninitialised) }

func testUninitialised(t *testing.T) {
	r := newRouter(routerConfig{Self: "n0", Table: fsm.Data(), Rand: bytes.NewReader(make([]byte, 1000))})
	defer r.close()
	out := make([]Reply, 1)
	for _, m := range []*Map{nil, {Version: 1}} {
		if m != nil {
			r.setMap(m)
		}
		r.Do(context.Background(), &Caller{}, []fsm.Command{cmd(fsm.OpGet, "a")}, out)
		if kindOf(out[0]) != KindUninitialised {
			t.Errorf("%s", text(out[0]))
		}
	}
	r.setMap(&Map{Version: 2, Epoch: 1, Groups: map[uint32]GroupPlace{1: {}}})
	r.Do(context.Background(), &Caller{Timeout: time.Millisecond}, []fsm.Command{cmd(fsm.OpSet, "a", "1")}, out)
	if kindOf(out[0]) != KindUninitialised {
		t.Errorf("%s", text(out[0]))
	}
}

// TestWatch: watchers see the present map and every newer one in order; older ones are dropped.
func TestWatch(t *testing.T) {
	r := newRouter(routerConfig{Self: "n0", Table: fsm.Data(), Rand: bytes.NewReader(make([]byte, 1000))})
	defer r.close()
	var seen []uint64
	r.setMap(&Map{Version: 3, Epoch: 1})
	stop := r.Watch(func(m *Map) { seen = append(seen, m.Version) })
	for _, v := range []uint64{5, 4, 5, 6} {
		r.setMap(&Map{Version: v, Epoch: 1})
	}
	stop()
	r.setMap(&Map{Version: 7, Epoch: 1})
	if fmt.Sprint(seen) != "[3 5 6]" || r.SlotMap().Version != 7 {
		t.Errorf("%v, then %d", seen, r.SlotMap().Version)
	}
}

// TestLeaderHint: replies name the leader that the group had last.
func TestLeaderHint(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		for _, leader := range []string{"n0", "n1"} {
			raft.lead(leader)
			for _, n := range w.nodes {
				out := n.do(time.Second, cmd(fsm.OpGet, "a"), cmd(fsm.OpSet, "a", "1"))
				if got := n.router.Leader(1); got != leader {
					t.Errorf("%s: Leader gives %q, want %q", n.id, got, leader)
				}
				if out[0].Leader != leader || out[1].Leader != leader {
					t.Errorf("%s: %q and %q, want %q", n.id, out[0].Leader, out[1].Leader, leader)
				}
			}
		}
	})
}

// TestLeaderOfNobody: a group that was never used has no known leader.
func TestLeaderOfNobody(t *testing.T) {
	r := newInstantRouter(1)
	defer r.close()
	if got := r.Leader(1) + r.Leader(9); got != "n0" {
		t.Errorf("%q", got)
	}
}

// TestManyGroups: one call may concern more groups than are looked up one by one.
func TestManyGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const groups = 3 * manyUnits
		w := newFakeWorld(t, 1, 2, groups, nil)
		defer w.close()
		var cmds []fsm.Command
		for i := range 4 * groups {
			key := fmt.Sprint("k", i)
			cmds = append(cmds, cmd(fsm.OpSet, key, fmt.Sprint(i)), cmd(fsm.OpGet, key))
		}
		for _, n := range w.nodes {
			for i, r := range n.do(time.Second, cmds...) {
				want := "OK"
				if i%2 == 1 {
					want = fmt.Sprint(i / 2)
				}
				if text(r) != want {
					t.Fatalf("%s: command %d: %s, want %s", n.id, i, text(r), want)
				}
			}
		}
	})
}

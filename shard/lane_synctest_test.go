// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

func kindOf(r Reply) Kind {
	if e, ok := errors.AsType[*Error](r.Err); ok {
		return e.Kind
	}
	return 0
}

// bubble runs f in virtual time over a world of two nodes and one group that n0 leads.
func bubble(t *testing.T, f func(t *testing.T, w *fakeWorld, raft *fakeRaft)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 2, 1, nil)
		defer w.close()
		w.delay = time.Millisecond
		f(t, w, w.rafts[1])
	})
}

// TestCallerTimeout: a caller whose Sub is under way hears unknown at the end of its time; one whose
// command was never sent hears not applied, and the command is never executed.
func TestCallerTimeout(t *testing.T) {
	for node := range 2 {
		bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
			n := w.nodes[node]
			n.do(time.Second, cmd(fsm.OpSet, "warm", "1"))
			raft.stallNow()
			replies := make([]Reply, maxOutstanding+3)
			var wg sync.WaitGroup
			for i := range replies {
				wg.Go(func() {
					began := time.Now()
					replies[i] = n.do(700*time.Millisecond, cmd(fsm.OpSet, fmt.Sprint("k", i), "v"), cmd(fsm.OpGet, "x"))[0]
					if d := time.Since(began); d != 700*time.Millisecond {
						t.Errorf("command %d took %v", i, d)
					}
				})
				synctest.Wait()
			}
			wg.Wait()
			for i, r := range replies {
				want := KindUnknown
				if i >= maxOutstanding {
					want = KindTimeout
				}
				if kindOf(r) != want {
					t.Errorf("node %d, command %d: %v, want %v", node, i, r.Err, want)
				}
			}
			raft.unstall()
			if got := text(n.do(10*time.Second, cmd(fsm.OpSet, "after", "1"))[0]); got != "OK" {
				t.Errorf("after the stall: %s", got)
			}
			for i := range replies {
				got := text(n.do(time.Second, cmd(fsm.OpGet, fmt.Sprint("k", i)))[0])
				if (got == "v") != (i < maxOutstanding) {
					t.Errorf("k%d is %s", i, got)
				}
			}
		})
	}
}

// TestContextEnds: the caller's context ends a call as its budget does, local reads included.
func TestContextEnds(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		raft.stall = true
		w.delay = time.Hour
		for _, c := range []fsm.Command{cmd(fsm.OpSet, "k", "v"), cmd(fsm.OpGet, "k")} {
			for _, n := range w.nodes {
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(time.Second, cancel)
				began := time.Now()
				out := make([]Reply, 1)
				n.router.Do(ctx, &Caller{Timeout: time.Minute}, []fsm.Command{c}, out)
				if d := time.Since(began); d != time.Second || out[0].Err == nil {
					t.Errorf("%s: after %v: %v", n.id, d, out[0].Err)
				}
			}
		}
	})
}

// TestNoLeader: without a leader nothing is executed and callers hear so; as soon as there is one,
// waiting commands go on.
func TestNoLeader(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		raft.lead("")
		for _, n := range w.nodes {
			for _, c := range []fsm.Command{cmd(fsm.OpIncr, "k"), cmd(fsm.OpGet, "k")} {
				r := n.do(300*time.Millisecond, c)[0]
				if kindOf(r) != KindNotLeader || !NotApplied(r.Err) {
					t.Errorf("%s: %v", n.id, r.Err)
				}
			}
		}
		time.AfterFunc(time.Second, func() { raft.lead("n1") })
		began := time.Now()
		if got := text(w.nodes[0].do(5*time.Second, cmd(fsm.OpIncr, "k"))[0]); got != "1" {
			t.Errorf("INCR: %s", got)
		}
		if d := time.Since(began); d > 1500*time.Millisecond {
			t.Errorf("it took %v to find a leader that came after 1 s", d)
		}
	})
}

// TestNoSpace: a leader without disk space refuses what grows, definitely, and does the rest of the
// same pipeline.
func TestNoSpace(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		for _, n := range w.nodes {
			n.do(time.Second, cmd(fsm.OpSet, "a", "1"))
			raft.mu.Lock()
			raft.low = true
			raft.mu.Unlock()
			out := n.do(time.Second, cmd(fsm.OpSet, "b", "2"), cmd(fsm.OpDel, "a"), cmd(fsm.OpGet, "b"), cmd(fsm.OpExists, "a"))
			if kindOf(out[0]) != KindNoSpace || !NotApplied(out[0].Err) {
				t.Errorf("SET: %s", text(out[0]))
			}
			if text(out[1]) != "1" || text(out[2]) != "nil" || text(out[3]) != "0" {
				t.Errorf("%s %s %s", text(out[1]), text(out[2]), text(out[3]))
			}
			raft.mu.Lock()
			raft.low = false
			raft.mu.Unlock()
			if got := text(n.do(time.Second, cmd(fsm.OpSet, "b", "2"), cmd(fsm.OpDel, "b"))[0]); got != "OK" {
				t.Errorf("SET after space came back: %s", got)
			}
		}
	})
}

// TestIdleSession: after long silence a frontend opens a new session before it writes, and one whose
// session was closed under it loses nothing.
func TestIdleSession(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		n := w.nodes[1]
		n.do(time.Second, cmd(fsm.OpIncr, "k"))
		session := func() uint64 {
			l := &n.router.route(1).lane
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.session
		}
		first := session()
		time.Sleep(sessionIdle - time.Second)
		n.do(time.Second, cmd(fsm.OpIncr, "k"))
		if session() != first {
			t.Error("a young session was given up")
		}
		time.Sleep(sessionIdle + time.Second)
		n.do(time.Second, cmd(fsm.OpIncr, "k"))
		if session() == first {
			t.Error("an old session was used")
		}
		raft.closeSessions()
		if got := text(n.do(time.Second, cmd(fsm.OpIncr, "k"))[0]); got != "4" {
			t.Errorf("INCR after the session was closed: %s", got)
		}
	})
}

// TestExpiredWhileUnknown: when the session is gone and a Sub may have been executed, its caller
// hears unknown, and what was never sent goes on in a new session.
func TestExpiredWhileUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		n := w.nodes[1]
		n.do(time.Second, cmd(fsm.OpIncr, "warm"))
		raft.stallNow()
		replies := make([]Reply, maxOutstanding+2)
		var wg sync.WaitGroup
		for i := range replies {
			wg.Go(func() { replies[i] = n.do(20*time.Second, cmd(fsm.OpIncr, "k"))[0] })
			synctest.Wait()
		}
		time.Sleep(10 * time.Millisecond)
		raft.lead("n0") // the Subs under way become unknown
		raft.closeSessions()
		raft.unstall()
		wg.Wait()
		for i, r := range replies {
			if want := i < maxOutstanding; (kindOf(r) == KindUnknown) != want {
				t.Errorf("INCR %d: %s", i, text(r))
			}
		}
	})
}

// TestForgottenSession: a lane whose callers all left gives its Subs up after a while, and works
// again when the group does.
func TestForgottenSession(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		n := w.nodes[1]
		n.do(time.Second, cmd(fsm.OpIncr, "k"))
		w.cutOff("n0")
		if r := n.do(time.Second, cmd(fsm.OpIncr, "k"))[0]; kindOf(r) != KindUnknown {
			t.Errorf("INCR into a cut: %s", text(r))
		}
		time.Sleep(forgetAfter + 20*time.Second)
		l := &n.router.route(1).lane
		l.mu.Lock()
		if len(l.sent) != 0 || l.session != 0 {
			t.Errorf("still %d Subs of session %d", len(l.sent), l.session)
		}
		l.mu.Unlock()
		w.calm()
		if got := text(n.do(time.Second, cmd(fsm.OpIncr, "k"))[0]); got != "2" && got != "3" {
			t.Errorf("INCR after the cut: %s", got)
		}
	})
}

// TestPipelineOrder: a pipeline larger than a batch is executed in order, each read seeing exactly
// the writes before it.
func TestPipelineOrder(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		for _, n := range w.nodes {
			var cmds []fsm.Command
			for range maxBatchCommands {
				cmds = append(cmds, cmd(fsm.OpRPush, "list"+n.id, "x"), cmd(fsm.OpLLen, "list"+n.id))
			}
			for i, r := range n.do(time.Minute, cmds...) {
				if r.Err != nil || r.Result.Int != int64(i/2+1) {
					t.Fatalf("%s: command %d: %s", n.id, i, text(r))
				}
			}
			big := strings.Repeat("v", maxBatchBytes)
			out := n.do(time.Minute, cmd(fsm.OpSet, "a", big), cmd(fsm.OpStrLen, "a"), cmd(fsm.OpAppend, "a", big), cmd(fsm.OpSet, "a", "z"), cmd(fsm.OpGet, "a"))
			if got := text(out[1]) + " " + text(out[2]) + " " + text(out[4]); got != fmt.Sprint(len(big), 2*len(big), " z") {
				t.Errorf("%s: large values: %s", n.id, got)
			}
		}
	})
}

// TestMerging: commands of many connections to a busy group share Subs, and reads share frames.
func TestMerging(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		w.delay = 10 * time.Millisecond
		n := w.nodes[1]
		n.do(time.Second, cmd(fsm.OpSet, "k", "v"))
		w.mu.Lock()
		w.commits = 0
		clear(w.frames)
		w.mu.Unlock()
		const callers = 200
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				n.do(time.Second, cmd(fsm.OpSet, fmt.Sprint(i), "v"))
				n.do(time.Second, cmd(fsm.OpGet, fmt.Sprint(i)))
			})
		}
		wg.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.commits > 10 || w.frames[forwardRead] > 40 {
			t.Errorf("%d writes took %d entries, %d reads %d frames", callers, w.commits, callers, w.frames[forwardRead])
		}
	})
}

// TestOverloaded: callers wait for room in the byte budget; those whose time ends first hear
// overloaded, and what they asked for is not executed.
func TestOverloaded(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		n := w.nodes[0]
		n.router.bytes.limit = 1000
		raft.stallNow()
		value := strings.Repeat("v", 300)
		replies := make([]Reply, 8)
		var wg sync.WaitGroup
		for i := range replies {
			timeout := 10 * time.Second
			if i == 5 {
				timeout = time.Second
			}
			wg.Go(func() { replies[i] = n.do(timeout, cmd(fsm.OpSet, fmt.Sprint("k", i), value))[0] })
			synctest.Wait()
		}
		if used := n.router.bytes.used.Load(); used > 1000 {
			t.Errorf("%d bytes are under way", used)
		}
		time.Sleep(2 * time.Second)
		raft.unstall()
		wg.Wait()
		for i, r := range replies {
			if want := i == 5; (kindOf(r) == KindOverloaded) != want || !want && r.Err != nil {
				t.Errorf("SET %d: %s", i, text(r))
			}
		}
		huge := strings.Repeat("v", 5000)
		if got := text(n.do(time.Second, cmd(fsm.OpSet, "huge", huge))[0]); got != "OK" {
			t.Errorf("a command larger than the budget: %s", got)
		}
		synctest.Wait() // callers are answered a moment before their bytes are given back
		l := &n.router.route(1).lane
		if a, b := n.router.bytes.used.Load(), l.bytes.used.Load(); a != 0 || b != 0 {
			t.Errorf("%d and %d bytes were never given back", a, b)
		}
	})
}

// TestRouterClose: close answers everyone who waits, with the truth.
func TestRouterClose(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		n := w.nodes[1]
		n.do(time.Second, cmd(fsm.OpSet, "k", "v"))
		raft.stallNow()
		replies := make([]Reply, maxOutstanding+2)
		var wg sync.WaitGroup
		for i := range replies {
			wg.Go(func() { replies[i] = n.do(time.Hour, cmd(fsm.OpSet, fmt.Sprint("k", i), "v"))[0] })
			synctest.Wait()
		}
		time.Sleep(5 * time.Millisecond)
		n.router.close()
		wg.Wait()
		for i, r := range replies {
			want := KindUnknown
			if i >= maxOutstanding {
				want = KindClosing
			}
			if kindOf(r) != want {
				t.Errorf("SET %d: %s, want %v", i, text(r), want)
			}
		}
		if r := n.do(time.Second, cmd(fsm.OpGet, "k"))[0]; kindOf(r) != KindClosing {
			t.Errorf("GET after close: %s", text(r))
		}
		raft.unstall()
		raft.lead("")
		m := w.nodes[0]
		var r Reply
		wg.Go(func() { r = m.do(time.Hour, cmd(fsm.OpGet, "k"))[0] })
		time.Sleep(time.Second)
		m.router.close()
		wg.Wait()
		if kindOf(r) != KindClosing {
			t.Errorf("a GET that waits for a leader: %s", text(r))
		}
	})
}

// TestSilentLeader: a frontend without a replica, whose leader falls silent without a word, asks the
// others and finds the new leader.
func TestSilentLeader(t *testing.T) {
	for _, c := range []fsm.Command{cmd(fsm.OpIncr, "k"), cmd(fsm.OpGet, "k")} {
		synctest.Test(t, func(t *testing.T) {
			w := newFakeWorld(t, 1, 4, 1, func(_, node int) bool { return node < 3 })
			defer w.close()
			w.delay = time.Millisecond
			n := w.nodes[3]
			n.do(time.Second, c)
			w.cutOff("n0")
			w.rafts[1].lead("n2")
			n.router.route(1).hint.Store(&raftnode.Hint{Node: "n0", Term: 1})
			began := time.Now()
			out := n.do(5*time.Second, c)
			if d := time.Since(began); out[0].Err != nil || d > 2500*time.Millisecond {
				t.Errorf("%s: %s after %v", w.table.Spec(c.Op).Name, text(out[0]), d)
			}
		})
	}
}

// TestLeaderNewsEndsAttempts: a frontend that learns of a new leader does not wait for the old one.
func TestLeaderNewsEndsAttempts(t *testing.T) {
	bubble(t, func(t *testing.T, w *fakeWorld, raft *fakeRaft) {
		n := w.nodes[1]
		n.do(time.Second, cmd(fsm.OpIncr, "k"))
		w.cutOff("n0")
		time.AfterFunc(100*time.Millisecond, func() {
			raft.lead("n1")
			n.router.leaderChanged(1, raftnode.Hint{Node: "n1", Term: raft.hint().Term})
		})
		began := time.Now()
		got := text(n.do(5*time.Second, cmd(fsm.OpIncr, "k"))[0])
		if d := time.Since(began); got != "2" || d > 200*time.Millisecond {
			t.Errorf("INCR gave %s after %v", got, d)
		}
	})
}

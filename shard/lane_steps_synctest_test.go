// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// manualGroup leads and answers a Sub when the test says so.
type manualGroup struct {
	subs []*manualSub
}

type manualSub struct {
	*fsm.Sub
	name string // the key of its first command
	done func(*fsm.Sub, error)
}

func (g *manualGroup) Submit(sub *fsm.Sub, done func(*fsm.Sub, error)) {
	s := &manualSub{Sub: sub, done: done}
	if c, _, err := fsm.ParseCommand(sub.Body); err == nil && len(c.Args) > 0 {
		s.name = string(c.Args[0])
	}
	g.subs = append(g.subs, s)
}

func (g *manualGroup) Read(context.Context, []fsm.Command, []fsm.Result, *fsm.Room) error {
	return raftnode.ErrNoQuorum
}
func (g *manualGroup) Vouch() raftnode.Voucher { return raftnode.Voucher{} }
func (g *manualGroup) ReadVouched(string, raftnode.Voucher, []fsm.Command, []fsm.Result, *fsm.Room) bool {
	return false
}
func (g *manualGroup) ReadStale([]fsm.Command, []fsm.Result, *fsm.Room) {}
func (g *manualGroup) Leader() raftnode.Hint                            { return raftnode.Hint{Node: "n0", Term: 1} }
func (g *manualGroup) IsLeader() bool                                   { return true }

// take removes the Subs submitted since, checked against what is wanted: "name session.seq.low".
func (g *manualGroup) take(t *testing.T, want ...string) []*manualSub {
	t.Helper()
	time.Sleep(time.Second) // longer than any pause
	synctest.Wait()
	var got []string
	for _, s := range g.subs {
		got = append(got, fmt.Sprintf("%s %d.%d.%d", s.name, s.Session, s.Seq, s.Low))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("submitted %q, want %q", got, want)
	}
	subs := g.subs
	g.subs = nil
	return subs
}

func (s *manualSub) apply(results ...fsm.Result) {
	s.Status = fsm.SubApplied
	s.Results = results
	for len(s.Results) < s.Writes {
		s.Results = append(s.Results, fsm.OK())
	}
	s.ReadResults = make([]fsm.Result, len(s.Reads))
	s.done(s.Sub, nil)
}

func (s *manualSub) answer(status fsm.SubStatus, next uint64) {
	s.Status, s.Next = status, next
	s.done(s.Sub, nil)
}

func (s *manualSub) fail(err error) { s.done(s.Sub, err) }

// laneSteps runs f with a lane that has opened session 7 and used its numbers below 3, and a function
// that starts a SET whose reply comes in the map.
func laneSteps(t *testing.T, f func(g *manualGroup, set func(key string), replies map[string]*Reply)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 1, 1, nil)
		defer w.close()
		n := w.nodes[0]
		g := &manualGroup{}
		n.router.attach(1, g)
		replies := make(map[string]*Reply)
		done := make(chan struct{}, 100)
		set := func(key string) {
			r := new(Reply)
			replies[key] = r
			go func() {
				*r = n.do(time.Hour, cmd(fsm.OpSet, key, "v"))[0]
				done <- struct{}{}
			}()
			synctest.Wait()
		}
		set("x")
		g.take(t, " 0.0.0")[0].apply(fsm.Int(7))
		g.take(t, "x 7.1.1")[0].apply()
		set("y")
		g.take(t, "y 7.2.2")[0].apply()
		f(g, set, replies)
		for range replies {
			<-done
		}
	})
}

func expectOK(t *testing.T, replies map[string]*Reply, keys ...string) {
	t.Helper()
	synctest.Wait()
	for _, k := range keys {
		if text(*replies[k]) != "OK" {
			t.Errorf("%s: %s", k, text(*replies[k]))
		}
	}
}

// TestLaneWindow: at most two Subs are under way, those behind are merged, and Low stays below what
// is not answered, whatever the order of answers.
func TestLaneWindow(t *testing.T) {
	laneSteps(t, func(g *manualGroup, set func(string), replies map[string]*Reply) {
		for _, k := range []string{"a", "b", "c", "d"} {
			set(k)
		}
		s := g.take(t, "a 7.3.3", "b 7.4.3")
		s[1].apply()
		s2 := g.take(t, "c 7.5.3")
		if s2[0].Writes != 2 {
			t.Errorf("%d writes are merged", s2[0].Writes)
		}
		expectOK(t, replies, "b")
		s[0].apply()
		s2[0].apply()
		g.take(t)
		expectOK(t, replies, "a", "c", "d")
		set("e")
		g.take(t, "e 7.6.6")[0].apply()
	})
}

// TestLaneResend: after a loss nothing is sent until all is settled; then what may have been executed
// is sent again under its number, and what was refused follows, before anything new.
func TestLaneResend(t *testing.T) {
	laneSteps(t, func(g *manualGroup, set func(string), replies map[string]*Reply) {
		set("a")
		set("b")
		s := g.take(t, "a 7.3.3", "b 7.4.3")
		s[0].fail(raftnode.ErrUnknown)
		set("c")
		g.take(t)
		s[1].fail(raftnode.ErrOverloaded)
		s = g.take(t, "a 7.3.3", "b 7.4.3")
		s[0].answer(fsm.SubGap, 3) // its window was full
		s[1].answer(fsm.SubGap, 3)
		s = g.take(t, "a 7.3.3", "b 7.4.3")
		s[0].fail(raftnode.ErrNotLeader{})
		s[1].fail(raftnode.ErrUnknown)
		s = g.take(t, "a 7.3.3", "b 7.4.3")
		s[1].apply()
		s[0].fail(raftnode.ErrUnknown)
		g.take(t, "c 7.5.3")[0].fail(raftnode.ErrClosed)
		s = g.take(t, "a 7.3.3", "c 7.5.3")
		s[0].apply()
		s[1].apply()
		expectOK(t, replies, "a", "b", "c")
	})
}

// TestLaneNumbersReturn: refused Subs give their numbers back and may be merged with what waits.
func TestLaneNumbersReturn(t *testing.T) {
	laneSteps(t, func(g *manualGroup, set func(string), replies map[string]*Reply) {
		set("a")
		set("b")
		s := g.take(t, "a 7.3.3", "b 7.4.3")
		s[1].fail(raftnode.ErrNotLeader{})
		s[0].fail(raftnode.ErrNotLeader{})
		s = g.take(t, "a 7.3.3", "b 7.4.3")
		s[0].apply()
		s[1].fail(raftnode.ErrTransferring)
		g.take(t, "b 7.4.4")[0].apply()
		expectOK(t, replies, "a", "b")
	})
}

// TestLaneExpired: when the session is gone, what was possibly executed is unknown; what certainly was
// not goes on in a new session, in order.
func TestLaneExpired(t *testing.T) {
	laneSteps(t, func(g *manualGroup, set func(string), replies map[string]*Reply) {
		set("a")
		set("b")
		s := g.take(t, "a 7.3.3", "b 7.4.3")
		s[0].answer(fsm.SubExpired, 0)
		s[1].answer(fsm.SubExpired, 0)
		g.take(t, " 0.0.0")[0].fail(raftnode.ErrUnknown)
		g.take(t, " 0.0.0")[0].apply(fsm.Int(8))
		s = g.take(t, "a 8.1.1", "b 8.2.1")
		s[0].fail(raftnode.ErrUnknown)
		s[1].answer(fsm.SubGap, 1)
		s = g.take(t, "a 8.1.1", "b 8.2.1")
		s[0].answer(fsm.SubExpired, 0)
		s[1].answer(fsm.SubExpired, 0)
		g.take(t, " 0.0.0")[0].apply(fsm.Int(9))
		g.take(t, "b 9.1.1")[0].apply()
		expectOK(t, replies, "b")
		if kindOf(*replies["a"]) != KindUnknown {
			t.Errorf("a: %s", text(*replies["a"]))
		}
	})
}

// TestLaneOddAnswers: an answer that no correct session gives ends the session; its Sub is unknown.
func TestLaneOddAnswers(t *testing.T) {
	for name, odd := range map[string]func(s *manualSub){
		"stale":           func(s *manualSub) { s.answer(fsm.SubStale, 0) },
		"pending":         func(s *manualSub) { s.answer(fsm.SubPending, 0) },
		"too few results": func(s *manualSub) { s.Status = fsm.SubApplied; s.done(s.Sub, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			laneSteps(t, func(g *manualGroup, set func(string), replies map[string]*Reply) {
				set("a")
				odd(g.take(t, "a 7.3.3")[0])
				set("b")
				g.take(t, " 0.0.0")[0].apply(fsm.Int(8))
				g.take(t, "b 8.1.1")[0].apply()
				expectOK(t, replies, "b")
				if kindOf(*replies["a"]) != KindUnknown {
					t.Errorf("a: %s", text(*replies["a"]))
				}
			})
		})
	}
	t.Run("gap out of range", func(t *testing.T) {
		laneSteps(t, func(g *manualGroup, set func(string), replies map[string]*Reply) {
			set("a")
			g.take(t, "a 7.3.3")[0].answer(fsm.SubGap, 1)
			g.take(t, " 0.0.0")[0].apply(fsm.Int(8))
			g.take(t, "a 8.1.1")[0].apply()
			expectOK(t, replies, "a")
		})
	})
}

// TestLaneNoSpaceKeepsNumbers: a Sub refused for space while a later one is unknown leaves an empty Sub
// under its number.
func TestLaneNoSpaceKeepsNumbers(t *testing.T) {
	laneSteps(t, func(g *manualGroup, set func(string), replies map[string]*Reply) {
		set("a")
		set("b")
		s := g.take(t, "a 7.3.3", "b 7.4.3")
		s[0].fail(raftnode.ErrNoSpace)
		s[1].fail(raftnode.ErrUnknown)
		s = g.take(t, " 7.3.3", "b 7.4.3")
		if kindOf(*replies["a"]) != KindNoSpace || s[0].Writes != 0 {
			t.Errorf("a: %s", text(*replies["a"]))
		}
		s[0].apply()
		s[1].apply()
		expectOK(t, replies, "b")
	})
}

// TestLaneDropsTheLeft: a command whose caller left, told unknown, is not sent again once it is known
// that it was not executed.
func TestLaneDropsTheLeft(t *testing.T) {
	laneSteps(t, func(g *manualGroup, set func(string), replies map[string]*Reply) {
		set("a")
		s := g.take(t, "a 7.3.3")
		time.Sleep(2 * time.Hour) // its caller leaves
		synctest.Wait()
		if kindOf(*replies["a"]) != KindUnknown {
			t.Errorf("a: %s", text(*replies["a"]))
		}
		s[0].fail(raftnode.ErrNotLeader{})
		set("b")
		g.take(t, " 0.0.0")[0].apply(fsm.Int(8)) // two hours are long for a session
		g.take(t, "b 8.1.1")[0].apply()
	})
}

// diskGroup takes a millisecond of its own disk for whatever is appended meanwhile, then one of a
// follower's; each Sub is an entry.
type diskGroup struct {
	instantGroup
	stages [2]chan *manualSub
	subs   int
}

func newDiskGroup() *diskGroup {
	g := &diskGroup{}
	g.stages[0], g.stages[1] = make(chan *manualSub, 100), make(chan *manualSub, 100)
	for i := range g.stages {
		go g.stage(i)
	}
	return g
}

func (g *diskGroup) stage(i int) {
	for s := range g.stages[i] {
		batch := []*manualSub{s}
		for len(g.stages[i]) > 0 {
			batch = append(batch, <-g.stages[i])
		}
		time.Sleep(time.Millisecond)
		for _, s := range batch {
			if i == 0 {
				g.stages[1] <- s
			} else {
				g.instantGroup.Submit(s.Sub, s.done)
			}
		}
	}
	if i == 0 {
		close(g.stages[1])
	}
}

func (g *diskGroup) Submit(sub *fsm.Sub, done func(*fsm.Sub, error)) {
	g.subs++
	g.stages[0] <- &manualSub{Sub: sub, done: done}
}

// TestClosedLoopCost: callers that each wait for their answer share entries, and share them evenly.
func TestClosedLoopCost(t *testing.T) {
	for _, c := range []struct{ callers, entriesPer1000, perSecond int }{
		{1, 1000, 495}, {2, 1000, 990}, {10, 290, 3400}, {50, 58, 17_100}, {200, 14, 69_000},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newInstantRouter(1)
			g := newDiskGroup()
			r.attach(1, g)
			calls := make([]int, c.callers)
			var wg sync.WaitGroup
			for i := range calls {
				wg.Go(func() {
					cmds, out := []fsm.Command{cmd(fsm.OpSet, "k", "v")}, make([]Reply, 1)
					for began := time.Now(); time.Since(began) < time.Second; calls[i]++ {
						r.Do(context.Background(), &Caller{}, cmds, out)
					}
				})
			}
			wg.Wait()
			n := 0
			for _, k := range calls {
				n += k
			}
			t.Logf("%d callers: %d commands, %d entries", c.callers, n, g.subs)
			if g.subs*1000 > n*c.entriesPer1000+10*1000 || n < c.perSecond {
				t.Errorf("%d callers: %d commands in %d entries", c.callers, n, g.subs)
			}
			r.close()
			close(g.stages[0])
		})
	}
}

// TestLaneUnknownRefusedForSpace: a command that may be in a log is refused for space when it is sent
// again. Only space would settle it, so it stays unknown and what is behind it does not wait.
func TestLaneUnknownRefusedForSpace(t *testing.T) {
	laneSteps(t, func(g *manualGroup, set func(string), replies map[string]*Reply) {
		set("a")
		g.take(t, "a 7.3.3")[0].fail(raftnode.ErrUnknown)
		set("b")
		subs := g.take(t, "a 7.3.3", "b 7.4.3")
		subs[0].fail(raftnode.ErrNoSpace)
		subs[1].answer(fsm.SubGap, 3)
		g.take(t, " 0.0.0")[0].apply(fsm.Int(9))
		g.take(t, "b 9.1.1")[0].apply()
		expectOK(t, replies, "b")
		if k := kindOf(*replies["a"]); k != KindUnknown {
			t.Errorf("a: %v", k)
		}
	})
}

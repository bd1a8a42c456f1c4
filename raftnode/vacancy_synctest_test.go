// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/fsm"

	"github.com/kvorum/kvorum/internal/host"
)

// A process that dies is succeeded long before a heartbeat timeout has passed.
func TestDeadLeaderIsSucceededAtOnce(t *testing.T) {
	for _, names := range [][]string{{"n1", "n2", "n3"}, {"n1", "n2", "n3", "n4", "n5"}} {
		t.Run(fmt.Sprint(len(names)), func(t *testing.T) {
			inWorld(t, func(b *bench) {
				nodes := b.cluster(names...)
				for i := range 3 {
					lead := b.leader()
					began := time.Now()
					lead.crash()
					next := b.leader()
					if d := time.Since(began); d > DefaultHeartbeat/2 {
						t.Errorf("crash %d: without a leader for %v", i, d)
					}
					next.must(setCmd("k", "v"))
					for j, n := range nodes {
						if n == lead {
							nodes[j] = b.reopen(n.name, uint64(j+1))
						}
					}
					b.converged()
				}
			})
		})
	}
}

// The only voter of a group has nobody to wait for: neither when it founds the group nor when it is started again.
func TestOnlyVoterLeadsAtOnce(t *testing.T) {
	inWorld(t, func(b *bench) {
		for i, start := range []func() *testNode{
			func() *testNode { return b.open("n1").start(1, true) },
			func() *testNode { return b.reopen("n1", 1) },
		} {
			began := time.Now()
			n := start()
			b.waitFor("it to lead", n.group.IsLeader)
			if d := time.Since(began); d > DefaultHeartbeat/2 {
				t.Errorf("start %d: without a leader for %v", i, d)
			}
			n.must(fsm.Own(1, allSlots()), setCmd("k", "v"))
			n.close()
		}
	})
}

// A follower that alone thinks that the leader is gone leaves it in peace.
func TestOneDoubterStartsNoElection(t *testing.T) {
	inWorld(t, func(b *bench) {
		nodes := b.cluster("n1", "n2", "n3")
		lead, doubter := nodes[0], nodes[1]
		term := lead.group.Leader().Term
		// Packets from the leader do not arrive any more, and its address refuses.
		doubter.node.SetDirectory(func(id string) (string, bool) {
			if id == lead.node.ID() {
				return "n3:1", true
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			a, ok := b.addrs[id]
			return a, ok
		})
		b.world.Isolate("n1", "n2")
		b.world.ResetConns("n1", "n2")
		b.world.ResetConns("n2", "n1")
		b.waitFor("the doubt", func() bool { return doubter.node.link.Gone(lead.node.ID()) })
		until := time.Now().Add(5 * time.Second)
		for time.Now().Before(until) {
			lead.must(setCmd("k", "v"))
			time.Sleep(50 * time.Millisecond)
		}
		if got := lead.group.Leader(); got.Node != lead.node.ID() || got.Term != term {
			t.Errorf("leader %s of term %d; want the old one of term %d", got.Node, got.Term, term)
		}
	})
}

// A machine that is cut off says nothing: raft's timers find out, as without this file.
func TestSilentLeaderIsLeftToTheTimers(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		for _, n := range b.live() {
			if n != lead {
				b.world.Isolate(lead.name, n.name)
			}
		}
		began := time.Now()
		b.world.Crash(lead.name, host.CrashPolicy{Silent: true})
		lead.dead.Store(true)
		_ = lead.node.Close()
		b.leader()
		if d := time.Since(began); d < DefaultHeartbeat/2 {
			t.Errorf("succeeded after %v although nothing was known", d)
		}
	})
}

// A voter that was started a moment ago knows no leader and has none to hold to.
func TestVoterWithoutLeaderLetsTheDeadOneGo(t *testing.T) {
	inWorld(t, func(b *bench) {
		nodes := b.cluster("n1", "n2", "n3")
		nodes[2].crash()
		nodes[0].must(setCmd("k", "v"))
		b.world.Isolate("n1", "n3") // its leader does not reach it any more
		n3 := b.reopen("n3", 3)
		began := time.Now()
		nodes[0].crash()
		if n3.group.Leader().Node != "" {
			t.Fatal("it knows a leader")
		}
		if next := b.leader(); next != nodes[1] {
			t.Errorf("%s leads", next.name)
		}
		if d := time.Since(began); d > DefaultHeartbeat/2 {
			t.Errorf("without a leader for %v", d)
		}
	})
}

// outages kills the leader again and again and returns how long the group went without one. strike is
// called with the heir before each kill and returns what undoes it.
func (b *bench) outages(nodes []*testNode, count int, strike func(heir *testNode) (undo func())) (out []time.Duration) {
	b.t.Helper()
	for range count {
		b.sleep(3 * time.Second)
		lead := b.leader()
		undo := strike(heirOf(lead, nodes))
		began := time.Now()
		var grave sync.WaitGroup
		grave.Go(lead.kill())
		b.leader()
		out = append(out, time.Since(began))
		undo()
		grave.Wait()
		b.sleep(time.Second)
		for i, n := range nodes {
			if n == lead {
				nodes[i] = b.reopen(n.name, uint64(i+1))
			}
		}
		b.converged()
	}
	return out
}

// wantShort checks that outages last no longer than most, but for one that may be left to raft's timers, as one run in some
// hundred has it. Its cause was not traced; an entry of the dead leader that a voter is given behind its last word about
// its log would make it refuse those who stand before it.
func (b *bench) wantShort(outages []time.Duration, most time.Duration) {
	b.t.Helper()
	long := 0
	for i, d := range outages {
		if d > most {
			long++
		}
		if d > 3*DefaultHeartbeat {
			b.t.Errorf("kill %d: without a leader for %v: raft's timers take less", i, d)
		}
	}
	if long > 1 {
		b.t.Errorf("%d times longer than %v without a leader: %v", long, most, outages)
	}
}

// heirOf is the first in line behind a leader.
func heirOf(lead *testNode, nodes []*testNode) *testNode {
	line, _ := lead.group.inst.Load().succession()
	for _, s := range line {
		for _, n := range nodes {
			if n != lead && n.group.self == s.ID {
				return n
			}
		}
	}
	return nil
}

// Votes take their time to reach the disks; nobody stands beside one who has stood.
func TestSuccessionOnSlowDisks(t *testing.T) {
	for _, names := range [][]string{{"n1", "n2", "n3"}, {"n1", "n2", "n3", "n4", "n5"}} {
		for _, sync := range []time.Duration{6 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond} {
			t.Run(fmt.Sprint(len(names), " ", sync), func(t *testing.T) {
				inWorld(t, func(b *bench) {
					nodes := b.cluster(names...)
					slow := func(*testNode) func() {
						for _, name := range names {
							b.world.FS(name).SetSyncDelay(sync)
						}
						return func() {}
					}
					b.wantShort(b.outages(nodes, 4, slow), 60*time.Millisecond+7*sync)
				})
			})
		}
	}
}

// The first in line may be unable to stand; then the next one does, alone.
func TestSuccessionPassesOverAHungDisk(t *testing.T) {
	inWorld(t, func(b *bench) {
		nodes := b.cluster("n1", "n2", "n3", "n4", "n5")
		hang := func(heir *testNode) func() {
			b.world.FS(heir.name).SetSyncDelay(20 * time.Second)
			return func() { b.world.FS(heir.name).SetSyncDelay(time.Millisecond) }
		}
		b.wantShort(b.outages(nodes, 4, hang), 400*time.Millisecond)
	})
}

// The two that are first in line may hear of each other late; the second one leaves the field to the first.
func TestSuccessionOnASlowPath(t *testing.T) {
	for _, delay := range []time.Duration{10 * time.Millisecond, 25 * time.Millisecond, 45 * time.Millisecond} {
		t.Run(fmt.Sprint(delay), func(t *testing.T) {
			inWorld(t, func(b *bench) {
				nodes := b.cluster("n1", "n2", "n3", "n4", "n5")
				apart := func(*testNode) func() {
					lead := b.leader()
					first := heirOf(lead, nodes)
					second := heirOf(lead, slices.DeleteFunc(slices.Clone(nodes), func(n *testNode) bool { return n == first }))
					b.world.SetDelay(first.name, second.name, delay, 0)
					b.world.SetDelay(second.name, first.name, delay, 0)
					return func() {
						b.world.SetDelay(first.name, second.name, 0, 0)
						b.world.SetDelay(second.name, first.name, 0, 0)
					}
				}
				b.wantShort(b.outages(nodes, 4, apart), 60*time.Millisecond+4*delay)
			})
		})
	}
}

// Replicas that know different memberships agree on who goes first of those whom they both know, and one node is
// not first in all groups.
func TestSuccessionOrder(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3", "n4", "n5")
		in := b.leader().group.inst.Load()
		all, _ := in.succession()
		ranked := func(g *Group, ids []raft.Server) []raft.Server {
			return slices.SortedFunc(slices.Values(ids), func(a, b raft.Server) int { return cmp.Compare(g.rank(a.ID), g.rank(b.ID)) })
		}
		for i := range all {
			fewer := slices.Delete(slices.Clone(all), i, i+1)
			if got := ranked(in.g, fewer); !slices.Equal(got, fewer) {
				t.Errorf("without %s the order is %v, want %v", all[i].ID, got, fewer)
			}
		}
		first := map[raft.ServerID]int{}
		for id := range uint32(100) {
			first[ranked(&Group{id: id}, all)[0].ID]++
		}
		for _, s := range all {
			if first[s.ID] < 5 {
				t.Errorf("%s is first in %d of 100 groups", s.ID, first[s.ID])
			}
		}
	})
}

// The leader dies while it writes: its last entries are on the disks of some voters and on their way to those of
// others. Nobody stands before what the dead leader sent has arrived.
func TestSuccessionUnderWrites(t *testing.T) {
	for _, names := range [][]string{{"n1", "n2", "n3"}, {"n1", "n2", "n3", "n4", "n5"}} {
		for _, delay := range []time.Duration{2 * time.Millisecond, 8 * time.Millisecond, 20 * time.Millisecond} {
			t.Run(fmt.Sprint(len(names), " ", delay), func(t *testing.T) {
				inWorld(t, func(b *bench) {
					nodes := b.cluster(names...)
					busy := func(*testNode) func() {
						for i, name := range names { // no two alike
							b.world.FS(name).SetSyncDelay(delay + delay*time.Duration(i)/4)
						}
						lead, stop := b.leader(), make(chan struct{})
						var writers sync.WaitGroup
						for range 8 {
							writers.Go(func() {
								for {
									select {
									case <-stop:
										return
									default:
									}
									if lead.set("k", "v") != nil {
										return
									}
								}
							})
						}
						b.sleep(200*time.Millisecond + delay/3)
						return func() {
							close(stop)
							writers.Wait()
						}
					}
					b.wantShort(b.outages(nodes, 6, busy), 100*time.Millisecond+16*delay)
				})
			})
		}
	}
}

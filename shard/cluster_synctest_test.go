// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// One node founds a cluster and can serve it alone; two more make three voters everywhere with the
// leaders spread; each is killed and comes back; then all are killed at once.
func TestClusterGrowsAndSurvives(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 1, 4)
		c.put(0, 20)
		c.join("n2", "n1:7400")
		c.settled()
		c.join("n3", "n2:7400")
		c.settled()
		c.put(20, 40)
		for _, name := range []string{"n1", "n2", "n3"} {
			c.crash(name)
			c.put(40, 50)
			c.check(0, 40)
			c.open(name)
			c.settled()
		}
		for _, name := range c.names() {
			c.crash(name)
		}
		for _, name := range []string{"n3", "n1", "n2"} {
			c.open(name)
		}
		c.settled()
		c.check(0, 50)
	})
}

// A fourth node joins and gets its share; the first one, founder of everything, leaves; what leaves
// deletes its data and does not come back with its old folder.
func TestClusterJoinAndLeave(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 4)
		c.put(0, 20)
		c.join("n4", "n3:7400")
		c.settled()
		if n := c.nodes["n1"].View().replicasOf(c.nodes["n4"].ID(), false); n != 3 {
			t.Errorf("the fourth node holds %d of 12 replicas, want 3", n)
		}
		c.put(20, 40)
		if err := c.nodes["n2"].Leave(c.ctx(time.Minute), "n1"); err != nil {
			t.Fatalf("leave: %v", err)
		}
		c.waitFor("n1 to learn it", func() error {
			select {
			case <-c.nodes["n1"].Left():
				return nil
			default:
				return errors.New("not yet")
			}
		})
		if got := c.nodes["n1"].rn.Groups(); len(got) != 0 {
			t.Errorf("the node that left still holds %v", got)
		}
		c.stop("n1")
		c.settled()
		c.check(0, 40)
		m := c.open("n1")
		if err := m.Join(c.ctx(time.Minute), []string{"n2:7400"}); !errors.Is(err, ErrLeft) {
			t.Errorf("join with the old folder: %v", err)
		}
		c.stop("n1")
	})
}

// Three nodes shrink to one, each time through the node that leaves itself, which may lead the
// control group.
func TestClusterShrinksToOne(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 2)
		c.put(0, 10)
		for _, name := range []string{"n1", "n3"} {
			if err := c.nodes[name].Leave(c.ctx(2*time.Minute), c.nodes[name].ID()); err != nil {
				t.Fatalf("leave of %s: %v", name, err)
			}
			c.waitFor(name+" to end", func() error {
				select {
				case <-c.nodes[name].Left():
					return nil
				default:
					return errors.New("not yet")
				}
			})
			c.stop(name)
			c.settled()
			c.check(0, 10)
		}
		if err := c.nodes["n2"].Leave(c.ctx(time.Minute), "n2"); !errors.Is(err, ErrLastNode) {
			t.Errorf("leave of the last node: %v", err)
		}
	})
}

// A dead node is told to leave; the others go on without it, and when it wakes up it learns that it
// is no member.
func TestClusterLeaveOfDeadNode(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 4, 2)
		c.put(0, 10)
		dead := c.nodes["n2"].ID()
		c.crash("n2")
		c.put(10, 20)
		if err := c.nodes["n1"].Leave(c.ctx(2*time.Minute), dead[:8]); err != nil {
			t.Fatalf("leave: %v", err)
		}
		c.settled()
		c.check(0, 20)
		m := c.open("n2")
		c.waitFor("n2 to learn it", func() error {
			select {
			case <-m.Left():
				return nil
			default:
				return errors.New("not yet")
			}
		})
		c.stop("n2")
	})
}

// Refusals of a join say why and leave the node as it was.
func TestClusterJoinRefusals(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 1, 1)
		m := c.open("n2")
		if err := m.Join(c.ctx(time.Minute), []string{"n9:7400"}); !errors.Is(err, ErrUnreachable) || m.Initialised() {
			t.Errorf("join of nobody: %v", err)
		}
		blank := c.open("n3")
		if err := m.Join(c.ctx(time.Minute), []string{"n3:7400"}); !errors.Is(err, ErrMemberUninitialised) {
			t.Errorf("join of a blank node: %v", err)
		}
		if s, err := blank.Status(c.ctx(time.Second)); err != nil || s.Cluster.Health != HealthUninitialised || s.Cluster.Initialised {
			t.Errorf("status of a blank node: %+v, %v", s, err)
		}
		if err := c.nodes["n1"].Join(c.ctx(time.Minute), []string{"n3:7400"}); !errors.Is(err, ErrInitialised) {
			t.Errorf("join of a member: %v", err)
		}
		if err := c.nodes["n1"].Init(c.ctx(time.Minute), InitOptions{}); !errors.Is(err, ErrInitialised) {
			t.Errorf("init of a member: %v", err)
		}
		if err := m.Init(c.ctx(time.Minute), InitOptions{Replicas: 2}); !errors.Is(err, ErrRefused) || m.Initialised() {
			t.Errorf("init with two replicas: %v", err)
		}
		if err := c.nodes["n1"].Leave(c.ctx(time.Minute), "n7"); !errors.Is(err, ErrNoSuchNode) {
			t.Errorf("leave of nobody: %v", err)
		}
		// The dead one first, then the live one.
		if err := m.Join(c.ctx(time.Minute), []string{"n9:7400", "n1:7400"}); err != nil {
			t.Errorf("join: %v", err)
		}
		c.stop("n3")
		c.settled()
	})
}

// A joining node dies at every disk step of its join; the same command again, or just a restart, ends
// the join with one membership.
func TestClusterJoinCrash(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 1, 1)
		for after := time.Millisecond; after < 3*time.Second; after *= 3 {
			name := fmt.Sprint("j", after.Milliseconds())
			m := c.open(name)
			id := m.ID()
			done := make(chan error, 1)
			go func() { done <- m.Join(c.ctx(10*time.Second), []string{"n1:7400"}) }()
			time.Sleep(after)
			c.crash(name)
			<-done
			m = c.open(name)
			if m.ID() != id {
				t.Fatalf("%s has a new id after a crash", name)
			}
			if err := m.Join(c.ctx(30*time.Second), []string{"n1:7400"}); err != nil && !errors.Is(err, ErrInitialised) {
				t.Fatalf("%s: join again: %v", name, err)
			}
			c.settled()
			if err := c.nodes["n1"].Leave(c.ctx(time.Minute), name); err != nil {
				t.Fatal(err)
			}
			c.stop(name)
			c.settled()
		}
	})
}

// A founding node that dies at any moment ends the founding by itself at its next start, or is blank.
func TestClusterInitCrash(t *testing.T) {
	for after := time.Duration(0); after < 4*time.Second; after = after*2 + time.Millisecond {
		t.Run(after.String(), func(t *testing.T) {
			inCluster(t, func(c *testCluster) {
				m := c.open("n1")
				done := make(chan error, 1)
				go func() { done <- m.Init(c.ctx(10*time.Second), InitOptions{Groups: 2}) }()
				time.Sleep(after)
				c.crash("n1")
				<-done
				m = c.open("n1")
				if !m.Initialised() {
					if err := m.Init(c.ctx(10*time.Second), InitOptions{Groups: 2}); err != nil {
						t.Fatalf("after %v: init again: %v", after, err)
					}
				}
				c.settled()
				c.put(0, 5)
				c.check(0, 5)
			})
		})
	}
}

// With one of three nodes down the rest serves, says so, and takes no vote from the dead.
func TestClusterStatusWithNodeDown(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 3)
		s, err := c.nodes["n1"].Status(c.ctx(5 * time.Second))
		if err != nil || s.Cluster.Tolerates != 1 {
			t.Fatalf("status %+v, %v", s.Cluster, err)
		}
		dead := c.nodes["n2"].ID()
		c.crash("n2")
		c.waitFor("the death to show", func() error {
			s, err := c.nodes["n3"].Status(c.ctx(5 * time.Second))
			if err != nil {
				return err
			}
			i := slices.IndexFunc(s.Nodes, func(n NodeStatus) bool { return n.ID == dead })
			warned := slices.ContainsFunc(s.Warnings, func(w Warning) bool { return strings.Contains(w.Mend, "kvorum leave "+dead) })
			if s.Cluster.Health != HealthDegraded || s.Cluster.Tolerates != 0 || s.Nodes[i].Alive || !warned {
				return fmt.Errorf("status %+v", s)
			}
			return nil
		})
		time.Sleep(30 * time.Second)
		g, _ := c.nodes["n1"].View().Group(1)
		if len(g.nodesWith(RoleVoter)) != 3 {
			t.Errorf("a dead node lost its vote: %+v", g)
		}
		c.crash("n3")
		c.waitFor("the loss of quorum to show", func() error {
			s, err := c.nodes["n1"].Status(c.ctx(5 * time.Second))
			if err != nil {
				return err
			}
			if s.Cluster.Health != HealthUnavailable || s.Cluster.Tolerates != -1 {
				return fmt.Errorf("status %+v", s.Cluster)
			}
			return nil
		})
		c.open("n2")
		c.open("n3")
		c.settled()
	})
}

// A node that comes back under another address is found again.
func TestClusterAddressChange(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 2)
		id := c.nodes["n2"].ID()
		c.stop("n2")
		c.config = func(name string, cfg *Config) {
			if name == "n2" {
				cfg.Addrs = map[string]string{"http": "n2:9999"}
			}
		}
		c.open("n2")
		c.settled()
		c.waitFor("the address to be known", func() error {
			if n, _ := c.nodes["n1"].View().Node(id); n.Addrs["http"] != "n2:9999" {
				return fmt.Errorf("%+v", n)
			}
			return nil
		})
	})
}

// Settings reach every data group, through whichever node they are changed.
func TestClusterConfigure(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 2)
		set := func(key string) Reply {
			out := make([]Reply, 1)
			c.nodes["n3"].Router().Do(c.ctx(5*time.Second), &Caller{Protocol: "internal"},
				[]fsm.Command{{Op: fsm.OpSet, Args: [][]byte{[]byte(key), make([]byte, 4096)}}}, out)
			return out[0]
		}
		if r := set("before"); r.Err != nil || r.Result.IsError() {
			t.Fatalf("set: %+v", r)
		}
		if err := c.nodes["n2"].Configure(c.ctx(5*time.Second), func(s *Settings) { s.MaxMemory = 64 }); err != nil {
			t.Fatal(err)
		}
		c.waitFor("the limit to hold", func() error {
			for _, key := range []string{"a", "b", "c", "d"} {
				set(key) // the first write may still go over the limit
				if r := set(key); r.Err != nil || r.Result.Code != fsm.CodeOOM {
					return fmt.Errorf("%s: %+v", key, r)
				}
			}
			return nil
		})
		if err := c.nodes["n2"].Configure(c.ctx(5*time.Second), func(s *Settings) { s.Groups++ }); !errors.Is(err, ErrRefused) {
			t.Errorf("changed the number of groups: %v", err)
		}
	})
}

// A folder that belongs to an unknown cluster joins nothing and founds nothing.
func TestClusterHasData(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		m := c.open("n1")
		if err := m.rn.SetCluster("somewhere"); err != nil {
			t.Fatal(err)
		}
		if err := m.Join(c.ctx(time.Second), []string{"n2:7400"}); !errors.Is(err, ErrHasData) {
			t.Errorf("join: %v", err)
		}
		if err := m.Init(c.ctx(time.Second), InitOptions{}); !errors.Is(err, ErrHasData) {
			t.Errorf("init: %v", err)
		}
	})
}

// Leadership goes where it is told and stays there.
func TestClusterTransferLeader(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 3)
		v := c.nodes["n1"].View()
		g, _ := v.Group(1)
		for _, name := range []string{"n1", "n2", "n3"} {
			if c.nodes[name].ID() == g.Lead {
				continue
			}
			if err := c.nodes["n1"].TransferLeader(c.ctx(10*time.Second), 1, name); err != nil {
				t.Fatal(err)
			}
			c.waitFor("the transfer", func() error {
				if r := c.nodes[name].local(1); r == nil || !r.group.IsLeader() {
					return errors.New("not yet")
				}
				return nil
			})
			break
		}
		if err := c.nodes["n1"].TransferLeader(c.ctx(time.Second), 99, "n1"); !errors.Is(err, ErrNoSuchGroup) {
			t.Errorf("transfer of no group: %v", err)
		}
		if err := c.nodes["n1"].Snapshot(c.ctx(10 * time.Second)); err != nil {
			t.Errorf("snapshot: %v", err)
		}
	})
}

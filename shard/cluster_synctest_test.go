// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode"
)

// testCluster is a world of whole nodes in one bubble.
type testCluster struct {
	t     testing.TB
	world *host.World
	nodes map[string]*testMember
	// config changes a node's configuration before it opens.
	config func(name string, c *Config)
}

// testMember is one life of a node.
type testMember struct {
	*Node
	name string
	rn   *raftnode.Node
	// dead is set before a crash: what the dying process says is of no interest.
	dead atomic.Bool
}

// inCluster runs f on an empty world.
func inCluster(t *testing.T, f func(c *testCluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := fnv.New64a()
		h.Write([]byte(t.Name()))
		c := &testCluster{t: t, world: host.NewWorld(h.Sum64()), nodes: map[string]*testMember{}}
		f(c)
		c.world.HealAll()
		for _, name := range c.names() {
			c.stop(name)
		}
		c.world.Close()
	})
}

// newTestCluster makes a cluster of n nodes, n1 … nN, and waits until it is at its goal.
func newTestCluster(c *testCluster, n, groups int) {
	c.t.Helper()
	c.open("n1")
	if err := c.nodes["n1"].Init(c.ctx(30*time.Second), InitOptions{Groups: groups}); err != nil {
		c.t.Fatalf("init: %v", err)
	}
	for i := 2; i <= n; i++ {
		c.join(fmt.Sprint("n", i), "n1:7400")
	}
	c.settled()
}

func (c *testCluster) ctx(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *testCluster) names() []string {
	var names []string
	for name := range c.nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func testLogger(name string) *slog.Logger {
	if os.Getenv("KVORUM_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})).With("host", name)
}

// open starts a node's process.
func (c *testCluster) open(name string) *testMember {
	c.t.Helper()
	h := c.world.Host(name)
	rc := raftnode.DefaultConfig()
	rc.Dir, rc.Listen, rc.Advertise, rc.Logger = "/data", ":7400", name+":7400", testLogger(name)
	rc.DiskReserve, rc.SegmentBytes = 0, 64<<10
	m := &testMember{name: name}
	fatal := func(err error) {
		if !m.dead.Load() {
			c.t.Errorf("%s: fatal: %v", name, err)
		}
	}
	rc.Events.Fatal = fatal
	rn, err := raftnode.Open(h, rc)
	if err != nil {
		c.t.Fatalf("open %s: %v", name, err)
	}
	cfg := Config{
		Name: name, Version: "test", Logger: testLogger(name), Addrs: map[string]string{"http": name + ":7401"},
		Fatal: fatal,
	}
	if c.config != nil {
		c.config(name, &cfg)
	}
	n, err := Open(h, rn, cfg)
	if err != nil {
		c.t.Fatalf("open %s: %v", name, err)
	}
	m.Node, m.rn = n, rn
	c.nodes[name] = m
	return m
}

func (c *testCluster) stop(name string) {
	c.t.Helper()
	m := c.nodes[name]
	delete(c.nodes, name)
	if err := errors.Join(m.Node.Close(), m.rn.Close()); err != nil {
		c.t.Errorf("close %s: %v", name, err)
	}
}

// crash kills a node: what was synced survives, and of the rest what the policy says.
func (c *testCluster) crash(name string, policy ...host.CrashPolicy) {
	m := c.nodes[name]
	delete(c.nodes, name)
	m.dead.Store(true)
	c.world.Crash(name, policy...)
	_ = m.Node.Close() // joins the goroutines of the dead process
	_ = m.rn.Close()
}

func (c *testCluster) join(name, member string) *testMember {
	c.t.Helper()
	m := c.open(name)
	if err := m.Join(c.ctx(30*time.Second), []string{member}); err != nil {
		c.t.Fatalf("join %s: %v", name, err)
	}
	return m
}

// waitFor polls in virtual time.
func (c *testCluster) waitFor(what string, f func() error) {
	c.t.Helper()
	var err error
	for start := time.Now(); time.Since(start) < 3*time.Minute; time.Sleep(100 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	c.t.Fatalf("waited for minutes: %s: %v", what, err)
}

// settled waits until all running members agree that the cluster is at its goal: every group has the
// replicas and voters it should have, leaders are spread, everybody is ready and the data agree.
func (c *testCluster) settled() {
	c.t.Helper()
	c.waitFor("the cluster to settle", func() error {
		for _, name := range c.names() {
			m := c.nodes[name]
			if err := m.Ready(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			s, err := m.Status(c.ctx(5 * time.Second))
			if err != nil {
				return err
			}
			if err := atGoal(&s, len(c.nodes)); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	})
	c.agree()
}

func atGoal(s *Status, nodes int) error {
	if s.Cluster.Health != HealthOK || len(s.Nodes) != nodes {
		return fmt.Errorf("health %s, %d nodes, warnings %+v", s.Cluster.Health, len(s.Nodes), s.Warnings)
	}
	leads := map[string]int{}
	for _, g := range s.Groups {
		want, members := oddBelow(min(s.Cluster.Replicas, nodes)), min(s.Cluster.Replicas, nodes)
		if g.ID == controlGroup {
			want, members = controlVotes(nodes), nodes
		} else {
			leads[g.Leader]++
		}
		if len(g.Voters) != want || len(g.Voters)+len(g.Learners) != members {
			return fmt.Errorf("group %d has voters %+v, learners %+v", g.ID, g.Voters, g.Learners)
		}
	}
	if nodes >= 3 {
		data := len(s.Groups) - 1
		for _, n := range s.Nodes {
			if leads[n.ID] > (data+nodes-1)/nodes || leads[n.ID] < data/nodes {
				return fmt.Errorf("leaders are spread %v", leads)
			}
		}
	}
	return nil
}

// agree compares the digests of all replicas.
func (c *testCluster) agree() {
	c.t.Helper()
	name := c.names()[0]
	c.waitFor("digests to agree", func() error {
		ds, err := c.nodes[name].Digest(c.ctx(30 * time.Second))
		if err != nil {
			return err
		}
		byGroup := map[uint32]ReplicaDigest{}
		for _, d := range ds {
			first, seen := byGroup[d.Group]
			if !seen {
				byGroup[d.Group] = d
				continue
			}
			if d.Applied != first.Applied {
				return fmt.Errorf("group %d: taken at %d and %d", d.Group, d.Applied, first.Applied)
			}
			if d.Digest != first.Digest {
				c.t.Fatalf("group %d: %s has %s, %s has %s", d.Group, d.Node, d.Digest, first.Node, first.Digest)
			}
		}
		if v := c.nodes[name].View(); len(byGroup) != len(v.Groups) {
			return fmt.Errorf("digests of %d of %d groups", len(byGroup), len(v.Groups))
		}
		return nil
	})
}

// put writes keys straight to the groups' leaders, until each is acknowledged.
func (c *testCluster) put(from, to int) {
	c.t.Helper()
	for i := from; i < to; i++ {
		key := fmt.Appendf(nil, "key-%d", i)
		c.waitFor("write of "+string(key), func() error {
			for _, m := range c.nodes {
				v := m.View()
				if v == nil {
					continue
				}
				r := m.local(v.Slots[fsm.SlotOf(key)])
				if r == nil || !r.group.IsLeader() {
					continue
				}
				_, err := submitOne(c.ctx(5*time.Second), r.group, fsm.Command{Op: fsm.OpSet, Args: [][]byte{key, key}})
				return err
			}
			return errors.New("no leader")
		})
	}
}

// check reads keys from the groups' leaders.
func (c *testCluster) check(from, to int) {
	c.t.Helper()
	for i := from; i < to; i++ {
		key := fmt.Appendf(nil, "key-%d", i)
		c.waitFor("read of "+string(key), func() error {
			for _, m := range c.nodes {
				r := m.local(m.View().Slots[fsm.SlotOf(key)])
				if r == nil || !r.group.IsLeader() {
					continue
				}
				out := make([]fsm.Result, 1)
				if err := r.group.Read(c.ctx(5*time.Second), []fsm.Command{{Op: fsm.OpGet, Args: [][]byte{key}}}, out); err != nil {
					return err
				}
				if string(out[0].Str) != string(key) {
					c.t.Fatalf("%s is %q on %s", key, out[0].Str, m.name)
				}
				return nil
			}
			return errors.New("no leader")
		})
	}
}

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

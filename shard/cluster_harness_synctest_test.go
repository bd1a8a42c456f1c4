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
	// runtime does the same for its consensus runtime.
	runtime func(name string, c *raftnode.Config)
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
	if c.runtime != nil {
		c.runtime(name, &rc)
	}
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
				if err := r.group.Read(c.ctx(5*time.Second), []fsm.Command{{Op: fsm.OpGet, Args: [][]byte{key}}}, out, nil); err != nil {
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

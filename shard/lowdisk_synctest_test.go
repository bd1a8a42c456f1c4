// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kvorum/kvorum/raftnode"
)

// lowReserve is the disk reserve of the nodes that run low.
const lowReserve = 8 << 20

// onDisks runs f on three nodes and one data group with disk reserves.
func onDisks(t *testing.T, f func(c *testCluster)) {
	inCluster(t, func(c *testCluster) {
		c.runtime = func(_ string, rc *raftnode.Config) { rc.DiskReserve = lowReserve }
		newTestCluster(c, 3, 1)
		f(c)
		c.setLow()
		c.settled()
	})
}

// setLow leaves the named nodes less disk than the reserve and all others plenty, and waits until they know and have
// told it.
func (c *testCluster) setLow(names ...string) {
	c.t.Helper()
	for _, name := range c.names() {
		disk, low := c.world.FS(name), slices.Contains(names, name)
		if disk.SetQuota(0); low {
			disk.SetQuota(disk.Used() + lowReserve/2)
		}
		c.waitFor(name+" to know its disk", func() error {
			if got := c.nodes[name].rn.LowDisk(); got != low {
				return fmt.Errorf("low: %v", got)
			}
			return nil
		})
	}
	time.Sleep(2 * time.Second)
}

// leader names the node that leads the data group.
func (c *testCluster) leader() (name string) {
	c.t.Helper()
	c.waitFor("a leader", func() error {
		for _, name = range c.names() {
			if c.nodes[name].local(1).group.IsLeader() {
				return nil
			}
		}
		return errors.New("none")
	})
	return name
}

// prefer makes a node the preferred leader of the data group, as the governor does.
func (c *testCluster) prefer(name string) {
	c.t.Helper()
	n := c.nodes[name]
	g, _ := n.View().Group(1)
	if _, err := n.propose(c.ctx(10*time.Second), &cmdPrefer{Group: 1, If: g.Rev, Node: n.ID()}); err != nil {
		c.t.Fatalf("prefer %s: %v", name, err)
	}
}

// roles names the leader of the data group, a node to prefer and the third one.
func (c *testCluster) roles() (leader, heir, third string) {
	c.t.Helper()
	leader = c.leader()
	rest := slices.DeleteFunc(c.names(), func(name string) bool { return name == leader })
	return leader, rest[0], rest[1]
}

// TestLowDisksKeepLeaders: no leadership moves for balance to where growing writes are refused; it moves as soon
// as there is space.
func TestLowDisksKeepLeaders(t *testing.T) {
	for what, low := range map[string]func(leader, heir, third string) []string{
		"all":              func(leader, heir, third string) []string { return []string{leader, heir, third} },
		"heir":             func(_, heir, _ string) []string { return []string{heir} },
		"leader and heir":  func(leader, heir, _ string) []string { return []string{leader, heir} },
		"leader and third": func(leader, _, third string) []string { return []string{leader, third} },
	} {
		t.Run(what, func(t *testing.T) {
			onDisks(t, func(c *testCluster) {
				leader, heir, third := c.roles()
				c.setLow(low(leader, heir, third)...)
				c.prefer(heir)
				began := time.Now()
				for c.leader() == leader && time.Since(began) < time.Minute {
					time.Sleep(100 * time.Millisecond)
				}
				if now := c.leader(); now != leader {
					t.Errorf("leadership went from %s to %s after %v on low disks", leader, now, time.Since(began))
				}
				c.setLow()
				c.waitFor(heir+" to lead", func() error {
					if now := c.leader(); now != heir {
						return fmt.Errorf("%s leads", now)
					}
					return nil
				})
			})
		})
	}
}

// TestLowDisksAndRoomElsewhere: a leader that is low gives way to a preferred one that is not, and a third one that
// is low hinders nobody.
func TestLowDisksAndRoomElsewhere(t *testing.T) {
	onDisks(t, func(c *testCluster) {
		for _, lowLeader := range []bool{true, false} {
			leader, heir, third := c.roles()
			low := third
			if lowLeader {
				low = leader
			}
			c.setLow(low)
			c.prefer(heir)
			c.waitFor(heir+" to lead", func() error {
				if now := c.leader(); now != heir {
					return fmt.Errorf("%s leads", now)
				}
				return nil
			})
			c.setLow()
		}
	})
}

// TestLowDisksAndLeave: a node that leaves hands over what it leads, low disks or not.
func TestLowDisksAndLeave(t *testing.T) {
	onDisks(t, func(c *testCluster) {
		c.join("n4", "n1:7400")
		c.settled()
		leader := c.leader()
		c.setLow(c.names()...)
		if err := c.nodes[leader].Leave(c.ctx(2*time.Minute), leader); err != nil {
			t.Fatalf("leave on low disks: %v", err)
		}
		<-c.nodes[leader].Left()
		c.stop(leader)
	})
}

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/raftnode"
)

// hookedHost calls hook before each lifecycle call; what it returns is the call's outcome.
type hookedHost struct {
	replicaHost
	mu   sync.Mutex
	hook func(op string, group uint32) error
}

func (h *hookedHost) on(hook func(op string, group uint32) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hook = hook
}

func (h *hookedHost) before(op string, group uint32) error {
	h.mu.Lock()
	hook := h.hook
	h.mu.Unlock()
	if hook == nil {
		return nil
	}
	if err := hook(op, group); err != nil {
		return fmt.Errorf("raftnode: %s group %d: %w", op, group, err)
	}
	return nil
}

func (h *hookedHost) StartGroup(cfg raftnode.GroupConfig) (*raftnode.Group, error) {
	if err := h.before("start", cfg.Group); err != nil {
		return nil, err
	}
	return h.replicaHost.StartGroup(cfg)
}

func (h *hookedHost) StopGroup(group uint32) error {
	if err := h.before("stop", group); err != nil {
		return err
	}
	return h.replicaHost.StopGroup(group)
}

func (h *hookedHost) RemoveGroup(group uint32) error {
	if err := h.before("remove", group); err != nil {
		return err
	}
	return h.replicaHost.RemoveGroup(group)
}

// hooked makes the lifecycle calls of every node opened later pass through a hookedHost.
func (c *testCluster) hooked() map[string]*hookedHost {
	hosts := map[string]*hookedHost{}
	c.config = func(name string, cfg *Config) {
		cfg.wrapHost = func(rh replicaHost) replicaHost {
			hosts[name] = &hookedHost{replicaHost: rh}
			return hosts[name]
		}
	}
	return hosts
}

// firstTimes makes a hook that answers err to the first n calls of each of ops for each group.
func firstTimes(n int, err error, ops ...string) func(op string, group uint32) error {
	var mu sync.Mutex
	left := map[string]int{}
	for _, op := range ops {
		left[op] = n
	}
	seen := map[string]int{}
	return func(op string, group uint32) error {
		mu.Lock()
		defer mu.Unlock()
		key := fmt.Sprint(op, group)
		if seen[key] >= left[op] {
			return nil
		}
		seen[key]++
		return err
	}
}

// consistent: what the node keeps in its table is what runs and what is recorded.
func (m *testMember) consistent() error {
	local := m.localReplicas()
	for _, r := range local {
		if g, runs := m.rn.Group(r.id); !runs || g != r.group {
			return fmt.Errorf("replica %d of group %d is in the table and does not run", r.number, r.id)
		}
	}
	if records := m.rn.Groups(); len(records) != len(local) || len(m.rn.Running()) != len(local) {
		return fmt.Errorf("%d replicas in the table, %d running, recorded %v", len(local), len(m.rn.Running()), records)
	}
	return nil
}

func (m *testMember) hasLeft() error {
	select {
	case <-m.Left():
		return nil
	default:
		return errors.New("not yet")
	}
}

// TestDropWhileGroupIsBusy: a group that is being restarted in place when its replica is to be deleted is
// deleted later; neither the leaving of one group nor that of the whole node leaves anything behind.
func TestDropWhileGroupIsBusy(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		hosts := c.hooked()
		newTestCluster(c, 3, 2)
		hosts["n3"].on(firstTimes(5, raftnode.ErrExists, "remove"))
		m := c.nodes["n3"]
		if err := c.nodes["n1"].Leave(c.ctx(2*time.Minute), "n3"); err != nil {
			t.Fatalf("leave: %v", err)
		}
		c.waitFor("n3 to end", m.hasLeft)
		if err := m.consistent(); err != nil || len(m.rn.Groups()) != 0 {
			t.Errorf("after the node left: %v, recorded %v", err, m.rn.Groups())
		}
	})
}

// TestDropHalfDone: a replica that was stopped and then not deleted is no running replica any more, and
// is deleted later.
func TestDropHalfDone(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		hosts := c.hooked()
		newTestCluster(c, 4, 2)
		h, m := hosts["n4"], c.nodes["n4"]
		fault := errors.New("disk says no")
		again := firstTimes(3, fault, "remove")
		h.on(func(op string, group uint32) error {
			err := again(op, group)
			if err != nil {
				if stop := h.replicaHost.StopGroup(group); stop != nil && !errors.Is(stop, raftnode.ErrNoGroup) {
					t.Errorf("stop: %v", stop)
				}
			}
			return err
		})
		if err := c.nodes["n1"].Leave(c.ctx(2*time.Minute), "n4"); err != nil {
			t.Fatalf("leave: %v", err)
		}
		c.waitFor("n4 to end", m.hasLeft)
		if err := m.consistent(); err != nil || len(m.rn.Groups()) != 0 {
			t.Errorf("after the node left: %v, recorded %v", err, m.rn.Groups())
		}
	})
}

// TestRestartWhileGroupIsBusy: a replica that is to be restarted while its group restarts in place goes
// on in service until it can be stopped, and is started as often as it takes; the control group's too.
func TestRestartWhileGroupIsBusy(t *testing.T) {
	for _, group := range []uint32{controlGroup, 1} {
		t.Run(fmt.Sprint("group ", group), func(t *testing.T) {
			inCluster(t, func(c *testCluster) {
				hosts := c.hooked()
				newTestCluster(c, 1, 2)
				c.put(0, 10)
				m := c.nodes["n1"]
				busy := make(chan struct{})
				starts := firstTimes(3, raftnode.ErrExists, "start")
				hosts["n1"].on(func(op string, g uint32) error {
					select {
					case <-busy:
						return starts(op, g)
					default:
						return raftnode.ErrExists
					}
				})
				r := m.local(group)
				r.restart.Store(true)
				m.kick()
				time.Sleep(3 * time.Second)
				if m.local(group) != r || m.consistent() != nil {
					t.Errorf("the replica left service while it could not be stopped: %v", m.consistent())
				}
				c.put(10, 20)
				close(busy)
				c.waitFor("the restart", func() error {
					if now := m.local(group); now == nil || now == r {
						return errors.New("not restarted yet")
					}
					return m.consistent()
				})
				select {
				case <-r.done:
				default:
					t.Error("the old replica's keeper goes on")
				}
				c.settled()
				c.check(0, 20)
			})
		})
	}
}

// TestRestartWhileClosing: a replica that is to be restarted when the runtime closes is left alone, and
// nothing is fatal.
func TestRestartWhileClosing(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 1, 2)
		m := c.nodes["n1"]
		if err := m.rn.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		for _, r := range m.localReplicas() {
			r.restart.Store(true)
		}
		m.kick()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(m.localReplicas()) != 3 {
			t.Errorf("replicas left the table: %v", m.holdings())
		}
	})
}

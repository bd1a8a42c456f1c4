// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// entryWatch notes the cluster versions that the entries of a node's groups carry.
type entryWatch struct {
	replicaHost
	mu   sync.Mutex
	seen map[uint32][]uint32
}

func (w *entryWatch) StartGroup(cfg raftnode.GroupConfig) (*raftnode.Group, error) {
	cfg.Machine = &watchedMachine{Machine: cfg.Machine, w: w, group: cfg.Group}
	return w.replicaHost.StartGroup(cfg)
}

// take returns the versions of the entries that a group applied since the last call.
func (w *entryWatch) take(group uint32) []uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen[group]
	w.seen[group] = nil
	return seen
}

type watchedMachine struct {
	raftnode.Machine
	w     *entryWatch
	group uint32
}

func (m *watchedMachine) Apply(index, term uint64, data []byte, subs []*fsm.Sub) {
	if e, err := fsm.ParseEntry(data); err == nil {
		m.w.mu.Lock()
		m.w.seen[m.group] = append(m.w.seen[m.group], e.Header.ClusterVersion)
		m.w.mu.Unlock()
	}
	m.Machine.Apply(index, term, data, subs)
}

// TestEntriesCarryClusterVersion: what a leader proposes carries the cluster version of its View, in the
// control group and in data groups, also after that version changed and after a restart.
func TestEntriesCarryClusterVersion(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		var watch *entryWatch
		c.config = func(_ string, cfg *Config) {
			cfg.wrapHost = func(rh replicaHost) replicaHost {
				watch = &entryWatch{replicaHost: rh, seen: map[uint32][]uint32{}}
				return watch
			}
		}
		check := func(when string, want uint32, groups ...uint32) {
			t.Helper()
			for _, g := range groups {
				seen := watch.take(g)
				if len(seen) == 0 || slices.ContainsFunc(seen, func(v uint32) bool { return v != want }) {
					t.Errorf("%s: entries of group %d carry %v, want all %d", when, g, seen, want)
				}
			}
		}
		write := func() {
			t.Helper()
			for _, g := range []uint32{controlGroup, 1, 2} {
				watch.take(g)
			}
			m := c.nodes["n1"]
			if err := m.Configure(c.ctx(time.Minute), func(s *Settings) { s.DefaultTTLMillis += 1000 }); err != nil {
				t.Fatalf("configure: %v", err)
			}
			c.put(0, 20) // some for each data group
		}
		newTestCluster(c, 1, 2)
		check("founded", fsm.MaxClusterVersion, 1, 2)
		write()
		check("written", fsm.MaxClusterVersion, controlGroup, 1, 2)
		m := c.nodes["n1"]
		next := *m.View()
		next.Revision, next.ClusterVersion = next.Revision+100, fsm.MaxClusterVersion-1
		m.publish(&next)
		c.put(0, 20)
		for _, g := range []uint32{1, 2} {
			watch.take(g)
		}
		c.put(0, 20)
		check("another version", fsm.MaxClusterVersion-1, 1, 2)
		c.crash("n1")
		c.open("n1")
		c.settled()
		write()
		check("restarted", fsm.MaxClusterVersion, controlGroup, 1, 2)
	})
}

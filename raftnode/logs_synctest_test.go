// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"
)

// TestLogLost: a follower that ran before and has no log any more does not start with an empty one: it
// would have forgotten what it acknowledged, and the leader may have nobody else who knows.
func TestLogLost(t *testing.T) {
	inWorld(t, func(b *bench) {
		nodes := b.cluster("n1", "n2", "n3")
		b.write("k", "v")
		n := b.others(nodes[0])[0]
		n.crash()
		if err := b.world.Host(n.name).FS.RemoveAll(path.Join(n.group.dir, walName)); err != nil {
			t.Fatal(err)
		}
		again := b.open(n.name)
		_, err := again.node.StartGroup(GroupConfig{Group: testGroup, Replica: replicaOf(n.name), Machine: again.machineOnly()})
		if !errors.Is(err, ErrDataLost) || !strings.Contains(err.Error(), "join it as a new node") {
			t.Errorf("started: %v", err)
		}
		again.close()
	})
}

// TestLeaderReplicatesFromMemory: as long as its followers keep up a leader reads nothing back from its
// log, and neither does a follower to apply; a follower that was away for longer than the memory
// reaches is served from the disk.
func TestLeaderReplicatesFromMemory(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.LogTailBytes = 2 << 20 }
		b.cluster("n1", "n2", "n3")
		value := strings.Repeat("v", 100_000)
		fill := func(writes int) {
			for i := range writes {
				b.write(fmt.Sprint("k", i%10), fmt.Sprint(i, value))
			}
		}
		fill(10)
		b.converged()
		reads := func() (sum uint64) {
			for _, n := range b.live() {
				sum += n.group.Status().LogReads
			}
			return sum
		}
		before := reads()
		fill(100) // five times what the memory holds
		b.converged()
		if n := reads() - before; n != 0 {
			t.Errorf("%d entries were read from disk", n)
		}
		lead := b.leader()
		away := b.others(lead)[0]
		for _, n := range b.live() {
			if n != away {
				b.world.Isolate(away.name, n.name)
			}
		}
		fill(100)
		before = lead.group.Status().LogReads
		b.world.HealAll()
		b.converged()
		if lead != b.leader() {
			t.Skip("another leader was elected meanwhile")
		}
		if n := lead.group.Status().LogReads - before; n < 50 {
			t.Errorf("only %d entries were read for a follower that was away", n)
		}
	})
}

// TestTailIsSharedByGroups: the memory for newest entries is the node's; every group that runs has the
// same part of it, and gets more when others stop.
func TestTailIsSharedByGroups(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.LogTailBytes = 12 << 20 }
		n := b.open("n1").start(1, true)
		want := func(bytes int64) {
			t.Helper()
			for _, g := range n.node.Running() {
				if got := g.logs.TailLimit(); got != bytes {
					t.Errorf("%d groups: group %d may hold %d bytes, want %d", len(n.node.Running()), g.ID(), got, bytes)
				}
			}
		}
		want(12 << 20)
		for id := uint32(100); id < 119; id++ {
			if _, err := n.node.StartGroup(GroupConfig{Group: id, Replica: 1, Machine: n.machineOnly(), Bootstrap: true}); err != nil {
				t.Fatal(err)
			}
			switch len(n.node.Running()) {
			case 3:
				want(4 << 20)
			case 20:
				want(minTailBytes)
			}
		}
		for id := uint32(100); id < 118; id++ {
			if err := n.node.StopGroup(id); err != nil {
				t.Fatal(err)
			}
		}
		want(6 << 20)
		n.close()
	})
}

// TestLogReleasedByBytes: what stays of the log behind a snapshot is counted in bytes: a group of large
// values does not keep hundreds of them.
func TestLogReleasedByBytes(t *testing.T) {
	inWorld(t, func(b *bench) {
		const due = 16 << 20
		b.cfg = func(_ string, c *Config) { c.SnapshotLogBytes = due }
		lead := b.cluster("n1")[0]
		value := strings.Repeat("v", 1<<20)
		var most uint64
		for i := range 120 {
			b.write("k", fmt.Sprint(i, value))
			b.sleep(50 * time.Millisecond)
			most = max(most, lead.group.logs.Bytes())
		}
		if most > due+due/trailingShare+8<<20 {
			t.Errorf("the log took %d MiB", most>>20)
		}
		if first, _ := lead.group.logs.FirstIndex(); first < 100 {
			t.Errorf("the log begins at %d", first)
		}
	})
}

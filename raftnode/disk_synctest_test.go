// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

const testReserve = 8 << 20

// fillDisk leaves a node so many bytes of free space.
func (n *testNode) fillDisk(free int64) {
	disk := n.b.world.FS(n.name)
	disk.SetQuota(disk.Used() + free)
}

func (n *testNode) freeDisk() { n.b.world.FS(n.name).SetQuota(1 << 40) }

func delCmd(key string) fsm.Command { return fsm.Command{Op: fsm.OpDel, Args: [][]byte{[]byte(key)}} }

// TestLowDiskOfLeader: a leader below its reserve refuses what grows, as not applied, and serves reads,
// deletes and snapshots; it recovers by itself when there is space.
func TestLowDiskOfLeader(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.DiskReserve = testReserve }
		b.cluster("n1", "n2", "n3")
		b.write("k", "v")
		lead := b.leader()
		lead.fillDisk(testReserve / 2)
		b.waitFor("the leader to refuse", func() bool { return errors.Is(lead.set("k", "w"), ErrNoSpace) })
		if got, err := lead.get(b.t.Context(), "k"); err != nil || got == "" {
			t.Errorf("read: %q, %v", got, err)
		}
		lead.must(delCmd("gone"))
		if err := lead.group.Snapshot(b.t.Context()); err != nil {
			t.Errorf("snapshot: %v", err)
		}
		if st := lead.group.Status(); !st.LowDisk || !st.Leading {
			t.Errorf("status: %+v", st)
		}
		lead.freeDisk()
		b.waitFor("writes again", func() bool { return lead.set("k", "x") == nil })
		b.converged()
	})
}

// TestLowDiskOfMajority: a leader with plenty of space refuses growth when a majority has none, and
// not when only a minority has none.
func TestLowDiskOfMajority(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.DiskReserve = testReserve }
		b.cluster("n1", "n2", "n3")
		b.write("k", "v")
		lead := b.leader()
		rest := b.others(lead)
		rest[0].fillDisk(testReserve / 2)
		b.sleep(5 * time.Second)
		if err := lead.set("k", "w"); err != nil {
			t.Errorf("one low follower: %v", err)
		}
		rest[1].fillDisk(testReserve / 2)
		b.waitFor("the leader to refuse", func() bool { return errors.Is(lead.set("k", "w"), ErrNoSpace) })
		lead.must(delCmd("gone"))
		rest[0].freeDisk()
		b.waitFor("writes again", func() bool { return lead.set("k", "x") == nil })
		rest[1].freeDisk()
		b.converged()
	})
}

// TestFullDisks: the disks fill up to the last byte, of one node and then of all, under load. Nothing
// stops, nothing acknowledged is lost, reads work, and freed space restores writes without a restart.
func TestFullDisks(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.DiskReserve, c.SnapshotLogBytes = testReserve, 2<<20 }
		b.cluster("n1", "n2", "n3")
		value := strings.Repeat("v", 10_000)
		acked := make(map[string]string)
		fill := func(rounds int) (refused int) {
			for i := range rounds {
				key, want := fmt.Sprintf("k%d", i%50), fmt.Sprint(i, value)
				err := b.leader().set(key, want)
				switch {
				case err == nil:
					acked[key] = want
				case IsNotApplied(err):
					refused++
					b.sleep(5 * time.Millisecond)
				default: // unknown: any of the two from here on
					delete(acked, key)
					b.sleep(5 * time.Millisecond)
				}
			}
			return refused
		}
		fill(100)
		b.live()[0].fillDisk(100_000)
		fill(300)
		for _, n := range b.live() {
			n.fillDisk(100_000)
		}
		refused := 0
		for range 5 {
			refused += fill(100)
			b.sleep(time.Second)
		}
		if refused == 0 {
			t.Error("nothing was refused on full disks")
		}
		lead := b.leader()
		ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
		defer cancel()
		for key, want := range acked {
			if got, err := lead.get(ctx, key); err != nil || got != want {
				t.Fatalf("%s: %.20q, %v; want %.20q", key, got, err, want)
			}
		}
		for _, n := range b.live() {
			n.freeDisk()
		}
		b.write("after", "1")
		b.converged()
		for key, want := range acked {
			if got := b.leader().local(key); got != want {
				t.Fatalf("%s: %.20q; want %.20q", key, got, want)
			}
		}
	})
}

// TestReserveFile: on a full disk the reserve file makes room for the snapshot that lets the log be cut,
// and comes back when there is space.
func TestReserveFile(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.DiskReserve = testReserve }
		n := b.cluster("n1")[0]
		for i := range 20 {
			b.write(fmt.Sprint(i), strings.Repeat("v", 50_000))
		}
		if !n.node.reserve.mu.held {
			t.Fatal("no reserve file on a roomy disk")
		}
		n.fillDisk(10_000)
		b.waitFor("low", n.node.LowDisk)
		if err := n.group.Snapshot(b.t.Context()); err != nil {
			t.Errorf("snapshot on a full disk: %v", err)
		}
		n.freeDisk()
		b.waitFor("the reserve file to come back", func() bool { return !n.node.LowDisk() && n.node.reserve.mu.held })
		b.write("after", "1")
	})
}

// TestDiskErrorIsFatal: a real I/O error stops the process and nothing else of the cluster.
func TestDiskErrorIsFatal(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		b.write("k", "v")
		lead := b.leader()
		b.world.FS(lead.name).FailNextSync(errors.New("input/output error"))
		_ = lead.set("k", "w")
		b.waitFor("fatal", func() bool {
			lead.mu.Lock()
			defer lead.mu.Unlock()
			return len(lead.fatal) == 1
		})
		lead.crash()
		b.write("k", "x")
		b.reopen(lead.name, replicaOf(lead.name))
		b.converged()
	})
}

// TestFullDiskBehindTruncation: a follower cuts a conflicting suffix off its log and then finds no space
// for what belongs there. raft keeps believing in the suffix and would refuse every append from then on;
// the replica is restarted in place.
func TestFullDiskBehindTruncation(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		b.write("k", "v")
		old := b.leader()
		rest := b.others(old)
		b.world.Isolate(old.name, rest[0].name, rest[1].name)
		for i := range 5 { // a suffix that will never be committed
			old.group.Submit(pack(setCmd("lost", fmt.Sprint(i))), nop)
			b.sleep(10 * time.Millisecond)
		}
		b.waitFor("a new leader", func() bool { return rest[0].group.IsLeader() || rest[1].group.IsLeader() })
		b.write("k", "w")
		full := fmt.Errorf("append: %w", logstore.ErrNoSpace)
		old.storeErr.Store(&full)
		b.world.HealAll()
		b.sleep(3 * time.Second)
		old.storeErr.Store(nil)
		b.write("k", "x")
		b.waitFor("the old leader to catch up", func() bool { return old.local("k") == "x" })
		if got := old.local("lost"); got != "" {
			t.Errorf("an entry that was never committed is here: %q", got)
		}
		b.converged()
	})
}

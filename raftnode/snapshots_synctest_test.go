// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSnapshotAndInstall: a group is snapshotted by log bytes, its log is cut, a node that comes late
// gets the snapshot and then the log, and restarts load snapshots.
func TestSnapshotAndInstall(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.SnapshotLogBytes = 256 << 10 }
		b.cluster("n1", "n2", "n3")
		value := strings.Repeat("v", 1000)
		fill := func(from, to int) {
			for i := from; i < to; i++ {
				b.write(fmt.Sprintf("k%d", i%300), fmt.Sprint(i, value))
			}
		}
		fill(0, 1500)
		lead := b.leader()
		b.waitFor("a snapshot", func() bool { return lead.group.Status().SnapshotIndex > 0 })
		first, err := lead.group.logs.FirstIndex()
		if err != nil || first < 100 {
			t.Fatalf("the log was not cut: first index %d, %v", first, err)
		}
		last, _ := lead.group.logs.LastIndex()
		if last-first < minTrailingLogs-1 {
			t.Errorf("only %d entries were kept", last-first)
		}
		late := b.open("n4").start(4, false)
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
		defer cancel()
		if err := lead.group.AddNonvoter(ctx, late.node.ID(), 4, 0); err != nil {
			t.Fatal(err)
		}
		fill(1500, 1600)
		b.converged()
		if late.group.Status().SnapshotIndex == 0 {
			t.Error("the late node did it without a snapshot")
		}
		for _, n := range b.live() {
			n.crash()
			b.reopen(n.name, replicaOf(n.name))
		}
		fill(1600, 1610)
		b.converged()
	})
}

// TestSnapshotNow: an explicit snapshot, and one with nothing new.
func TestSnapshotNow(t *testing.T) {
	inWorld(t, func(b *bench) {
		n := b.cluster("n1")[0]
		b.write("k", "v")
		if err := n.group.Snapshot(b.t.Context()); err != nil {
			t.Fatal(err)
		}
		at := n.group.Status().SnapshotIndex
		if at == 0 {
			t.Fatal("no snapshot")
		}
		if err := n.group.Snapshot(b.t.Context()); err != nil {
			t.Fatal(err)
		}
		if again := n.group.Status().SnapshotIndex; again != at {
			t.Errorf("a second snapshot at %d with nothing new since %d", again, at)
		}
		n.crash()
		n = b.reopen("n1", 1)
		if got := n.local("k"); got != "v" {
			t.Errorf("restored %q", got)
		}
		b.write("k", "w")
	})
}

// TestRepairLog: what an install that died in the middle leaves is put in order at the next start.
func TestRepairLog(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		for i := range 50 {
			b.write("k", fmt.Sprint(i))
		}
		lead := b.leader()
		victim := b.others(lead)[0]
		victim.crash()
		// The log ends before the snapshot: as if the snapshot of the leader had been committed and
		// the log not yet dropped.
		if err := lead.group.Snapshot(b.t.Context()); err != nil {
			t.Fatal(err)
		}
		b.copySnapshot(lead, victim)
		b.write("k", "last")
		again := b.reopen(victim.name, replicaOf(victim.name))
		b.converged()
		if got := again.local("k"); got != "last" {
			t.Errorf("got %q", got)
		}
	})
}

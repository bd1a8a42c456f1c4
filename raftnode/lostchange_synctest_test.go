// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kvorum/kvorum/raftnode/logstore"
)

// fullLog makes every append of n find no space until the returned function is called.
func (n *testNode) fullLog() (free func()) {
	full := fmt.Errorf("append: %w", logstore.ErrNoSpace)
	n.storeErr.Store(&full)
	return func() { n.storeErr.Store(nil) }
}

// removeWithoutSpace lets the leader n try to remove victim while its log takes nothing.
func (n *testNode) removeWithoutSpace(victim *testNode) {
	n.b.t.Helper()
	defer n.fullLog()()
	ctx, cancel := context.WithTimeout(n.b.t.Context(), 5*time.Second)
	defer cancel()
	if err := n.group.Remove(ctx, victim.node.ID(), replicaOf(victim.name), 0); err == nil {
		n.b.t.Fatal("a change that was not written was carried out")
	}
}

// begun makes a cluster with a first write, and returns its leader and the others.
func (b *bench) begun(names ...string) (lead *testNode, rest []*testNode) {
	b.t.Helper()
	b.cluster(names...)
	b.write("k", "v")
	lead = b.leader()
	return lead, b.others(lead)
}

// allSeeVoters lets time pass and wants every live replica that names voters at all to name so many.
func (b *bench) allSeeVoters(want int, d time.Duration) {
	b.t.Helper()
	for range d / time.Millisecond {
		for _, n := range b.live() {
			if got := len(n.group.Status().Voters); got != 0 && got != want {
				b.t.Fatalf("%s names %d voters, want %d", n.name, got, want)
			}
		}
		b.sleep(time.Millisecond)
	}
}

// TestChangeWithoutSpace: the log of a leader has no space for a membership change. Nobody goes by the
// membership that is in no log: it is not shown, not put into a snapshot, and does not decide elections.
func TestChangeWithoutSpace(t *testing.T) {
	inWorld(t, func(b *bench) {
		old, rest := b.begun("n1", "n2", "n3")
		old.removeWithoutSpace(rest[1])
		b.allSeeVoters(3, time.Second)
		for i := range 20 {
			b.write("k", fmt.Sprint(i))
		}
		b.allSeeVoters(3, 2*time.Second)
		if err := old.group.Snapshot(b.t.Context()); err != nil {
			t.Fatal(err)
		}
		meta, err := old.group.snaps.newest()
		if err != nil || len(meta.Configuration.Servers) != 3 {
			t.Errorf("the snapshot at %d names %v, %v", meta.Index, meta.Configuration.Servers, err)
		}
		rest[0].crash()
		b.write("k", "two of three") // by the two that are left
		b.reopen(rest[0].name, replicaOf(rest[0].name))
		b.converged()
	})
}

// TestTwoChangesWithoutSpace: two such changes, one after the other, do not make a leader of one that is
// cut off from both others.
func TestTwoChangesWithoutSpace(t *testing.T) {
	inWorld(t, func(b *bench) {
		old, rest := b.begun("n1", "n2", "n3")
		old.removeWithoutSpace(rest[1])
		b.waitFor("the same leader", func() bool {
			if lead := b.leader(); lead != old {
				_ = lead.group.Transfer(b.t.Context(), old.node.ID())
			}
			return old.group.IsLeader()
		})
		b.write("k", "w")
		b.world.Isolate(old.name, rest[0].name, rest[1].name)
		ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
		defer cancel()
		if err := old.group.Remove(ctx, rest[0].node.ID(), replicaOf(rest[0].name), 0); err == nil {
			t.Error("one of three carried out a change")
		}
		b.sleep(5 * time.Second)
		if old.group.IsLeader() {
			t.Error("one of three leads")
		}
		b.write("k", "x")
		b.world.HealAll()
		b.converged()
	})
}

// TestLostChangeHoldsRaft: until the replica can be restarted in place, raft does nothing with the
// membership that is in no log. Here another lifecycle call is in the way for a while.
func TestLostChangeHoldsRaft(t *testing.T) {
	inWorld(t, func(b *bench) {
		old, rest := b.begun("n1", "n2")
		release, err := old.node.claim(testGroup)
		if err != nil {
			t.Fatal(err)
		}
		release = sync.OnceFunc(release)
		defer release()
		before := old.group.inst.Load()
		free := old.fullLog()
		change := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
			defer cancel()
			change <- old.group.Remove(ctx, rest[0].node.ID(), replicaOf(rest[0].name), 0)
		}()
		b.sleep(time.Second)
		free()
		term := before.raft.CurrentTerm()
		b.world.Isolate(old.name, rest[0].name)
		b.allSeeVoters(2, 5*time.Second)
		if now := before.raft.CurrentTerm(); now != term || before.raft.LastIndex() != before.raft.CommitIndex() {
			t.Errorf("raft went on: term %d after %d, entries to %d", now, term, before.raft.LastIndex())
		}
		select {
		case err := <-change:
			t.Fatalf("the change ended: %v", err)
		default:
		}
		release()
		b.waitFor("a restart", func() bool { in := old.group.inst.Load(); return in != nil && in != before })
		if err := <-change; err == nil {
			t.Error("a change that was not written was carried out")
		}
		b.allSeeVoters(2, 5*time.Second)
		if old.group.IsLeader() {
			t.Error("one of two leads")
		}
		b.world.HealAll()
		b.write("k", "w")
		b.converged()
	})
}

// TestFollowerWithoutSpaceForChange: a follower looks at a membership only once it is in its log, so
// that there is nothing to restart when it does not get there.
func TestFollowerWithoutSpaceForChange(t *testing.T) {
	inWorld(t, func(b *bench) {
		lead, rest := b.begun("n1", "n2", "n3")
		before := rest[0].group.inst.Load()
		free := rest[0].fullLog()
		ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
		defer cancel()
		if err := lead.group.Demote(ctx, rest[1].node.ID(), replicaOf(rest[1].name), 0); err == nil {
			t.Fatal("one of two voters carried out a change")
		}
		if got := len(rest[0].group.Status().Voters); got != 3 {
			t.Errorf("%d voters before the entry is in the log", got)
		}
		if rest[0].group.inst.Load() != before {
			t.Error("the follower was restarted")
		}
		free()
		b.waitFor("the change", func() bool {
			s := rest[0].group.Status()
			return len(s.Voters) == 2 && len(s.Nonvoters) == 1 && s.Nonvoters[0].Node == rest[1].node.ID()
		})
		b.converged()
	})
}

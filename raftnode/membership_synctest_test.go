// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestTransferStorm: leadership is handed around while clients write and read; every write that was
// refused as not applied can be repeated, nothing acknowledged is lost, and every read sees the last
// acknowledged write.
func TestTransferStorm(t *testing.T) {
	inWorld(t, func(b *bench) {
		nodes := b.cluster("n1", "n2", "n3")
		stop := make(chan struct{})
		var wg sync.WaitGroup
		var writes, unknown atomic.Int64
		for c := range 8 {
			wg.Go(func() {
				key := fmt.Sprintf("k%d", c)
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					want := fmt.Sprint(i)
					for err := errors.New("none"); err != nil; {
						if err = b.leader().set(key, want); err != nil && !IsNotApplied(err) {
							unknown.Add(1)
						}
						b.sleep(time.Millisecond)
					}
					writes.Add(1)
					ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
					got, err := b.leader().get(ctx, key)
					cancel()
					if err == nil && got != want {
						t.Errorf("%s: read %q after %q was acknowledged", key, got, want)
					}
				}
			})
		}
		moved := 0
		for i := range 60 {
			b.sleep(100 * time.Millisecond)
			lead := b.leader()
			target := nodes[i%3]
			if target == lead {
				continue
			}
			ctx, cancel := context.WithTimeout(b.t.Context(), 2*time.Second)
			if lead.group.Transfer(ctx, target.node.ID()) == nil {
				moved++
			}
			cancel()
		}
		close(stop)
		wg.Wait()
		t.Logf("%d transfers, %d writes, %d unknown", moved, writes.Load(), unknown.Load())
		if moved < 20 || writes.Load() < 500 {
			t.Error("the storm was too weak to show anything")
		}
		b.converged()
	})
}

// TestTransferRules: W12: the target must be a live, caught-up voter, and is tried once per term.
func TestTransferRules(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		rest := b.others(lead)
		ctx := b.t.Context()
		refused := func(what, node string) {
			t.Helper()
			if err := lead.group.Transfer(ctx, node); !errors.Is(err, ErrNotCaughtUp) {
				t.Errorf("%s: %v", what, err)
			}
		}
		refused("itself", lead.node.ID())
		refused("nobody", "0000000000000000000000000000000000000000")
		rest[0].crash()
		refused("dead", rest[0].node.ID())
		if !lead.group.IsLeader() {
			t.Fatal("a refused transfer cost the leadership")
		}
		term := lead.group.Status().Term
		lead.group.transfers.Lock()
		lead.group.transfers.term = term
		lead.group.transfers.tried = map[raft.ServerID]bool{serverID(rest[1].node.ID(), replicaOf(rest[1].name)): true}
		lead.group.transfers.Unlock()
		refused("tried", rest[1].node.ID())
		if err := rest[1].group.Transfer(ctx, lead.node.ID()); !IsNotApplied(err) {
			t.Errorf("transfer by a follower: %v", err)
		}
		b.reopen(rest[0].name, replicaOf(rest[0].name))
		b.waitFor("transfer", func() bool { return lead.group.Transfer(ctx, rest[0].node.ID()) == nil })
	})
}

// TestStuckTransferRestarts: a leader that answers "transfer in progress" for ever is restarted in
// place, keeps its state, and the group goes on.
func TestStuckTransferRestarts(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		for i := range 50 {
			b.write(fmt.Sprintf("k%d", i), fmt.Sprint(i))
		}
		lead := b.leader()
		b.sleep(time.Second) // until the reaper has seen the last write
		in := lead.group.inst.Load()
		in.noteTransfer(raft.ErrLeadershipTransferInProgress)
		b.waitFor("a restart in place", func() bool {
			now := lead.group.inst.Load()
			return now != nil && now != in
		})
		if got := lead.local("k7"); got != "7" {
			t.Errorf("the state did not survive: %q", got)
		}
		b.write("after", "1")
		b.converged()
		for i := range 50 {
			if got := lead.local(fmt.Sprintf("k%d", i)); got != fmt.Sprint(i) {
				t.Errorf("k%d = %q", i, got)
			}
		}
	})
}

// TestMembership: a node joins as nonvoter, is promoted, the founder leaves; prevIndex guards each step.
func TestMembership(t *testing.T) {
	inWorld(t, func(b *bench) {
		nodes := b.cluster("n1", "n2", "n3")
		b.write("k", "v")
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
		defer cancel()
		lead := b.leader()
		fourth := b.open("n4").start(4, false)
		st := lead.group.Status()
		if err := lead.group.AddNonvoter(ctx, fourth.node.ID(), 4, st.ConfigIndex-1); !errors.Is(err, ErrConfigChanged) {
			t.Errorf("stale prevIndex: %v", err)
		}
		if err := lead.group.AddNonvoter(ctx, fourth.node.ID(), 4, st.ConfigIndex); err != nil {
			t.Fatal(err)
		}
		b.waitFor("lag", func() bool {
			st := lead.group.Status()
			return len(st.Nonvoters) == 1 && st.Nonvoters[0].Known && st.Nonvoters[0].Lag == 0
		})
		if err := lead.group.Promote(ctx, fourth.node.ID(), 4, lead.group.Status().ConfigIndex); err != nil {
			t.Fatal(err)
		}
		founder := nodes[0]
		for founder.group.IsLeader() {
			err := founder.group.Transfer(ctx, fourth.node.ID())
			if err != nil {
				t.Fatal(err)
			}
		}
		b.waitFor("another leader", func() bool { return b.leader() != founder })
		lead = b.leader()
		if err := lead.group.Demote(ctx, founder.node.ID(), 1, 0); err != nil {
			t.Fatal(err)
		}
		if err := lead.group.Remove(ctx, founder.node.ID(), 1, 0); err != nil {
			t.Fatal(err)
		}
		if err := founder.node.RemoveGroup(testGroup); err != nil {
			t.Fatal(err)
		}
		if got := founder.node.Groups(); len(got) != 0 {
			t.Errorf("catalogue after removal: %v", got)
		}
		founder.close()
		b.write("k", "w")
		st = b.leader().group.Status()
		if len(st.Voters) != 3 || len(st.Nonvoters) != 0 {
			t.Errorf("members: %+v", st)
		}
		b.converged()
	})
}

// TestLeaderRemovesItself: the leader steps down when its own removal is committed, and the rest goes on.
func TestLeaderRemovesItself(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		lead := b.leader()
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
		defer cancel()
		if err := lead.group.Demote(ctx, lead.node.ID(), replicaOf(lead.name), 0); err != nil {
			t.Fatal(err)
		}
		b.waitFor("another leader", func() bool { l := b.leader(); return l != lead })
		b.write("k", "v")
		if lead.group.IsLeader() {
			t.Error("a nonvoter leads")
		}
		b.converged()
	})
}

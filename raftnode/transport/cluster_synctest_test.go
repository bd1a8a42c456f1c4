// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func TestClusterReplicatesAndFailsOver(t *testing.T) {
	inCluster(t, false, func(t *testing.T, c *cluster) {
		lead := c.mustLead(5 * time.Second)
		for i := range 50 {
			c.apply(lead, fmt.Appendf(nil, "entry %d", i))
		}
		node, _, _ := ParseServerID(lead.id)
		for _, o := range c.others(lead) {
			other, _, _ := ParseServerID(o.id)
			c.w.Cut(node, other)
			c.w.Cut(other, node)
		}
		next := c.mustLead(10*time.Second, lead)
		c.apply(next, []byte("after"))
		c.w.HealAll()
		if !caughtUp(lead, next, 20*time.Second) {
			t.Errorf("old leader applied to %d of %d", lead.fsm.applied.Load(), next.fsm.applied.Load())
		}
		for _, r := range c.replicas {
			if !caughtUp(r, next, 5*time.Second) || !slices.Equal(r.fsm.state(), next.fsm.state()) {
				t.Errorf("replica %s has another state", r.id)
			}
		}
	})
}

func TestTransferReachesItsTarget(t *testing.T) {
	inCluster(t, false, func(t *testing.T, c *cluster) {
		lead := c.mustLead(5 * time.Second)
		c.apply(lead, []byte("x"))
		target := c.others(lead)[0]
		if err := lead.raft.LeadershipTransferToServer(target.id, raft.ServerAddress(target.id)).Error(); err != nil {
			t.Fatal(err)
		}
		if next := c.mustLead(5*time.Second, lead); next != target {
			t.Errorf("%s leads instead of %s", next.id, target.id)
		}
		// Who does not lead gives no such order.
		tr := lead.ours
		err := tr.TimeoutNow(target.id, "", &raft.TimeoutNowRequest{}, &raft.TimeoutNowResponse{})
		if !errors.Is(err, ErrStaleTransfer) {
			t.Errorf("order from a follower: %v", err)
		}
	})
}

// W16. A leader sends ahead to those who hold all that it has, and to nobody while its disk hangs.
func TestAbreastFollowsTheAnswers(t *testing.T) {
	inCluster(t, false, func(t *testing.T, c *cluster) {
		lead := c.mustLead(5 * time.Second)
		c.apply(lead, []byte("x"))
		time.Sleep(time.Second)
		slow, quick := c.others(lead)[0], c.others(lead)[1]
		abreast := func(want ...raft.ServerID) {
			t.Helper()
			got := lead.ours.Abreast(lead.raft.CurrentTerm(), lead.raft.LastIndex())
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("abreast are %v, want %v", got, want)
			}
		}
		abreast(slow.id, quick.id)
		release := slow.logs.hang()
		c.apply(lead, []byte("y"))
		time.Sleep(time.Second)
		abreast(quick.id)
		release()
		time.Sleep(time.Second)
		abreast(slow.id, quick.id)
		term, last := lead.raft.CurrentTerm(), lead.raft.LastIndex()
		for _, other := range [][2]uint64{{term - 1, last}, {term + 1, last}, {term, last - 1}, {term, last + 1}} {
			if got := lead.ours.Abreast(other[0], other[1]); len(got) != 0 {
				t.Errorf("abreast in term %d at %d of %d, %d: %v", other[0], other[1], term, last, got)
			}
		}
		c.others(lead)[0].ours.progress.note("n9/9", term, last, &raft.AppendEntriesResponse{Term: term + 1, Success: true})
		if got := c.others(lead)[0].ours.Abreast(term, last); len(got) != 0 {
			t.Errorf("an answer of a later term counts: %v", got)
		}
	})
}

// W5. A follower's disk fails now and then under full load. failUnderLoad tells whether it catches
// up afterwards.
func failUnderLoad(t *testing.T, c *cluster) bool {
	t.Helper()
	lead := c.mustLead(5 * time.Second)
	for _, r := range c.replicas {
		r.logs.delay.Store(int64(2 * time.Millisecond))
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = lead.raft.Apply(make([]byte, 100), 0).Error()
				}
			}
		})
	}
	victim := c.others(lead)[0]
	// A slow follower keeps the pipeline full.
	victim.logs.delay.Store(int64(5 * time.Millisecond))
	for range 30 {
		time.Sleep(200 * time.Millisecond)
		victim.logs.fails.Store(1)
	}
	close(stop)
	load.Wait()
	return caughtUp(victim, lead, time.Minute)
}

func TestDefectW5PipelineWedges(t *testing.T) {
	defect(t)
	inCluster(t, true, func(t *testing.T, c *cluster) {
		if failUnderLoad(t, c) {
			t.Error("the follower caught up this time: the defect needs a schedule that did not come")
		}
	})
}

func TestW5FollowerCatchesUpAfterFailures(t *testing.T) {
	inCluster(t, false, func(t *testing.T, c *cluster) {
		if !failUnderLoad(t, c) {
			t.Error("a follower is not replicated any more")
		}
	})
}

// W6. The leader's disk hangs. hangLeader returns whether another leads within 30 s.
func hangLeader(t *testing.T, c *cluster) (next *replica) {
	t.Helper()
	lead := c.mustLead(5 * time.Second)
	c.apply(lead, []byte("x"))
	release := lead.logs.hang()
	defer release()
	lead.raft.Apply([]byte("y"), 0)
	synctest.Wait()
	next = c.leaderAmong(30*time.Second, c.others(lead))
	if next != nil {
		c.apply(next, []byte("z"))
	}
	return next
}

// leaderAmong does not ask the main loop of those it does not name.
func (c *cluster) leaderAmong(most time.Duration, of []*replica) *replica {
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, r := range of {
			if r.raft.State() == raft.Leader {
				return r
			}
		}
	}
	return nil
}

func TestDefectW6HangingDiskKeepsItsLeader(t *testing.T) {
	defect(t)
	inCluster(t, true, func(t *testing.T, c *cluster) {
		if next := hangLeader(t, c); next != nil {
			t.Errorf("%s leads", next.id)
		}
	})
}

func TestW6HangingDiskLosesTheLeadership(t *testing.T) {
	inCluster(t, false, func(t *testing.T, c *cluster) {
		began := time.Now()
		if next := hangLeader(t, c); next == nil {
			t.Error("nobody else leads")
		} else if d := time.Since(began); d > 12*time.Second {
			t.Errorf("failover took %v", d)
		}
	})
}

func TestW6NothingThatKeepsALeadershipIsSent(t *testing.T) {
	inCluster(t, false, func(t *testing.T, c *cluster) {
		lead := c.mustLead(5 * time.Second)
		tr := lead.ours
		c.apply(lead, []byte("x"))
		time.Sleep(time.Second)
		to := c.others(lead)[0].id
		term, last := lead.raft.CurrentTerm(), lead.raft.LastIndex()
		if got := tr.Abreast(term, last); len(got) != 2 {
			t.Fatalf("abreast are %v", got)
		}
		lead.logs.busySince.Store(1)
		defer lead.logs.busySince.Store(0)
		if got := tr.Abreast(term, last); len(got) != 0 {
			t.Errorf("entries go ahead to %v", got)
		}
		if err := tr.AppendEntries(to, "", &raft.AppendEntriesRequest{Term: 1}, &raft.AppendEntriesResponse{}); !errors.Is(err, ErrDiskOverdue) {
			t.Errorf("append: %v", err)
		}
		if err := tr.InstallSnapshot(to, "", &raft.InstallSnapshotRequest{}, &raft.InstallSnapshotResponse{}, bytes.NewReader(nil)); !errors.Is(err, ErrDiskOverdue) {
			t.Errorf("snapshot: %v", err)
		}
	})
}

// W8. A replica is shut down while its messages to others hang. shutdownTime tells how long that
// takes, with or without closing the transport first.
func shutdownTime(t *testing.T, c *cluster, closeFirst bool) time.Duration {
	t.Helper()
	lead := c.mustLead(5 * time.Second)
	node, _, _ := ParseServerID(lead.id)
	for _, o := range c.others(lead) {
		other, _, _ := ParseServerID(o.id)
		c.w.Stall(other, node)
	}
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	if closeFirst {
		_ = lead.sizes.Close()
	}
	if err := lead.raft.Shutdown().Error(); err != nil {
		t.Error(err)
	}
	took := time.Since(began)
	c.w.HealAll()
	return took
}

func TestDefectW8ShutdownWaitsForHangingMessages(t *testing.T) {
	defect(t)
	inCluster(t, true, func(t *testing.T, c *cluster) {
		if d := shutdownTime(t, c, false); d < 5*time.Second {
			t.Errorf("shutdown took %v", d)
		}
	})
}

func TestW8ShutdownIsPromptAfterClose(t *testing.T) {
	inCluster(t, false, func(t *testing.T, c *cluster) {
		if d := shutdownTime(t, c, true); d > 100*time.Millisecond {
			t.Errorf("shutdown took %v", d)
		}
	})
}

// W10. A follower that was away has 64 large entries and one very large to fetch. fetchLarge
// returns the largest append raft made, and the largest of several entries that went out.
func fetchLarge(t *testing.T, c *cluster) (given, sent int) {
	t.Helper()
	for _, r := range c.replicas {
		r.sizes.unpipe()
	}
	lead := c.mustLead(5 * time.Second)
	away := c.others(lead)[0]
	release := away.logs.hang()
	for i := range 64 {
		c.apply(lead, bytes.Repeat([]byte{byte(i)}, 256<<10))
	}
	c.apply(lead, bytes.Repeat([]byte("huge"), MaxAppendBytes))
	c.apply(lead, []byte("small"))
	release()
	if !caughtUp(away, lead, time.Minute) {
		t.Fatalf("follower applied to %d of %d", away.fsm.applied.Load(), lead.fsm.applied.Load())
	}
	time.Sleep(time.Second)
	if !slices.Equal(away.fsm.state(), lead.fsm.state()) {
		t.Error("the follower has another state")
	}
	return lead.sizes.seen()
}

func TestDefectW10AppendsOfManyMegabytes(t *testing.T) {
	defect(t)
	inCluster(t, true, func(t *testing.T, c *cluster) {
		if _, sent := fetchLarge(t, c); sent < 15<<20 {
			t.Errorf("the largest append was of %d bytes", sent)
		}
	})
}

func TestW10AppendsAreCut(t *testing.T) {
	inCluster(t, false, func(t *testing.T, c *cluster) {
		given, sent := fetchLarge(t, c)
		if given < 15<<20 {
			t.Errorf("raft made appends of at most %d bytes: nothing was cut", given)
		}
		if sent > MaxAppendBytes {
			t.Errorf("an append of several entries carried %d bytes", sent)
		}
	})
}

// W2, outbound, and W10: what raft reads after the call is what was sent.
func TestOutboundRulesChangeTheRequestItself(t *testing.T) {
	a := &raft.AppendEntriesRequest{Term: 2, PrevLogEntry: 5, PrevLogTerm: 1, LeaderCommitIndex: 50, Entries: entries(2, 6, 9)}
	for _, e := range a.Entries {
		e.Data = make([]byte, 400<<10)
	}
	cutEntries(a)
	clampCommit(a)
	if len(a.Entries) != 2 || a.LeaderCommitIndex != 7 {
		t.Errorf("%d entries, commit %d; want 2 and 7", len(a.Entries), a.LeaderCommitIndex)
	}
	a = &raft.AppendEntriesRequest{Term: 2, PrevLogEntry: 5, LeaderCommitIndex: 50}
	if clampCommit(a); a.LeaderCommitIndex != 5 {
		t.Errorf("commit %d of an append that ends at 5", a.LeaderCommitIndex)
	}
	a = &raft.AppendEntriesRequest{Term: 2, PrevLogEntry: 5, LeaderCommitIndex: 3}
	if clampCommit(a); a.LeaderCommitIndex != 3 {
		t.Errorf("commit %d was raised", a.LeaderCommitIndex)
	}
}

// A follower that lost all it had is brought back by a snapshot on the bulk class.
func TestSnapshotIsShipped(t *testing.T) {
	inCluster(t, false, func(t *testing.T, c *cluster) {
		lead := c.mustLead(5 * time.Second)
		away := c.others(lead)[0]
		release := away.logs.hang()
		for i := range 100 {
			c.apply(lead, fmt.Appendf(nil, "entry %d", i))
		}
		if err := lead.raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			c.apply(lead, fmt.Appendf(nil, "later %d", i))
		}
		release()
		if !caughtUp(away, lead, time.Minute) {
			t.Fatalf("follower applied to %d of %d", away.fsm.applied.Load(), lead.fsm.applied.Load())
		}
		if !slices.Equal(away.fsm.state(), lead.fsm.state()) {
			t.Error("the follower has another state")
		}
		if len(away.fsm.restores()) != 1 {
			t.Errorf("restores: %v", away.fsm.restores())
		}
	})
}

// The sender of a snapshot notices a body of another size, and a reader that fails.
func TestSnapshotBodyIsCheckedBySender(t *testing.T) {
	inCluster(t, false, func(t *testing.T, c *cluster) {
		lead := c.mustLead(5 * time.Second)
		tr, to := lead.ours, c.others(lead)[0]
		s := oldSnapshot(1000)
		s.SnapshotVersion, s.Size, s.RPCHeader = 1, 100, rpcHeader(lead.id)
		var r raft.InstallSnapshotResponse
		if err := tr.InstallSnapshot(to.id, "", s, &r, bytes.NewReader(make([]byte, 99))); !errors.Is(err, ErrSnapshotSize) {
			t.Errorf("short body: %v", err)
		}
		boom := errors.New("boom")
		if err := tr.InstallSnapshot(to.id, "", s, &r, io.MultiReader(bytes.NewReader(make([]byte, 9)), failing{boom})); !errors.Is(err, boom) {
			t.Errorf("failing body: %v", err)
		}
		if len(to.fsm.restores()) != 0 {
			t.Error("something was restored")
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/raftnode/link"
)

// W1. A heartbeat of term 5 is slow to store its term; a vote of term 6 comes meanwhile.
// heartbeatRace returns the terms stored and whether the vote was granted.
func heartbeatRace(t *testing.T, r *replica, p probe) (terms []uint64, granted bool) {
	t.Helper()
	seed(t, p, 3, 3)
	release := r.stable.holdTerm(5)
	done := make(chan error, 2)
	go func() {
		_, err := p.append(idB, &raft.AppendEntriesRequest{Term: 5})
		done <- err
	}()
	synctest.Wait()
	go func() {
		var err error
		granted, err = p.vote(idC, &raft.RequestVoteRequest{
			Term: 6, LastLogIndex: 3, LastLogTerm: 1, LeadershipTransfer: true,
		})
		done <- err
	}()
	synctest.Wait()
	release()
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	return r.stable.terms(), granted
}

func TestDefectW1HeartbeatTakesTheTermBack(t *testing.T) {
	defect(t)
	onPlain(t, func(t *testing.T, r *replica, p probe) {
		terms, granted := heartbeatRace(t, r, p)
		if !granted || slices.IsSorted(terms) {
			t.Errorf("granted in term 6: %v, terms stored: %v", granted, terms)
		}
		if got := r.raft.CurrentTerm(); got != 5 {
			t.Errorf("term is %d", got)
		}
	})
}

func TestW1HeartbeatsGoThroughTheConsumer(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, _ *Transport) {
		terms, granted := heartbeatRace(t, r, p)
		if !granted || !slices.IsSorted(terms) || r.raft.CurrentTerm() != 6 {
			t.Errorf("granted in term 6: %v, terms stored: %v, term %d", granted, terms, r.raft.CurrentTerm())
		}
	})
}

// W2. The follower has uncommitted entries of a deposed leader behind what the new leader vouches
// for. overcommit returns the indexes it applies.
func overcommit(t *testing.T, r *replica, p probe) []uint64 {
	t.Helper()
	seed(t, p, 10, 1)
	resp, err := p.append(idC, &raft.AppendEntriesRequest{
		Term: 3, PrevLogEntry: 5, PrevLogTerm: 1, LeaderCommitIndex: 8,
	})
	if err != nil || !resp.Success {
		t.Fatalf("append: %+v, %v", resp, err)
	}
	synctest.Wait()
	r.fsm.mu.Lock()
	defer r.fsm.mu.Unlock()
	return slices.Clone(r.fsm.mu.indexes)
}

func TestDefectW2FollowerCommitsBeyondWhatTheLeaderVouchedFor(t *testing.T) {
	defect(t)
	onPlain(t, func(t *testing.T, r *replica, p probe) {
		if got := overcommit(t, r, p); !slices.Contains(got, 8) {
			t.Errorf("applied %v", got)
		}
	})
}

func TestW2CommitIsClampedInbound(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, _ *Transport) {
		if got, want := overcommit(t, r, p), []uint64{2, 3, 4, 5}; !slices.Equal(got, want) {
			t.Errorf("applied %v, want %v", got, want)
		}
	})
}

// W3. An order to start an election from a node that does not lead.
func TestDefectW3AnybodyDeposesALeader(t *testing.T) {
	defect(t)
	onPlain(t, func(t *testing.T, r *replica, p probe) {
		seed(t, p, 3, 3)
		if err := p.timeoutNow("nobody/9", 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r.raft.CurrentTerm() == 1 {
			t.Error("the follower did not campaign")
		}
	})
}

func TestW3TransferNeedsTermAndLeader(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, _ *Transport) {
		seed(t, p, 3, 3)
		for _, tc := range []struct {
			name string
			from raft.ServerID
			term uint64
		}{
			{"of an earlier term", idB, 0},
			{"of a later term", idB, 2},
			{"of another voter", idC, 1},
			{"of a stranger", "x/9", 1},
			{"of another replica on the leader's node", ServerID("b", 9), 1},
		} {
			if err := p.timeoutNow(tc.from, tc.term); !errors.Is(err, ErrStaleTransfer) {
				t.Errorf("order %s: %v", tc.name, err)
			}
			synctest.Wait()
			if r.raft.CurrentTerm() != 1 || r.raft.State() != raft.Follower {
				t.Fatalf("order %s: %v in term %d", tc.name, r.raft.State(), r.raft.CurrentTerm())
			}
		}
		if err := p.timeoutNow(idB, 1); err != nil {
			t.Errorf("the leader's order: %v", err)
		}
		synctest.Wait()
		if r.raft.CurrentTerm() != 2 {
			t.Errorf("the leader's order did not start an election")
		}
	})
}

// W3. The order is checked only when nothing is before it: here a vote that ends its term.
func TestW3TransferIsCheckedInTurn(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, _ *Transport) {
		seed(t, p, 3, 3)
		release := r.stable.holdTerm(2)
		go func() {
			_, _ = p.vote(idC, &raft.RequestVoteRequest{
				Term: 2, LastLogIndex: 3, LastLogTerm: 1, LeadershipTransfer: true,
			})
		}()
		synctest.Wait()
		got := make(chan error, 1)
		go func() { got <- p.timeoutNow(idB, 1) }()
		synctest.Wait()
		release()
		if err := <-got; !errors.Is(err, ErrStaleTransfer) {
			t.Errorf("order after its term ended: %v", err)
		}
		synctest.Wait()
		if r.raft.CurrentTerm() != 2 {
			t.Errorf("term %d", r.raft.CurrentTerm())
		}
	})
}

// W7. A leader of another cluster, with longer terms, sends its log.
func TestDefectW7ForeignLeaderTruncatesCommittedEntries(t *testing.T) {
	defect(t)
	onPlain(t, func(t *testing.T, r *replica, p probe) {
		seed(t, p, 5, 5)
		resp, err := p.append("foreign/1", &raft.AppendEntriesRequest{Term: 9, Entries: entries(9, 1, 2)})
		if err != nil || !resp.Success {
			t.Fatalf("append: %+v, %v", resp, err)
		}
		if last, _ := r.logs.LastIndex(); last != 2 {
			t.Errorf("log ends at %d, 5 were committed", last)
		}
	})
}

func TestW7MessagesReachOnlyTheReplicaMeant(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, tr *Transport) {
		seed(t, p, 5, 5)
		foreign := func() *raft.AppendEntriesRequest {
			return &raft.AppendEntriesRequest{Term: 9, Entries: entries(9, 1, 2)}
		}
		other := p
		other.to = 2
		if _, err := other.append(idB, foreign()); !errors.Is(err, ErrWrongReplica) {
			t.Errorf("to another replica: %v", err)
		}
		other = p
		other.group = testGroup + 1
		if _, err := other.append(idB, foreign()); !errors.Is(err, ErrNoGroup) {
			t.Errorf("to another group: %v", err)
		}
		if _, err := other.install(idB, &raft.InstallSnapshotRequest{Term: 9, Configuration: raft.EncodeConfiguration(servers(idB))}, "x"); !errors.Is(err, ErrNoGroup) {
			t.Errorf("snapshot to another group: %v", err)
		}
		p.links["b"].SetCluster(link.Identity{Cluster: "another"})
		if _, err := p.append(idB, foreign()); !errors.Is(err, link.ErrNotSent) {
			t.Errorf("from another cluster: %v", err)
		}
		if last, _ := r.logs.LastIndex(); last != 5 || r.raft.CurrentTerm() != 1 {
			t.Errorf("log ends at %d in term %d", last, r.raft.CurrentTerm())
		}
		// The name raft sees is the one the link proved.
		if _, err := p.append(idC, &raft.AppendEntriesRequest{Term: 2}); err != nil {
			t.Fatal(err)
		}
		if _, leader := r.raft.LeaderWithID(); leader != idC {
			t.Errorf("leader is %q", leader)
		}
		if _, err := tr.mux.Open(testGroup, 4); !errors.Is(err, ErrGroupOpen) {
			t.Errorf("second open: %v", err)
		}
	})
}

// W9. A replica without configuration is asked for its vote by a stranger.
func TestDefectW9EmptyReplicaVotesForAnybody(t *testing.T) {
	defect(t)
	onPlain(t, func(t *testing.T, r *replica, p probe) {
		if granted, err := p.vote("stranger/1", &raft.RequestVoteRequest{Term: 4}); err != nil || !granted {
			t.Errorf("vote: %v, %v", granted, err)
		}
		if granted, err := p.preVote("stranger/1", &raft.RequestPreVoteRequest{Term: 5}); err != nil || !granted {
			t.Errorf("pre-vote: %v, %v", granted, err)
		}
	})
}

func TestW9EmptyReplicaVotesForNobody(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, _ *Transport) {
		if granted, err := p.vote("x/1", &raft.RequestVoteRequest{Term: 4}); err != nil || granted {
			t.Errorf("vote: %v, %v", granted, err)
		}
		if granted, err := p.preVote("x/1", &raft.RequestPreVoteRequest{Term: 4}); err != nil || granted {
			t.Errorf("pre-vote: %v, %v", granted, err)
		}
		if term := r.raft.CurrentTerm(); term != 0 {
			t.Errorf("term %d", term)
		}
		seed(t, p, 3, 3)
		if granted, err := p.vote(idC, &raft.RequestVoteRequest{Term: 4, LastLogIndex: 3, LastLogTerm: 1, LeadershipTransfer: true}); err != nil || !granted {
			t.Errorf("vote with a configuration: %v, %v", granted, err)
		}
	})
}

// lagging makes the follower have a snapshot at index 20 and a log that begins after it.
func lagging(t *testing.T, r *replica, p probe) {
	t.Helper()
	seed(t, p, 20, 20)
	if err := r.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	resp, err := p.append(idB, &raft.AppendEntriesRequest{
		Term: 1, PrevLogEntry: 20, PrevLogTerm: 1, Entries: entries(1, 21, 30), LeaderCommitIndex: 25,
	})
	if err != nil || !resp.Success {
		t.Fatalf("append: %+v, %v", resp, err)
	}
	// What raft's own compaction leaves after a snapshot whose entries lie more than TrailingLogs
	// back.
	if err := r.logs.DeleteRange(1, 20); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// W11. A leader that does not know how far the follower is begins below its snapshot.
func TestDefectW11FollowerRefusesWhatItHas(t *testing.T) {
	defect(t)
	onPlain(t, func(t *testing.T, r *replica, p probe) {
		lagging(t, r, p)
		for _, prev := range []uint64{20, 19, 5} {
			resp, err := p.append(idB, &raft.AppendEntriesRequest{
				Term: 1, PrevLogEntry: prev, PrevLogTerm: 1, Entries: entries(1, prev+1, 32),
			})
			if err != nil || resp.Success {
				t.Errorf("append after %d: %+v, %v", prev, resp, err)
			}
		}
	})
}

func TestDefectW11OldSnapshotTakesTheStateBack(t *testing.T) {
	defect(t)
	onPlain(t, func(t *testing.T, r *replica, p probe) {
		lagging(t, r, p)
		resp, err := p.install(idB, oldSnapshot(10), `["2:t1"]`)
		if err != nil || !resp.Success {
			t.Fatalf("install: %+v, %v", resp, err)
		}
		if got := len(r.fsm.state()); got != 1 {
			t.Errorf("state has %d entries", got)
		}
	})
}

func oldSnapshot(index uint64) *raft.InstallSnapshotRequest {
	return &raft.InstallSnapshotRequest{
		Term: 1, LastLogIndex: index, LastLogTerm: 1, ConfigurationIndex: 1,
		Configuration: raft.EncodeConfiguration(servers(idA, idB, idC)),
	}
}

func TestW11AppendsBelowTheSnapshotAreRaised(t *testing.T) {
	for _, prev := range []uint64{0, 5, 18, 19, 20, 21} {
		for _, last := range []uint64{prev, 19, 20, 21, 32} {
			if last < prev {
				continue
			}
			onSafe(t, func(t *testing.T, r *replica, p safeProbe, _ *Transport) {
				lagging(t, r, p)
				before := r.fsm.state()
				a := &raft.AppendEntriesRequest{
					Term: 1, PrevLogEntry: prev, PrevLogTerm: min(prev, 1),
					Entries: entries(1, prev+1, last), LeaderCommitIndex: 32,
				}
				resp, err := p.append(idB, a)
				if err != nil || !resp.Success {
					t.Fatalf("append of (%d, %d]: %+v, %v", prev, last, resp, err)
				}
				synctest.Wait()
				want := max(25, last) // the old commit index, or what the append vouches for
				if got := r.fsm.applied.Load(); got != want {
					t.Errorf("append of (%d, %d]: applied to %d, want %d", prev, last, got, want)
				}
				if !slices.Equal(r.fsm.state()[:len(before)], before) {
					t.Error("applied state was changed")
				}
				if got, _ := r.logs.LastIndex(); got != max(30, last) {
					t.Errorf("log ends at %d", got)
				}
			})
		}
	}
}

// An append that contradicts the snapshot is not made to fit it.
func TestW11ContradictionIsRefused(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, _ *Transport) {
		lagging(t, r, p)
		for _, a := range []*raft.AppendEntriesRequest{
			{Term: 9, PrevLogEntry: 20, PrevLogTerm: 9, Entries: entries(9, 21, 22)},
			{Term: 9, PrevLogEntry: 18, PrevLogTerm: 9, Entries: entries(9, 19, 22)},
		} {
			if resp, err := p.append(idC, a); !errors.Is(err, ErrMalformed) {
				t.Errorf("append after %d: %+v, %v", a.PrevLogEntry, resp, err)
			}
		}
		if last, _ := r.logs.LastIndex(); last != 30 {
			t.Errorf("log ends at %d", last)
		}
	})
}

func TestW11SnapshotOfWhatIsHereIsNotInstalled(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, _ *Transport) {
		lagging(t, r, p)
		before := r.fsm.state()
		body := strings.Repeat("old", 1<<20)
		for _, index := range []uint64{10, 20, 25, 28, 30} {
			resp, err := p.install(idB, oldSnapshot(index), body)
			if err != nil || !resp.Success || resp.Term != 1 {
				t.Errorf("snapshot at %d: %+v, %v", index, resp, err)
			}
		}
		if got := r.fsm.state(); !slices.Equal(got, before) || len(r.fsm.restores()) > 0 {
			t.Errorf("state changed from %v to %v", before, got)
		}
		if last, _ := r.logs.LastIndex(); last != 30 {
			t.Errorf("log ends at %d: acknowledged entries are gone", last)
		}
		// A deposed leader's is raft's to refuse.
		if _, err := p.append(idC, &raft.AppendEntriesRequest{Term: 3}); err != nil {
			t.Fatal(err)
		}
		resp, err := p.install(idB, oldSnapshot(10), "x")
		if err != nil || resp.Success || resp.Term != 3 {
			t.Errorf("snapshot of a deposed leader: %+v, %v", resp, err)
		}
		// One that goes further is installed.
		s := oldSnapshot(40)
		s.Term, s.LastLogTerm = 3, 3
		if resp, err = p.install(idC, s, `["2:t1","40:t3"]`); err != nil || !resp.Success {
			t.Errorf("newer snapshot: %+v, %v", resp, err)
		}
		if got := r.fsm.restores(); !slices.Equal(got, []string{fmt.Sprintf("%d->2", len(before))}) {
			t.Errorf("restores: %v", got)
		}
	})
}

// A snapshot that was stored but not loaded does not count.
func TestW11UnloadedSnapshotDoesNotCount(t *testing.T) {
	h := &Hooks{
		LocalSnapshot: func() (uint64, uint64) { return 50, 3 },
		Applied:       func() uint64 { return 49 },
		HasEntry:      func(uint64, uint64) bool { return false },
	}
	if index, term := localSnapshot(h); index != 0 || term != 0 {
		t.Errorf("unloaded snapshot counts as (%d, %d)", index, term)
	}
	if holds(h, 40, 3) {
		t.Error("what is only in an unloaded snapshot counts as held")
	}
}

func TestSnapshotBodies(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, _ *Transport) {
		seed(t, p, 3, 3)
		for name, size := range map[string]int64{"short": 2, "long": 200} {
			l, head := p.envelope(typeInstall, idB)
			s := oldSnapshot(9)
			s.SnapshotVersion, s.Size = 1, 20
			if _, err := p.stream(l, appendInstall(head, s), strings.Repeat("x", int(size))); !errors.Is(err, ErrRemote) {
				t.Errorf("%s body: %v", name, err)
			}
		}
		l, head := p.envelope(typeInstall, idB)
		s := oldSnapshot(9)
		s.SnapshotVersion, s.Size, s.Configuration = 1, 1, []byte("no configuration")
		if _, err := p.stream(l, appendInstall(head, s), "x"); !errors.Is(err, ErrMalformed) {
			t.Errorf("unreadable configuration: %v", err)
		}
		if len(r.fsm.restores()) != 0 {
			t.Error("something was restored")
		}
	})
}

// W8, inbound. Messages for a raft that takes nothing up wait no longer than their deadline or
// Close, and do not hold up the link.
func TestW8CloseReleasesWhatWaits(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, tr *Transport) {
		seed(t, p, 3, 3)
		release := r.logs.hang()
		got := make(chan error, 3)
		send := func() {
			go func() {
				_, err := p.append(idB, &raft.AppendEntriesRequest{
					Term: 1, PrevLogEntry: 3, PrevLogTerm: 1, Entries: entries(1, 4, 4),
				})
				got <- err
			}()
		}
		for range 3 {
			send()
		}
		synctest.Wait()
		began := time.Now()
		for range 3 {
			if err := <-got; err == nil {
				t.Error("an append was answered by a hanging disk")
			}
		}
		if d := time.Since(began); d > link.Deadline(1000) {
			t.Errorf("senders waited %v", d)
		}
		send()
		synctest.Wait()
		began = time.Now()
		_ = tr.Close()
		if err := <-got; !errors.Is(err, ErrNotReady) && !errors.Is(err, ErrNoGroup) {
			t.Errorf("append when the transport closes: %v", err)
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("close released after %v", d)
		}
		release()
	})
}

// After a sender gave up, the next message waits until raft has answered the first one.
func TestTurnIsPassedOnlyAfterTheAnswer(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, _ *Transport) {
		seed(t, p, 3, 3)
		release := r.logs.hang()
		_, err := p.append(idB, &raft.AppendEntriesRequest{
			Term: 1, PrevLogEntry: 3, PrevLogTerm: 1, Entries: entries(1, 4, 4),
		})
		if err == nil {
			t.Fatal("answered by a hanging disk")
		}
		if err := p.timeoutNow(idB, 1); err == nil {
			t.Error("a message overtook one that raft is handling")
		}
		synctest.Wait()
		release()
		synctest.Wait()
		resp, err := p.append(idB, &raft.AppendEntriesRequest{Term: 1, PrevLogEntry: 4, PrevLogTerm: 1})
		if err != nil || !resp.Success {
			t.Errorf("append after the disk came back: %+v, %v", resp, err)
		}
	})
}

func TestInboundRefusals(t *testing.T) {
	onSafe(t, func(t *testing.T, r *replica, p safeProbe, tr *Transport) {
		seed(t, p, 3, 3)
		gap := entries(1, 4, 5)
		gap[0].Type = 99
		for name, a := range map[string]*raft.AppendEntriesRequest{
			"entry of unknown type":       {Term: 1, PrevLogEntry: 3, PrevLogTerm: 1, Entries: gap[:1]},
			"entry of a later term":       {Term: 1, PrevLogEntry: 3, PrevLogTerm: 1, Entries: entries(2, 4, 4)},
			"entry of an earlier term":    {Term: 5, PrevLogEntry: 3, PrevLogTerm: 4, Entries: entries(2, 4, 4)},
			"unreadable configuration":    {Term: 1, PrevLogEntry: 3, PrevLogTerm: 1, Entries: []*raft.Log{{Index: 4, Term: 1, Type: raft.LogConfiguration, Data: []byte("x")}}},
			"configuration of no servers": {Term: 1, PrevLogEntry: 3, PrevLogTerm: 1, Entries: []*raft.Log{{Index: 4, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(raft.Configuration{})}}},
		} {
			if _, err := p.append(idB, a); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		l, head := p.envelope(99, idB)
		if _, err := p.call(l, head); !errors.Is(err, ErrMalformed) {
			t.Errorf("unknown type: %v", err)
		}
		if _, err := p.call(l, head[:5]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut envelope: %v", err)
		}
		fresh, err := tr.mux.Open(99, 1)
		if err != nil {
			t.Fatal(err)
		}
		other := p
		other.group = 99
		if _, err := other.append(idB, &raft.AppendEntriesRequest{Term: 1}); !errors.Is(err, ErrNotReady) {
			t.Errorf("before Attach: %v", err)
		}
		_ = fresh.Close()
		// The turn was passed each time.
		if resp, err := p.append(idB, &raft.AppendEntriesRequest{Term: 1}); err != nil || !resp.Success {
			t.Errorf("heartbeat: %+v, %v", resp, err)
		}
	})
}

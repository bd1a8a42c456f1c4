// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/internal/host"
)

// TestIsNotApplied: every error says which of the two it is.
func TestIsNotApplied(t *testing.T) {
	for _, err := range []error{
		ErrOverloaded, ErrNoSpace, ErrClosed, ErrTooLarge, ErrTransferring, ErrTimeout, ErrNoQuorum,
		ErrConfigChanged, ErrNotCaughtUp,
		ErrNotLeader{},
		fmt.Errorf("op: %w", ErrNotLeader{}),
	} {
		if !IsNotApplied(err) {
			t.Errorf("%v must be known as not applied", err)
		}
	}
	for _, err := range []error{nil, ErrUnknown, errors.New("other"), raft.ErrLeadershipLost} {
		if IsNotApplied(err) {
			t.Errorf("%v must not be known as not applied", err)
		}
	}
}

// TestClassify is the outcome table of futures.
func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		err        error
		notApplied bool
	}{
		{raft.ErrNotLeader, true},
		{raft.ErrLeadershipTransferInProgress, true},
		{raft.ErrEnqueueTimeout, true},
		{raft.ErrLeadershipLost, false},
		{raft.ErrRaftShutdown, false},
		{raft.ErrAbortedByRestore, false},
		{errors.New("no space left on the disk"), false},
		{nil, false},
	} {
		if got := classify(tt.err, Hint{}); IsNotApplied(got) != tt.notApplied {
			t.Errorf("%v became %v", tt.err, got)
		}
	}
}

// TestBindShutdown: the pinned raft still lets a future be ended from outside.
func TestBindShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, transport := raft.NewInmemTransport("a")
		store := raft.NewInmemStore()
		conf := raft.DefaultConfig()
		conf.LocalID, conf.LogLevel = "a", "OFF"
		r, err := raft.NewRaft(conf, &raft.MockFSM{}, store, store, raft.NewInmemSnapshotStore(), transport)
		if err != nil {
			t.Fatal(err)
		}
		dead := make(chan struct{})
		close(dead)
		for name, f := range map[string]raft.Future{
			"membership": r.AddVoter("b", "b", 0, 0),
			"transfer":   r.LeadershipTransferToServer("b", "b"),
			"apply":      r.Apply(nil, 0),
		} {
			if !bindShutdown(f, dead) {
				t.Errorf("%s: the future cannot be bound", name)
			}
			if err := f.Error(); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		if err := r.Shutdown().Error(); err != nil {
			t.Fatal(err)
		}
		if f := r.Apply(nil, 0); bindShutdown(f, dead) && f.Error() == nil {
			t.Error("apply after shutdown succeeded")
		}
	})
}

// TestLeaderClock: it starts at the larger of log clock and wall, follows monotonic time, leans
// towards the wall by half a millisecond a second, and never goes back.
func TestLeaderClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		wall := w.Host("n1").Wall
		c := leaderClock{wall: wall}
		now := wall.Now().UnixMilli()
		c.start(now - 1000)
		if got := c.now(0); got != now {
			t.Errorf("it started at %d for wall %d", got, now)
		}
		c.start(now + 5000)
		if got := c.now(0); got != now+5000 {
			t.Errorf("it started at %d for log clock %d", got, now+5000)
		}
		time.Sleep(100 * time.Second)
		if got, want := c.now(0), now+105000-50; got < want-1 || got > want+1 {
			t.Errorf("ahead of the wall it ran to %d, not %d", got, want)
		}
		last := c.now(0)
		w.SetWallOffset("n1", -time.Hour)
		for range 100 {
			time.Sleep(time.Millisecond)
			got := c.now(0)
			if got < last {
				t.Fatalf("it went back from %d to %d", last, got)
			}
			last = got
		}
		w.SetWallOffset("n1", time.Hour)
		time.Sleep(10 * time.Second)
		if got := c.now(0); got > last+10000+5+1 {
			t.Errorf("a step of the wall moved it by %d ms in 10 s", got-last)
		}
		if got := c.now(last + 100000); got != last+100000 {
			t.Errorf("floor %d gave %d", last+100000, got)
		}
	})
}

// TestLeaderClockUnstarted: an entry may be cut before its leadership was seen to begin, on a node that
// never led: its clock is then the wall, or the log clock if that is ahead.
func TestLeaderClockUnstarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		now := w.Host("n1").Wall.Now().UnixMilli()
		for _, floor := range []int64{0, now + 5000} {
			c := leaderClock{wall: w.Host("n1").Wall}
			if got, want := c.now(floor), max(now, floor); got != want {
				t.Errorf("log clock %d, wall %d: the first entry has %d", floor, now, got)
			}
			c.start(floor)
			if got, want := c.now(floor), max(now, floor); got != want {
				t.Errorf("log clock %d, wall %d: after the start it has %d", floor, now, got)
			}
		}
	})
}

// TestBudget: limit and limit+1, and a claim of any size when nothing is claimed.
func TestBudget(t *testing.T) {
	b := budget{limit: 100}
	if !b.take(1000) {
		t.Error("the first claim was refused")
	}
	if b.take(1) {
		t.Error("a claim above the limit was granted")
	}
	b.give(1000)
	if !b.take(60) || !b.take(40) || b.take(1) {
		t.Error("the limit is not at 100")
	}
}

// TestSessionWatch: a session is closed after ten minutes of silence, one that the watcher has not
// met counts from the first sweep, and one that is heard lives on.
func TestSessionWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w sessionWatch
		open := func() []uint64 { return []uint64{1, 2} }
		if got := w.silent(open); got != nil {
			t.Errorf("before the first leadership: %v", got)
		}
		w.reset()
		for range 25 {
			time.Sleep(30 * time.Second)
			w.heard(1)
			w.heard(0)
			if got := w.silent(open); len(got) != 0 {
				if len(got) != 1 || got[0] != 2 {
					t.Fatalf("closed %v", got)
				}
				return
			}
		}
		t.Error("a silent session was never closed")
	})
}

// FuzzTermCheck: no frame of a peer can do harm.
func FuzzTermCheck(f *testing.F) {
	f.Add([]byte{termCheckVersion, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{termCheckVersion, 0xff, 0xff})
	f.Add([]byte{})
	n := &Node{}
	n.table.Store(&groupTable{})
	f.Fuzz(func(t *testing.T, data []byte) {
		reply, err := n.answerTermCheck(data)
		if err != nil {
			return
		}
		count := (len(data) - 3) / questionBytes
		if err := checkReply(reply, count); err != nil {
			t.Fatal(err)
		}
		for i := range count {
			if a := parseAnswer(reply[2+i*replyBytes:]); a.ok() {
				t.Fatal("an answer for a group that is not here")
			}
		}
		_ = checkReply(data, count)
	})
}

// TestTermCheckFrames: what is asked is what is answered, in order.
func TestTermCheckFrames(t *testing.T) {
	qs := []question{{g: &Group{id: 7}, replica: 9}, {g: &Group{id: 1 << 31}, replica: 1 << 40}}
	frame := appendTermCheck(nil, qs)
	want := []byte{
		controlTermCheck, termCheckVersion, 2, 0,
		7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0x80, 0, 0, 0, 0, 0, 1, 0, 0,
	}
	if !bytes.Equal(frame, want) {
		t.Errorf("% x", frame)
	}
	a := parseAnswer([]byte{stateLed, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0})
	if !a.ok() || a.term != 1 || a.lastLog != 2 || a.applied != 3 {
		t.Errorf("%+v", a)
	}
}

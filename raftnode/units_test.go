// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
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

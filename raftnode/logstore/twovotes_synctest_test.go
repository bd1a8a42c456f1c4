// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

// hashicorp/raft#661: raft stores the term and the candidate of its vote by two writes. A follower
// that dies between them comes up with the new term and the candidate of an older one, and answers
// that candidate's request "granted, again" without a look at its log.
//
// The scenario: f has voted for b in term 3 and holds an entry of term 2 that is committed. In term
// 4 it is about to vote for a and dies between the writes. After the restart b, whose log ends in
// term 1, asks for its vote in term 4: with f's vote b would win and overwrite the entry.

// dyingStable loses the write of a candidate when it is told to, as a crash before it does.
type dyingStable struct {
	raft.StableStore
	dying bool
}

var errDied = errors.New("died before the write")

func (d *dyingStable) Set(key, val []byte) error {
	if d.dying {
		return errDied
	}
	return d.StableStore.Set(key, val)
}

// staleVoteGranted plays the scenario. reopen returns the stable store as the restarted follower
// finds it.
func staleVoteGranted(t *testing.T, reopen func() raft.StableStore) (granted bool) {
	t.Helper()
	config := raft.Configuration{Servers: []raft.Server{
		{ID: "f", Address: "f"}, {ID: "a", Address: "a"}, {ID: "b", Address: "b"},
	}}
	logs := raft.NewInmemStore()
	if err := logs.StoreLogs([]*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(config)},
		{Index: 2, Term: 2, Type: raft.LogNoop},
		{Index: 3, Term: 2, Type: raft.LogCommand, Data: []byte("committed")},
	}); err != nil {
		t.Fatal(err)
	}
	ask := func(stable raft.StableStore, cand string, term, lastIndex, lastTerm uint64) bool {
		cfg := raft.DefaultConfig()
		cfg.LocalID, cfg.LogOutput = "f", io.Discard
		cfg.HeartbeatTimeout, cfg.ElectionTimeout = time.Hour, time.Hour
		_, trans := raft.NewInmemTransport("f")
		r, err := raft.NewRaft(cfg, &raft.MockFSM{}, logs, stable, raft.NewInmemSnapshotStore(), trans)
		if err != nil {
			t.Fatal(err)
		}
		_, peer := raft.NewInmemTransport(raft.ServerAddress(cand))
		peer.Connect("f", trans)
		var resp raft.RequestVoteResponse
		err = peer.RequestVote("f", "f", &raft.RequestVoteRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(cand), Addr: []byte(cand)},
			Term:      term, Candidate: []byte(cand), LastLogIndex: lastIndex, LastLogTerm: lastTerm,
		}, &resp)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Shutdown().Error(); err != nil {
			t.Fatal(err)
		}
		return resp.Granted
	}
	if !ask(reopen(), "b", 3, 3, 2) {
		t.Fatal("b got no vote in term 3")
	}
	if ask(&dyingStable{StableStore: reopen(), dying: true}, "a", 4, 3, 2) {
		t.Fatal("a vote was granted that was never stored")
	}
	return ask(reopen(), "b", 4, 1, 1)
}

// TestTwoWriteVote shows the defect on a stable store that writes key by key. It is kept to show
// what VoteFile is for, and skipped unless KVORUM_SHOW_DEFECTS is set.
func TestTwoWriteVote(t *testing.T) {
	if os.Getenv("KVORUM_SHOW_DEFECTS") == "" {
		t.Skip("shows a defect of a plain stable store; set KVORUM_SHOW_DEFECTS=1 to see it fail")
	}
	synctest.Test(t, func(t *testing.T) {
		stable := raft.NewInmemStore()
		if staleVoteGranted(t, func() raft.StableStore { return stable }) {
			t.Error("a vote for a stale log was granted after a crash between the two writes of a vote")
		}
	})
}

func TestOneWriteVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := host.NewMemFS(1)
		reopen := func() raft.StableStore {
			disk.Crash(host.CrashPolicy{})
			v, err := logstore.OpenVoteFile(disk.FS(), "/vote", voteNode)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		if staleVoteGranted(t, reopen) {
			t.Error("a vote for a stale log was granted after a crash while voting")
		}
	})
}

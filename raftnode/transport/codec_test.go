// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func join(parts [][]byte) []byte { return bytes.Join(parts, nil) }

func sampleAppend() *raft.AppendEntriesRequest {
	a := &raft.AppendEntriesRequest{Term: 9, PrevLogEntry: 41, PrevLogTerm: 7, LeaderCommitIndex: 43}
	a.Entries = entries(8, 42, 46)
	a.Entries[0].Data = nil
	a.Entries[1].Data = bytes.Repeat([]byte("large"), referData)
	a.Entries[2].Extensions = []byte("extension")
	a.Entries[2].Data = bytes.Repeat([]byte("larger"), referData)
	a.Entries[3].Data = bytes.Repeat([]byte("x"), referData-1)
	a.Entries[3].AppendedAt = time.Time{}
	a.Entries[4].Type = raft.LogNoop
	return a
}

func TestAppendRoundTrip(t *testing.T) {
	for _, a := range []*raft.AppendEntriesRequest{
		sampleAppend(), {Term: 1}, {Term: 1<<64 - 1, PrevLogEntry: 1 << 63, PrevLogTerm: 3, LeaderCommitIndex: 1},
	} {
		raw := join(appendAppend(make([]byte, 0, appendHeadSize(a)), a))
		got, err := parseAppend(raw)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range got.Entries {
			if want := a.Entries[i].AppendedAt; !e.AppendedAt.Equal(want) {
				t.Errorf("entry %d: appended at %v, want %v", i, e.AppendedAt, want)
			}
			e.AppendedAt = a.Entries[i].AppendedAt
		}
		if !reflect.DeepEqual(got, a) {
			t.Errorf("append %+v became %+v", a, got)
		}
		for cut := range min(len(raw), 200) {
			if _, err := parseAppend(raw[:cut]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("append cut to %d bytes: %v", cut, err)
			}
		}
		if _, err := parseAppend(append(raw, 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("append with a byte more: %v", err)
		}
	}
}

func TestSmallMessagesRoundTrip(t *testing.T) {
	r := &raft.AppendEntriesResponse{Term: 3, LastLog: 500, NoRetryBackoff: true}
	var gotR raft.AppendEntriesResponse
	if err := parseAppendReply(appendAppendReply(nil, r), &gotR); err != nil || !reflect.DeepEqual(gotR, *r) {
		t.Errorf("append reply %+v, %v", gotR, err)
	}
	v := &raft.RequestVoteRequest{Term: 1 << 40, LastLogIndex: 2, LastLogTerm: 3, LeadershipTransfer: true}
	if got, err := parseVote(appendVote(nil, v)); err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("vote %+v, %v", got, err)
	}
	pv := &raft.RequestPreVoteRequest{Term: 4, LastLogIndex: 5, LastLogTerm: 6}
	if got, err := parsePreVote(appendPreVote(nil, pv)); err != nil || !reflect.DeepEqual(got, pv) {
		t.Errorf("pre-vote %+v, %v", got, err)
	}
	if term, err := parseTimeoutNow(appendTimeoutNow(nil, 77)); err != nil || term != 77 {
		t.Errorf("timeout-now %d, %v", term, err)
	}
	s := &raft.InstallSnapshotRequest{
		SnapshotVersion: 1, Term: 2, LastLogIndex: 3, LastLogTerm: 4, ConfigurationIndex: 5,
		Size: 1 << 40, Configuration: []byte("configuration"),
	}
	if got, err := parseInstall(appendInstall(nil, s)); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("install %+v, %v", got, err)
	}
	s.SnapshotVersion = 2
	if _, err := parseInstall(appendInstall(nil, s)); !errors.Is(err, ErrMalformed) {
		t.Errorf("install of unknown version: %v", err)
	}
	e := envelope{Type: 1, Group: 2, From: 3, To: 4, Protocol: 5}
	if got, rest, err := parseEnvelope(append(appendEnvelope(nil, e), 'x')); err != nil || got != e || string(rest) != "x" {
		t.Errorf("envelope %+v, %q, %v", got, rest, err)
	}
}

func TestServerIDs(t *testing.T) {
	id := ServerID("node", 12)
	if node, n, err := ParseServerID(id); err != nil || node != "node" || n != 12 || id != "node/12" {
		t.Errorf("%q is %q, %d, %v", id, node, n, err)
	}
	for _, bad := range []raft.ServerID{"", "node", "/1", "node/", "node/x", "node/-1", "node/01", "node/1/2", "node/18446744073709551616"} {
		if _, _, err := ParseServerID(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// Every error that a replica answers with arrives as itself.
func TestStatusRoundTrip(t *testing.T) {
	for _, err := range []error{ErrNoGroup, ErrWrongReplica, ErrNotReady, ErrMalformed, ErrStaleTransfer, ErrTimeout} {
		if _, got := opened(refuse(err)); !errors.Is(got, err) {
			t.Errorf("%v arrives as %v", err, got)
		}
	}
	if _, got := opened(refuse(ErrClosed)); !errors.Is(got, ErrNotReady) {
		t.Errorf("closed arrives as %v", got)
	}
	if _, got := opened(refuse(errors.New("boom"))); !errors.Is(got, ErrRemote) || !strings.Contains(got.Error(), "boom") {
		t.Errorf("a failure arrives as %v", got)
	}
	if _, got := opened(nil); !errors.Is(got, ErrMalformed) {
		t.Errorf("an empty reply is %v", got)
	}
}

func TestCutEntriesAtTheLimit(t *testing.T) {
	sized := func(sizes ...int) *raft.AppendEntriesRequest {
		a := &raft.AppendEntriesRequest{Term: 1, Entries: entries(1, 1, uint64(len(sizes)))}
		for i, n := range sizes {
			a.Entries[i].Data = make([]byte, n-entryOverhead)
		}
		return a
	}
	for _, tc := range []struct {
		name  string
		sizes []int
		want  int
	}{
		{"none", nil, 0},
		{"at the limit", []int{MaxAppendBytes / 2, MaxAppendBytes / 2}, 2},
		{"one byte past it", []int{MaxAppendBytes / 2, MaxAppendBytes/2 + 1}, 1},
		{"one larger entry goes alone", []int{3 * MaxAppendBytes, 100}, 1},
		{"a larger entry waits for the next", []int{100, 3 * MaxAppendBytes, 100}, 1},
	} {
		a := sized(tc.sizes...)
		if cutEntries(a); len(a.Entries) != tc.want {
			t.Errorf("%s: %d entries, want %d", tc.name, len(a.Entries), tc.want)
		}
	}
}

func TestReadableConfiguration(t *testing.T) {
	many := make([]raft.ServerID, 300)
	for i := range many {
		many[i] = ServerID("node", uint64(i))
	}
	mixed := servers(idA, idB)
	mixed.Servers[1].Suffrage = raft.Nonvoter
	for _, c := range []raft.Configuration{servers(idA), mixed, servers(many...)} {
		raw := raft.EncodeConfiguration(c)
		if !readableConfiguration(raw) {
			t.Errorf("configuration of %d servers is refused", len(c.Servers))
		}
		for cut := range min(len(raw), 100) {
			if readableConfiguration(raw[:cut]) {
				t.Errorf("configuration cut to %d bytes is accepted", cut)
			}
		}
	}
	for name, raw := range map[string]string{
		"nothing": "", "an empty one": string(raft.EncodeConfiguration(raft.Configuration{})),
		"a length of 4 GiB": "\x81\xa7Servers\xdd\xff\xff\xff\xff", "deep nesting": strings.Repeat("\x91", 1000) + "\x01",
	} {
		if readableConfiguration([]byte(raw)) {
			t.Errorf("%s is accepted", name)
		}
	}
}

// FuzzMessages: whatever arrives is refused or read as something that is written the same way, and
// passes the rules without a panic.
func FuzzMessages(f *testing.F) {
	small := sampleAppend()
	for _, e := range small.Entries {
		e.Data = []byte("data")
	}
	f.Add(join(appendAppend(nil, small)), uint64(43), uint64(8))
	f.Add(appendVote(nil, &raft.RequestVoteRequest{Term: 1}), uint64(0), uint64(0))
	f.Add(appendInstall(nil, &raft.InstallSnapshotRequest{SnapshotVersion: 1, Size: 9}), uint64(1), uint64(1))
	f.Add(appendVerdict(nil, 300, true), uint64(1), uint64(1))
	f.Fuzz(func(t *testing.T, raw []byte, index, term uint64) {
		if a, err := parseAppend(raw); err == nil {
			again, err := parseAppend(join(appendAppend(nil, a)))
			if err != nil || !reflect.DeepEqual(again, a) {
				t.Fatalf("append %+v became %+v, %v", a, again, err)
			}
			if checkEntries(a) == nil {
				last := lastVouched(a)
				clampCommit(a)
				if a.LeaderCommitIndex > last {
					t.Fatalf("commit %d over %d", a.LeaderCommitIndex, last)
				}
				if raiseAppend(a, index, term) == nil {
					for _, e := range a.Entries {
						if a.PrevLogEntry == 0 && index > 0 && e.Index <= index {
							t.Fatalf("entry %d is at or below the snapshot %d", e.Index, index)
						}
					}
				}
			}
		}
		if v, err := parseInstall(raw); err == nil {
			again, err := parseInstall(appendInstall(nil, v))
			if err != nil || !reflect.DeepEqual(again, v) {
				t.Fatalf("install %+v became %+v, %v", v, again, err)
			}
			readableConfiguration(v.Configuration)
		}
		_, _ = parseVote(raw)
		_, _ = parsePreVote(raw)
		_, _ = parseTimeoutNow(raw)
		_, _, _ = parseVerdict(raw)
		_ = parseAppendReply(raw, new(raft.AppendEntriesResponse))
		_, _, _ = parseEnvelope(raw)
	})
}

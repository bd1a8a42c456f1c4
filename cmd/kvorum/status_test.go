// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	goflag "flag"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/shard"
)

var update = goflag.Bool("update", false, "write the golden files anew")

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

const (
	idA = "aaaaaaaa0000000000000000000000000000000a"
	idB = "bbbbbbbb0000000000000000000000000000000b"
	idC = "cccccccc0000000000000000000000000000000c"
)

// trio is a cluster of three nodes and two data groups, all well.
func trio() *shard.Status {
	voters := func(down string, ids ...string) (rs []shard.ReplicaStatus) {
		for i, id := range ids {
			rs = append(rs, shard.ReplicaStatus{Node: id, Replica: uint64(i + 1), Alive: id != down})
		}
		return rs
	}
	s := &shard.Status{Cluster: shard.ClusterStatus{
		ID: "0123456789abcdef0123456789abcdef", Initialised: true, Health: shard.HealthOK, Tolerates: 1, Epoch: 7, Version: 1, Replicas: 3, Self: idA,
	}}
	for i, id := range []string{idA, idB, idC} {
		port := string(rune('0' + i))
		s.Nodes = append(s.Nodes, shard.NodeStatus{
			ID: id, Name: "node" + port, Alive: true, Version: "1.2.3", Leaders: 1, Replicas: 3, Keys: uint64(1000 * i), Bytes: uint64(12345 * i * i * i * i * i * i * i * i),
			Addrs: map[string]string{"peer": "10.0.0." + port + ":7400", "http": "10.0.0." + port + ":7401", "native": "10.0.0." + port + ":7402"},
		})
	}
	for g, leader := range []string{idA, idB, idC} {
		s.Groups = append(s.Groups, shard.GroupStatus{
			ID: uint32(g), Leader: leader, Term: uint64(3 + g), Voters: voters("", idA, idB, idC), Slots: []int{0, 8192, 8192}[g], Keys: uint64(g), Bytes: uint64(g) << (14 * g),
		})
	}
	return s
}

// wounded is trio with a node down, one leaving, a group without leader and warnings.
func wounded() *shard.Status {
	s := trio()
	s.Cluster.Health, s.Cluster.Tolerates = shard.HealthUnavailable, -1
	s.Nodes[1].Alive, s.Nodes[1].Version, s.Nodes[1].Error = false, "", "no answer"
	s.Nodes[2].Leaving = true
	delete(s.Nodes[2].Addrs, "native")
	g := &s.Groups[2]
	g.Leader, g.Lag = "", 12
	g.Voters = g.Voters[:2]
	g.Voters[1].Alive = false
	g.Learners = []shard.ReplicaStatus{{Node: "dddddddd0000000000000000000000000000000d", Replica: 9, Alive: true}}
	s.Warnings = []shard.Warning{
		{Text: "node node1 does not answer", Mend: "start it again, or for good: kvorum leave " + idB},
		{Text: "group 2 has no leader"},
	}
	return s
}

func TestStatusGolden(t *testing.T) {
	for name, s := range map[string]*shard.Status{
		"status-ok.golden": trio(), "status-wounded.golden": wounded(),
		"status-blank.golden": {
			Cluster:  shard.ClusterStatus{Health: shard.HealthUninitialised, Self: idA},
			Warnings: []shard.Warning{{Text: "this node belongs to no cluster yet", Mend: "kvorum join MEMBER"}},
		},
	} {
		var out bytes.Buffer
		if err := printStatus(&out, s); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.String())
	}
}

// TestStatusCommand: the table and the JSON of the command are those of the answer.
func TestStatusCommand(t *testing.T) {
	m := newMember(t)
	m.answer = func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(wounded()) }
	got := m.run("status")
	if got.code != 0 || m.last.URL.Path != "/v1/cluster" {
		t.Fatalf("%+v, path %s", got, m.last.URL.Path)
	}
	golden(t, "status-wounded.golden", got.out)
	got = m.run("status", "-o", "json")
	var back shard.Status
	if err := json.Unmarshal([]byte(got.out), &back); got.code != 0 || err != nil {
		t.Fatalf("%+v: %v", got, err)
	}
	var out bytes.Buffer
	if err := printStatus(&out, &back); err != nil {
		t.Fatal(err)
	}
	golden(t, "status-wounded.golden", out.String())
}

func TestHuman(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0B", 1023: "1023B", 10<<10 - 1: "10239B", 10 << 10: "10.0KiB", 10<<20 - 1: "10240.0KiB", 10 << 20: "10.0MiB",
		10 << 30: "10.0GiB", 1 << 63: "8589934592.0GiB",
	} {
		if got := human(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// TestCheck: the verdict on replicas is check's exit code, and what differs is named.
func TestCheck(t *testing.T) {
	m := newMember(t)
	values := map[string]string{}
	c := shard.Comparison{Verdict: shard.VerdictEqual}
	m.answer = func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v1/cluster":
			s := trio()
			s.Nodes = s.Nodes[:2]
			s.Nodes[0].Addrs["http"], s.Nodes[1].Alive = m.addr, false
			_ = json.NewEncoder(w).Encode(s)
		case r.URL.Path == "/v1/cluster/check":
			if d, err := time.ParseDuration(r.URL.Query().Get("timeout")); err != nil || d < 50*time.Second || d > time.Minute {
				t.Errorf("timeout %v, %v", d, err)
			}
			_ = json.NewEncoder(w).Encode(c)
		case r.Method == http.MethodPut:
			values[r.URL.Path] = m.body
			w.WriteHeader(http.StatusNoContent)
		default:
			_, _ = w.Write([]byte(values[r.URL.Path]))
		}
	}
	two := []shard.ReplicaDigest{{Node: idA, Applied: 5, Digest: "x"}, {Node: idB, Applied: 5, Digest: "y"}}
	for _, row := range []struct {
		line    string
		verdict shard.Verdict
		group   shard.GroupComparison
		code    int
		out     []string
	}{
		{"check", shard.VerdictEqual, shard.GroupComparison{Digest: "abc"}, exitOK, []string{"1 nodes answer alike", "equal", "abc"}},
		{"check --digest", shard.VerdictEqual, shard.GroupComparison{}, exitOK, []string{"control"}},
		{"check --digest", shard.VerdictIncomplete, shard.GroupComparison{Applied: 4, Missing: []string{idB}}, exitFailed, []string{"the replica on node1 was not seen at index 4"}},
		{"check --digest", shard.VerdictDifferent, shard.GroupComparison{
			Replicas: two, Differing: 12, Differences: []shard.Difference{{Part: "slot 77", Digests: map[string]string{idA: "d1", idB: "nothing"}}},
		}, exitDamaged, []string{"slot 77\n    node0  d1\n    node1  nothing\n  and 11 more"}},
		{"check --digest", shard.VerdictDifferent, shard.GroupComparison{Replicas: two}, exitDamaged, []string{"in no slot"}},
		{"check --digest -o json", shard.VerdictDifferent, shard.GroupComparison{Replicas: two}, exitDamaged, []string{`"verdict": "different"`}},
	} {
		row.group.Verdict = row.verdict
		c = shard.Comparison{Verdict: row.verdict, Groups: []shard.GroupComparison{row.group}}
		got := m.run(strings.Fields(row.line)...)
		if got.code != row.code || (got.err == "") != (row.code == exitOK) {
			t.Errorf("%s, %s: %+v", row.line, row.verdict, got)
		}
		for _, want := range row.out {
			if !strings.Contains(got.out, want) {
				t.Errorf("%s, %s: no %q in\n%s", row.line, row.verdict, want, got.out)
			}
		}
		if wrote := len(values) > 0; wrote != (row.line == "check") {
			t.Errorf("%s: a key was written: %t", row.line, wrote)
		}
		clear(values)
	}
}

// TestResolvePeer: a member's HTTP address leads to its peer address, or to a word why not.
func TestResolvePeer(t *testing.T) {
	m := newMember(t)
	s := trio()
	s.Cluster.Self = idB
	m.answer = func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(s) }
	if peer, err := resolvePeer(t.Context(), m.addr); err != nil || peer != "10.0.0.1:7400" {
		t.Errorf("%q, %v", peer, err)
	}
	s = &shard.Status{Cluster: shard.ClusterStatus{Self: idA}}
	if _, err := resolvePeer(t.Context(), m.addr); !errors.Is(err, shard.ErrMemberUninitialised) {
		t.Errorf("a member without a cluster: %v", err)
	}
	m.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }
	if _, err := resolvePeer(t.Context(), m.addr); err == nil || !strings.Contains(err.Error(), "no Kvorum HTTP port") {
		t.Errorf("a stranger: %v", err)
	}
}

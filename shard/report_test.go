// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/raftnode"
)

// reportsOf makes the reports of nodes n1 … nN, in which n1 leads every group; down nodes give none.
func reportsOf(v *View, down ...string) []nodeReport {
	var out []nodeReport
	for _, node := range v.Nodes {
		rep := nodeReport{Node: node.ID, Version: "v"}
		if slices.Contains(down, node.ID) {
			out = append(out, nodeReport{Node: node.ID, err: errors.New("no answer")})
			continue
		}
		for i := range v.Groups {
			g := &v.Groups[i]
			if _, holds := g.replicaOn(node.ID); !holds {
				continue
			}
			st := raftnode.GroupStatus{Group: g.ID, Running: true, Term: 3, Applied: 10, LastLog: 10, Leading: node.ID == "n1"}
			for _, r := range g.Replicas {
				row := raftnode.ReplicaStatus{Node: r.Node, Replica: r.Number, Known: true, Contact: time.Millisecond, Lag: r.Number}
				if r.Role == RoleVoter {
					st.Voters = append(st.Voters, row)
				} else {
					st.Nonvoters = append(st.Nonvoters, row)
				}
			}
			rep.Groups = append(rep.Groups, groupReport{Raft: st, Keys: 5, KeyBytes: 50, ValueBytes: 500, Bytes: 1000})
		}
		out = append(out, rep)
	}
	return out
}

// threeNodes is a View of three nodes that hold all of two data groups.
func threeNodes(t *testing.T) *View {
	v := mustApply(t, emptyView(), foundCommand(2, 3), &cmdAddNode{Node: testNode("n2")}, &cmdAddNode{Node: testNode("n3")})
	all := &cmdSetReplicas{}
	for _, g := range v.Groups {
		all.Groups = append(all.Groups, groupReplicas{Group: g.ID, If: g.Rev, Voters: []string{"n1", "n2", "n3"}})
	}
	return mustApply(t, v, all)
}

func TestJoinReports(t *testing.T) {
	v := threeNodes(t)
	for _, tt := range []struct {
		name      string
		down      []string
		health    Health
		tolerates int
		warning   string
	}{
		{"all up", nil, HealthOK, 1, ""},
		{"one down", []string{"n3"}, HealthDegraded, 0, "kvorum leave n3"},
		{"two down, the leader not yet aware", []string{"n2", "n3"}, HealthUnavailable, -1, "kvorum leave n2"},
		{"the leader down", []string{"n1"}, HealthUnavailable, -1, "start the nodes that hold it"},
		{"all down", []string{"n1", "n2", "n3"}, HealthUnavailable, -1, "start the nodes that hold it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := joinReports(v, "n2", reportsOf(v, tt.down...))
			if s.Cluster.Health != tt.health || s.Cluster.Tolerates != tt.tolerates {
				t.Errorf("health %s, tolerates %d; want %s, %d", s.Cluster.Health, s.Cluster.Tolerates, tt.health, tt.tolerates)
			}
			found := slices.ContainsFunc(s.Warnings, func(w Warning) bool { return strings.Contains(w.Mend, tt.warning) })
			if (tt.warning == "") != (len(s.Warnings) == 0) || tt.warning != "" && !found {
				t.Errorf("warnings %+v", s.Warnings)
			}
		})
	}
	s := joinReports(v, "n2", reportsOf(v))
	if n := s.Nodes[0]; n.ID != "n1" || n.Leaders != 3 || n.Replicas != 3 || n.Keys != 15 || n.Bytes != 3000 {
		t.Errorf("the leader's row: %+v", n)
	}
	if n := s.Nodes[1]; n.Leaders != 0 || n.Keys != 0 {
		t.Errorf("keys are counted twice: %+v", n)
	}
	if g := s.Groups[1]; g.Slots != SlotCount/2 || g.Leader != "n1" || g.Lag != 3 || len(g.Voters) != 3 {
		t.Errorf("a group's row: %+v", g)
	}
}

// A node that was started again answers before its replicas run, and the leader may not know yet that they are gone: they
// are not there, whatever it says.
func TestJoinReportsStarting(t *testing.T) {
	v := threeNodes(t)
	reports := reportsOf(v)
	reports[2].Groups[2].Raft.Running = false
	s := joinReports(v, "n1", reports)
	if s.Cluster.Health != HealthDegraded || s.Cluster.Tolerates != 0 || len(s.Warnings) != 1 || !s.Nodes[2].Alive || s.Groups[2].Voters[2].Alive {
		t.Errorf("one has not started: %+v, %+v", s.Cluster, s.Warnings)
	}
	reports[2].Groups = nil
	reports[1].Groups = reports[1].Groups[:2]
	s = joinReports(v, "n1", reports)
	if s.Cluster.Health != HealthUnavailable || s.Cluster.Tolerates != -1 || len(s.Warnings) != len(s.Groups) {
		t.Errorf("two have not opened one: %+v, %+v", s.Cluster, s.Warnings)
	}
}

// Fewer nodes than replicas is no fault, but the operator is told how to mend it.
func TestJoinReportsSmall(t *testing.T) {
	v := mustApply(t, emptyView(), foundCommand(1, 3))
	s := joinReports(v, "n1", reportsOf(v))
	if s.Cluster.Health != HealthOK || s.Cluster.Tolerates != 0 || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].Mend, "--join n1:7400") {
		t.Errorf("%+v, %+v", s.Cluster, s.Warnings)
	}
}

// A restore, and a group that it has not left yet, make the cluster unavailable and say so.
func TestJoinReportsRestoring(t *testing.T) {
	v := threeNodes(t)
	reports := reportsOf(v)
	for i := range reports {
		reports[i].Groups[1].Importing = true
	}
	s := joinReports(v, "n1", reports)
	if s.Cluster.Health != HealthUnavailable || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].Text, "after a restore that ended") || !s.Groups[1].Importing {
		t.Errorf("%s, %+v", s.Cluster.Health, s.Warnings)
	}
	v = mustApply(t, v, &cmdHold{Kind: HoldRestore, Node: "n2", Nonce: "x"})
	s = joinReports(v, "n1", reports)
	if s.Cluster.Health != HealthUnavailable || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0].Mend, "--cancel") {
		t.Errorf("%s, %+v", s.Cluster.Health, s.Warnings)
	}
}

func TestFindNode(t *testing.T) {
	v := &View{Nodes: []NodeInfo{{ID: "abcd11", Name: "one"}, {ID: "abcd22", Name: "two"}, {ID: "ef0000", Name: "two"}}}
	for name, want := range map[string]string{"abcd11": "abcd11", "one": "abcd11", "ef00": "ef0000", "abcd": "", "two": "", "ef": "", "x": ""} {
		got, err := v.findNode(name)
		if got.ID != want || (want == "") != errors.Is(err, ErrNoSuchNode) {
			t.Errorf("%q: got %q, %v", name, got.ID, err)
		}
	}
}

func TestShare(t *testing.T) {
	for _, tt := range []struct {
		total uint64
		slots int
		want  uint64
	}{{0, 100, 0}, {SlotCount, 1, 1}, {1, 1, 1}, {1 << 40, SlotCount, 1 << 40}, {1<<40 + 5, SlotCount / 2, 1<<39 + 3}, {^uint64(0), SlotCount, ^uint64(0)}} {
		if got := share(tt.total, tt.slots); got != tt.want {
			t.Errorf("share(%d, %d) = %d, want %d", tt.total, tt.slots, got, tt.want)
		}
	}
}

// The router's Map lists voters first and leaves the control group out.
func TestMapOf(t *testing.T) {
	v := threeNodes(t)
	g, _ := v.Group(1)
	v = mustApply(t, v, &cmdSetReplicas{Groups: []groupReplicas{{Group: 1, If: g.Rev, Voters: []string{"n2"}, Learners: []string{"n3"}}}})
	m := mapOf(v)
	if !slices.Equal(m.Groups[1].Replicas, []string{"n2", "n3", "n1"}) {
		t.Errorf("replicas %v", m.Groups[1].Replicas)
	}
	if _, ok := m.Groups[controlGroup]; ok || len(m.Groups) != 2 || m.Version != v.Revision || m.Epoch != 1 || m.Nodes["n2"].Addrs["peer"] != "n2:7400" {
		t.Errorf("map %+v", m)
	}
}

func TestConfigValidate(t *testing.T) {
	long := strings.Repeat("x", MaxNameLen+1)
	bad := Config{Name: long, Zone: long, Weight: MaxWeight + 1, Tick: -1, Addrs: map[string]string{"http": long}}
	err := bad.Validate()
	for _, want := range []string{"name", "zone", "weight", "tick", "address"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no word about %s: %v", want, err)
		}
	}
	good := Config{Name: long[1:], Zone: long[1:], Weight: MaxWeight}
	if err := good.Validate(); err != nil {
		t.Errorf("at the limits: %v", err)
	}
}

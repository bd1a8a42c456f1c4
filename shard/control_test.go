// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/kvorum/kvorum/fsm"
)

func testNode(id string) NodeInfo {
	return NodeInfo{ID: id, Name: "name-" + id, Weight: 100, Addrs: map[string]string{"peer": id + ":7400"}}
}

// foundCommand founds a cluster of so many groups on node n1.
func foundCommand(groups, replicas int) *cmdFound {
	var gs []weightedGroup
	for i := range groups {
		gs = append(gs, weightedGroup{ID: uint32(i + 1), Weight: 1})
	}
	slots := [SlotCount]uint32(*planSlots(new(slotTable), gs))
	return &cmdFound{
		ClusterID: "c1", HashKey: make([]byte, 16), ClusterVersion: 1, Node: testNode("n1"),
		Settings: Settings{Groups: groups, Replicas: replicas, Policy: DefaultPolicy}, Slots: slotRuns(&slots),
	}
}

func mustApply(t testing.TB, v *View, args ...any) *View {
	t.Helper()
	for _, arg := range args {
		c := controlCommand(arg)
		next, err := v.apply(c.Op, c.Args)
		if err != nil {
			t.Fatalf("%T %+v: %v", arg, arg, err)
		}
		v = next
	}
	return v
}

func refused(t testing.TB, v *View, want error, arg any) {
	t.Helper()
	c := controlCommand(arg)
	next, err := v.apply(c.Op, c.Args)
	if !errors.Is(err, want) || next != v {
		t.Fatalf("%T %+v: got %v, want %v and no change", arg, arg, err, want)
	}
}

func TestControlFound(t *testing.T) {
	v := emptyView()
	refused(t, v, ErrRefused, &cmdAddNode{Node: testNode("n2")})
	bad := foundCommand(2, 3)
	bad.Slots = bad.Slots[1:]
	refused(t, v, ErrRefused, bad)
	bad = foundCommand(2, 2)
	refused(t, v, ErrRefused, bad)

	v = mustApply(t, v, foundCommand(2, 3))
	if v.Revision != 1 || v.Epoch != 1 || len(v.Groups) != 3 || v.NextGroup != 3 || v.slotCounts()[1] != SlotCount/2 {
		t.Fatalf("founded: %+v", v)
	}
	if again := mustApply(t, v, foundCommand(2, 3)); again != v {
		t.Error("founding the same cluster again changed it")
	}
	other := foundCommand(2, 3)
	other.ClusterID = "c2"
	refused(t, v, ErrRefused, other)
}

// The largest commands fit the limit of an argument.
func TestControlLargest(t *testing.T) {
	found := foundCommand(MaxGroups, MaxReplicas)
	v := mustApply(t, emptyView(), found)
	all := new(cmdSetReplicas)
	nodes := make([]string, MaxReplicas)
	for i := range nodes {
		nodes[i] = fmt.Sprintf("%040d", i)
	}
	for _, g := range v.Groups {
		all.Groups = append(all.Groups, groupReplicas{Group: g.ID, If: 1 << 60, Voters: nodes})
	}
	for _, arg := range []any{found, all} {
		c := controlCommand(arg)
		if n := len(c.Args[0]); n > maxControlArg*3/4 {
			t.Errorf("%T: %d bytes", arg, n)
		}
	}
	if err := (&Settings{Groups: MaxGroups + 1, Replicas: 3, Policy: DefaultPolicy}).validate(); !errors.Is(err, ErrRefused) {
		t.Errorf("one group too many: %v", err)
	}
	if err := (&Settings{Groups: 1, Replicas: MaxReplicas + 2, Policy: DefaultPolicy}).validate(); !errors.Is(err, ErrRefused) {
		t.Errorf("too many replicas: %v", err)
	}
}

func TestControlNodes(t *testing.T) {
	v := mustApply(t, emptyView(), foundCommand(2, 3), &cmdAddNode{Node: testNode("n2")})
	g, _ := v.Group(0)
	if want := (ReplicaInfo{Node: "n2", Number: 2, Role: RoleLearner}); len(g.Replicas) != 2 || g.Replicas[1] != want {
		t.Fatalf("control group after a join: %+v", g)
	}
	if again := mustApply(t, v, &cmdAddNode{Node: testNode("n2")}); again != v {
		t.Error("adding a node again changed the state")
	}
	n2, _ := v.Node("n2")
	moved := testNode("n2")
	moved.Addrs = map[string]string{"peer": "elsewhere:1"}
	refused(t, v, ErrConflict, &cmdSetNode{If: n2.Rev + 1, Node: moved})
	w := mustApply(t, v, &cmdSetNode{If: n2.Rev, Node: moved})
	if got, _ := w.Node("n2"); got.Addrs["peer"] != "elsewhere:1" || got.Joined != n2.Joined || got.Rev != w.Revision {
		t.Errorf("after an address change: %+v", got)
	}
	if old, _ := v.Node("n2"); old.Addrs["peer"] != "n2:7400" {
		t.Error("an older View changed")
	}

	refused(t, v, ErrRefused, &cmdRemoveNode{Node: "n2"})
	v = mustApply(t, v, &cmdLeaveNode{Node: "n2"}, &cmdLeaveNode{Node: "n2"})
	refused(t, v, ErrRefused, &cmdLeaveNode{Node: "n1"})
	refused(t, v, ErrRefused, &cmdAddNode{Node: testNode("n2")})
	refused(t, v, ErrRefused, &cmdRemoveNode{Node: "n2"}) // still a member of group 0
	g, _ = v.Group(0)
	v = mustApply(t, v, &cmdSetReplicas{Groups: []groupReplicas{{Group: 0, If: g.Rev, Voters: []string{"n1"}}}})
	v = mustApply(t, v, &cmdForget{Group: 0, Number: 2}, &cmdForget{Group: 0, Number: 2}, &cmdRemoveNode{Node: "n2"})
	if _, ok := v.Node("n2"); ok {
		t.Error("node is still listed")
	}
	if again := mustApply(t, v, &cmdRemoveNode{Node: "n2"}); again != v {
		t.Error("removing a node again changed the state")
	}
}

func TestControlReplicas(t *testing.T) {
	v := mustApply(t, emptyView(), foundCommand(1, 3), &cmdAddNode{Node: testNode("n2")}, &cmdAddNode{Node: testNode("n3")})
	g, _ := v.Group(1)
	one := func(r groupReplicas) *cmdSetReplicas { return &cmdSetReplicas{Groups: []groupReplicas{r}} }
	for _, r := range []groupReplicas{
		{Group: 1, If: g.Rev, Voters: []string{"n1", "n2"}},
		{Group: 1, If: g.Rev, Voters: nil, Learners: []string{"n1"}},
		{Group: 1, If: g.Rev, Voters: []string{"n1"}, Learners: []string{"n1"}},
		{Group: 1, If: g.Rev, Voters: []string{"nobody"}},
		{Group: 9, If: g.Rev, Voters: []string{"n1"}},
	} {
		refused(t, v, ErrRefused, one(r))
	}
	twice := one(groupReplicas{Group: 1, If: g.Rev, Voters: []string{"n2"}})
	twice.Groups = append(twice.Groups, groupReplicas{Group: 9, If: g.Rev, Voters: []string{"n1"}})
	refused(t, v, ErrRefused, twice)
	refused(t, v, ErrConflict, &cmdSetReplicas{Groups: []groupReplicas{{Group: 1, If: g.Rev + 7, Voters: []string{"n1"}}}})

	v = mustApply(t, v, &cmdSetReplicas{Groups: []groupReplicas{{Group: 1, If: g.Rev, Voters: []string{"n3", "n2", "n1"}}}})
	g, _ = v.Group(1)
	want := []ReplicaInfo{{"n1", 1, RoleVoter}, {"n3", 2, RoleVoter}, {"n2", 3, RoleVoter}}
	if !slices.Equal(g.Replicas, want) || g.NextReplica != 4 {
		t.Fatalf("replicas %+v", g)
	}
	refused(t, v, ErrConflict, &cmdForget{Group: 1, Number: 1})
	refused(t, v, ErrRefused, &cmdForget{Group: 1, Number: 4})
	v = mustApply(t, v, &cmdPrefer{Group: 1, If: g.Rev, Node: "n3"})
	g, _ = v.Group(1)

	// n3 is dropped and comes back before it was forgotten: the same number. After: a new one.
	v = mustApply(t, v, &cmdSetReplicas{Groups: []groupReplicas{{Group: 1, If: g.Rev, Voters: []string{"n1"}, Learners: []string{"n2"}}}})
	g, _ = v.Group(1)
	if r, _ := g.replicaOn("n3"); r.Role != RoleGone || g.Lead != "" {
		t.Fatalf("after dropping n3: %+v", g)
	}
	v = mustApply(t, v, &cmdSetReplicas{Groups: []groupReplicas{{Group: 1, If: g.Rev, Voters: []string{"n3"}, Learners: []string{"n2"}}}})
	g, _ = v.Group(1)
	if r, _ := g.replicaOn("n3"); r.Role != RoleVoter || r.Number != 2 {
		t.Fatalf("after taking n3 back: %+v", g)
	}
	v = mustApply(t, v, &cmdForget{Group: 1, Number: 1}, &cmdForget{Group: 1, Number: 1})
	g, _ = v.Group(1)
	v = mustApply(t, v, &cmdSetReplicas{Groups: []groupReplicas{{Group: 1, If: g.Rev, Voters: []string{"n3", "n2", "n1"}}}})
	g, _ = v.Group(1)
	if r, _ := g.replicaOn("n1"); r.Number != 4 {
		t.Fatalf("number reused: %+v", g)
	}
}

func TestControlSettings(t *testing.T) {
	v := mustApply(t, emptyView(), foundCommand(1, 3))
	s := v.Settings
	s.MaxMemory, s.Policy = 1<<30, "allkeys-lru"
	refused(t, v, ErrConflict, &cmdSettings{If: 0, Settings: s})
	more := s
	more.Groups = 2
	refused(t, v, ErrRefused, &cmdSettings{If: 1, Settings: more})
	wrong := s
	wrong.Policy = "sometimes"
	refused(t, v, ErrRefused, &cmdSettings{If: 1, Settings: wrong})
	v = mustApply(t, v, &cmdSettings{If: 1, Settings: s})
	if v.Settings != s || v.SettingsRev != v.Revision {
		t.Fatalf("settings %+v", v)
	}
}

// A snapshot gives back the same state, to the digest.
func TestControlSnapshot(t *testing.T) {
	changes := 0
	s := newControlState(func(*View) { changes++ })
	for _, arg := range []any{foundCommand(5, 3), &cmdAddNode{Node: testNode("n2")}, &cmdLeaveNode{Node: "n2"}} {
		c := controlCommand(arg)
		if r := s.Run(nil, &c); r.IsError() {
			t.Fatalf("%T: %s", arg, r.Str)
		}
	}
	if changes != 3 {
		t.Errorf("told of %d changes, want 3", changes)
	}
	frozen, err := s.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	b := newControlState(func(*View) { changes++ })
	b.BeginLoad()
	if err := frozen.Sections(b.Load); err != nil {
		t.Fatal(err)
	}
	if b.view.Load().Revision != 0 {
		t.Error("a View was visible before the load ended")
	}
	if err := b.EndLoad(); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s.view.Load(), b.view.Load()) || digestOf(s) != digestOf(b) {
		t.Errorf("restored %+v, want %+v", b.view.Load(), s.view.Load())
	}
	b.BeginLoad()
	if err := b.EndLoad(); err == nil {
		t.Error("an empty snapshot was accepted")
	}
}

func digestOf(s *controlState) (sum [16]byte) {
	s.Digest(func(_ uint32, d [16]byte) { sum = d })
	return sum
}

// No bytes make apply panic, and a refusal changes nothing.
func FuzzControlApply(f *testing.F) {
	for _, arg := range []any{
		foundCommand(2, 3), &cmdAddNode{Node: testNode("n2")}, &cmdLeaveNode{Node: "n1"}, &cmdForget{Group: 1, Number: 1},
		&cmdSetReplicas{Groups: []groupReplicas{{Group: 1, If: 1, Voters: []string{"n1"}}}}, &cmdPrefer{Group: 1, If: 1, Node: "n1"}, &cmdSettings{If: 1},
		&cmdHold{Kind: HoldRestore, Node: "n1", Nonce: "a"}, &cmdRenew{ID: 1}, &cmdRelease{ID: 1, Keep: true},
	} {
		c := controlCommand(arg)
		f.Add(uint16(c.Op), c.Args[0])
	}
	f.Fuzz(func(t *testing.T, op uint16, arg []byte) {
		for _, v := range []*View{emptyView(), mustApply(t, emptyView(), foundCommand(2, 3), &cmdAddNode{Node: testNode("n2")})} {
			before, _ := json.Marshal(v)
			next, err := v.apply(fsm.Op(op), [][]byte{arg})
			if after, _ := json.Marshal(v); string(before) != string(after) {
				t.Fatal("apply changed its receiver")
			}
			if err != nil && next != v {
				t.Fatal("a refusal made a new View")
			}
			if next != v && next.Revision != v.Revision+1 {
				t.Fatalf("revision went from %d to %d", v.Revision, next.Revision)
			}
		}
	})
}

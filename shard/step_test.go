// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"slices"
	"testing"
)

// seen builds a member from letters: V votes, else N; a alive, c caught up, s stable, S settled, x in
// raft's back-off, l low on disk.
func seen(node string, number uint64, flags string) memberSeen {
	has := func(c rune) bool { return slices.Contains([]rune(flags), c) }
	return memberSeen{Node: node, Number: number, Voter: has('V'), Alive: has('a'), CaughtUp: has('c'), Stable: has('s'), Settled: has('S'), Reachable: !has('x'), Low: has('l')}
}

func TestKeeperStep(t *testing.T) {
	const ok = "VacsS"
	voter := func(node string, n uint64) ReplicaInfo { return ReplicaInfo{node, n, RoleVoter} }
	learner := func(node string, n uint64) ReplicaInfo { return ReplicaInfo{node, n, RoleLearner} }
	gone := func(node string, n uint64) ReplicaInfo { return ReplicaInfo{node, n, RoleGone} }
	for _, tt := range []struct {
		name    string
		members []memberSeen
		want    []ReplicaInfo
		lead    string
		settled bool
		next    uint64
		step    keeperMove
		tried   string // transfers to this node failed long ago
	}{
		{"alone and content", []memberSeen{seen("a", 1, ok)}, []ReplicaInfo{voter("a", 1)}, "a", true, 2, keeperMove{}, ""},
		{"a new voter begins as a nonvoter", []memberSeen{seen("a", 1, ok)}, []ReplicaInfo{voter("a", 1), voter("b", 2), voter("c", 3)}, "", true, 4, keeperMove{actAdd, "b", 2}, ""},
		{"one ready of two does not make two votes", []memberSeen{seen("a", 1, ok), seen("b", 2, "acs"), seen("c", 3, "ac")}, []ReplicaInfo{voter("a", 1), voter("b", 2), voter("c", 3)}, "", true, 4, keeperMove{}, ""},
		{"two ready: the first", []memberSeen{seen("a", 1, ok), seen("b", 2, "acs"), seen("c", 3, "acs")}, []ReplicaInfo{voter("a", 1), voter("b", 2), voter("c", 3)}, "", true, 4, keeperMove{actPromote, "b", 2}, ""},
		{"then the second", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, "acs")}, []ReplicaInfo{voter("a", 1), voter("b", 2), voter("c", 3)}, "", true, 4, keeperMove{actPromote, "c", 3}, ""},
		{"a third that died leaves two", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, "")}, []ReplicaInfo{voter("a", 1), voter("b", 2), voter("c", 3)}, "", true, 4, keeperMove{}, ""},
		{"a stale contact is no candidate", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, "cs")}, []ReplicaInfo{voter("a", 1), voter("b", 2), voter("c", 3)}, "", true, 4, keeperMove{}, ""},
		{"replace a live voter: promote first", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, ok), seen("d", 4, "acs")}, []ReplicaInfo{voter("a", 1), voter("b", 2), gone("c", 3), voter("d", 4)}, "", true, 5, keeperMove{actPromote, "d", 4}, ""},
		{"then demote", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, ok), seen("d", 4, ok)}, []ReplicaInfo{voter("a", 1), voter("b", 2), gone("c", 3), voter("d", 4)}, "", true, 5, keeperMove{actDemote, "c", 3}, ""},
		{"then remove", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, "ac"), seen("d", 4, ok)}, []ReplicaInfo{voter("a", 1), voter("b", 2), gone("c", 3), voter("d", 4)}, "", true, 5, keeperMove{actRemove, "c", 3}, ""},
		{"then forget", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("d", 4, ok)}, []ReplicaInfo{voter("a", 1), voter("b", 2), gone("c", 3), voter("d", 4)}, "", true, 5, keeperMove{actForget, "c", 3}, ""},
		{"replacement not ready: the old one stays", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, ok), seen("d", 4, "a")}, []ReplicaInfo{voter("a", 1), voter("b", 2), gone("c", 3), voter("d", 4)}, "", true, 5, keeperMove{}, ""},
		{"replace a dead voter: demote first", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, "V"), seen("d", 4, "acs")}, []ReplicaInfo{voter("a", 1), voter("b", 2), gone("c", 3), voter("d", 4)}, "", true, 5, keeperMove{actDemote, "c", 3}, ""},
		{"then promote", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("d", 4, "acs")}, []ReplicaInfo{voter("a", 1), voter("b", 2), gone("c", 3), voter("d", 4)}, "", true, 5, keeperMove{actPromote, "d", 4}, ""},
		{"no demotion that ends the majority", []memberSeen{seen("a", 1, ok), seen("b", 2, "V"), seen("c", 3, ok), seen("d", 4, ok)}, []ReplicaInfo{voter("a", 1), voter("b", 2), gone("c", 3), voter("d", 4)}, "", true, 5, keeperMove{actDemote, "c", 3}, ""},
		{"no demotion of the second of two when the other is behind", []memberSeen{seen("a", 1, ok), seen("b", 2, "Va")}, []ReplicaInfo{gone("a", 1), voter("b", 2)}, "", true, 3, keeperMove{}, ""},
		{"shrink three to one: dead ones first", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, "V")}, []ReplicaInfo{voter("a", 1), learner("b", 2), gone("c", 3)}, "", true, 4, keeperMove{actDemote, "c", 3}, ""},
		{"shrink on", []memberSeen{seen("a", 1, ok), seen("b", 2, ok)}, []ReplicaInfo{voter("a", 1), learner("b", 2)}, "", true, 4, keeperMove{actDemote, "b", 2}, ""},
		{"a leaving sole voter first promotes its heir", []memberSeen{seen("a", 1, ok), seen("b", 2, "acs")}, []ReplicaInfo{gone("a", 1), voter("b", 2)}, "b", true, 3, keeperMove{actPromote, "b", 2}, ""},
		{"then hands over", []memberSeen{seen("a", 1, ok), seen("b", 2, "Vac")}, []ReplicaInfo{gone("a", 1), voter("b", 2)}, "b", false, 3, keeperMove{actTransfer, "b", 2}, ""},
		{"the preferred heir comes first", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, ok)}, []ReplicaInfo{gone("a", 1), voter("b", 2), voter("c", 3)}, "c", false, 4, keeperMove{actTransfer, "c", 3}, ""},
		{"an unknown number is left alone", []memberSeen{seen("a", 1, ok), seen("z", 9, "ac")}, []ReplicaInfo{voter("a", 1)}, "", true, 9, keeperMove{}, ""},
		{"a forgotten number that came back is removed", []memberSeen{seen("a", 1, ok), seen("z", 8, "ac")}, []ReplicaInfo{voter("a", 1)}, "", true, 9, keeperMove{actRemove, "z", 8}, ""},
		{"leadership to the preferred", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, ok)}, []ReplicaInfo{voter("a", 1), voter("b", 2), voter("c", 3)}, "b", true, 4, keeperMove{actTransfer, "b", 2}, ""},
		{"not before this leadership settled", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, ok)}, []ReplicaInfo{voter("a", 1), voter("b", 2), voter("c", 3)}, "b", false, 4, keeperMove{}, ""},
		{"not before the preferred settled", []memberSeen{seen("a", 1, ok), seen("b", 2, "Vacs"), seen("c", 3, ok)}, []ReplicaInfo{voter("a", 1), voter("b", 2), voter("c", 3)}, "b", true, 4, keeperMove{}, ""},
		{"a failed transfer is not tried again, but by way of another", []memberSeen{seen("a", 1, ok), seen("b", 2, ok), seen("c", 3, ok)}, []ReplicaInfo{voter("a", 1), voter("b", 2), voter("c", 3)}, "b", true, 4, keeperMove{actTransfer, "c", 3}, "b"},
		{"no way round to a preferred leader that is down", []memberSeen{seen("a", 1, ok), seen("b", 2, "V"), seen("c", 3, ok)}, []ReplicaInfo{voter("a", 1), voter("b", 2), voter("c", 3)}, "b", true, 4, keeperMove{}, "b"},
		{"a leaving leader whose heir could not be reached makes a new term", []memberSeen{seen("a", 1, ok), seen("b", 2, ok)}, []ReplicaInfo{gone("a", 1), voter("b", 2)}, "b", true, 3, keeperMove{actRestart, "a", 0}, "b"},
		{"an heir in back-off is waited for", []memberSeen{seen("a", 1, ok), seen("b", 2, ok+"x")}, []ReplicaInfo{gone("a", 1), voter("b", 2)}, "b", true, 3, keeperMove{}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := keeperStep(&groupSeen{
				Self: "a", Members: tt.members, Settled: tt.settled, Committed: true,
				Tried: map[string]bool{tt.tried: true}, Detour: tt.tried != "",
				Want: GroupInfo{ID: 1, Replicas: tt.want, NextReplica: tt.next, Lead: tt.lead},
			})
			if got != tt.step {
				t.Errorf("got %v %s/%d, want %v %s/%d", got.Action, got.Node, got.Number, tt.step.Action, tt.step.Node, tt.step.Number)
			}
		})
	}
}

// TestKeeperStepOnLowDisks: leadership moves for balance only to where growing writes are taken; a leader that shall not
// vote hands over all the same.
func TestKeeperStepOnLowDisks(t *testing.T) {
	const ok, low = "VacsS", "VacsSl"
	toB := keeperMove{actTransfer, "b", 2}
	for _, tt := range []struct {
		name    string
		a, b, c string // a leads, and b is preferred
		lately  bool
		leaves  bool
		tried   string
		step    keeperMove
	}{
		{name: "the preferred is low", a: ok, b: low, c: ok},
		{name: "the leader was not low for long", a: low, b: ok, c: ok, lately: true},
		{name: "the leader was low for long", a: low, b: ok, c: ok, step: toB},
		{name: "both are low", a: low, b: low, c: ok},
		{name: "a third one is low", a: ok, b: ok, c: low, step: toB},
		{name: "a majority is low", a: low, b: ok, c: low},
		{name: "all are low", a: low, b: low, c: low},
		{name: "the way round is low", a: ok, b: ok, c: low, tried: "b"},
		{name: "a leader that leaves", a: low, b: low, c: low, lately: true, leaves: true, step: toB},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := []ReplicaInfo{{"a", 1, RoleVoter}, {"b", 2, RoleVoter}, {"c", 3, RoleVoter}}
			if tt.leaves {
				want[0].Role = RoleGone
			}
			got := keeperStep(&groupSeen{
				Self: "a", Members: []memberSeen{seen("a", 1, tt.a), seen("b", 2, tt.b), seen("c", 3, tt.c)},
				Settled: true, Committed: true, LowLately: tt.lately,
				Tried: map[string]bool{tt.tried: true}, Detour: tt.tried != "",
				Want: GroupInfo{ID: 1, Replicas: want, NextReplica: 4, Lead: "b"},
			})
			if got != tt.step {
				t.Errorf("got %v %s/%d, want %v %s/%d", got.Action, got.Node, got.Number, tt.step.Action, tt.step.Node, tt.step.Number)
			}
		})
	}
}

func TestAgentSteps(t *testing.T) {
	group := func(id uint32, next uint64, rs ...ReplicaInfo) GroupInfo {
		return GroupInfo{ID: id, Founder: "a", Replicas: rs, NextReplica: next}
	}
	v := &View{NextGroup: 4, Groups: []GroupInfo{
		group(0, 9, ReplicaInfo{"a", 8, RoleGone}),
		group(1, 3, ReplicaInfo{"a", 1, RoleVoter}, ReplicaInfo{"b", 2, RoleVoter}),
		group(2, 6, ReplicaInfo{"a", 5, RoleLearner}),
	}}
	one := heldReplica{Group: 1, Number: 1}
	two := heldReplica{Group: 2, Number: 5}
	for _, tt := range []struct {
		name    string
		self    string
		local   []heldReplica
		deleted map[uint32]uint64
		want    []agentMove
	}{
		{name: "the founder founds", self: "a", local: []heldReplica{two}, want: []agentMove{{1, 1, true, true}}},
		{name: "every group its own step, deletions first", self: "a", local: []heldReplica{{Group: 2, Number: 4}}, want: []agentMove{{Group: 2, Number: 4}, {1, 1, true, true}}},
		{name: "others do not", self: "b", want: []agentMove{{1, 2, true, false}}},
		{name: "the next missing one", self: "a", local: []heldReplica{one}, want: []agentMove{{2, 5, true, false}}},
		{name: "all there", self: "a", local: []heldReplica{one, two}},
		{name: "a deleted number never comes back", self: "a", local: []heldReplica{one}, deleted: map[uint32]uint64{2: 5}},
		{name: "a forgotten one goes", self: "a", local: []heldReplica{one, {Group: 2, Number: 4}}, want: []agentMove{{Group: 2, Number: 4}}},
		{name: "one that this view never heard of stays", self: "a", local: []heldReplica{one, {Group: 2, Number: 6}}},
		{name: "a removed group goes", self: "a", local: []heldReplica{one, two, {Group: 3, Number: 1}}, want: []agentMove{{Group: 3, Number: 1}}},
		{name: "a group that this view never heard of stays", self: "a", local: []heldReplica{one, two, {Group: 4, Number: 1}}},
		{name: "the control group is left alone", self: "a", local: []heldReplica{one, two, {Group: 0, Number: 7}}},
		{name: "one that was stopped starts again", self: "a", local: []heldReplica{one, {Group: 2, Number: 5, Idle: true}}, want: []agentMove{{2, 5, true, false}}},
		{name: "one that was stopped and not deleted goes", self: "a", local: []heldReplica{one, {Group: 2, Number: 4, Idle: true}}, want: []agentMove{{Group: 2, Number: 4}}},
		{name: "a stopped one that this view never heard of stays", self: "b", local: []heldReplica{{Group: 1, Number: 2}, {Group: 2, Number: 6, Idle: true}}},
		{name: "another's replica is none of ours", self: "c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := agentSteps(v, tt.self, tt.local, tt.deleted)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

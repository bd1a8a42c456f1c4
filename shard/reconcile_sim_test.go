// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// simWorld is a cluster reduced to what the step functions see: the control state, each group's raft
// membership and leader, and which nodes are up. It has no time: a nonvoter on a running node is
// caught up after one round.
type simWorld struct {
	t      interface{ Fatalf(string, ...any) }
	v      *View
	up     map[string]bool
	low    map[string]bool // nodes whose disks are low
	groups map[uint32]*simGroup
	// disks holds each node's replicas, deleted the tombstones.
	disks   map[string]map[uint32]uint64
	deleted map[string]map[uint32]uint64
	log     []string
}

type simGroup struct {
	leader  string
	members []memberSeen // Stable: caught up a round ago
}

func newSimWorld(t interface{ Fatalf(string, ...any) }, groups, replicas int) *simWorld {
	w := &simWorld{
		t: t, up: map[string]bool{"n1": true}, low: map[string]bool{}, groups: map[uint32]*simGroup{},
		disks: map[string]map[uint32]uint64{}, deleted: map[string]map[uint32]uint64{},
	}
	w.v = emptyView()
	w.control(foundCommand(groups, replicas))
	for id := range groups + 1 {
		w.groups[uint32(id)] = &simGroup{leader: "n1", members: []memberSeen{{Node: "n1", Number: 1, Voter: true}}}
	}
	w.disks["n1"] = map[uint32]uint64{0: 1}
	return w
}

func (w *simWorld) control(arg any) {
	c := controlCommand(arg)
	next, err := w.v.apply(c.Op, c.Args)
	if err != nil {
		w.t.Fatalf("%T %+v: %v\n%v", arg, arg, err, w.log)
	}
	if f, ok := arg.(*cmdFound); ok {
		arg = fmt.Sprintf("found %+v", f.Settings)
	}
	w.log = append(w.log, fmt.Sprintf("%T %+v", arg, arg))
	w.v = next
}

func (w *simWorld) join(id string) {
	w.control(&cmdAddNode{Node: testNode(id)})
	g, _ := w.v.Group(0)
	r, _ := g.replicaOn(id)
	w.up[id] = true
	w.disks[id] = map[uint32]uint64{0: r.Number}
}

// running tells whether the node runs exactly this replica.
func (w *simWorld) running(m *memberSeen, group uint32) bool {
	return w.up[m.Node] && w.disks[m.Node][group] == m.Number
}

// round lets every loop take one step. It reports whether anything changed.
func (w *simWorld) round() bool {
	changed := false
	for _, id := range w.ids() {
		changed = w.elect(id) || changed
		changed = w.keep(id) || changed
	}
	if g := w.groups[controlGroup]; g.leader != "" {
		if c := governorStep(w.v, w.up); c != nil {
			w.control(c)
			changed = true
		}
	}
	for node := range w.disks {
		changed = w.agent(node) || changed
	}
	return changed
}

func (w *simWorld) ids() []uint32 {
	var ids []uint32
	for id := range w.groups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// elect keeps a live leader, or makes the first running voter leader if a majority runs.
func (w *simWorld) elect(id uint32) bool {
	g := w.groups[id]
	voters, live := 0, []string(nil)
	for i := range g.members {
		if m := &g.members[i]; m.Voter {
			voters++
			if w.running(m, id) {
				live = append(live, m.Node)
			}
		}
	}
	before := g.leader
	if !slices.Contains(live, g.leader) || len(live) < majority(voters) {
		g.leader = ""
		if len(live) >= majority(voters) {
			g.leader = live[0]
		}
	}
	return g.leader != before
}

func (w *simWorld) keep(id uint32) bool {
	g := w.groups[id]
	if g.leader == "" {
		return false
	}
	changed := false
	for i := range g.members {
		m := &g.members[i]
		m.Alive = w.running(m, id)
		fresh := m.CaughtUp
		m.CaughtUp = m.Alive
		m.Stable = m.Alive && fresh
		m.Settled, m.Reachable, m.Low = m.Stable, true, w.low[m.Node] && m.Alive
		changed = changed || fresh != m.CaughtUp
	}
	want, _ := w.v.Group(id)
	move := keeperStep(&groupSeen{Self: g.leader, Members: g.members, Want: want, Settled: true, Committed: true})
	if move.Action != actNone {
		w.log = append(w.log, fmt.Sprintf("group %d: %v %s/%d", id, move.Action, move.Node, move.Number))
	}
	i := slices.IndexFunc(g.members, func(m memberSeen) bool { return m.Number == move.Number })
	switch move.Action {
	case actNone:
		return changed
	case actAdd:
		g.members = append(g.members, memberSeen{Node: move.Node, Number: move.Number})
	case actRemove:
		g.members = slices.Delete(g.members, i, i+1)
	case actPromote, actDemote:
		g.members[i].Voter = move.Action == actPromote
	case actTransfer:
		w.checkDisks(g, &want, move.Node)
		g.leader = move.Node
	case actForget:
		w.control(&cmdForget{Group: id, Number: move.Number})
	}
	w.check(id)
	return true
}

// check holds after every step of a group: a working majority, and votes even only in passing.
func (w *simWorld) check(id uint32) {
	g := w.groups[id]
	voters, live := 0, 0
	for i := range g.members {
		if m := &g.members[i]; m.Voter {
			voters++
			if w.running(m, id) {
				live++
			}
		}
	}
	if voters == 0 || live < majority(voters) {
		w.t.Fatalf("group %d has %d of %d voters running after a step\n%v", id, live, voters, w.log)
	}
}

// checkDisks holds when a group's leadership goes to a node: the old leader may not stay, or the new one takes
// growing writes.
func (w *simWorld) checkDisks(g *simGroup, want *GroupInfo, to string) {
	if r, listed := want.replicaOn(g.leader); !listed || r.Role != RoleVoter {
		return
	}
	voters, low := 0, 0
	for _, m := range g.members {
		voters += rank(m.Voter)
		low += rank(m.Voter && m.Low)
	}
	if w.low[to] || voters-low < majority(voters) {
		w.t.Fatalf("group %d goes to %s for balance; low are %v\n%v", want.ID, to, w.low, w.log)
	}
}

func (w *simWorld) agent(node string) bool {
	if !w.up[node] {
		return false
	}
	var local []heldReplica
	for g, n := range w.disks[node] {
		local = append(local, heldReplica{Group: g, Number: n})
	}
	steps := agentSteps(w.v, node, local, w.deleted[node])
	for _, move := range steps {
		w.moveReplica(node, move)
	}
	return len(steps) > 0
}

func (w *simWorld) moveReplica(node string, move agentMove) {
	if move.Start {
		w.disks[node][move.Group] = move.Number
		return
	}
	for i := range w.groups[move.Group].members {
		if m := &w.groups[move.Group].members[i]; m.Node == node && m.Number == move.Number {
			w.t.Fatalf("node %s deletes replica %d of group %d, which is a member\n%v", node, move.Number, move.Group, w.log)
		}
	}
	delete(w.disks[node], move.Group)
	if w.deleted[node] == nil {
		w.deleted[node] = map[uint32]uint64{}
	}
	w.deleted[node][move.Group] = move.Number
}

// settle runs rounds until nothing changes.
func (w *simWorld) settle() {
	for range 2000 {
		if !w.round() {
			return
		}
	}
	w.t.Fatalf("no rest after 2000 rounds: %v", w.log[max(0, len(w.log)-40):])
}

// checkGoal holds when all is at rest and all members are up.
func (w *simWorld) checkGoal() {
	stay := 0
	for _, n := range w.v.Nodes {
		if n.Leaving {
			w.t.Fatalf("node %s is still leaving\n%v", n.ID, w.log)
		}
		stay++
	}
	leads := map[string]int{}
	for _, id := range w.ids() {
		g := w.groups[id]
		want := oddBelow(min(w.v.Settings.Replicas, stay))
		members := min(w.v.Settings.Replicas, stay)
		if id == controlGroup {
			want, members = controlVotes(stay), stay
		}
		voters := 0
		for _, m := range g.members {
			voters += rank(m.Voter)
			if !w.running(&m, id) {
				w.t.Fatalf("group %d: member %s/%d does not run\n%v", id, m.Node, m.Number, w.log)
			}
		}
		if voters != want || len(g.members) != members {
			w.t.Fatalf("group %d has %d voters of %d members, want %d of %d\n%v", id, voters, len(g.members), want, members, w.log)
		}
		if id != controlGroup {
			leads[g.leader]++
		}
	}
	lo, hi := MaxGroups, 0
	if stay%2 == 1 && stay <= w.v.Settings.Replicas { // every node votes in every group
		for _, n := range w.v.Nodes {
			lo, hi = min(lo, leads[n.ID]), max(hi, leads[n.ID])
		}
		if hi > lo+1 {
			w.t.Fatalf("leaders are spread %v\n%v", leads, w.log)
		}
	}
}

// One node becomes three: three voters each, leaders spread; a fourth gets its share; the first leaves;
// then down to one.
func TestReconcileGrowAndShrink(t *testing.T) {
	w := newSimWorld(t, 8, 3)
	w.settle()
	w.checkGoal()
	for _, id := range []string{"n2", "n3", "n4"} {
		w.join(id)
		w.settle()
		w.checkGoal()
	}
	if n := w.v.replicasOf("n4", false); n != 6 {
		t.Errorf("the fourth node holds %d of 24 replicas, want 6", n)
	}
	for _, id := range []string{"n1", "n3", "n2"} {
		w.control(&cmdLeaveNode{Node: id})
		w.settle()
		w.checkGoal()
		if _, still := w.v.Node(id); still {
			t.Fatalf("%s is still a member", id)
		}
	}
}

// A dead node among three is told to leave: the rest goes on with one vote and a learner.
func TestReconcileLeaveOfDeadNode(t *testing.T) {
	w := newSimWorld(t, 3, 3)
	w.join("n2")
	w.join("n3")
	w.settle()
	w.up["n1"] = false
	w.settle()
	w.control(&cmdLeaveNode{Node: "n1"})
	w.settle()
	w.checkGoal()
}

// Random joins, leaves, crashes, restarts and full disks at random moments: after each step every group has a
// working majority if it had one, no member's data are deleted, no leadership moves for balance to where growing writes
// are refused, and when everybody is up again and has space all comes to rest at the goal.
func TestReconcileRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newSimWorld(t, rapid.IntRange(1, 6).Draw(t, "groups"), rapid.SampledFrom([]int{1, 3, 5}).Draw(t, "replicas"))
		next := 2
		for range rapid.IntRange(1, 12).Draw(t, "events") {
			switch rapid.IntRange(0, 4).Draw(t, "event") {
			case 0:
				if w.groups[controlGroup].leader != "" && next < 8 {
					w.join(fmt.Sprint("n", next))
					next++
				}
			case 1:
				n := w.v.Nodes[rapid.IntRange(0, len(w.v.Nodes)-1).Draw(t, "leaves")]
				stay := 0
				for _, o := range w.v.Nodes {
					stay += rank(!o.Leaving)
				}
				if stay > 1 && w.groups[controlGroup].leader != "" {
					w.control(&cmdLeaveNode{Node: n.ID})
				}
			case 2:
				n := w.v.Nodes[rapid.IntRange(0, len(w.v.Nodes)-1).Draw(t, "fills")]
				w.low[n.ID] = !w.low[n.ID]
			default:
				n := w.v.Nodes[rapid.IntRange(0, len(w.v.Nodes)-1).Draw(t, "flips")]
				w.up[n.ID] = !w.up[n.ID]
				for _, id := range w.ids() {
					w.elect(id)
				}
			}
			for range rapid.IntRange(0, 10).Draw(t, "rounds") {
				w.round()
			}
		}
		for id := range w.up {
			w.up[id] = true
		}
		clear(w.low)
		w.settle()
		w.checkGoal()
	})
}

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"slices"
)

// catchUpLag is how many log entries a replica may be behind its leader and still count as caught
// up: what a busy group has in flight.
const catchUpLag = 64

// memberSeen is a member of a raft group as its leader sees it.
type memberSeen struct {
	Node   string
	Number uint64
	Voter  bool
	// Alive: in contact lately; true for the leader itself.
	Alive bool
	// CaughtUp: within catchUpLag of the leader.
	CaughtUp bool
	// Stable: alive and caught up for the stabilisation time. Settled: likewise for the settling time.
	Stable, Settled bool
	// Reachable: raft sends to it without delay.
	Reachable bool
	// Low: its node said lately that its disk is low.
	Low bool
}

func (m *memberSeen) healthy() bool { return m.Alive && m.CaughtUp }

// groupSeen is what a keeper looks at: only the group's leader makes one.
type groupSeen struct {
	Self    string
	Members []memberSeen // the newest membership in the log
	// Want is the group in the control state.
	Want GroupInfo
	// Settled: this leadership has lasted for the settling time.
	Settled bool
	// Committed: Members is known to be committed.
	Committed bool
	// Tried: nodes that leadership could not be handed to in this term.
	Tried map[string]bool
	// Detour: the last transfer failed long ago, and other ways are in order.
	Detour bool
	// LowLately: this leader's disk is low, and has not been for the settling time.
	LowLately bool
}

// keeperAction is one step of a group's membership.
type keeperAction uint8

// The actions. All but actNone concern the node and number of a keeperStep's result.
const (
	actNone keeperAction = iota
	actAdd
	actRemove
	actPromote
	actDemote
	actTransfer
	actForget
	// actRestart restarts this leader's own replica, which ends its term.
	actRestart
)

var keeperActionNames = [...]string{"none", "add", "remove", "promote", "demote", "transfer", "forget", "restart"}

func (a keeperAction) String() string { return keeperActionNames[a] }

// keeperMove is an action with its object.
type keeperMove struct {
	Action keeperAction
	Node   string
	Number uint64
}

// keeperStep returns the next step that brings a group's membership towards the control state.
// DESIGN.md §5 gives the order and the reasons. Pure.
func keeperStep(s *groupSeen) keeperMove {
	k := newKeeping(s)
	for _, next := range []func() keeperMove{k.plainMembers, k.handOver, k.votes, k.forgotten, k.preferred} {
		if m := next(); m.Action != actNone {
			return m
		}
	}
	return keeperMove{}
}

// keeping sorts the members by what shall become of them.
type keeping struct {
	*groupSeen
	voters, healthy int          // counts of voting members
	low             int          // voters whose disks are low
	surplus         []memberSeen // voters that shall not vote, this leader left out
	candidates      []memberSeen // members that shall vote, do not yet, and are ready
	missing         int          // replicas that shall vote and do not yet, ready or not
	selfSurplus     bool         // this leader shall not vote
}

func newKeeping(s *groupSeen) *keeping {
	k := &keeping{groupSeen: s}
	for _, m := range s.Members {
		if m.Voter {
			k.voters++
			k.low += rank(m.Low)
			if m.healthy() {
				k.healthy++
			}
		}
		role, known := k.role(m.Number)
		switch {
		case !known || m.Voter == (role == RoleVoter):
		case m.Voter && m.Node == s.Self:
			k.selfSurplus = true
		case m.Voter:
			k.surplus = append(k.surplus, m)
		case m.Stable && m.healthy():
			k.candidates = append(k.candidates, m)
		}
	}
	for _, r := range s.Want.Replicas {
		if m, in := k.member(r.Number); r.Role == RoleVoter && (!in || !m.Voter) {
			k.missing++
		}
	}
	// The dead go first.
	slices.SortStableFunc(k.surplus, func(a, b memberSeen) int {
		return cmp.Or(cmp.Compare(rank(a.Alive), rank(b.Alive)), cmp.Compare(rank(a.healthy()), rank(b.healthy())))
	})
	return k
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// role tells what a replica shall be; known is false for a number that this View never heard of.
func (k *keeping) role(number uint64) (role Role, known bool) {
	for _, r := range k.Want.Replicas {
		if r.Number == number {
			return r.Role, true
		}
	}
	return RoleGone, number < k.Want.NextReplica
}

func (k *keeping) member(number uint64) (memberSeen, bool) {
	i := slices.IndexFunc(k.Members, func(m memberSeen) bool { return m.Number == number })
	if i < 0 {
		return memberSeen{}, false
	}
	return k.Members[i], true
}

// plainMembers adds and removes members without a vote.
func (k *keeping) plainMembers() keeperMove {
	for _, m := range k.Members {
		if role, known := k.role(m.Number); known && role == RoleGone && !m.Voter {
			return keeperMove{actRemove, m.Node, m.Number}
		}
	}
	for _, r := range k.Want.Replicas {
		if _, in := k.member(r.Number); !in && r.Role != RoleGone {
			return keeperMove{actAdd, r.Node, r.Number}
		}
	}
	return keeperMove{}
}

// handOver gives leadership away when this leader shall not vote. It never takes its own vote: a
// leader that lost contact before that was committed would neither lead nor let others. When every heir was
// tried in this term, it makes a new term.
func (k *keeping) handOver() keeperMove {
	if !k.selfSurplus {
		return keeperMove{}
	}
	var to, restart keeperMove
	for _, m := range k.Members {
		role, known := k.role(m.Number)
		switch {
		case !m.Voter || !m.healthy() || !m.Reachable || !known || role != RoleVoter:
		case k.Tried[m.Node]:
			restart = keeperMove{Action: actRestart, Node: k.Self}
		case to.Action == actNone || m.Node == k.Want.Lead:
			to = keeperMove{actTransfer, m.Node, m.Number}
		}
	}
	if to.Action == actNone && k.Detour {
		return restart
	}
	return to
}

// votes takes at most one voting change; odd numbers of votes are left only for the moment that
// the next change needs.
func (k *keeping) votes() keeperMove {
	surplus := len(k.surplus) + rank(k.selfSurplus)
	if k.voters%2 == 0 {
		if m := k.demote(); m.Action != actNone {
			return m
		}
		return k.promote()
	}
	if len(k.candidates) > 0 && len(k.surplus) > 0 && !k.surplus[0].Alive {
		return k.demote()
	}
	if len(k.candidates) > 1 || len(k.candidates) > 0 && surplus > 0 {
		return k.promote()
	}
	if k.missing == 0 {
		return k.demote()
	}
	return keeperMove{}
}

// demote takes the vote of a surplus voter if the others are still a working majority.
func (k *keeping) demote() keeperMove {
	for _, m := range k.surplus {
		left := k.healthy - rank(m.healthy())
		if left >= majority(k.voters-1) {
			return keeperMove{actDemote, m.Node, m.Number}
		}
	}
	return keeperMove{}
}

// promote gives a candidate its vote if a majority works afterwards.
func (k *keeping) promote() keeperMove {
	if len(k.candidates) == 0 || k.healthy+1 < majority(k.voters+1) {
		return keeperMove{}
	}
	m := k.candidates[0]
	return keeperMove{actPromote, m.Node, m.Number}
}

// forgotten finds a gone replica that is no member any more.
func (k *keeping) forgotten() keeperMove {
	if !k.Committed {
		return keeperMove{}
	}
	for _, r := range k.Want.Replicas {
		if _, in := k.member(r.Number); r.Role == RoleGone && !in {
			return keeperMove{actForget, r.Node, r.Number}
		}
	}
	return keeperMove{}
}

// preferred hands leadership to the preferred leader, or to any other who can try that anew, but never to where
// growing writes would be refused for their disks.
func (k *keeping) preferred() keeperMove {
	if !k.Settled || k.Want.Lead == "" || k.Want.Lead == k.Self || k.short() {
		return keeperMove{}
	}
	var to keeperMove
	for _, m := range k.Members {
		able := m.Node != k.Self && m.Voter && m.healthy() && m.Reachable && m.Settled && !m.Low
		switch {
		case m.Node == k.Want.Lead && !able:
			return keeperMove{}
		case able && !k.Tried[m.Node] && (m.Node == k.Want.Lead || k.Tried[k.Want.Lead] && k.Detour):
			to = keeperMove{actTransfer, m.Node, m.Number}
		}
	}
	return to
}

// short tells whether disks stand against any handover that need not be: growing writes would be refused whoever
// leads, or this leader's disk ran low a moment ago, and the others may be as low and not have said so yet.
func (k *keeping) short() bool {
	return k.voters-k.low < majority(k.voters) || k.LowLately
}

// majority is how many of n votes decide.
func majority(n int) int { return n/2 + 1 }

// heldReplica is a replica that this node runs or holds on disk.
type heldReplica struct {
	Group  uint32
	Number uint64
	// Idle: it does not run. A start or a deletion did not get through.
	Idle bool
}

// agentMove is one step of a node's own replicas: a start, or else a deletion.
type agentMove struct {
	Group  uint32
	Number uint64
	Start  bool
	// Bootstrap is set on a start that founds the group.
	Bootstrap bool
}

// agentSteps returns the steps that bring this node's replicas in line with the control state, at most
// one for a group, deletions first. deleted gives the highest number of each group that this node ever
// deleted. The control group's own replica is not its business. Pure.
func agentSteps(v *View, self string, local []heldReplica, deleted map[uint32]uint64) []agentMove {
	var steps []agentMove
	runs := make(map[uint32]uint64, len(local))
	for _, l := range local {
		if !l.Idle {
			runs[l.Group] = l.Number
		}
		if l.Group == controlGroup {
			continue
		}
		g, exists := v.Group(l.Group)
		issued := exists && l.Number < g.NextReplica || !exists && l.Group < v.NextGroup
		listed := slices.ContainsFunc(g.Replicas, func(r ReplicaInfo) bool { return r.Number == l.Number })
		if issued && !listed {
			steps = append(steps, agentMove{Group: l.Group, Number: l.Number})
			runs[l.Group] = l.Number // until it is gone
		}
	}
	for i := range v.Groups {
		g := &v.Groups[i]
		if g.ID == controlGroup || runs[g.ID] != 0 {
			continue
		}
		for _, r := range g.Replicas {
			if r.Node == self && r.Number > deleted[g.ID] { // gone ones too: until forgotten they may be members
				founds := r.Number == 1 && g.Founder == self
				steps = append(steps, agentMove{Group: g.ID, Number: r.Number, Start: true, Bootstrap: founds})
				break
			}
		}
	}
	return steps
}

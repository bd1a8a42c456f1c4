// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// A leader whose process died is missed by raft's timers after one to two heartbeat timeouts. Its
// kernel tells at once (link.Gone), and its followers need not wait: see "A leader's process is gone"
// in DESIGN.md.
const (
	// vacancyTick is how often a follower of a leader that is gone looks whether the others agree.
	vacancyTick = 5 * time.Millisecond
	// standPatience is how long it leaves the field to each voter that is to stand before it,
	// standingPatience how long to one that has stood already: its vote must reach the disks.
	standPatience    = 100 * time.Millisecond
	standingPatience = 300 * time.Millisecond
	// answerPatience is how long a majority that agrees waits for the others to answer and to agree.
	answerPatience = 10 * vacancyTick
)

// vacancy is what the watcher knows of a leader that is gone.
type vacancy struct {
	// hint is the leader, zero when none is missing.
	hint Hint
	// since is when it was missed first, agreed when a majority was first found to agree, zero before.
	since, agreed time.Time
	// voters are all voters of the group, in the order in which they are to stand if their logs are equally
	// long; place is this replica's, -1 when it is none of them.
	voters []raft.Server
	place  int
}

// peerGone wakes the groups that a node led.
func (n *Node) peerGone(node string) {
	for _, g := range n.running() {
		if in := g.inst.Load(); in != nil && g.Leader().Node == node {
			in.nudge()
		}
	}
}

// succeed stands for election when the leader's process is gone and a majority of the voters hold to
// it no more. It returns true when it must be called again soon. Raft's own timers act in any case, so it
// gives up after one heartbeat timeout.
func (in *instance) succeed(v *vacancy) (again bool) {
	g := in.g
	hint := g.Leader()
	if hint.Node == "" || hint.Node == g.n.ID() || !g.n.link.Gone(hint.Node) {
		*v = vacancy{}
		return false
	}
	now := monotonic()
	if v.hint != hint {
		*v = vacancy{hint: hint, since: now}
	}
	v.voters, v.place = in.succession() // the leader's last entry may have changed them
	if v.place < 0 || len(v.voters) < 3 || now.Sub(v.since) > g.n.cfg.Heartbeat {
		return false
	}
	_, leader := in.raft.LeaderWithID()
	node, _, _ := splitServerID(leader)
	if node != hint.Node || in.raft.State() != raft.Follower || !in.trans.Settled() || !in.due(v, now) {
		return true
	}
	ctx, cancel := context.WithTimeout(g.n.ctx, g.n.cfg.Heartbeat)
	defer cancel()
	in.standing.Store(true)
	defer in.standing.Store(false)
	if err := in.trans.Stand(ctx, leader, hint.Term); err == nil {
		g.log.Info("standing for election: the leader's process is gone", "leader", hint.Node, "term", hint.Term)
	}
	return true
}

// standAlone makes the only voter of a group, a founder or one that is started again, its leader at once, where raft
// would wait for one to two heartbeat timeouts for a leader to show.
func (in *instance) standAlone() {
	if voters, place := in.succession(); len(voters) != 1 || place != 0 {
		return
	}
	ctx, cancel := context.WithTimeout(in.g.n.ctx, in.g.n.cfg.Heartbeat)
	defer cancel()
	// Without it raft's timer does the same.
	if err := in.trans.StandAlone(ctx, in.raft.CurrentTerm()); err != nil {
		in.g.log.Debug("the only voter waits for raft's timer", "error", err)
	}
}

// succession lists the voters in the order of a hash of group and voter: one node does not inherit all groups,
// and replicas that know different memberships agree on the order of those whom they both know.
func (in *instance) succession() (voters []raft.Server, place int) {
	voters = slices.DeleteFunc(slices.Clone(in.servers()), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
	slices.SortFunc(voters, func(a, b raft.Server) int {
		return cmp.Or(cmp.Compare(in.g.rank(a.ID), in.g.rank(b.ID)), strings.Compare(string(a.ID), string(b.ID)))
	})
	return voters, slices.IndexFunc(voters, func(s raft.Server) bool { return s.ID == in.g.self })
}

func (g *Group) rank(id raft.ServerID) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %s", g.id, id)
	return h.Sum64()
}

// due asks the other voters about their leader, and tells by what they answered since the vacancy
// whether it is this replica's turn: a majority holds to the leader no more, and those who stand before it,
// or may do so when they have missed the leader, had their time.
func (in *instance) due(v *vacancy, now time.Time) bool {
	g := in.g
	lastLog := in.raft.LastIndex()
	agree, before, all, standing := 1, 0, true, false
	for i, s := range v.voters {
		node, replica, _ := splitServerID(s.ID)
		if i == v.place || node == v.hint.Node {
			continue
		}
		g.n.lane(node).ask(question{g: g, replica: replica, lastLog: lastLog})
		a, ok := g.peers.of(node, replica)
		heard := ok && !a.sent.Before(v.since)
		switch {
		case heard && a.state == stateStanding:
			agree++
			standing = true
		case heard && a.state == stateOK && a.term <= v.hint.Term:
			agree++ // it was started a moment ago
		case heard && a.state == stateOrphaned && a.term == v.hint.Term:
			agree++
			if a.lastLog > lastLog || a.lastLog == lastLog && i < v.place {
				before++
			}
		default:
			all = false
			if i < v.place {
				before++ // its answer may be on its way, and when it misses the leader it goes first
			}
		}
	}
	if agree <= len(v.voters)/2 {
		return false
	}
	if v.agreed.IsZero() {
		v.agreed = now
	}
	wait := time.Duration(before) * standPatience
	if standing {
		wait += standingPatience
	}
	if !all {
		wait = max(wait, answerPatience)
	}
	return now.Sub(v.agreed) >= wait
}

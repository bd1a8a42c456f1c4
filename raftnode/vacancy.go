// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// A leader whose process died is missed by raft's timers after one to two heartbeat timeouts. Its
// kernel tells at once (link.Gone), and its followers need not wait: see "A leader's process is gone"
// in DESIGN.md.
const (
	// vacancyTick is how often a follower of a leader that is gone looks whether the others agree.
	vacancyTick = 5 * time.Millisecond
	// standPatience is how long it leaves the first try to a voter that stands before it.
	standPatience = 100 * time.Millisecond
)

// vacancy is what the watcher knows of a leader that is gone.
type vacancy struct {
	// hint is the leader, zero when none is missing.
	hint Hint
	// since is when it was missed first.
	since time.Time
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
	waited := now.Sub(v.since)
	if waited > g.n.cfg.Heartbeat {
		return false
	}
	_, id := in.raft.LeaderWithID()
	if agreed, first := in.heirs(v); !agreed || !first && waited < standPatience {
		return true
	}
	ctx, cancel := context.WithTimeout(g.n.ctx, g.n.cfg.Heartbeat)
	defer cancel()
	if err := in.trans.Stand(ctx, id, hint.Term); err == nil {
		g.log.Info("standing for election: the leader's process is gone", "leader", hint.Node, "term", hint.Term)
	}
	return true
}

// heirs asks the other voters about their leader and goes by what they answered since the vacancy.
// agreed: a majority, this replica included, has the same leader and finds it gone, or has none. first:
// none of those that will stand has a longer log, or an equal one and a place before this replica.
func (in *instance) heirs(v *vacancy) (agreed, first bool) {
	g := in.g
	voters := slices.DeleteFunc(slices.Clone(in.servers()), func(s raft.Server) bool { return s.Suffrage != raft.Voter })
	if len(voters) == 0 {
		return false, false
	}
	slices.SortFunc(voters, func(a, b raft.Server) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	// The places of one group are those of the next, shifted, so that one node does not inherit all.
	shift := int(g.id) % len(voters)
	voters = slices.Concat(voters[shift:], voters[:shift])
	lastLog := in.raft.LastIndex()
	agree, member, first := 0, false, true
	for _, s := range voters {
		node, replica, _ := splitServerID(s.ID)
		switch {
		case s.ID == g.self:
			agree++
			member = true
			continue
		case node == v.hint.Node:
			continue
		}
		g.n.lane(node).ask(question{g: g, replica: replica, lastLog: lastLog})
		a, ok := g.peers.of(node, replica)
		if !ok || a.sent.Before(v.since) {
			continue
		}
		orphaned := a.state == stateOrphaned && a.term == v.hint.Term
		if orphaned || a.state == stateOK && a.term <= v.hint.Term {
			agree++
		}
		if orphaned && (a.lastLog > lastLog || a.lastLog == lastLog && !member) {
			first = false
		}
	}
	return member && agree > len(voters)/2, first
}

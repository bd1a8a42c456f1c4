// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"sync/atomic"

	"github.com/kvorum/kvorum/raftnode"
)

// route is what this node knows about reaching one group. It lives as long as the Router.
type route struct {
	r     *Router
	group uint32
	local atomic.Pointer[localReplica]
	hint  atomic.Pointer[raftnode.Hint] // never nil
	// told is the last hint that callers were woken for. A hint that was refused and is learnt again
	// from the local replica is no news: waking for it would spin.
	told atomic.Pointer[raftnode.Hint]
	// turn walks over the replicas while no leader is known.
	turn  atomic.Uint32
	lane  lane
	reads reader
	// waits are this node's blocked clients, registry those that this node wakes while it leads.
	waits    waits
	registry registry
}

type localReplica struct{ localGroup }

func newRoute(r *Router, group uint32) *route {
	rt := &route{r: r, group: group}
	rt.hint.Store(&raftnode.Hint{})
	rt.lane.init(rt)
	rt.reads.init(rt)
	rt.waits.init(rt)
	rt.registry.init(r, group)
	return rt
}

// target is where the next attempt goes: a local replica, else a node; neither when none is known.
type target struct {
	local localGroup
	node  string
	// asked: node is merely asked in its turn; nobody said that it leads.
	asked bool
}

// target chooses by what is known now: the local replica if it leads, else the node of the hint
// with the highest term, else the replicas of the map in turn.
func (rt *route) target() target {
	local := rt.local.Load()
	if local != nil {
		if local.IsLeader() {
			if rt.leader() != rt.r.cfg.Self {
				rt.learn(local.Leader())
			}
			return target{local: local.localGroup}
		}
		rt.learn(local.Leader())
	}
	h := rt.hint.Load()
	if h.Node == rt.r.cfg.Self && local != nil {
		return target{local: local.localGroup}
	}
	if h.Node != "" && h.Node != rt.r.cfg.Self && rt.r.cfg.Link != nil {
		return target{node: h.Node}
	}
	return rt.next()
}

// next is the other replicas' turn: this node does not lead.
func (rt *route) next() target {
	if m := rt.r.m.Load(); m != nil && rt.r.cfg.Link != nil {
		replicas := m.Groups[rt.group].Replicas
		for range replicas {
			node := replicas[int(rt.turn.Add(1)%uint32(len(replicas)))]
			if node != rt.r.cfg.Self {
				return target{node: node, asked: true}
			}
		}
	}
	return target{}
}

// learn keeps the better of the present hint and h, and tells whether that is news.
func (rt *route) learn(h raftnode.Hint) bool {
	if h.Node == "" {
		return false
	}
	for {
		cur := rt.hint.Load()
		if h.Term < cur.Term || h.Term == cur.Term && cur.Node != "" {
			return false
		}
		if rt.hint.CompareAndSwap(cur, &h) {
			if old := rt.told.Swap(&h); old != nil && *old == h {
				return false
			}
			rt.r.tell()
			return true
		}
	}
}

// disappointed is called when an attempt at node was refused, with hint h, or lost. Whoever said that
// node leads may be wrong: the others are asked next, and name it again if it does.
func (rt *route) disappointed(node string, h raftnode.Hint) {
	if rt.learn(h) {
		return
	}
	cur := rt.hint.Load()
	if cur.Node == node && node != "" {
		rt.hint.CompareAndSwap(cur, &raftnode.Hint{Term: cur.Term})
	}
}

// wake makes lanes look again at where to send.
func (rt *route) wake() {
	leader := rt.leader()
	rt.lane.wake(leader)
	rt.reads.wake(leader)
	rt.waits.led(leader)
}

// close ends what waits for the group; what runs is joined by the Router.
func (rt *route) close() {
	rt.lane.close()
	rt.reads.close()
	rt.waits.close()
	rt.registry.close()
}

// leader is the node id of the leader as far as known.
func (rt *route) leader() string { return rt.hint.Load().Node }

// gone tells whether the group no longer exists.
func (rt *route) gone() bool {
	m := rt.r.m.Load()
	if m == nil {
		return false
	}
	_, ok := m.Groups[rt.group]
	return !ok
}

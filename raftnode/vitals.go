// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"time"

	"github.com/hashicorp/raft"
)

const (
	// vitalsPerHeartbeat is how often a node looks after itself in one heartbeat timeout.
	vitalsPerHeartbeat = 4
	// slowVitals: every so many rounds come the dearer checks.
	slowVitals = 5
	// queueWait is how long a Sub may wait in the queue, pendingWait how long a proposed one may go
	// unanswered; they bound what a hung disk or a lost quorum keeps.
	queueWait   = 5 * time.Second
	pendingWait = 10 * time.Second
	// peerFresh is how old a peer's word about its disk may be.
	peerFresh = 5 * time.Second
)

// vitals is the node's housekeeping: overdue appends, stuck transfers, polls of peers, disk space,
// and bounded waits.
func (n *Node) vitals() {
	period := n.cfg.Heartbeat / vitalsPerHeartbeat
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for round := 0; ; round++ {
		select {
		case <-ticker.C:
		case <-n.ctx.Done():
			return
		}
		n.coarse.Add(1)
		n.checkOverdue()
		for _, g := range n.running() {
			switch in := g.inst.Load(); {
			case in == nil:
			case in.stuck():
				n.restartGroup(g, "leadership transfer does not end")
			default:
				if why := g.wedged.Load(); why != nil {
					n.restartGroup(g, *why)
				}
			}
		}
		if round%slowVitals == 0 {
			n.reserve.check()
			for _, g := range n.running() {
				g.slowVitals(period)
			}
			select {
			case n.snapKick <- struct{}{}:
			default:
			}
		}
	}
}

func (n *Node) restartGroup(g *Group, why string) {
	release, err := n.claim(g.id)
	if err != nil {
		return // being stopped, or restarted already
	}
	n.wg.Go(func() {
		defer release()
		g.restart(why)
	})
}

// slowVitals looks after one group.
func (g *Group) slowVitals(period time.Duration) {
	now := g.n.coarse.Load()
	oldest := now - uint32(queueWait/period)
	g.prop.failQueued(ErrTimeout, func(it item) bool { return int32(it.tick-oldest) < 0 })
	for _, b := range g.pending.takeOlder(now-uint32(pendingWait/period), false) {
		answer(b, ErrUnknown) // the reaper settles it when raft says how it ended
	}
	in := g.inst.Load()
	if in == nil || in.closing.Load() || in.raft.State() != leader {
		g.prop.lowDisk.Store(g.n.low.Load())
		return
	}
	g.prop.closeSilent()
	g.poll(in)
	g.prop.lowDisk.Store(g.lowMajority(in))
}

// poll asks all peers about themselves.
func (g *Group) poll(in *instance) {
	servers := in.servers()
	members := make(map[peerKey]bool, len(servers))
	lastLog := in.raft.LastIndex()
	for _, s := range servers {
		node, replica, ok := splitServerID(s.ID)
		if !ok || s.ID == g.self {
			continue
		}
		members[peerKey{node, replica}] = true
		g.n.lane(node).ask(question{g: g, replica: replica, lastLog: lastLog})
	}
	g.peers.keep(func(node string, replica uint64) bool { return members[peerKey{node, replica}] })
}

// lowMajority tells whether this node's disk is low, or so many voters' that an entry cannot reach a
// majority without one of them.
func (g *Group) lowMajority(in *instance) bool {
	if g.n.low.Load() {
		return true
	}
	voters, low := 0, 0
	for _, s := range in.servers() {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		node, replica, _ := splitServerID(s.ID)
		if a, ok := g.peers.of(node, replica); ok && s.ID != g.self && a.lowDisk && time.Since(a.sent) < peerFresh {
			low++
		}
	}
	return voters > 0 && voters-low < voters/2+1
}

// closeSilent asks for an entry that closes the sessions that were silent for too long.
func (p *proposer) closeSilent() {
	closes := p.sessions.silent(p.g.machine.Sessions)
	if len(closes) == 0 {
		return
	}
	p.mu.Lock()
	p.mu.closes = append(p.mu.closes, closes...)
	p.mu.Unlock()
	p.requestTick()
}

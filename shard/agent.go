// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/kvorum/kvorum/raftnode"
)

// Limits of the agent's background calls.
const (
	// describeWait bounds one attempt to tell the cluster this node's addresses.
	describeWait = 5 * time.Second
	// memberWait bounds one question whether this node is still a member.
	memberWait = 2 * time.Second
)

// startAgent starts the agent's loop unless it runs already.
func (n *Node) startAgent() {
	n.agentOnce.Do(func() { n.spawn(n.agent) })
}

// agent is the one loop that starts, stops and deletes this node's replicas of data groups. It looks
// after each change of the View and at least once a tick.
func (n *Node) agent() {
	tick := time.NewTicker(n.cfg.Tick)
	defer tick.Stop()
	var published uint64 // Version of the Map that the router has
	silent := time.Now() // when the control group was last heard of
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.wake:
		case <-tick.C:
		}
		if n.ended() {
			if n.retire(published + 1) {
				return
			}
			continue
		}
		v := n.view.Load()
		if v.Revision > published {
			n.router.setMap(mapOf(v))
			published = v.Revision
		}
		if r := n.local(controlGroup); r != nil && r.group.Leader().Node != "" {
			silent = time.Now()
		}
		if time.Since(silent) > n.cfg.DownAfter && n.checking.CompareAndSwap(false, true) {
			n.spawn(func() { defer n.checking.Store(false); n.checkMembership() })
		}
		if v.Revision > 0 {
			n.follow(v)
		}
		n.followControl()
		for _, r := range n.localReplicas() {
			if r.restart.Load() {
				n.restart(r)
				continue
			}
			kick(r.wake)
		}
	}
}

// ended tells whether another member said that this node is none.
func (n *Node) ended() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.left
}

// restart restarts a replica that asked for it. One that was stopped and can then not run is fatal,
// unless the reason passes: then the next look starts it, or stops it first.
func (n *Node) restart(r *replica) {
	switch err := n.restartReplica(r); {
	case err == nil:
		n.log.Info("replica restarted", "group", r.id, "replica", r.number)
	case passing(err):
		n.unmoved(err, "group", r.id, "replica", r.number)
	default:
		n.fatal(err)
	}
}

// followControl starts the control group's replica again when a restart left it stopped.
func (n *Node) followControl() {
	if n.local(controlGroup) != nil || n.ctx.Err() != nil {
		return
	}
	if err := n.startControl(n.book.Load()); err != nil {
		n.unmoved(err, "group", controlGroup)
	}
}

// unmoved says why a replica was not started, stopped or deleted; the next tick tries again. A node
// that is closing has nothing to say.
func (n *Node) unmoved(err error, about ...any) {
	switch about = append(about, "error", err); {
	case n.ctx.Err() != nil, errors.Is(err, raftnode.ErrClosed), errors.Is(err, ErrClosing):
	case errors.Is(err, raftnode.ErrExists):
		n.log.Warn("replica is busy", about...)
	default:
		n.log.Error("replica not changed", about...)
	}
}

// follow brings the node in line with a View.
func (n *Node) follow(v *View) {
	if err := n.savePeers(v); err != nil {
		n.log.Error("peer addresses not saved", "error", err)
	}
	me, member := v.Node(n.ID())
	if want := n.self(); member && !me.sameSelf(&want) && n.describing.CompareAndSwap(false, true) {
		n.spawn(func() { defer n.describing.Store(false); n.describeSelf(me.Rev, want) })
	}
	if _, more := agentStep(v, n.ID(), n.holdings(), nil); !more {
		return
	}
	gone, err := loadGone(n.rn, v.Groups)
	if err != nil {
		n.log.Error("tombstones not read", "error", err)
		return
	}
	for n.ctx.Err() == nil {
		move, more := agentStep(v, n.ID(), n.holdings(), gone)
		if !more {
			return
		}
		if err := n.move(move); err != nil {
			n.unmoved(err, "group", move.Group, "replica", move.Number, "start", move.Start)
			return // the next tick tries again
		}
		if !move.Start {
			gone[move.Group] = max(gone[move.Group], move.Number)
		}
		n.replicasMoved.fire()
	}
}

func (n *Node) move(m agentMove) error {
	if !m.Start {
		return n.dropReplica(m.Group, m.Number)
	}
	if err := n.startReplica(m.Group, m.Number, m.Bootstrap); err != nil {
		return err
	}
	n.log.Info("replica started", "group", m.Group, "replica", m.Number, "founds", m.Bootstrap)
	return nil
}

// savePeers stores the members' addresses when they changed, for the next start. The identity as it
// was stored first stays the base: only the agent changes it once the node is a member.
func (n *Node) savePeers(v *View) error {
	id := n.book.Load()
	if id.Phase != phaseMember || v.Revision < id.Revision {
		return nil
	}
	peers := make(map[string]string, len(v.Nodes))
	for _, node := range v.Nodes {
		peers[node.ID] = node.Addrs["peer"]
	}
	if maps.Equal(peers, id.Peers) {
		return nil
	}
	next := *id
	next.Peers, next.Revision = peers, v.Revision
	if err := next.save(n.rn); err != nil {
		return err
	}
	n.book.Store(&next)
	return nil
}

// describeSelf tells the cluster what this node's configuration says about it.
func (n *Node) describeSelf(rev uint64, as NodeInfo) {
	ctx, cancel := context.WithTimeout(n.ctx, describeWait)
	defer cancel()
	_, err := n.propose(ctx, &cmdSetNode{If: rev, Node: as})
	if err != nil && n.ctx.Err() == nil {
		n.log.Warn("addresses not announced", "error", err)
	}
}

// checkMembership asks others whether this node is still a member, after the control group went
// silent. One who knows at least as much and does not list it settles the question. One who lists it
// under other addresses is why nobody reaches this node: it says its own, without a View of its own.
func (n *Node) checkMembership() {
	id := n.book.Load()
	known := max(id.Revision, n.view.Load().Revision)
	for node := range id.Peers {
		if node == n.ID() || n.ctx.Err() != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(n.ctx, memberWait)
		var answer memberAnswer
		err := n.ask(ctx, node, opMember, memberQuestion{Node: n.ID()}, &answer)
		cancel()
		if err == nil && !answer.Member && answer.Revision >= known {
			n.log.Info("this node is no member any more", "revision", answer.Revision)
			n.mu.Lock()
			n.mu.left = true
			n.mu.Unlock()
			n.kick()
			return
		}
		want := n.self()
		if err == nil && answer.Node != nil && !answer.Node.sameSelf(&want) && n.describing.CompareAndSwap(false, true) {
			n.describeSelf(answer.Node.Rev, want)
			n.describing.Store(false)
			return
		}
	}
}

// retire is a node's end in its cluster: it remembers that it left, refuses data commands, stops all
// replicas and deletes them. False: something is still there, and the next look goes on.
func (n *Node) retire(version uint64) bool {
	if n.book.Load().Phase != phaseLeft {
		next := *n.book.Load()
		next.Phase = phaseLeft
		if err := next.save(n.rn); err != nil {
			n.log.Error("leave not recorded", "error", err)
			return false
		}
		n.book.Store(&next)
	}
	n.router.setMap(&Map{Version: version})
	all := true
	for _, r := range n.holdings() {
		if err := n.dropReplica(r.Group, r.Number); err != nil {
			n.unmoved(err, "group", r.Group, "replica", r.Number)
			all = false
		}
	}
	if all {
		n.markLeft()
	}
	return all
}

func (n *Node) markLeft() {
	n.log.Info("this node has left its cluster", "node", n.ID())
	close(n.left)
}

// mapOf derives the router's Map from a View.
func mapOf(v *View) *Map {
	m := &Map{
		Epoch: v.Epoch, Version: v.Revision, Slots: *v.Slots,
		Groups: make(map[uint32]GroupPlace, len(v.Groups)), Nodes: make(map[string]NodePlace, len(v.Nodes)),
	}
	for i := range v.Groups {
		g := &v.Groups[i]
		if g.ID == controlGroup {
			continue
		}
		var at []string
		for _, role := range []Role{RoleVoter, RoleLearner, RoleGone} {
			at = append(at, g.nodesWith(role)...)
		}
		m.Groups[g.ID] = GroupPlace{Replicas: at}
	}
	for _, node := range v.Nodes {
		m.Nodes[node.ID] = NodePlace{Name: node.Name, Addrs: node.Addrs}
	}
	return m
}

// memberQuestion asks whether a node is a member; Revision of the answer says as of when.
type (
	memberQuestion struct {
		Node string `json:"node"`
	}
	memberAnswer struct {
		Member   bool   `json:"member"`
		Revision uint64 `json:"revision"`
		// Node is how the member is known; nil when it is none.
		Node *NodeInfo `json:"node,omitempty"`
	}
)

func (n *Node) serveMember(q memberQuestion) (memberAnswer, error) {
	v := n.View()
	if v == nil {
		return memberAnswer{}, fmt.Errorf("%w", ErrUninitialised)
	}
	a := memberAnswer{Revision: v.Revision}
	if node, member := v.Node(q.Node); member {
		a.Member, a.Node = true, &node
	}
	return a, nil
}

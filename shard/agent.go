// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kvorum/kvorum/raftnode"
)

// Limits of the agent.
const (
	// maxStarts bounds the data groups' replicas that are started or restarted at one time: each may load
	// a large snapshot. maxDrops bounds those that are deleted, which need not wait for the loads.
	maxStarts = 4
	maxDrops  = 4
	// describeWait bounds one attempt to tell the cluster this node's addresses.
	describeWait = 5 * time.Second
	// memberWait bounds one question whether this node is still a member.
	memberWait = 2 * time.Second
)

// startAgent starts the agent's loop unless it runs already.
func (n *Node) startAgent() {
	n.agentOnce.Do(func() {
		n.spawn(func() { newAgent(n).run() })
	})
}

// agent is the one loop that brings this node's replicas in line with the View: it looks after each
// change, at the end of each move, and at least once a tick. It never waits for a move: each has a
// goroutine of its own. Maps are published by another. The loop owns all fields and joins them all.
type agent struct {
	n *Node
	// under holds the groups whose replica is being moved: one move a group at a time.
	under         map[uint32]bool
	starts, drops int // of data groups, under way
	// failed holds the groups whose last move failed; they are left alone until the next tick.
	failed map[uint32]bool
	// ended has room for every move under way: a move never waits for the agent.
	ended chan moveEnd
	moves sync.WaitGroup
	// silent is when the control group was last heard of.
	silent time.Time
}

// moveEnd is a move's outcome.
type moveEnd struct {
	agentMove
	err error
}

func newAgent(n *Node) *agent {
	return &agent{
		n: n, under: make(map[uint32]bool), failed: make(map[uint32]bool),
		ended: make(chan moveEnd, maxStarts+maxDrops+1), silent: time.Now(),
	}
}

func (a *agent) run() {
	defer a.moves.Wait()
	ctx, stopMaps := context.WithCancel(a.n.ctx)
	var publisher sync.WaitGroup
	publisher.Go(func() { a.n.publishMaps(ctx) })
	defer func() { stopMaps(); publisher.Wait() }()
	tick := time.NewTicker(a.n.cfg.Tick)
	defer tick.Stop()
	for {
		select {
		case <-a.n.ctx.Done():
			return
		case <-a.n.wake:
		case <-tick.C:
			clear(a.failed)
		case end := <-a.ended:
			a.settle(end)
		}
		if !a.n.ended() {
			a.look()
			continue
		}
		stopMaps()
		publisher.Wait()
		if a.retire() {
			return
		}
	}
}

// publishMaps gives the router the Map of each new View, until ctx ends.
func (n *Node) publishMaps(ctx context.Context) {
	var published uint64
	for {
		moved := n.viewMoved.next()
		if v := n.view.Load(); v.Revision > published {
			n.router.setMap(mapOf(v))
			published = v.Revision
			n.replicasMoved.fire()
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// ended tells whether another member said that this node is none.
func (n *Node) ended() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.left
}

// look brings the node in line with the newest View and wakes the keepers.
func (a *agent) look() {
	n, v := a.n, a.n.view.Load()
	if r := n.local(controlGroup); r != nil && r.group.Leader().Node != "" {
		a.silent = time.Now()
	}
	if time.Since(a.silent) > n.cfg.DownAfter && n.checking.CompareAndSwap(false, true) {
		n.spawn(func() { defer n.checking.Store(false); n.checkMembership() })
	}
	a.followControl()
	if v.Revision > 0 {
		a.announce(v)
		a.follow(v)
	}
	for _, r := range n.localReplicas() {
		if r.restart.Load() {
			a.begin(agentMove{Group: r.id, Number: r.number, Start: true}, func() error { return n.restart(r) })
			continue
		}
		kick(r.wake)
	}
}

// announce keeps what members know of each other's addresses in line with a View.
func (a *agent) announce(v *View) {
	n := a.n
	if err := n.savePeers(v); err != nil {
		n.log.Error("peer addresses not saved", "error", err)
	}
	me, member := v.Node(n.ID())
	if want := n.self(); member && !me.sameSelf(&want) && n.describing.CompareAndSwap(false, true) {
		n.spawn(func() { defer n.describing.Store(false); n.describeSelf(me.Rev, want) })
	}
}

// followControl starts the control group's replica again when a restart left it stopped.
func (a *agent) followControl() {
	n := a.n
	if n.local(controlGroup) != nil {
		return
	}
	id := n.book.Load()
	a.begin(agentMove{Group: controlGroup, Number: id.Control, Start: true}, func() error { return n.startControl(id) })
}

// follow begins the moves that a View asks for, as many as there is room for.
func (a *agent) follow(v *View) {
	n := a.n
	if !slices.ContainsFunc(agentSteps(v, n.ID(), n.holdings(), nil), a.may) {
		return
	}
	gone, err := loadGone(n.rn, v.Groups)
	if err != nil {
		n.log.Error("tombstones not read", "error", err)
		return
	}
	for _, m := range agentSteps(v, n.ID(), n.holdings(), gone) {
		a.begin(m, func() error { return n.move(m) })
	}
}

// may tells whether a move can begin now. The control group waits for no other.
func (a *agent) may(m agentMove) bool {
	switch {
	case a.under[m.Group], a.failed[m.Group], a.n.ctx.Err() != nil:
		return false
	case m.Group == controlGroup:
		return true
	case m.Start:
		return a.starts < maxStarts
	}
	return a.drops < maxDrops
}

// begin begins a move if it may.
func (a *agent) begin(m agentMove, f func() error) {
	if !a.may(m) {
		return
	}
	a.under[m.Group] = true
	a.count(m, 1)
	a.moves.Go(func() { a.ended <- moveEnd{m, f()} })
}

func (a *agent) settle(end moveEnd) {
	delete(a.under, end.Group)
	a.count(end.agentMove, -1)
	if end.err != nil {
		a.failed[end.Group] = true
		a.n.unmoved(&end)
		return
	}
	a.n.replicasMoved.fire()
}

func (a *agent) count(m agentMove, by int) {
	switch {
	case m.Group == controlGroup:
	case m.Start:
		a.starts += by
	default:
		a.drops += by
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

// restart restarts a replica that asked for it. One that was stopped and can then not run is fatal,
// unless the reason passes: then a later look starts it, or stops it first.
func (n *Node) restart(r *replica) error {
	err := n.restartReplica(r)
	if err != nil && !passing(err) {
		n.fatal(err)
	}
	return err
}

// unmoved says why a replica was not started, stopped or deleted; after the next tick it is tried
// again. A node that is closing has nothing to say.
func (n *Node) unmoved(end *moveEnd) {
	log := n.log.With("group", end.Group, "replica", end.Number, "start", end.Start, "error", end.err)
	switch {
	case n.ctx.Err() != nil, errors.Is(end.err, raftnode.ErrClosed), errors.Is(end.err, ErrClosing):
	case errors.Is(end.err, raftnode.ErrExists):
		log.Warn("replica is busy")
	default:
		log.Error("replica not changed")
	}
}

// retire is a node's end in its cluster: it remembers that it left, refuses data commands, stops all
// replicas and deletes them. False: something is still there, and the next look goes on. Maps are
// published no more.
func (a *agent) retire() bool {
	n := a.n
	if n.book.Load().Phase != phaseLeft {
		next := *n.book.Load()
		next.Phase = phaseLeft
		if err := next.save(n.rn); err != nil {
			n.log.Error("leave not recorded", "error", err)
			return false
		}
		n.book.Store(&next)
		last := &Map{Version: 1}
		if m := n.router.SlotMap(); m != nil {
			last.Version = m.Version + 1
		}
		n.router.setMap(last)
	}
	left := n.holdings()
	for _, r := range left {
		a.begin(agentMove{Group: r.Group, Number: r.Number}, func() error { return n.dropReplica(r.Group, r.Number) })
	}
	if len(left) > 0 || len(a.under) > 0 {
		return false
	}
	n.markLeft()
	return true
}

func (n *Node) markLeft() {
	n.log.Info("this node has left its cluster", "node", n.ID())
	close(n.left)
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

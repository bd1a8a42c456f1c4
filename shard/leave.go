// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"strings"

	"github.com/kvorum/kvorum/raftnode"
)

// minIDPrefix is how many digits of a node id name it at least.
const minIDPrefix = 4

// findNode resolves a node named by id, by name, or by a prefix of its id; both unique.
func (v *View) findNode(name string) (NodeInfo, error) {
	if n, ok := v.Node(name); ok {
		return n, nil
	}
	var found []NodeInfo
	for _, n := range v.Nodes {
		if n.Name == name || len(name) >= minIDPrefix && strings.HasPrefix(n.ID, name) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return NodeInfo{}, fmt.Errorf("%w: %q", ErrNoSuchNode, name)
	}
	return NodeInfo{}, fmt.Errorf("%w: %q names %d nodes; use more of the id", ErrNoSuchNode, name, len(found))
}

// Leave takes a node, named by id, unique id prefix or name, out of the cluster. It returns when
// the node holds nothing any more and is no member; until then it may be called again.
func (n *Node) Leave(ctx context.Context, node string) error {
	v := n.View()
	if v == nil {
		return fmt.Errorf("shard: leave: %w", ErrUninitialised)
	}
	info, err := v.findNode(node)
	if err != nil {
		return fmt.Errorf("shard: leave: %w", err)
	}
	if !info.Leaving {
		stay := 0
		for _, o := range v.Nodes {
			stay += rank(!o.Leaving)
		}
		if stay < 2 {
			return fmt.Errorf("shard: leave: %w", ErrLastNode)
		}
		if _, err := n.propose(ctx, &cmdLeaveNode{Node: info.ID}); err != nil {
			return fmt.Errorf("shard: leave: %w", err)
		}
	}
	if err := n.waitGone(ctx, info.ID); err != nil {
		return fmt.Errorf("shard: leave: node %s is leaving and holds %d replicas; the cluster goes on with it: %w",
			info.Name, n.view.Load().replicasOf(info.ID, true), err)
	}
	return nil
}

// waitGone waits until a node is no member. The node itself may learn that only by asking, so its
// own end counts as well.
func (n *Node) waitGone(ctx context.Context, node string) error {
	gone := make(chan error, 1)
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		gone <- n.viewMoved.until(inner, func() bool { _, member := n.view.Load().Node(node); return !member })
	}()
	select {
	case err := <-gone:
		return err
	case <-n.leftIf(node):
		cancel()
		<-gone
		return nil
	case <-n.ctx.Done():
		cancel()
		<-gone
		return ErrClosing
	}
}

// leftIf is Left when node is this one, otherwise a channel that never ends.
func (n *Node) leftIf(node string) <-chan struct{} {
	if node == n.ID() {
		return n.left
	}
	return nil
}

// transferOrder tells a group's leader to hand over.
type transferOrder struct {
	Group uint32 `json:"group"`
	Node  string `json:"node"`
}

// TransferLeader makes node the leader of a group, now and as the group's preferred leader.
func (n *Node) TransferLeader(ctx context.Context, group uint32, node string) error {
	v := n.View()
	if v == nil {
		return fmt.Errorf("shard: transfer: %w", ErrUninitialised)
	}
	info, err := v.findNode(node)
	if err != nil {
		return fmt.Errorf("shard: transfer: %w", err)
	}
	g, ok := v.Group(group)
	if !ok {
		return fmt.Errorf("shard: transfer: %w: %d", ErrNoSuchGroup, group)
	}
	if g.Lead != info.ID && group != controlGroup {
		if _, err := n.propose(ctx, &cmdPrefer{Group: group, If: g.Rev, Node: info.ID}); err != nil {
			return fmt.Errorf("shard: transfer: %w", err)
		}
	}
	leader := n.leaderOf(ctx, group)
	order := transferOrder{Group: group, Node: info.ID}
	switch leader {
	case info.ID:
		return nil
	case "":
		return fmt.Errorf("shard: transfer: group %d has no leader", group)
	case n.ID():
		err = n.transferHere(ctx, order)
	default:
		err = n.ask(ctx, leader, opTransfer, order, nil)
	}
	if err != nil {
		return fmt.Errorf("shard: transfer: %w", err)
	}
	return nil
}

// leaderOf finds a group's leader, from the replica here or from the members' reports.
func (n *Node) leaderOf(ctx context.Context, group uint32) string {
	if r := n.local(group); r != nil {
		if hint := r.group.Leader(); hint.Node != "" {
			return hint.Node
		}
	}
	var best raftnode.Hint
	for _, rep := range n.reports(ctx, n.view.Load()) {
		for _, g := range rep.Groups {
			if g.Raft.Group == group && g.Raft.Leader.Node != "" && g.Raft.Leader.Term >= best.Term {
				best = g.Raft.Leader
			}
		}
	}
	return best.Node
}

// transferHere hands over a group that this node leads.
func (n *Node) transferHere(ctx context.Context, o transferOrder) error {
	r := n.local(o.Group)
	if r == nil {
		return fmt.Errorf("%w: no replica of group %d on node %s", ErrNoSuchGroup, o.Group, n.ID())
	}
	return r.group.Transfer(ctx, o.Node)
}

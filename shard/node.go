// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode"
)

// Node is one node of a cluster. All methods may be called from any goroutine.
type Node struct {
	rn     *raftnode.Node
	router *Router
}

// Open starts the node on an open consensus runtime, which must have no running group: it restarts
// the replicas in the catalogue and ends a founding or a join that a crash interrupted. A node
// without cluster waits for Init or Join. The caller closes rn after Close.
func Open(h *host.Host, rn *raftnode.Node, cfg Config) (*Node, error) {
	return &Node{rn: rn, router: &Router{}}, nil
}

// Close stops the node's loops and joins them. It stops no group: that is rn.Close.
func (n *Node) Close() error { return nil }

// ID is the node's id: 40 hex digits.
func (n *Node) ID() string { return n.rn.ID() }

// Router carries commands to the groups.
func (n *Node) Router() *Router { return n.router }

// View returns the control state as last applied here; nil while the node belongs to no cluster or
// has not caught up with it yet.
func (n *Node) View() *View { return nil }

// Initialised tells whether the node belongs to a cluster.
func (n *Node) Initialised() bool { return false }

// Ready is nil when the node knows its cluster and every local replica has caught up, otherwise it
// says what is missing.
func (n *Node) Ready() error { return ErrUninitialised }

// Left is closed once the node has left its cluster: its groups are stopped and their data deleted.
func (n *Node) Left() <-chan struct{} { return nil }

// Init founds a cluster with this node as its first. It returns when every slot can be written.
func (n *Node) Init(ctx context.Context, o InitOptions) error { return ErrInitialised }

// Join makes this node a member of the cluster that one of members belongs to. It returns when this
// node has caught up with the control group. Replicas of data groups arrive later.
func (n *Node) Join(ctx context.Context, members []string) error { return ErrInitialised }

// Leave takes a node, named by id, unique id prefix or name, out of the cluster. It returns when
// the node holds nothing any more and is no member; until then it may be called again.
func (n *Node) Leave(ctx context.Context, node string) error { return ErrUninitialised }

// Status describes the whole cluster; nodes that do not answer in time show as down.
func (n *Node) Status(ctx context.Context) (Status, error) { return Status{}, nil }

// Snapshot makes every local group take a snapshot now.
func (n *Node) Snapshot(ctx context.Context) error { return ErrUninitialised }

// Digest returns the digest of every replica of every group that answers.
func (n *Node) Digest(ctx context.Context) ([]ReplicaDigest, error) { return nil, ErrUninitialised }

// TransferLeader makes node the leader of a group, now and as the group's preferred leader.
func (n *Node) TransferLeader(ctx context.Context, group uint32, node string) error {
	return ErrUninitialised
}

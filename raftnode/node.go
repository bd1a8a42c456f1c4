// SPDX-License-Identifier: Apache-2.0

// Package raftnode is consensus: the runtime of one node with its many raft groups.
package raftnode

import (
	"context"

	"github.com/kvorum/kvorum/internal/host"
)

// Class is a class of peer link messages of the layers above; each has its own connection, so that
// none can hold up another.
type Class uint8

// The classes open to the layers above.
const (
	ClassControl Class = 1
	ClassForward Class = 2
	ClassObserve Class = 3
	ClassBulk    Class = 4
	// ClassJoin is served before the caller knows the cluster's id.
	ClassJoin Class = 5
)

// Handler serves one peer link request on a goroutine of its own. from is the caller's node id. An
// error travels to the caller as text.
type Handler func(ctx context.Context, from string, req []byte) (reply []byte, err error)

// Node is the runtime of one node. All methods may be called from any goroutine.
type Node struct{}

// Open locks the data folder, opens the catalogue and starts the peer link's listener.
func Open(h *host.Host, cfg Config) (*Node, error) { return nil, ErrClosed }

// ID is the node's id: 40 hex digits, made once.
func (n *Node) ID() string { return "" }

// Incarnation counts the starts of this node, from 1.
func (n *Node) Incarnation() uint64 { return 0 }

// Addr is the address the peer link listens on.
func (n *Node) Addr() string { return "" }

// Advertised is the address peers are to dial.
func (n *Node) Advertised() string { return "" }

// Close stops all groups and the link. Every pending Sub is answered before it returns.
func (n *Node) Close() error { return nil }

// Cluster tells the cluster's id, empty when none is set, and the recovery epoch.
func (n *Node) Cluster() (id string, recoveryEpoch uint64) { return "", 0 }

// SetCluster sets the cluster's id for ever; another id later is ErrOtherCluster.
func (n *Node) SetCluster(id string) error { return ErrClosed }

// SetDirectory sets where peers' addresses come from. f must not block.
func (n *Node) SetDirectory(f func(node string) (addr string, ok bool)) {}

// Groups lists the replicas in the catalogue, by group.
func (n *Node) Groups() []GroupRecord { return nil }

// SaveGroup records a replica durably without starting it.
func (n *Node) SaveGroup(r GroupRecord) error { return ErrClosed }

// PutMeta stores a small value durably; nil deletes it.
func (n *Node) PutMeta(key string, value []byte) error { return ErrClosed }

// GetMeta returns a copy of the value, nil when absent.
func (n *Node) GetMeta(key string) ([]byte, error) { return nil, ErrClosed }

// StartGroup starts a replica, new or from its files, and records it.
func (n *Node) StartGroup(cfg GroupConfig) (*Group, error) { return nil, ErrClosed }

// Group returns a running group.
func (n *Node) Group(group uint32) (*Group, bool) { return nil, false }

// StopGroup stops a replica and keeps its files.
func (n *Node) StopGroup(group uint32) error { return ErrNoGroup }

// RemoveGroup stops a replica and deletes its record and its files.
func (n *Node) RemoveGroup(group uint32) error { return ErrNoGroup }

// Handle serves a class; call it before StartGroup.
func (n *Node) Handle(class Class, f Handler) {}

// Call asks a node of this cluster. The error wraps ErrNotSent when the request never left this
// node, ErrLost when its fate is unknown, or is a *RemoteError with the handler's text.
func (n *Node) Call(ctx context.Context, node string, class Class, req []byte) ([]byte, error) {
	return nil, ErrNotSent
}

// CallAddr asks whoever listens on addr; only for ClassJoin.
func (n *Node) CallAddr(ctx context.Context, addr string, class Class, req []byte) ([]byte, error) {
	return nil, ErrNotSent
}

// SPDX-License-Identifier: Apache-2.0

// Package raftnode is consensus: the runtime of one node and its replicas of many raft groups.
//
// Invariants:
//
//   - A Sub is answered exactly once. A nil error means that it is applied here and durable on a
//     majority; an error for which IsNotApplied holds means that it never will be; ErrUnknown means
//     neither. A reply is only ever made by applying a committed entry on this node.
//   - Entries reach raft through one proposer a group, and the machine through one apply goroutine a
//     group, in log order, each once.
//   - A read that passed the fence sees every write that was acknowledged, by whichever node, before
//     the read began. readfence.go holds the proof.
//   - State never goes back, and terms never do: a node that lost data comes back under a new
//     identity, and a data folder serves one cluster for ever.
//   - A lack of disk space stops nothing but growth; a disk error stops the process.
//
// All exported methods may be called from any goroutine. Callbacks (done of Submit, Events) run on
// internal goroutines and must be quick. Close joins every goroutine of the node.
//
// The package refuses to know what commands mean, which slots a group owns, where groups are placed,
// and who may join a cluster. It drives a Machine and never looks into its state.
//
// Locks: no lock is held over a call to the disk, the network or a callback, except that diskReserve
// holds its own over the reserve file. Order where two are held: Node.mu before none; fence, proposer,
// pendingTable, peerBook, lane and meter locks are leaves.
package raftnode

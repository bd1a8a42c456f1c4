// SPDX-License-Identifier: Apache-2.0

// Package shard turns many replicated groups into one keyspace: it routes every command to the
// group that owns its slot, and it keeps the control group, whose state says which nodes, groups,
// replicas and slot owners exist.
//
// Invariants. A slot has at most one owner at an epoch, and its owner is decided in the control
// group alone. A replica number of a group is issued once. A replica's data are deleted only after
// the control group forgot the replica, which happens only after it left the group's own
// membership. A router that is behind costs a hop, never a wrong answer: ownership is checked again
// where a command runs. The memory of commands and of replies is asked for before it is taken, from
// budgets with names (LANES.md). DESIGN.md in this folder holds the membership protocol: its steps, and what
// becomes of each when a node dies in the middle. A published message is delivered by a node once or not
// at all, and never before an earlier one of its publisher (BUS.md). Who is blocked is woken by hints (WAITS.md);
// what is popped is decided by the log alone. A script runs at a leader and takes effect by one guarded entry (SCRIPTS.md).
//
// Concurrency: every exported method may be called from any goroutine. Readers see the control
// state through an immutable View behind an atomic pointer. Decisions (planner, placement, step
// functions) are pure; the goroutines that feed them belong to Node and are joined by Close.
//
// The package refuses to know wire protocols, the representation of values, and how a group
// reaches consensus.
package shard

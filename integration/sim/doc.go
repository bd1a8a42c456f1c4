// SPDX-License-Identifier: Apache-2.0

// Package sim runs a cluster of whole nodes in virtual time: one testing/synctest bubble, an
// in-memory network, disks that keep only synced bytes, seeded faults, clients whose histories are
// judged afterwards.
//
// Invariant: everything in the bubble comes from one seed but the order in which the Go scheduler
// runs ready goroutines. A run ends with every fault healed, every group live, every replica's
// digest equal, and all checkers content; anything else fails the run. The workloads are registers and
// counters (by commands, transactions and scripts), lists, values with a lifetime, queues whose clients
// block, a crowd of keys under a limit of memory, saves, and comparisons of the replicas.
package sim

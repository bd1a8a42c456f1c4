// SPDX-License-Identifier: Apache-2.0

// Package transport carries the consensus messages of all groups over the peer link and closes,
// from outside, the defects of hashicorp/raft that a transport can close.
//
// Invariants, with the rule numbers used in tests and DESIGN.md:
//
//   - W1 Every message, heartbeats included, reaches raft through Consumer, one at a time: the
//     next is handed over when the previous one was answered.
//   - W2 A message never vouches for more than it carries: the commit index is at most the index
//     of its last entry.
//   - W3 An order to start an election counts only in the term it was given in and from the
//     leader of that term.
//   - W5 There is no pipelining.
//   - W6 While this node's disk is overdue it sends nothing that keeps its leadership alive.
//   - W7 A message reaches only the replica it was meant for, under its sender's proven name.
//   - W8 Close releases everything that waits, before raft's shutdown is waited for.
//   - W9 A replica without a configuration votes for nobody.
//   - W10 An append carries at most MaxAppendBytes, or one entry.
//   - W11 State never goes back: what an inbound message says about indexes at or below the local
//     snapshot is cut off, and a snapshot of what is here already is not installed.
//   - W13 An append that failed returns when its peer answers again, so that raft's growing pause
//     between tries never keeps entries from a peer that is back.
//   - W16 Entries that a leader is still writing may be sent; raft learns of the answer when it asks for
//     that very append, behind its own write.
//
// All methods may be called from any goroutine. Hooks are called from the link's handlers while
// raft may be busy: they must not wait for raft's main loop.
//
// The package refuses to know what entries and snapshots contain, and who is a member.
package transport

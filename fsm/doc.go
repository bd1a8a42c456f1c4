// SPDX-License-Identifier: Apache-2.0

// Package fsm is the command model and the replicated shell: one table of commands, the binary form
// in which commands, results and log entries travel, and the Machine that turns a log of entries
// into state.
//
// The invariant: what Apply answers and leaves behind is a function of the log alone. Two replicas
// that applied the same entries hold the same logical state, gave the same results and have the
// same Digest, whatever their hardware, their age, the snapshots in between and the reads they
// served. The package therefore knows no clock, no dice, no goroutine, no network, no file and no
// order of a Go map; the time (C, the log clock) and the seed ride in the entry.
//
// No reply grows past MaxReply, and no batch of replies past MaxBatchReply: what does not fit is refused
// or left unanswered before memory is taken for it, and beyond a small share memory is asked for (Room).
//
// Who may call: Apply, View, Restore, Advance and Digest belong to one goroutine, the applying one.
// Query, GrowthBound, PlanEvictions, NextDeadline, Applied, Clock, Version and Sessions may be called by any
// goroutine at any time. Codec functions, Table and Spec are pure and may be shared freely.
//
// The package refuses to know who leads, how entries are replicated, and what a client's protocol
// looks like. DESIGN.md holds the byte tables and the protocol of sessions and tokens.
package fsm

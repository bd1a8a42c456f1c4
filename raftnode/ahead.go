// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"slices"

	"github.com/hashicorp/raft"
)

// sendAhead has entries that raft is about to write as a leader sent to the followers meanwhile (W16 of the
// transport). raft calls StoreLogs on its main loop, where alone it becomes a leader and ceases to be one, so
// a leader's entries of its own term are those that it has just made (raft.go:1245). Those that are more than
// commands go the slow way: what raft does about them when a write fails has rules of its own (W15).
func (g *Group) sendAhead(logs []*raft.Log) {
	in := g.inst.Load()
	if in == nil || len(logs) == 0 || in.raft.State() != leader || logs[0].Term != in.raft.CurrentTerm() {
		return
	}
	if slices.ContainsFunc(logs, func(l *raft.Log) bool { return l.Type != raft.LogCommand }) {
		return
	}
	to := in.trans.Abreast(logs[0].Term, logs[0].Index-1)
	if len(to) == 0 {
		return
	}
	var prev raft.Log
	if err := g.logs.Store.GetLog(logs[0].Index-1, &prev); err != nil {
		return // the log begins with logs: raft has the snapshot's term
	}
	in.trans.Ahead(to, logs, prev.Term, in.raft.CommitIndex())
}

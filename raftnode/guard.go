// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"

	"github.com/hashicorp/raft"
)

// raft panics on its own goroutines when it cannot store its term or read its log. By then the store
// is poisoned and Events.Fatal told, so the process is on its way out, in the order its owner has for
// that. The guards hold raft still instead: a call that failed does not return before the instance's
// transport is closed. Nothing that raft does with the answer it gets then can leave this node, and
// the read fence counts no instance that is closing.

// hold waits until the running instance is cut off; false at start, where errors can be returned.
func (g *Group) hold() bool {
	in := g.inst.Load()
	if in == nil {
		return false
	}
	<-in.released
	return true
}

// changeLost keeps a leader whose log did not take a membership change from going by it. raft takes the new
// configuration up although the append failed, holds it for committed once any entry has reached its
// index, and from then on counts votes, commits and makes snapshots by a membership that is in no log.
// So the append does not return before raft's main loop can do nothing any more but end, and the group is
// restarted at once: it then reads its configuration from log and snapshot.
//
// A follower takes a configuration up behind a successful append only. raft's state tells the two apart:
// it moves on raft's main loop, which is here, or to the shutdown.
func (g *Group) changeLost() {
	in := g.inst.Load()
	if in == nil {
		return
	}
	if state := in.raft.State(); state == raft.Follower || state == raft.Candidate {
		return
	}
	if !g.n.died.Load() { // a store that failed for good ends the process
		const why = "a membership change did not reach the log"
		g.wedge(why)
		g.n.restartGroup(g, why)
	}
	<-in.halted
}

// guardedStable is a replica's stable store as raft sees it.
type guardedStable struct {
	raft.StableStore
	g *Group
}

// SetUint64 implements raft.StableStore.
func (s *guardedStable) SetUint64(key []byte, v uint64) error {
	err := s.StableStore.SetUint64(key, v)
	if err != nil && s.g.hold() {
		return nil
	}
	return err
}

// guardGet turns the error of a read that raft cannot bear into an entry that does nothing.
func (g *Group) guardGet(index uint64, l *raft.Log, err error) error {
	if err == nil || errors.Is(err, raft.ErrLogNotFound) || !g.hold() {
		return err
	}
	*l = raft.Log{Index: index, Type: raft.LogNoop}
	return nil
}

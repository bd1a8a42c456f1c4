// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/fsm"
)

// applier is what raft sees as the state machine: it hands committed entries to the Machine together
// with the Subs that wait for them here, and then tells those who wait. raft calls it on one
// goroutine, and Persist on another.
type applier struct {
	g *Group
	// index is the last log index handed over, configurations included; config that of the last
	// committed configuration.
	index, config atomic.Uint64
	// replies and subs are room reused between batches. subs is never nil: a tick that this replica proposed is its
	// own entry, too.
	replies []any
	subs    []*fsm.Sub
	holdup  holdup
}

var _ raft.BatchingFSM = (*applier)(nil)

// ApplyBatch implements raft.BatchingFSM.
func (a *applier) ApplyBatch(logs []*raft.Log) []any {
	g := a.g
	g.n.yield("raftnode.apply")
	changed := false
	for _, l := range logs {
		// After a restart in place raft hands over again what the machine has seen.
		if l.Index <= a.index.Load() {
			continue
		}
		switch l.Type {
		case raft.LogCommand:
			a.command(l)
		case raft.LogConfiguration:
			g.machine.Advance(l.Index, l.Term)
			a.config.Store(l.Index)
			changed = true
		}
		a.index.Store(l.Index)
	}
	a.applied(changed)
	for len(a.replies) < len(logs) {
		a.replies = append(a.replies, nil)
	}
	return a.replies[:len(logs)]
}

// applied tells everybody who waits for the apply index to move.
func (a *applier) applied(config bool) {
	g := a.g
	g.changed.notify()
	index := a.index.Load()
	g.each(func(e *Events) {
		if e.Applied != nil {
			e.Applied(g.id, index)
		}
		if config && e.ConfigChanged != nil {
			e.ConfigChanged(g.id, a.config.Load())
		}
	})
}

// command applies one entry and answers its Subs.
func (a *applier) command(l *raft.Log) {
	g := a.g
	var b *batch
	if proposer, number, ok := fsm.PeekOrigin(l.Data); ok && proposer == g.proposerID() {
		b = g.pending.take(number)
	}
	if b == nil {
		a.noteHold("captures", a.holdup.apply(func() { g.machine.Apply(l.Index, l.Term, l.Data, nil) }))
		return
	}
	a.subs = a.subs[:0]
	for i := range b.items {
		a.subs = append(a.subs, b.items[i].sub)
	}
	a.noteHold("captures", a.holdup.apply(func() { g.machine.Apply(l.Index, l.Term, l.Data, a.subs) }))
	clear(a.subs)
	// A machine that stopped on this entry has answered nothing: the process is going down.
	var err error
	if at, _ := g.machine.Applied(); at < l.Index {
		err = ErrUnknown
	}
	for i := range b.items {
		b.items[i].done(b.items[i].sub, err)
	}
	g.prop.settle(b)
	if err == nil && g.backlog() {
		g.prop.requestTick()
	}
	if b.start {
		if in := g.inst.Load(); in != nil {
			in.nudge()
		}
	}
}

// backlog tells whether the last entry left keys that were due by its own clock: more than one entry
// removes. Each entry of a leader that does asks for a tick, so that one follows tickGap after the other
// until the backlog is gone, or one of them fails. Keys that have become due since are no backlog, and
// wait for the tick of the second.
func (g *Group) backlog() bool {
	deadline := g.machine.NextDeadline()
	return deadline != 0 && deadline <= g.machine.Clock()
}

// Apply implements raft.FSM; raft prefers ApplyBatch.
func (a *applier) Apply(l *raft.Log) any {
	a.ApplyBatch([]*raft.Log{l})
	return nil
}

// Snapshot implements raft.FSM.
func (a *applier) Snapshot() (raft.FSMSnapshot, error) {
	began := monotonic()
	view, took, err := a.holdup.make(a.g.machine.View)
	if err != nil {
		return nil, fmt.Errorf("raftnode: snapshot: %w", err)
	}
	a.noteHold("view", took)
	return &frozen{a: a, view: view, began: began, made: took}, nil
}

// noteHold is called behind what held up the apply goroutine.
func (a *applier) noteHold(by string, took time.Duration) {
	if took >= longHold {
		a.g.log.Debug("a snapshot held up apply", "by", by, "pieces", a.holdup.watch.Pieces(), "took", took)
	}
}

// Restore implements raft.FSM: at start, and when the leader shipped a snapshot.
func (a *applier) Restore(source io.ReadCloser) error {
	snapshot, ok := unwrap(source)
	if !ok {
		return errors.New("raftnode: restore: not a snapshot of this node")
	}
	g, meta := a.g, snapshot.meta
	if meta.Index < a.index.Load() {
		return fmt.Errorf("raftnode: restore: snapshot at %d is older than the state at %d", meta.Index, a.index.Load())
	}
	if err := g.machine.Restore(snapshot); err != nil {
		err = fmt.Errorf("raftnode: restore snapshot %s: %w", meta.ID, err)
		if errors.Is(err, fsm.ErrRestoreBroken) {
			g.n.fatal(err)
		}
		return err
	}
	if last, err := g.logs.LastIndex(); err == nil && last > meta.Index && g.inst.Load() != nil {
		g.wedge("an install dropped a longer log") // raft will not notice
	}
	a.index.Store(meta.Index)
	a.config.Store(meta.ConfigurationIndex)
	g.logs.snapshotted(meta.Index)
	a.applied(true)
	return nil
}

// frozen is a machine's state at one moment on its way into a file.
type frozen struct {
	a    *applier
	view *fsm.View
	// began is when view was asked for, made how long making it took.
	began time.Time
	made  time.Duration
}

// Persist implements raft.FSMSnapshot.
func (f *frozen) Persist(sink raft.SnapshotSink) error {
	s, ok := sink.(*snapSink)
	if !ok {
		return errors.New("raftnode: persist: not a sink of this node")
	}
	// While raft hands over again, after a restart in place, what the machine has seen already, the view
	// is ahead of the index that raft goes by: entries would be applied twice behind such a snapshot.
	if at, _ := f.view.Applied(); at != s.index {
		return fmt.Errorf("raftnode: persist: the state is at %d, raft has handed over entries up to %d", at, s.index)
	}
	s.own = true
	paced := &pacedSink{snapSink: s, pacer: &f.a.g.n.pacer, last: monotonic()}
	if _, err := f.view.WriteTo(paced); err != nil {
		return fmt.Errorf("raftnode: persist: %w", err)
	}
	return nil // raft closes the sink
}

// Release implements raft.FSMSnapshot.
func (f *frozen) Release() {
	f.view.Close()
	index, _ := f.view.Applied()
	apply, captures := f.a.holdup.end()
	f.a.g.log.Debug("snapshot done", "index", index, "took", time.Since(f.began), "view", f.made, "longest_apply", apply, "longest_captures", captures)
}

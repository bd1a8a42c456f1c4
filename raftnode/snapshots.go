// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// snapshotPause is how long a group whose snapshot failed is left alone.
	snapshotPause = 5 * time.Second
	// shipPatience is how many times its due log bytes a group may hold before it is snapshotted
	// while one is being shipped.
	shipPatience = 4
	// trailingShare of the due log bytes is kept behind a snapshot for slow followers.
	trailingShare = 4
	// minTrailingBytes bounds the entries that are kept although they take more than that share.
	minTrailingBytes = 4 << 20
	// leastTrailing entries are kept whatever they take: those that may be outstanding, and a little.
	leastTrailing = 4
)

// snapshotDue tells by how much the group is over its share of log bytes; 0 when it is not due.
func (g *Group) snapshotDue() int64 {
	bytes := g.logs.logged()
	due := max(g.n.cfg.SnapshotLogBytes, g.snaps.size())
	if g.n.low.Load() {
		due = min(due, max(g.snaps.size()/2, int64(g.n.reserve.size()/lowSnapshotShare)))
	}
	switch {
	case bytes < due:
		return 0
	case g.snaps.readers.Load() > 0 && bytes < shipPatience*due:
		return 0
	case g.n.uptime() < time.Duration(g.snapAgain.Load()):
		return 0
	}
	return bytes - due + 1
}

// snapshotLoop is the node's schedule: one snapshot at a time, the group furthest over first.
func (n *Node) snapshotLoop() {
	for {
		select {
		case <-n.snapKick:
		case <-n.ctx.Done():
			return
		}
		for _, g := range n.running() {
			if in := g.inst.Load(); in != nil && in.enter() {
				g.sweep()
				in.leave()
			}
		}
		for n.ctx.Err() == nil {
			var most int64
			var next *Group
			for _, g := range n.running() {
				if due := g.snapshotDue(); due > most {
					most, next = due, g
				}
			}
			if next == nil {
				break
			}
			before, _ := next.snaps.local()
			if err := next.Snapshot(n.ctx); err != nil && !errors.Is(err, ErrClosed) && n.ctx.Err() == nil {
				next.log.Warn("snapshot failed", "error", err)
			}
			// The bytes that make a group due may lie in entries that are not applied yet: a snapshot
			// then changes nothing, and asking again at once would spin.
			if after, _ := next.snaps.local(); after == before {
				next.snapAgain.Store(int64(n.uptime() + snapshotPause))
			}
		}
	}
}

// Snapshot takes a snapshot now, unless nothing was applied since the last one.
func (g *Group) Snapshot(ctx context.Context) error {
	select {
	case g.n.snapSlot <- struct{}{}:
		defer func() { <-g.n.snapSlot }()
	case <-ctx.Done():
		return fmt.Errorf("raftnode: snapshot: %w", context.Cause(ctx))
	}
	in := g.inst.Load()
	if in == nil || !in.enter() {
		return ErrClosed
	}
	defer in.leave()
	err := g.takeSnapshot(in)
	g.sweep()
	if err != nil {
		g.snapAgain.Store(int64(g.n.uptime() + snapshotPause))
		return fmt.Errorf("raftnode: snapshot: %w", err)
	}
	return nil
}

// takeSnapshot runs one snapshot to its end; a shutdown of the instance ends it early, with ErrClosed.
func (g *Group) takeSnapshot(in *instance) error {
	// The machine is ahead of the applier's index for a moment, and readers go by the machine.
	applied, _ := g.machine.Applied()
	applied = max(applied, g.applier.index.Load())
	if before, _ := g.snaps.local(); applied <= before {
		return nil
	}
	g.n.reserve.makeRoom(g.snaps.size())
	if err := in.trail(); err != nil {
		return err
	}
	f := in.raft.Snapshot()
	bindShutdown(f, in.dead)
	err := f.Error()
	after, _ := g.snaps.local() // nothing ends behind an own one before settle
	if err == nil {
		in.checkNoted(after)
	}
	g.snaps.settle()
	switch {
	case errors.Is(err, raft.ErrNothingNewToSnapshot):
		return nil
	case err != nil && in.closing.Load():
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case err != nil && after >= applied:
		return nil // overtaken by one from the leader that holds all that was asked for
	case err != nil:
		return err
	}
	g.logs.snapshotted(after)
	return nil
}

// checkNoted looks whether raft goes by the newest snapshot. One that goes by an older one believes in a log
// that ends too early, refuses what the leader sends, and never gets out of that.
func (in *instance) checkNoted(newest uint64) {
	noted, err := strconv.ParseUint(in.raft.Stats()["last_snapshot_index"], 10, 64)
	if err == nil && noted < newest {
		in.g.wedge("raft goes by an older snapshot than the newest")
	}
}

// sweep removes the files of old snapshots, at its ease. What an install leaves waits for it, since raft's main
// loop must not.
func (g *Group) sweep() {
	if err := g.snaps.dir.Sweep(); err != nil {
		g.log.Debug("old snapshots stay for now", "error", err)
	}
}

// trail sets how many entries stay behind the next snapshot: as many as take trailingShare of what makes
// the group due, and a few more when entries are small.
func (in *instance) trail() error {
	g := in.g
	trailing := max(leastTrailing, min(minTrailingLogs, g.logs.Newest(minTrailingBytes)))
	if !g.n.low.Load() {
		keep := max(g.n.cfg.SnapshotLogBytes, g.snaps.size()) / trailingShare
		trailing = max(trailing, g.logs.Newest(uint64(keep)))
	}
	rc := in.raft.ReloadableConfig()
	rc.TrailingLogs = trailing
	if err := in.raft.ReloadConfig(rc); err != nil {
		return fmt.Errorf("set trailing logs: %w", err)
	}
	return nil
}

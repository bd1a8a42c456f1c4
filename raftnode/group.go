// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"

	"github.com/kvorum/kvorum/fsm"
)

// Group is one replica of a raft group. All methods may be called from any goroutine.
type Group struct{}

// ID is the group's number.
func (g *Group) ID() uint32 { return 0 }

// Replica is this replica's number.
func (g *Group) Replica() uint64 { return 0 }

// Submit hands a Sub to the group's proposer and never blocks. done runs exactly once: with a nil
// error when the Sub was applied (sub.Status and results are filled), otherwise with the reason. It
// runs on the apply or the reaper goroutine, or before Submit returns when the Sub is refused at
// once: it must be quick, must not block, and the caller must hold no lock that done takes. Subs of
// one session are proposed in the order of Submit; when one of them fails, later ones may still be
// applied unless the machine answers them SubGap.
func (g *Group) Submit(sub *fsm.Sub, done func(*fsm.Sub, error)) { done(sub, ErrClosed) }

// Read takes the read fence and answers cmds into out, linearizably, on the caller's goroutine.
func (g *Group) Read(ctx context.Context, cmds []fsm.Command, out []fsm.Result) error {
	return ErrClosed
}

// ReadStale answers cmds from this replica's state as it is.
func (g *Group) ReadStale(cmds []fsm.Command, out []fsm.Result) {}

// Fence proves that this replica led at some moment after the call and returns an index that
// covers every write acknowledged before the call.
func (g *Group) Fence(ctx context.Context) (index uint64, err error) { return 0, ErrClosed }

// Leader names the leader as known here.
func (g *Group) Leader() Hint { return Hint{} }

// IsLeader tells whether this replica leads and has applied an entry of its term.
func (g *Group) IsLeader() bool { return false }

// Applied is the last index applied here.
func (g *Group) Applied() uint64 { return 0 }

// WaitApplied waits until entries up to index are applied here.
func (g *Group) WaitApplied(ctx context.Context, index uint64) error { return ErrClosed }

// Status describes the group as seen here.
func (g *Group) Status() GroupStatus { return GroupStatus{} }

// AddNonvoter adds a replica that receives the log and has no vote. prevIndex, when not 0, must be
// the index of the present membership (GroupStatus.ConfigIndex). Leader only, as all changes.
func (g *Group) AddNonvoter(ctx context.Context, node string, replica, prevIndex uint64) error {
	return ErrClosed
}

// Promote gives a nonvoter its vote; the caller has made sure that it is caught up.
func (g *Group) Promote(ctx context.Context, node string, replica, prevIndex uint64) error {
	return ErrClosed
}

// Demote takes a voter's vote.
func (g *Group) Demote(ctx context.Context, node string, replica, prevIndex uint64) error {
	return ErrClosed
}

// Remove removes a replica.
func (g *Group) Remove(ctx context.Context, node string, replica, prevIndex uint64) error {
	return ErrClosed
}

// Transfer hands leadership to a voter on node, which must be live and caught up. A nil error means
// that this replica no longer leads.
func (g *Group) Transfer(ctx context.Context, node string) error { return ErrClosed }

// Snapshot takes a snapshot now, unless nothing was applied since the last one.
func (g *Group) Snapshot(ctx context.Context) error { return ErrClosed }

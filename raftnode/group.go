// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/fsm"
)

// Group is one replica of a raft group. All methods may be called from any goroutine.
type Group struct {
	n       *Node
	id      uint32
	replica uint64
	self    raft.ServerID
	cfg     GroupConfig
	machine Machine
	dir     string
	log     *slog.Logger

	logs   *meter
	stores stores
	snaps  *snapStore

	// inst is nil before the start, after the stop, and during a restart in place.
	inst    atomic.Pointer[instance]
	prop    proposer
	pending pendingTable
	fence   fence
	applier applier
	peers   peerBook
	// changed is notified when the applied index moves and when leadership changes.
	changed broadcast

	// turn is held by whoever starts, restarts or stops the instance.
	turn chan struct{}
	// stopped is closed once the group has stopped for good.
	stopped chan struct{}

	// wedged: raft's idea of its stores is not what they hold, in the words of who noticed; the group must
	// be restarted in place.
	wedged atomic.Pointer[string]
	// snapAgain is the uptime before which no snapshot is tried, after a failure.
	snapAgain atomic.Int64

	// transfers remembers the targets tried in a term.
	transfers struct {
		sync.Mutex
		term  uint64
		tried map[raft.ServerID]bool
	}
}

// ID is the group's number.
func (g *Group) ID() uint32 { return g.id }

// Replica is this replica's number.
func (g *Group) Replica() uint64 { return g.replica }

// Submit hands a Sub to the group's proposer and never blocks. done runs exactly once: with a nil
// error when the Sub was applied (sub.Status and results are filled), otherwise with the reason. It
// runs on the apply or the reaper goroutine, or before Submit returns when the Sub is refused at
// once: it must be quick, must not block, and the caller must hold no lock that done takes. Subs of
// one session are proposed in the order of Submit; when one of them fails, later ones may still be
// proposed, and the machine answers them SubGap.
func (g *Group) Submit(sub *fsm.Sub, done func(*fsm.Sub, error)) { g.prop.submit(sub, done) }

// Read takes the read fence and answers cmds into out, linearizably, on the caller's goroutine. room
// bounds the replies, as fsm.Machine.Query says.
func (g *Group) Read(ctx context.Context, cmds []fsm.Command, out []fsm.Result, room *fsm.Room) error {
	if _, err := g.Fence(ctx); err != nil {
		return err
	}
	g.ReadStale(cmds, out, room)
	return nil
}

// ReadVouched is Read of commands that node forwarded, and had received before it gave v. It never waits: false means that
// v proves nothing here, and that nothing was read.
func (g *Group) ReadVouched(node string, v Voucher, cmds []fsm.Command, out []fsm.Result, room *fsm.Room) bool {
	if !g.vouched(node, v) {
		return false
	}
	g.n.yield("raftnode.fence.passed")
	g.ReadStale(cmds, out, room)
	return true
}

// ReadStale answers cmds from this replica's state as it is.
func (g *Group) ReadStale(cmds []fsm.Command, out []fsm.Result, room *fsm.Room) {
	due := g.machine.Query(cmds, out, g.n.h.Wall.Now().UnixMilli(), room)
	if due && g.IsLeader() {
		g.prop.requestTick()
	}
}

// Leader names the leader as known here.
func (g *Group) Leader() Hint {
	in := g.inst.Load()
	if in == nil {
		return Hint{}
	}
	for {
		term := in.raft.CurrentTerm()
		_, id := in.raft.LeaderWithID()
		// raft forgets the leader before it moves to a new term: a leader read between two equal
		// terms leads that term.
		if in.raft.CurrentTerm() != term {
			continue
		}
		node, _, _ := splitServerID(id)
		return Hint{Node: node, Term: term}
	}
}

// leads returns nil when raft takes this replica for the leader.
func (g *Group) leads() error {
	in := g.inst.Load()
	switch {
	case in == nil:
		select {
		case <-g.stopped:
			return ErrClosed
		default:
			return ErrNotLeader{} // restarting in place
		}
	case in.raft.State() != leader:
		return ErrNotLeader{Hint: g.Leader()}
	}
	return nil
}

// IsLeader tells whether this replica leads and has applied an entry of its term.
func (g *Group) IsLeader() bool {
	_, term, err := g.leadingTerm()
	if err != nil {
		return false
	}
	_, applied := g.machine.Applied()
	return applied == term
}

// Applied is the last index applied here.
func (g *Group) Applied() uint64 {
	index, _ := g.machine.Applied()
	return index
}

// WaitApplied waits until entries up to index are applied here.
func (g *Group) WaitApplied(ctx context.Context, index uint64) error {
	for {
		changed := g.changed.wait()
		if g.Applied() >= index {
			return nil
		}
		select {
		case <-changed:
		case <-g.stopped:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("raftnode: wait for entry %d: %w", index, context.Cause(ctx))
		}
	}
}

// proposerID marks this replica's entries in this run of the node: replica numbers are never used
// twice in a group, and incarnations count the runs.
func (g *Group) proposerID() uint64 { return g.replica<<32 | g.n.cat.incarnation&0xffffffff }

func (g *Group) clusterVersion() uint32 {
	if g.cfg.ClusterVersion == nil {
		return 0
	}
	return g.cfg.ClusterVersion()
}

// each calls f for both sets of events.
func (g *Group) each(f func(*Events)) {
	f(&g.n.cfg.Events)
	f(&g.cfg.Events)
}

// stop ends the group: what is on its way is given one heartbeat to finish, everything pending is
// answered, and the stores are closed.
func (g *Group) stop() error {
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	select {
	case <-g.stopped:
		return nil
	default:
	}
	g.prop.close()
	g.prop.failQueue(ErrClosed)
	var err error
	if in := g.inst.Load(); in != nil {
		g.drain(in)
		err = in.shutdown()
		g.sweep()
		g.inst.Store(nil)
	}
	g.abandon()
	close(g.stopped)
	g.changed.notify()
	return errors.Join(err, g.stores.close())
}

// drain gives outstanding entries of a leader a bounded time.
func (g *Group) drain(in *instance) {
	limit := time.NewTimer(g.n.cfg.Heartbeat)
	defer limit.Stop()
	for in.raft.State() == leader && !g.prop.drained() {
		changed := g.changed.wait()
		if g.prop.drained() {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			return
		}
	}
}

// abandon answers what the ended instance left: its outcome is not known.
func (g *Group) abandon() {
	for _, b := range g.pending.takeOlder(0, true) {
		answer(b, ErrUnknown)
		g.prop.settle(b)
	}
}

// wedge asks for a restart in place, at the next look at the vitals.
func (g *Group) wedge(why string) { g.wedged.Store(&why) }

// restart replaces the raft instance over the same stores and machine; what waits in the queue stays.
func (g *Group) restart(why string) {
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	in := g.inst.Load()
	if in == nil {
		return
	}
	g.log.Warn("restarting group in place", "why", why)
	err := in.shutdown()
	g.inst.Store(nil)
	g.abandon()
	if err == nil {
		err = g.startInstance()
	}
	if err != nil {
		g.n.fatal(fmt.Errorf("raftnode: restart group %d in place: %w", g.id, err))
	}
}

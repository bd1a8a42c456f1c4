// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/raftnode/transport"
)

const (
	// maxAppendEntries bounds the entries of one message and one apply batch; entries are fat.
	maxAppendEntries = 16
	// commitTimeout is how often an idle leader tells its followers the commit index.
	commitTimeout = 200 * time.Millisecond
	// minTrailingLogs is the least number of small entries kept behind a snapshot for slow followers.
	minTrailingLogs = max(256, 4*maxAppendEntries)
	// never turns raft's own snapshot schedule off.
	never          = 24 * time.Hour
	neverThreshold = 1 << 62
)

// leader is raft's state of that name.
const leader = raft.Leader

// instance is one life of a group's raft: it is replaced when the group is restarted in place, while
// the log, the machine and the queue stay.
type instance struct {
	g     *Group
	raft  *raft.Raft
	trans *transport.Transport

	// flights carries what was proposed from the proposer to the reaper.
	flights chan flight
	// poke wakes the watcher.
	poke chan struct{}
	// stop ends the proposer and the watcher; released is closed when nothing can leave this node
	// through the instance any more; halted when raft's main loop ends with what it is doing; dead when
	// raft has shut down.
	stop, released, halted, dead chan struct{}
	wg, reaper                   sync.WaitGroup
	mu                           struct {
		sync.Mutex
		// over: nothing may join wg any more.
		over bool
	}
	// closing is set before raft shuts down: what is read from raft afterwards proves nothing.
	closing atomic.Bool
	// standing is set while raft is told to stand: it forgets its leader a moment before it is a
	// candidate, and must not look like a replica that was just started.
	standing atomic.Bool
	// hasConfig: a configuration was seen; it never goes away.
	hasConfig atomic.Bool
	// starting: an entry that opens the term is on its way.
	starting atomic.Bool
	// stuckSince is when raft first answered "transfer in progress" without taking an entry since,
	// in ns of the node's monotonic time; 0 when it does not.
	stuckSince atomic.Int64
}

func (g *Group) raftConfig(resume bool) *raft.Config {
	ht := g.n.cfg.Heartbeat
	c := raft.DefaultConfig()
	c.ProtocolVersion = raft.ProtocolVersionMax
	c.LocalID = g.self
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = ht, ht, ht
	c.CommitTimeout = min(commitTimeout, ht/2)
	c.MaxAppendEntries = maxAppendEntries
	c.BatchApplyCh = true
	c.ShutdownOnRemove = false
	c.TrailingLogs = minTrailingLogs
	c.SnapshotInterval, c.SnapshotThreshold = never, neverThreshold
	c.NoLegacyTelemetry = true
	c.PreVoteDisabled = false
	c.RestoreCommittedLogs = false
	// A machine that is at or past the newest snapshot keeps its state over a restart in place.
	c.NoSnapshotRestoreOnStart = resume
	c.Logger = newRaftLogger(g.log)
	return c
}

// startInstance makes a raft over the group's stores and starts its goroutines.
func (g *Group) startInstance() error {
	newest, err := g.snaps.newest()
	if err != nil {
		return err
	}
	if err := repairLog(g.logs, newest); err != nil {
		return err
	}
	g.logs.counting(newest.Index)
	g.wedged.Store(nil)
	g.logs.cut.Store(false)
	in := &instance{
		g:       g,
		flights: make(chan flight, maxFlights),
		poke:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		dead:    make(chan struct{}),

		released: make(chan struct{}),
		halted:   make(chan struct{}),
	}
	if in.trans, err = g.n.mux.Open(g.id, g.replica); err != nil {
		return err
	}
	resume := newest.Index != 0 && g.applier.index.Load() >= newest.Index
	if in.raft, err = g.newRaft(in, resume); err != nil {
		return errors.Join(fmt.Errorf("start raft: %w", err), in.trans.Close())
	}
	g.logs.started()
	g.inst.Store(in)
	in.trans.Attach(transport.Hooks{
		Term: in.raft.CurrentTerm,
		Leader: func() raft.ServerID {
			_, id := in.raft.LeaderWithID()
			return id
		},
		HasConfiguration: in.configured,
		LocalSnapshot:    g.snaps.local,
		Applied:          g.applier.index.Load,
		HasEntry:         g.hasEntry,
	})
	in.wg.Go(func() { g.prop.run(in) })
	in.wg.Go(in.watch)
	in.reaper.Go(func() { g.prop.reap(in) })
	return nil
}

// newRaft makes raft over the group's stores. At start raft panics on this goroutine when it cannot
// read its log.
func (g *Group) newRaft(in *instance, resume bool) (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("%v", p)
		}
	}()
	stable := &guardedStable{StableStore: g.stores.stable, g: g}
	return raft.NewRaft(g.raftConfig(resume), &g.applier, g.logs, stable, g.snaps, in.trans)
}

// enter makes shutdown wait for the caller until leave; false when shutdown has begun.
func (in *instance) enter() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.mu.over {
		return false
	}
	in.wg.Add(1)
	return true
}

func (in *instance) leave() { in.wg.Done() }

// shutdown ends an instance and joins its goroutines. Pending batches are left to the caller.
func (in *instance) shutdown() error {
	in.closing.Store(true)
	in.mu.Lock()
	in.mu.over = true
	in.mu.Unlock()
	close(in.stop)
	// The transport first: raft joins goroutines that may sit in a call to a peer.
	err := in.trans.Close()
	close(in.released)
	down := in.raft.Shutdown()
	close(in.halted)
	if e := down.Error(); e != nil {
		err = errors.Join(err, e)
	}
	close(in.dead)
	in.trans.Join()
	in.wg.Wait()
	in.reaper.Wait()
	return err
}

// servers is the latest configuration, committed or not. It must not be changed. It is empty once the
// instance is closing: by then raft may hold one that is in no log (changeLost).
func (in *instance) servers() []raft.Server {
	servers := in.raft.GetConfiguration().Configuration().Servers
	if in.closing.Load() {
		return nil
	}
	return servers
}

// configured tells whether this replica knows its group's membership. Without one raft would grant
// votes to anybody.
func (in *instance) configured() bool {
	if in.hasConfig.Load() {
		return true
	}
	ok := len(in.servers()) > 0
	if ok {
		in.hasConfig.Store(true)
	}
	return ok
}

// startFailed notes that the entry that opens the term did not get through; the watcher repeats it.
func (in *instance) startFailed() {
	in.starting.Store(false)
	in.nudge()
}

func (in *instance) nudge() {
	select {
	case in.poke <- struct{}{}:
	default:
	}
}

// noteTransfer keeps track of how long raft has been refusing entries because of a transfer.
func (in *instance) noteTransfer(err error) {
	if !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		in.stuckSince.Store(0)
		return
	}
	in.stuckSince.CompareAndSwap(0, int64(in.g.n.uptime()))
}

// stuck tells whether raft has been refusing entries for two election timeouts: a transfer that never
// ends. The group is then restarted in place.
func (in *instance) stuck() bool {
	since := in.stuckSince.Load()
	return since != 0 && in.g.n.uptime()-time.Duration(since) >= 2*in.g.n.cfg.Heartbeat
}

// serverID is a replica's identity for raft, id and address in one.
func serverID(node string, replica uint64) raft.ServerID { return transport.ServerID(node, replica) }

func splitServerID(id raft.ServerID) (node string, replica uint64, ok bool) {
	node, replica, err := transport.ParseServerID(id)
	return node, replica, err == nil
}

// repairLog finishes what an install of snapshot newest left undone when the process died in the
// middle: a log that ends before the snapshot, or that has another entry at its place, is dropped. A
// log that begins behind the snapshot has lost entries.
func repairLog(logs raft.LogStore, newest raft.SnapshotMeta) error {
	first, err := logs.FirstIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	last, err := logs.LastIndex()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	if last == 0 {
		return nil
	}
	if first > newest.Index+1 {
		return fmt.Errorf("%w: the log begins at %d, the newest snapshot is at %d", ErrDataLost, first, newest.Index)
	}
	drop := last < newest.Index
	if !drop && first <= newest.Index {
		var at raft.Log
		if err := logs.GetLog(newest.Index, &at); err != nil {
			return fmt.Errorf("read log entry %d: %w", newest.Index, err)
		}
		drop = at.Term != newest.Term
	}
	if !drop {
		return nil
	}
	if err := logs.DeleteRange(first, last); err != nil {
		return fmt.Errorf("drop log below snapshot: %w", err)
	}
	return nil
}

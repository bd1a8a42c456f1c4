// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

const (
	// maxDigestRuns bounds the comparisons that a node takes part in at one time; the oldest ends.
	maxDigestRuns = 4
	// maxMarks bounds the marked entries at which a comparison keeps a digest: one by whoever else compares
	// or changes settings meanwhile, and its own.
	maxMarks = maxDigestRuns + 2
	// digestWait bounds the wait for the marked entry of every local group.
	digestWait = 10 * time.Second
	// digestLife bounds a comparison whose asker does not end it: the longest that one who does takes, and more.
	digestLife = 6 * digestWait
)

// groupMachine is a data group's machine that can take its own digest at marked entries, so that all
// replicas take it at the same one. The mark is a DEFAULTTTL: keepers write one when they tell the group
// its settings again.
type groupMachine struct {
	*fsm.Machine
	armed atomic.Bool
	mu    struct {
		sync.Mutex
		// waiting are channels of capacity maxMarks, maxDigestRuns of them at most; armed tells whether there are any.
		waiting []chan fsm.Digest
	}
}

var _ raftnode.Machine = (*groupMachine)(nil)

// Apply implements raftnode.Machine.
func (m *groupMachine) Apply(index, term uint64, data []byte, subs []*fsm.Sub) {
	m.Machine.Apply(index, term, data, subs)
	if m.armed.Load() && marked(data) {
		m.deliver(m.Machine.Digest())
	}
}

// arm asks for the digests at the next marked entries, maxMarks at most. The longest waiting makes room.
func (m *groupMachine) arm() chan fsm.Digest {
	c := make(chan fsm.Digest, maxMarks)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mu.waiting) == maxDigestRuns {
		m.mu.waiting = slices.Delete(m.mu.waiting, 0, 1)
	}
	m.mu.waiting = append(m.mu.waiting, c)
	m.armed.Store(true)
	return c
}

// disarm ends what arm began.
func (m *groupMachine) disarm(c chan fsm.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.waiting = slices.DeleteFunc(m.mu.waiting, func(w chan fsm.Digest) bool { return w == c })
	m.armed.Store(len(m.mu.waiting) > 0)
}

func (m *groupMachine) deliver(d fsm.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.waiting = slices.DeleteFunc(m.mu.waiting, func(c chan fsm.Digest) bool {
		c <- d // never waits: a full one is not kept
		return len(c) == cap(c)
	})
	m.armed.Store(len(m.mu.waiting) > 0)
}

// marked tells whether an entry carries a DEFAULTTTL.
func marked(data []byte) bool {
	e, err := fsm.ParseEntry(data)
	if err != nil {
		return false
	}
	for i := range e.Subs {
		for body := e.Subs[i].Body; len(body) > 0; {
			cmd, n, err := fsm.ParseCommand(body)
			if err != nil {
				return false
			}
			if cmd.Op == fsm.OpDefaultTTL {
				return true
			}
			body = body[n:]
		}
	}
	return false
}

// digestRuns are the comparisons that this node takes part in, by their random id.
type digestRuns struct {
	mu struct {
		sync.Mutex
		order []uint64
		byID  map[uint64]*digestRun
	}
}

// digestRun is one comparison. taken is set by the collection, and kept for questions about slots.
type digestRun struct {
	waiters map[uint32]digestWaiter
	taken   map[uint32]fsm.Digest
}

func (r *digestRun) disarm() {
	for _, w := range r.waiters {
		w.disarm()
	}
}

// digestWaiter is where a replica's machine puts its digests.
type digestWaiter struct {
	machine *groupMachine
	c       chan fsm.Digest
}

// behind waits for the digest at the first marked entry behind the floor. One that is there is found also when the
// time is over.
func (w digestWaiter) behind(ctx context.Context, floor uint64) (d fsm.Digest, ok bool) {
	defer w.disarm()
	for {
		select {
		case d = <-w.c:
		default:
			select {
			case d = <-w.c:
			case <-ctx.Done():
				return d, false
			}
		}
		if d.Index > floor {
			return d, true
		}
	}
}

func (w digestWaiter) disarm() { w.machine.disarm(w.c) }

// digestOrder is one phase of a comparison, carried out by every node before the next begins.
type digestOrder struct {
	ID    uint64      `json:"id"`
	Phase digestPhase `json:"phase"`
	// Group is whose parts are asked for.
	Group uint32 `json:"group,omitempty"`
	// Floors are the last entries of the groups' leaders when all members were armed. The first mark behind its
	// group's floor was applied by nobody who was not armed yet; one at or before it may have been by some.
	Floors map[uint32]uint64 `json:"floors,omitempty"`
}

type digestPhase string

const (
	digestArm     digestPhase = "arm"     // every local replica waits for a mark
	digestMark    digestPhase = "mark"    // every local leader tells its floor (as Applied), its keeper writes a mark
	digestCollect digestPhase = "collect" // the digests at the first marks behind the floors are told
	digestParts   digestPhase = "parts"   // those of one group's slots are told
)

// Digest returns the digest of every replica of every group that answers, each group's taken at one
// entry. For the control group Applied is the Revision, for others the log index.
func (n *Node) Digest(ctx context.Context) ([]ReplicaDigest, error) {
	v := n.View()
	if v == nil {
		return nil, fmt.Errorf("shard: digest: %w", ErrUninitialised)
	}
	r, err := n.digestRun(ctx, v)
	if err != nil {
		return nil, fmt.Errorf("shard: digest: %w", err)
	}
	return r.all, nil
}

// digestRound is one run of all phases, as the node that asked for it sees it.
type digestRound struct {
	id uint64
	// all has the replicas that answered, silent the nodes that did not carry out some phase.
	all    []ReplicaDigest
	silent map[string]error
}

// digestRun takes every group's digests once.
func (n *Node) digestRun(ctx context.Context, v *View) (*digestRound, error) {
	var random [8]byte
	if _, err := io.ReadFull(n.h.Rand, random[:]); err != nil {
		return nil, err
	}
	order := digestOrder{ID: binary.BigEndian.Uint64(random[:])}
	r := &digestRound{id: order.ID, silent: make(map[string]error)}
	for _, order.Phase = range []digestPhase{digestArm, digestMark, digestCollect} {
		var err error
		if r.all, err = n.digestPhase(ctx, v, order, r.silent); err != nil {
			return nil, fmt.Errorf("%s: %w", order.Phase, err)
		}
		if order.Phase == digestMark {
			order.Floors = floors(r.all)
		}
	}
	return r, nil
}

// floors are what the leaders told. One who has been succeeded tells a lower floor than its successor; if that one
// does not answer, replicas may take their digests at different marks.
func floors(told []ReplicaDigest) map[uint32]uint64 {
	m := make(map[uint32]uint64)
	for _, d := range told {
		m[d.Group] = max(m[d.Group], d.Applied)
	}
	return m
}

// digestPhase has every member carry out one phase; members that cannot be reached are noted as silent,
// and only if none can it fails.
func (n *Node) digestPhase(ctx context.Context, v *View, order digestOrder, silent map[string]error) ([]ReplicaDigest, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*digestWait)
	defer cancel()
	answers := make([][]ReplicaDigest, len(v.Nodes))
	errs := make([]error, len(v.Nodes))
	var wg sync.WaitGroup
	for i, node := range v.Nodes {
		wg.Go(func() {
			if node.ID == n.ID() {
				answers[i], errs[i] = n.digestHere(ctx, order)
			} else {
				errs[i] = n.askLong(ctx, node.ID, opDigest, order, &answers[i])
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			silent[v.Nodes[i].ID] = err
		}
	}
	if !slices.Contains(errs, nil) {
		return nil, errors.Join(errs...)
	}
	return slices.Concat(answers...), nil
}

// digestHere carries out one phase on this node.
func (n *Node) digestHere(ctx context.Context, order digestOrder) ([]ReplicaDigest, error) {
	ctx, cancel := context.WithTimeout(ctx, digestWait)
	defer cancel()
	switch order.Phase {
	case digestArm:
		waiters := make(map[uint32]digestWaiter)
		for _, r := range n.localReplicas() {
			if r.id != controlGroup {
				waiters[r.id] = digestWaiter{machine: r.machine, c: r.machine.arm()}
			}
		}
		n.digests.add(order.ID, waiters)
		return nil, nil
	case digestMark:
		var told []ReplicaDigest
		for _, r := range n.localReplicas() {
			if r.group.IsLeader() {
				told = append(told, ReplicaDigest{Group: r.id, Node: n.ID(), Applied: r.group.Status().LastLog})
			}
			r.mark.Store(true)
			kick(r.wake)
		}
		return told, nil
	case digestCollect:
		return n.collectDigests(ctx, n.digests.get(order.ID), order.Floors), nil
	case digestParts:
		return n.digestPartsHere(order), nil
	}
	return nil, fmt.Errorf("%w: digest phase %q", ErrRefused, order.Phase)
}

// collectDigests waits for what was armed; a group without a leader, or whose mark does not come in time, is left out.
func (n *Node) collectDigests(ctx context.Context, run digestRun, floors map[uint32]uint64) []ReplicaDigest {
	view := n.view.Load()
	control := controlState{}
	control.view.Store(view)
	var out []ReplicaDigest
	control.Digest(func(_ uint32, sum [16]byte) {
		out = append(out, ReplicaDigest{Group: controlGroup, Node: n.ID(), Applied: view.Revision, Digest: hex.EncodeToString(sum[:])})
	})
	for group, w := range run.waiters {
		floor, led := floors[group]
		if !led {
			w.disarm()
			continue
		}
		if d, ok := w.behind(ctx, floor); ok {
			n.digests.keep(run, group, d)
			out = append(out, ReplicaDigest{Group: group, Node: n.ID(), Applied: d.Index, Digest: hex.EncodeToString(d.Machine[:])})
		}
	}
	return out
}

// add begins a run, once; the oldest makes room.
func (d *digestRuns) add(id uint64, w map[uint32]digestWaiter) {
	run := &digestRun{waiters: w, taken: make(map[uint32]fsm.Digest)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.byID == nil {
		d.mu.byID = make(map[uint64]*digestRun)
	}
	if d.mu.byID[id] != nil {
		run.disarm()
		return
	}
	if len(d.mu.order) == maxDigestRuns {
		d.mu.byID[d.mu.order[0]].disarm()
		delete(d.mu.byID, d.mu.order[0])
		d.mu.order = slices.Delete(d.mu.order, 0, 1)
	}
	d.mu.order = append(d.mu.order, id)
	d.mu.byID[id] = run
	time.AfterFunc(digestLife, run.disarm)
}

// get returns a run, the zero value when it made room for others. Its waiters are its own.
func (d *digestRuns) get(id uint64) digestRun {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.mu.byID[id]; r != nil {
		return *r
	}
	return digestRun{}
}

// keep remembers what was taken of a group.
func (d *digestRuns) keep(r digestRun, group uint32, taken fsm.Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r.taken[group] = taken
}

// parts are the digests of a group's slots in a run.
func (d *digestRuns) parts(id uint64, group uint32) (fsm.Digest, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.mu.byID[id]
	if r == nil {
		return fsm.Digest{}, false
	}
	taken, ok := r.taken[group]
	return taken, ok
}

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
	// digestWait bounds the wait for the marked entry of every local group.
	digestWait = 10 * time.Second
)

// groupMachine is a data group's machine that can take its own digest at a marked entry, so that all
// replicas take it at the same one. The mark is a DEFAULTTTL: keepers write one when they tell the group
// its settings again.
type groupMachine struct {
	*fsm.Machine
	armed atomic.Bool
	mu    struct {
		sync.Mutex
		waiting []chan<- fsm.Digest
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

// arm asks for the digest at the next marked entry.
func (m *groupMachine) arm() <-chan fsm.Digest {
	c := make(chan fsm.Digest, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.mu.waiting) == maxDigestRuns {
		m.mu.waiting = slices.Delete(m.mu.waiting, 0, 1)
	}
	m.mu.waiting = append(m.mu.waiting, c)
	m.armed.Store(true)
	return c
}

func (m *groupMachine) deliver(d fsm.Digest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.mu.waiting {
		c <- d // never waits: one place, one digest
	}
	m.mu.waiting = nil
	m.armed.Store(false)
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
	waiters map[uint32]<-chan fsm.Digest
	taken   map[uint32]fsm.Digest
}

// digestOrder is one phase of a comparison, carried out by every node before the next begins.
type digestOrder struct {
	ID    uint64      `json:"id"`
	Phase digestPhase `json:"phase"`
	// Group is whose parts are asked for.
	Group uint32 `json:"group,omitempty"`
}

type digestPhase string

const (
	digestArm     digestPhase = "arm"     // every local replica waits for a mark
	digestMark    digestPhase = "mark"    // every local leader's keeper writes one
	digestCollect digestPhase = "collect" // the digests are taken
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
	}
	return r, nil
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
		waiters := make(map[uint32]<-chan fsm.Digest)
		for _, r := range n.localReplicas() {
			if r.id != controlGroup {
				waiters[r.id] = r.machine.arm()
			}
		}
		n.digests.add(order.ID, waiters)
		return nil, nil
	case digestMark:
		for _, r := range n.localReplicas() {
			r.mark.Store(true)
			kick(r.wake)
		}
		return nil, nil
	case digestCollect:
		return n.collectDigests(ctx, n.digests.get(order.ID)), nil
	case digestParts:
		return n.digestPartsHere(order), nil
	}
	return nil, fmt.Errorf("%w: digest phase %q", ErrRefused, order.Phase)
}

// collectDigests waits for what was armed; a group whose mark does not come in time is left out.
func (n *Node) collectDigests(ctx context.Context, run digestRun) []ReplicaDigest {
	view := n.view.Load()
	control := controlState{}
	control.view.Store(view)
	var out []ReplicaDigest
	control.Digest(func(_ uint32, sum [16]byte) {
		out = append(out, ReplicaDigest{Group: controlGroup, Node: n.ID(), Applied: view.Revision, Digest: hex.EncodeToString(sum[:])})
	})
	for group, w := range run.waiters {
		select {
		case d := <-w:
			n.digests.keep(run, group, d)
			out = append(out, ReplicaDigest{Group: group, Node: n.ID(), Applied: d.Index, Digest: hex.EncodeToString(d.Machine[:])})
		case <-ctx.Done():
		}
	}
	return out
}

// add begins a run; the oldest makes room.
func (d *digestRuns) add(id uint64, w map[uint32]<-chan fsm.Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.byID == nil {
		d.mu.byID = make(map[uint64]*digestRun)
	}
	if len(d.mu.order) == maxDigestRuns {
		delete(d.mu.byID, d.mu.order[0])
		d.mu.order = slices.Delete(d.mu.order, 0, 1)
	}
	d.mu.order = append(d.mu.order, id)
	d.mu.byID[id] = &digestRun{waiters: w, taken: make(map[uint32]fsm.Digest)}
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

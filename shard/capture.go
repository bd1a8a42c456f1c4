// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// Captures: the leader of a group opens the group's state at one entry, and whoever saves the cluster reads
// it page by page. DESIGN.md §11.

const (
	// capturePage is how much of a capture travels at a time, in bytes.
	capturePage = 1 << 20
	// captureIdle is how long a capture stays open that nobody reads.
	captureIdle = time.Minute
	// maxCaptures bounds those open on a node at one time.
	maxCaptures = 16
	// captureWait bounds one capture, pageWait one page.
	captureWait = 10 * time.Minute
	pageWait    = 30 * time.Second
)

type (
	// captureOrder asks for a capture of a group at its leader, or with Close ends one.
	captureOrder struct {
		Group uint32 `json:"group,omitempty"`
		Close uint64 `json:"close,omitempty"`
	}
	// captureGrant is a capture, or Refused by a node that is not the leader.
	captureGrant struct {
		Refused bool   `json:"refused,omitempty"`
		Leader  string `json:"leader,omitempty"`
		ID      uint64 `json:"id,omitempty"`
		Index   uint64 `json:"index,omitempty"`
		Size    int64  `json:"size,omitempty"`
	}
)

// errNotLeading: the node asked does not lead the group; it names who does, or nobody.
type errNotLeading struct{ leader string }

func (e errNotLeading) Error() string { return "shard: the node asked does not lead the group" }

// captures are those open on this node for other nodes.
type captures struct {
	mu struct {
		sync.Mutex
		closed bool
		next   uint64
		byID   map[uint64]*openCapture
	}
}

// openCapture is taken out of the table while it is read, so that no lock is held meanwhile.
type openCapture struct {
	c     *raftnode.Capture
	at    uint64 // bytes read
	timer *time.Timer
}

var errNoCapture = errors.New("shard: no such capture: it was not read for a minute, or the node started anew")

// add keeps a capture for other nodes to read.
func (t *captures) add(c *raftnode.Capture) (uint64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed {
		return 0, errors.Join(ErrClosing, c.Close())
	}
	if len(t.mu.byID) >= maxCaptures {
		return 0, errors.Join(fmt.Errorf("%w: %d captures are open here", ErrRefused, maxCaptures), c.Close())
	}
	if t.mu.byID == nil {
		t.mu.byID = make(map[uint64]*openCapture)
	}
	t.mu.next++
	id := t.mu.next
	t.mu.byID[id] = &openCapture{c: c, timer: time.AfterFunc(captureIdle, func() { t.drop(id) })}
	return id, nil
}

// take takes a capture out, for its reader or for good.
func (t *captures) take(id uint64) *openCapture {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.mu.byID[id]
	if o != nil {
		o.timer.Stop()
		delete(t.mu.byID, id)
	}
	return o
}

// back puts a capture back that was read.
func (t *captures) back(id uint64, o *openCapture) {
	t.mu.Lock()
	closed := t.mu.closed
	if !closed {
		t.mu.byID[id] = o
		o.timer.Reset(captureIdle)
	}
	t.mu.Unlock()
	if closed {
		_ = o.c.Close()
	}
}

func (t *captures) drop(id uint64) {
	if o := t.take(id); o != nil {
		_ = o.c.Close() // it was only read
	}
}

func (t *captures) close() {
	t.mu.Lock()
	t.mu.closed = true
	all := t.mu.byID
	t.mu.byID = nil
	t.mu.Unlock()
	for _, o := range all {
		o.timer.Stop()
		_ = o.c.Close()
	}
}

// page reads the next page, which begins at byte at; empty behind the last.
func (t *captures) page(id, at uint64) ([]byte, error) {
	o := t.take(id)
	if o == nil {
		return nil, errNoCapture
	}
	if o.at != at {
		_ = o.c.Close()
		return nil, fmt.Errorf("%w: page at byte %d, not %d", ErrRefused, at, o.at)
	}
	page := make([]byte, capturePage)
	n, err := io.ReadFull(o.c, page)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		_ = o.c.Close()
		return nil, fmt.Errorf("shard: read capture: %w", err)
	}
	o.at += uint64(n)
	t.back(id, o)
	return page[:n], nil
}

// captureHere captures a group that this node leads.
func (n *Node) captureHere(ctx context.Context, group uint32) (*raftnode.Capture, error) {
	r := n.local(group)
	if r == nil {
		return nil, errNotLeading{n.router.Leader(group)}
	}
	c, err := r.group.Capture(ctx)
	if nl, ok := errors.AsType[raftnode.ErrNotLeader](err); ok {
		return nil, errNotLeading{nl.Hint.Node}
	}
	return c, err
}

// serveCapture opens or closes a capture for another node.
func (n *Node) serveCapture(ctx context.Context, o captureOrder) (captureGrant, error) {
	if o.Close != 0 {
		n.captures.drop(o.Close)
		return captureGrant{}, nil
	}
	c, err := n.captureHere(ctx, o.Group)
	if e, ok := errors.AsType[errNotLeading](err); ok {
		return captureGrant{Refused: true, Leader: e.leader}, nil
	}
	if err != nil {
		return captureGrant{}, err
	}
	id, err := n.captures.add(c)
	return captureGrant{ID: id, Index: c.Index, Size: c.Size}, err
}

// bulkVersion is the first byte of a request of class bulk: id u64 and offset u64 follow, big-endian, and
// the reply is a page.
const bulkVersion = 1

// handleBulk serves raftnode.ClassBulk.
func (n *Node) handleBulk(_ context.Context, _ string, req []byte) ([]byte, error) {
	if len(req) != 17 || req[0] != bulkVersion {
		return nil, fmt.Errorf("%w: bulk request", errFrame)
	}
	return n.captures.page(binary.BigEndian.Uint64(req[1:]), binary.BigEndian.Uint64(req[9:]))
}

// remoteCapture reads a capture of another node.
type remoteCapture struct {
	n    *Node
	ctx  context.Context
	node string
	id   uint64
	at   uint64
	page []byte
}

// Read implements io.Reader.
func (c *remoteCapture) Read(p []byte) (int, error) {
	if len(c.page) == 0 {
		req := binary.BigEndian.AppendUint64([]byte{bulkVersion}, c.id)
		req = binary.BigEndian.AppendUint64(req, c.at)
		ctx, cancel := context.WithTimeout(c.ctx, pageWait)
		page, err := c.n.rn.Call(ctx, c.node, raftnode.ClassBulk, req)
		cancel()
		if err != nil {
			return 0, fmt.Errorf("shard: read capture of node %s: %w", c.node, err)
		}
		if len(page) == 0 {
			return 0, io.EOF
		}
		c.page = page
		c.at += uint64(len(page))
	}
	n := copy(p, c.page)
	c.page = c.page[n:]
	return n, nil
}

// Close lets the other node close its file now; otherwise it does so after a minute.
func (c *remoteCapture) Close() error {
	return c.n.ask(c.ctx, c.node, opCapture, captureOrder{Close: c.id}, nil)
}

// openCapture captures a group at a node that should lead it.
func (n *Node) openCapture(ctx context.Context, group uint32, node string) (io.ReadCloser, error) {
	if node == n.ID() {
		return n.captureHere(ctx, group)
	}
	var g captureGrant
	asking, cancel := context.WithTimeout(ctx, captureWait)
	defer cancel()
	if err := n.askLong(asking, node, opCapture, captureOrder{Group: group}, &g); err != nil {
		return nil, err
	}
	if g.Refused {
		return nil, errNotLeading{g.Leader}
	}
	return &remoteCapture{n: n, ctx: ctx, node: node, id: g.ID}, nil
}

// atLeader calls f with the node that should lead a group, and then with others, until f succeeds or, from
// its first error on, got nowhere for so long.
func (n *Node) atLeader(ctx context.Context, group uint32, patience time.Duration, f func(node string) error) error {
	var failing time.Time
	node, pause := n.router.Leader(group), retryMin
	for turn := 0; ; turn++ {
		if node == "" {
			node = n.replicaOf(group, turn)
		}
		err := f(node)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), err)
		}
		now := time.Now()
		if failing.IsZero() {
			failing = now
		} else if now.Sub(failing) > patience {
			return fmt.Errorf("shard: group %d: no leader answered for %v: %w", group, patience, err)
		}
		if e, ok := errors.AsType[errNotLeading](err); ok {
			node = e.leader
		} else {
			node = "" // not this node's own hint again: it may be what led astray
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, retryMax)
		case <-ctx.Done():
		}
	}
}

// replicaOf names one of a group's voters, by turn; this node when the View knows none.
func (n *Node) replicaOf(group uint32, turn int) string {
	if v := n.View(); v != nil {
		if g, ok := v.Group(group); ok {
			if voters := g.nodesWith(RoleVoter); len(voters) > 0 {
				return voters[turn%len(voters)]
			}
		}
	}
	return n.ID()
}

type (
	// slotsOrder asks a group's leader for the state of its import and, with Sums, for the digests of its
	// slots, behind a fence.
	slotsOrder struct {
		Group uint32 `json:"group"`
		Sums  bool   `json:"sums"`
	}
	// slotsAnswer has, in Sums, slot u16 big-endian and digest of each slot that holds something.
	slotsAnswer struct {
		Refused bool   `json:"refused,omitempty"`
		Leader  string `json:"leader,omitempty"`
		Import  uint64 `json:"import,omitempty"`
		Open    bool   `json:"open,omitempty"`
		Sums    []byte `json:"sums,omitempty"`
	}
)

// slotSumSize is the length of one slot in slotsAnswer.Sums.
const slotSumSize = 2 + 16

// serveSlots answers for a group that this node leads.
func (n *Node) serveSlots(ctx context.Context, o slotsOrder) (slotsAnswer, error) {
	r := n.local(o.Group)
	if r == nil || r.keyspace == nil {
		return slotsAnswer{Refused: true, Leader: n.router.Leader(o.Group)}, nil
	}
	_, err := r.group.Fence(ctx)
	if nl, ok := errors.AsType[raftnode.ErrNotLeader](err); ok {
		return slotsAnswer{Refused: true, Leader: nl.Hint.Node}, nil
	}
	if err != nil {
		return slotsAnswer{}, err
	}
	var a slotsAnswer
	a.Import, a.Open = r.keyspace.Import()
	if !o.Sums {
		return a, nil
	}
	for slot := range uint16(SlotCount) {
		if sum := r.keyspace.SlotDigest(slot); sum != [16]byte{} {
			a.Sums = append(binary.BigEndian.AppendUint16(a.Sums, slot), sum[:]...)
		}
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
	}
	return a, nil
}

// slotsAt asks a group's leader for its import and digests.
func (n *Node) slotsAt(ctx context.Context, group uint32, sums bool, patience time.Duration) (slotsAnswer, error) {
	var a slotsAnswer
	err := n.atLeader(ctx, group, patience, func(node string) error {
		a = slotsAnswer{}
		var err error
		order := slotsOrder{Group: group, Sums: sums}
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if node == n.ID() {
			a, err = n.serveSlots(ctx, order)
		} else {
			err = n.askLong(ctx, node, opSlots, order, &a)
		}
		if err == nil && a.Refused {
			err = errNotLeading{a.Leader}
		}
		if err == nil && len(a.Sums)%slotSumSize != 0 {
			err = fmt.Errorf("%w: digests of slots", errFrame)
		}
		return err
	})
	return a, err
}

// slotSums takes the digests in an answer apart.
func (a *slotsAnswer) slotSums() []fsm.SlotSum {
	out := make([]fsm.SlotSum, 0, len(a.Sums)/slotSumSize)
	for p := a.Sums; len(p) > 0; p = p[slotSumSize:] {
		out = append(out, fsm.SlotSum{Slot: binary.BigEndian.Uint16(p), Sum: [16]byte(p[2:slotSumSize])})
	}
	return out
}

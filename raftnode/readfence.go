// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// The read fence: what a linearizable read waits for before it looks at the state.
//
// raft.VerifyLeader is not used: it credits acknowledgements of messages sent before the call, it
// counts nonvoters, and it counts the leader itself even when it has no vote any more. Instead the
// leader asks the voters for their current terms:
//
//  1. At every leadership edge the leader proposes an empty entry (watch.go).
//  2. A read joins the group's waiting batch. The batch is closed before step 3; later reads go to
//     the next round.
//  3. T is the current term, sampled while this replica is leader: term, state, term again, equal.
//  4. The last entry applied here must be of term T, else the read waits for the entry of step 1. V is the latest
//     configuration; the term is still T behind that look, so V is of a log that no later leader has written to: raft
//     takes over a later term before anything that came with it.
//  5. As many other voters of V as make a majority are asked for their current terms (termcheck.go), the rest of them
//     when one fails or takes long.
//  6. A voter answers with raft's current term, if its raft instance is alive and configured.
//  7. Voters at a term <= T count, this replica counts if it is in V. With a majority of V the batch
//     is answered; a term above T refuses it.
//  8. The read looks at the local state now.
//
// Proof. Raft makes a new term durable and visible before it grants or requests any vote in it. A
// voter that answers with a term <= T at some moment therefore voted for no leader of a later term
// up to that moment. Suppose a leader of a term above T had been elected before the read was
// invoked. Every majority that elected it intersects the majority that answered, and each of those
// answers was given after the batch was closed, that is after the invocation: contradiction. (The
// first leader above T was elected by the configuration its log ends with. Its log holds all that
// was committed in terms up to T, and its membership differs from V by at most one change, made one
// at a time, so the quorums intersect in that case too.) So at the invocation every acknowledged
// write had been acknowledged by leaders of terms <= T. Those of term T were acknowledged here, after
// they were applied here. Those of earlier terms precede, in the log of T's leader, the entry of
// term T that step 4 saw applied. The local state at step 8 contains them all, and whatever it
// contains beyond is committed. The read takes place at the moment of step 8 or, if this replica was
// deposed meanwhile, at the latest moment of the round: both lie within its call.
//
// Neither clocks nor pauses enter the argument. It needs that terms never go back at a voter, hence
// heartbeats travel through raft's main loop only (W1) and a replica that lost its data returns
// under a new identity; and that an answer comes from the instance that is alive, hence the check of
// closing after the term was read, here and at the voter.
//
// A forwarding node that has a voter of the group answers step 5 beside its request (Voucher), from after the reads of the
// request were closed: the argument above does not ask who asked. T is sampled later than that answer then, and this
// replica's own answer is the sample.
//
// Waiting for the commit index is not needed at a leader: an acknowledgement follows the local apply.

const (
	// fencePause is the least time between two rounds of a Fence that found no majority.
	fencePause = 5 * time.Millisecond
	// fenceHedge is how long a round waits for the voters that it asked first.
	fenceHedge = 5 * time.Millisecond
)

// errNotReady: this replica leads, and has applied no entry of its term yet.
var errNotReady = errors.New("raftnode: no entry of this term is applied yet")

// fence is the read fence of one group. At most one round is in flight; reads that arrive meanwhile
// wait in one batch for the next. A read costs one append under the mutex and its share of one
// channel close.
type fence struct {
	g *Group
	// first is which of the other voters is asked first. It moves to one that was asked later and answered first.
	first atomic.Uint32

	mu struct {
		sync.Mutex
		// waiting is the open batch, nil when nobody waits.
		waiting *fenceBatch
		// running: a round is in flight, and whoever ends it starts the next.
		running bool
		// crowd is how many reads the batch before had.
		crowd int
	}
}

// fenceBatch is a set of reads that share a round. index and err are set before done is closed.
type fenceBatch struct {
	done  chan struct{}
	index uint64
	err   error
	// reads counts those who joined; under the fence's lock.
	reads int
}

// join adds the caller to the waiting batch, and starts a round if none is in flight: the batch is then closed.
func (f *fence) join() *fenceBatch {
	f.mu.Lock()
	b := f.mu.waiting
	if b == nil {
		b = &fenceBatch{done: make(chan struct{})}
		f.mu.waiting = b
	}
	b.reads++
	start, crowd := !f.mu.running, f.mu.crowd
	f.mu.running = true
	f.mu.Unlock()
	if start {
		if crowd > 1 {
			// Whoever is ready to read comes along: one network event makes many goroutines ready, and the first of them
			// would go alone.
			runtime.Gosched()
		}
		f.mu.Lock()
		closed := f.closeLocked()
		f.mu.Unlock()
		f.begin(closed)
	}
	return b
}

// closeLocked closes the waiting batch, nil when nobody waits.
func (f *fence) closeLocked() *fenceBatch {
	b := f.mu.waiting
	f.mu.waiting = nil
	if b != nil {
		f.mu.crowd = b.reads
	}
	return b
}

// begin runs rounds for closed batches until one is left in flight or nobody waits.
func (f *fence) begin(b *fenceBatch) {
	for b != nil {
		r, err := f.g.newRound(b)
		if err == nil && r.need > 0 {
			r.send()
			return
		}
		b = f.end(b, err)
	}
}

// end answers a batch and closes the next one, which the caller must begin.
func (f *fence) end(b *fenceBatch, err error) (next *fenceBatch) {
	b.err = err
	close(b.done)
	f.mu.Lock()
	defer f.mu.Unlock()
	next = f.closeLocked()
	f.mu.running = next != nil
	return next
}

// round is one question to the voters of one group.
type round struct {
	g     *Group
	batch *fenceBatch
	term  uint64
	ask   []raft.Server
	// lastLog is how far this replica's log reached.
	lastLog uint64

	mu sync.Mutex
	// need answers make a majority, left may still come. decided: the batch is answered.
	need, left int
	decided    bool
	// spare are the voters that were not asked, hedge asks them after a while.
	spare []raft.Server
	hedge *time.Timer
	// at is the place among ask of the one asked first.
	at int
}

// newRound does steps 3 and 4 for a closed batch. A round that needs no answer is already won.
func (g *Group) newRound(b *fenceBatch) (*round, error) {
	in, term, err := g.leadingTerm()
	if err != nil {
		return nil, err
	}
	index, applied := g.machine.Applied()
	if applied != term {
		return nil, errNotReady
	}
	b.index = index
	r := &round{g: g, batch: b, term: term, lastLog: in.raft.LastIndex()}
	servers, err := g.serversOf(in, term)
	if err != nil {
		return nil, err
	}
	voters := 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if s.ID == g.self {
			r.need--
			continue
		}
		r.ask = append(r.ask, s)
	}
	r.need += voters/2 + 1
	r.left = len(r.ask)
	if r.need > r.left {
		return nil, ErrNoQuorum
	}
	return r, nil
}

// leadingTerm does step 3.
func (g *Group) leadingTerm() (*instance, uint64, error) {
	in := g.inst.Load()
	if in == nil {
		return nil, 0, ErrClosed
	}
	term := in.raft.CurrentTerm()
	if in.raft.State() != raft.Leader || in.raft.CurrentTerm() != term {
		return nil, 0, ErrNotLeader{Hint: g.Leader()}
	}
	if in.closing.Load() {
		return nil, 0, ErrClosed
	}
	return in, term, nil
}

// serversOf gives V of step 4.
func (g *Group) serversOf(in *instance, term uint64) ([]raft.Server, error) {
	g.n.yield("raftnode.fence.servers")
	servers := in.servers()
	if in.raft.CurrentTerm() != term {
		return nil, ErrNotLeader{Hint: g.Leader()}
	}
	return servers, nil
}

// send does step 5. An answer may arrive before it returns.
func (r *round) send() {
	ask := r.ask
	if r.need < len(ask) {
		r.mu.Lock()
		r.at = int(r.g.fence.first.Load() % uint32(len(ask)))
		ask = slices.Concat(ask[r.at:], ask[:r.at])
		r.spare = ask[r.need:]
		r.hedge = time.AfterFunc(fenceHedge, r.more)
		ask = ask[:r.need]
		r.mu.Unlock()
	}
	r.put(ask)
}

// more asks those who were spared.
func (r *round) more() {
	r.mu.Lock()
	spare := r.spare
	if r.decided {
		spare = nil
	}
	r.spare = nil
	r.mu.Unlock()
	r.put(spare)
}

// over tells whether the batch is answered.
func (r *round) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.decided
}

func (r *round) put(ask []raft.Server) {
	for _, s := range ask {
		node, replica, ok := splitServerID(s.ID)
		if !ok {
			r.answer(s.ID, false, 0)
			continue
		}
		r.g.n.lane(node).ask(question{g: r.g, replica: replica, round: r, voter: s.ID, lastLog: r.lastLog})
	}
}

// answer does step 7 for one voter. ok false: it did not answer, or must not be counted.
func (r *round) answer(from raft.ServerID, ok bool, term uint64) {
	r.mu.Lock()
	if r.decided {
		r.mu.Unlock()
		return
	}
	r.left--
	var err error
	switch {
	case ok && term > r.term:
		r.decided, err = true, ErrNotLeader{Hint: r.g.Leader()}
	case ok:
		r.need--
		r.decided = r.need == 0
		if i := slices.IndexFunc(r.ask, func(s raft.Server) bool { return s.ID == from }); r.decided && r.hedge != nil && r.spare == nil {
			r.g.fence.first.Store(uint32(max(i, 0)))
		}
	}
	if !r.decided && r.left < r.need {
		r.decided, err = true, ErrNoQuorum
	}
	decided := r.decided
	if decided && r.hedge != nil {
		r.hedge.Stop()
	}
	r.mu.Unlock()
	switch {
	case decided:
		f := &r.g.fence
		f.begin(f.end(r.batch, err))
	case !ok:
		r.more()
	}
}

// Fence proves that this replica led at some moment after the call and returns an index that
// covers every write acknowledged before the call.
func (g *Group) Fence(ctx context.Context) (index uint64, err error) {
	for {
		if planted("local-read") {
			_, _, err := g.leadingTerm()
			return g.Applied(), err
		}
		b := g.fence.join()
		select {
		case <-b.done:
		default:
			select {
			case <-b.done:
			case <-g.stopped:
				return 0, ErrClosed
			case <-ctx.Done():
				return 0, fenceTimeout(ctx)
			}
		}
		switch {
		case b.err == nil:
			g.n.yield("raftnode.fence.passed")
			return b.index, nil
		case errors.Is(b.err, errNotReady):
			err = g.waitOwnTerm(ctx)
		case errors.Is(b.err, ErrNoQuorum):
			err = pause(ctx, fencePause)
		default:
			return 0, b.err
		}
		if err != nil {
			return 0, err
		}
	}
}

// Voucher is a voter's answer to step 5, given unasked. The zero Voucher says nothing.
type Voucher struct {
	// Replica is the voter's number on the node that the voucher comes from; Term is its current term.
	Replica, Term uint64
}

// Vouch gives this replica's answer, for reads that had arrived before the call.
func (g *Group) Vouch() Voucher {
	a := g.n.ownTerm(g.id, g.replica)
	if !a.ok() {
		return Voucher{}
	}
	return Voucher{Replica: g.replica, Term: a.term}
}

// vouched tells whether v, from node, and this replica make a majority, so that reads that had arrived before v was given
// may look at the state now.
func (g *Group) vouched(node string, v Voucher) bool {
	if v.Replica == 0 {
		return false
	}
	in, term, err := g.leadingTerm()
	if err != nil || v.Term > term && !planted("vouch-any") {
		return false
	}
	if _, applied := g.machine.Applied(); applied != term {
		return false
	}
	servers, err := g.serversOf(in, term)
	if err != nil {
		return false
	}
	id, voters, have := serverID(node, v.Replica), 0, 0
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		if s.ID == g.self || s.ID == id {
			have++
		}
	}
	return have > voters/2
}

func fenceTimeout(ctx context.Context) error {
	return fmt.Errorf("raftnode: fence: %w: %w", ErrTimeout, context.Cause(ctx))
}

// waitOwnTerm waits until an entry of the present term is applied or this replica leads no more.
func (g *Group) waitOwnTerm(ctx context.Context) error {
	for {
		changed := g.changed.wait()
		_, term, err := g.leadingTerm()
		if err != nil {
			return err
		}
		if _, applied := g.machine.Applied(); applied == term {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fenceTimeout(ctx)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fenceTimeout(ctx)
	}
}

// broadcast wakes everybody who waits for any change. The zero value is ready.
type broadcast struct {
	mu struct {
		sync.Mutex
		ch chan struct{}
	}
}

// wait returns a channel that is closed at the next notify. Take it before looking at the state.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.ch == nil {
		b.mu.ch = make(chan struct{})
	}
	return b.mu.ch
}

func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.ch != nil {
		close(b.mu.ch)
		b.mu.ch = nil
	}
}

// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"encoding/binary"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

const (
	// maxOutstanding is how many entries of a group are proposed and not yet applied. More adds
	// latency, not throughput: batches shrink.
	maxOutstanding = 2
	// tickGap is the least time between an entry and a tick that was asked for.
	tickGap = 20 * time.Millisecond
	// tickPeriod is the least time between idle ticks.
	tickPeriod = time.Second
	// maxFlights bounds the futures the reaper has yet to look at; the proposer waits beyond it.
	maxFlights = 64
	// maxCloses bounds the sessions one entry closes.
	maxCloses = 256
)

// proposer is the only caller of raft.Apply in its group. Subs queue up in order; whenever fewer than
// maxOutstanding entries are on their way and the queue is not empty, its goroutine cuts the next
// entry from the front of the queue. There is no timer: an idle group proposes at once, a loaded one
// collects what arrives while its entries are on their way.
//
// Callers in a closed loop are gathered before, by their lane (shard/LANES.md).
type proposer struct {
	g *Group
	// kick wakes the goroutine; one token is enough.
	kick  chan struct{}
	clock leaderClock

	mu struct {
		sync.Mutex
		queue []item
		head  int
		// closed: Submit refuses. held: nothing is cut, for the time of a leadership transfer.
		closed, held bool
		outstanding  int
		// growth is the sum over outstanding batches.
		growth int64
		// start asks for an entry, even an empty one, beyond maxOutstanding; tick for an empty one.
		start, tick bool
		// closes are sessions to name in the next entry.
		closes []uint64
		// lastCut is when the last entry was cut, lastTick the last idle tick.
		lastCut, lastTick time.Time
	}
	sessions sessionWatch
	// subs is propose's room.
	subs   []*fsm.Sub
	binder binder
	// lowDisk: growing Subs are refused, because a majority's disks are low.
	lowDisk atomic.Bool
}

// submit queues a Sub, or answers it at once.
func (p *proposer) submit(sub *fsm.Sub, done func(*fsm.Sub, error)) {
	if err := p.enqueue(sub, done); err != nil {
		done(sub, err)
	}
}

func (p *proposer) enqueue(sub *fsm.Sub, done func(*fsm.Sub, error)) error {
	n := p.g.n
	if len(sub.Body) > n.cfg.MaxSubBytes {
		return ErrTooLarge
	}
	if err := p.g.leads(); err != nil {
		return err
	}
	if (p.lowDisk.Load() || n.low.Load()) && p.grows(sub) {
		return ErrNoSpace
	}
	size := int64(fsm.SubSize(sub))
	if !n.budget.take(size) {
		return ErrOverloaded
	}
	p.sessions.heard(sub.Session) // in the queue the Sub may be answered, and its owner's again, at any time
	p.mu.Lock()
	switch {
	case p.mu.closed:
		p.mu.Unlock()
		n.budget.give(size)
		return ErrClosed
	case len(p.mu.queue)-p.mu.head >= n.cfg.MaxQueuedSubs:
		p.mu.Unlock()
		n.budget.give(size)
		return ErrOverloaded
	}
	p.mu.queue = append(p.mu.queue, item{sub: sub, done: done, tick: n.coarse.Load()})
	wake := p.mu.outstanding < maxOutstanding
	p.mu.Unlock()
	if wake {
		p.wake()
	}
	return nil
}

func (p *proposer) grows(sub *fsm.Sub) bool {
	return sub.Writes > 0 && (p.g.cfg.Grows == nil || p.g.cfg.Grows(sub))
}

func (p *proposer) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// requestStart asks for an entry now, whatever is outstanding: it opens the term.
func (p *proposer) requestStart() {
	p.mu.Lock()
	p.mu.start = true
	p.mu.Unlock()
	p.wake()
}

// requestTick asks for an empty entry soon, because a read met a key that is due or the last entry left
// such keys.
func (p *proposer) requestTick() {
	p.mu.Lock()
	asked := p.mu.tick
	p.mu.tick = true
	p.mu.Unlock()
	if !asked {
		p.wake()
	}
}

// lead begins a leadership.
func (p *proposer) lead() {
	p.clock.start(p.g.machine.Clock())
	p.sessions.reset()
	p.mu.Lock()
	p.mu.closes = nil
	p.mu.Unlock()
}

// hold stops cutting for the time of a leadership transfer.
func (p *proposer) hold(on bool) {
	p.mu.Lock()
	p.mu.held = on
	p.mu.Unlock()
	p.wake()
}

// run is the proposer's goroutine for one raft instance.
func (p *proposer) run(in *instance) {
	defer close(in.flights)
	timer := time.NewTimer(tickPeriod)
	defer timer.Stop()
	for {
		for {
			b, closes, ok := p.cut()
			if !ok {
				break
			}
			p.propose(in, b, closes)
		}
		timer.Reset(p.untilTick(in))
		select {
		case <-p.kick:
			if p.busy() {
				// Let the clients that the last batch answered come back before the next cut.
				runtime.Gosched()
			}
		case <-timer.C:
		case <-in.stop:
			return
		}
	}
}

// busy tells whether an entry is on its way, so that a cut is in no hurry.
func (p *proposer) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.outstanding > 0
}

// untilTick tells how long the goroutine may sleep, and turns a due deadline into a wish for a tick.
func (p *proposer) untilTick(in *instance) time.Duration {
	if in.raft.State() != leader {
		return time.Hour
	}
	m := p.g.machine
	deadline := m.NextDeadline()
	due := deadline != 0 && deadline <= p.clock.now(m.Clock())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.held || p.mu.closed {
		return tickPeriod // nothing is cut; the end of a hold wakes
	}
	if p.mu.tick && p.mu.outstanding == 0 {
		return max(tickGap-time.Since(p.mu.lastCut), time.Microsecond)
	}
	wait := tickPeriod - time.Since(p.mu.lastTick)
	if due && p.mu.outstanding == 0 {
		if wait <= 0 {
			p.mu.tick, p.mu.lastTick = true, monotonic()
			return time.Microsecond
		}
		return wait
	}
	return tickPeriod
}

// cut takes the next entry's items off the queue. The batch is counted as outstanding from here on.
func (p *proposer) cut() (b *batch, closes []uint64, ok bool) {
	cfg := &p.g.n.cfg
	p.mu.Lock()
	defer p.mu.Unlock()
	queued := len(p.mu.queue) - p.mu.head
	start := p.mu.start
	tick := p.mu.tick && p.mu.outstanding == 0 && time.Since(p.mu.lastCut) >= tickGap
	if p.mu.closed || !start && (p.mu.held || p.mu.outstanding >= maxOutstanding || queued == 0 && !tick) {
		return nil, nil, false
	}
	b = &batch{start: start, tick: p.g.n.coarse.Load()}
	commands, size := 0, 0
	end := p.mu.head
	for ; end < len(p.mu.queue) && !p.mu.held; end++ {
		sub := p.mu.queue[end].sub
		grown := size + fsm.SubSize(sub)
		if end > p.mu.head && (grown > cfg.MaxEntryBytes || commands+sub.Writes > cfg.MaxEntryCommands) {
			break
		}
		size, commands = grown, commands+sub.Writes
	}
	b.items = append(b.items, p.mu.queue[p.mu.head:end]...)
	b.bytes = int64(size)
	p.dropFrontLocked(end)
	p.mu.outstanding++
	p.mu.start, p.mu.tick = false, false
	p.mu.lastCut = monotonic()
	closes, p.mu.closes = p.mu.closes, nil
	return b, closes, true
}

// dropFrontLocked forgets queue[:end], keeping the array when it is small.
func (p *proposer) dropFrontLocked(end int) {
	clear(p.mu.queue[p.mu.head:end])
	p.mu.head = end
	switch {
	case end == len(p.mu.queue):
		p.mu.queue, p.mu.head = p.mu.queue[:0], 0
		if cap(p.mu.queue) > maxIdleQueue {
			p.mu.queue = nil
		}
	case end > maxIdleQueue && end > len(p.mu.queue)/2:
		n := copy(p.mu.queue, p.mu.queue[end:])
		clear(p.mu.queue[n:])
		p.mu.queue, p.mu.head = p.mu.queue[:n], 0
	}
}

// maxIdleQueue is how many items an empty queue keeps room for.
const maxIdleQueue = 1024

// propose encodes a batch and hands it to raft.
func (p *proposer) propose(in *instance, b *batch, closes []uint64) {
	g := p.g
	b.number = g.n.batches.Add(1)
	p.subs = p.subs[:0]
	for i := range b.items {
		p.subs = append(p.subs, b.items[i].sub)
	}
	b.growth = g.machine.GrowthBound(p.subs)
	clear(p.subs)
	p.mu.Lock()
	outstanding := p.mu.growth
	p.mu.growth += b.growth
	p.mu.Unlock()
	header := fsm.Header{
		ClusterVersion: g.clusterVersion(),
		Proposer:       g.proposerID(),
		Batch:          b.number,
		Clock:          p.clock.now(g.machine.Clock()),
		Seed:           g.n.seed(),
		Close:          p.sessions.unheard(closes),
	}
	if b.bytes > 0 {
		header.Evict = g.machine.PlanEvictions(outstanding + b.growth)
	}
	extra := headerRoom + 10*len(closes)
	for i := range header.Evict {
		extra += len(header.Evict[i].Key) + victimRoom
	}
	data := fsm.AppendEntryHeader(make([]byte, 0, int(b.bytes)+extra), &header)
	for i := range b.items {
		data = fsm.AppendSub(data, b.items[i].sub)
	}
	g.n.yield("raftnode.propose")
	g.pending.put(b)
	f := in.raft.Apply(data, 0)
	in.flights <- flight{future: f, batch: b, refused: !p.binder.bind(f, in.dead)}
}

// Room in bytes for the front of an entry, and for a victim beside its key.
const (
	headerRoom = 128
	victimRoom = 24
)

// settle ends a batch's stay among the outstanding ones; the second call for a batch does nothing.
func (p *proposer) settle(b *batch) {
	if !b.settled.CompareAndSwap(false, true) {
		return
	}
	p.mu.Lock()
	p.mu.outstanding--
	p.mu.growth -= b.growth
	wake := len(p.mu.queue) > p.mu.head || p.mu.tick
	p.mu.Unlock()
	p.g.n.budget.give(b.bytes)
	if wake {
		p.wake()
	}
}

// reap watches the futures of one instance for failures, in order.
func (p *proposer) reap(in *instance) {
	for fl := range in.flights {
		err := fl.future.Error()
		b := p.g.pending.take(fl.batch.number)
		if b != nil {
			verdict := classify(err, p.g.Leader())
			if fl.refused {
				verdict = ErrClosed // raft was shut down before it took the entry
			}
			answer(b, verdict)
		}
		p.settle(fl.batch)
		if err != nil && fl.batch.start {
			in.startFailed()
		}
		in.noteTransfer(err)
	}
}

// answer tells every submitter of b the same error.
func answer(b *batch, err error) {
	for i := range b.items {
		b.items[i].done(b.items[i].sub, err)
	}
}

// failQueue answers everything that is queued.
func (p *proposer) failQueue(err error) { p.failQueued(err, func(item) bool { return true }) }

// failQueued answers the front of the queue for as long as pick says so.
func (p *proposer) failQueued(err error, pick func(item) bool) {
	p.mu.Lock()
	end := p.mu.head
	var size int64
	for end < len(p.mu.queue) && pick(p.mu.queue[end]) {
		size += int64(fsm.SubSize(p.mu.queue[end].sub))
		end++
	}
	failed := append([]item(nil), p.mu.queue[p.mu.head:end]...)
	p.dropFrontLocked(end)
	p.mu.Unlock()
	p.g.n.budget.give(size)
	for i := range failed {
		failed[i].done(failed[i].sub, err)
	}
}

// close refuses all further Subs.
func (p *proposer) close() {
	p.mu.Lock()
	p.mu.closed = true
	p.mu.Unlock()
}

// drained tells whether nothing is on its way.
func (p *proposer) drained() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.outstanding == 0
}

// budget bounds the bytes of Subs queued or outstanding over all groups of a node.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take claims size bytes. A claim of any size succeeds when nothing is claimed.
func (b *budget) take(size int64) bool {
	if used := b.used.Add(size); used > b.limit && used > size {
		b.used.Add(-size)
		return false
	}
	return true
}

func (b *budget) give(size int64) { b.used.Add(-size) }

// seed draws an entry's seed.
func (n *Node) seed() uint64 {
	var b [8]byte
	if _, err := io.ReadFull(n.h.Rand, b[:]); err != nil {
		panic("raftnode: host.Rand failed: " + err.Error())
	}
	return binary.LittleEndian.Uint64(b[:])
}

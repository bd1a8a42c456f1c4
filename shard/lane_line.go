// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"slices"
	"sync"
)

// lineBytes bounds the commands waiting and under way in one line, so that a group without a
// leader cannot take the whole node's budget.
const lineBytes = 16 << 20

// line is the queue of batches that a lane (writes) and a reader (reads for another node) share.
type line struct {
	rt    *route
	r     *Router
	reads bool
	bytes budget

	mu sync.Mutex
	// closed: the Router is closing; nothing is accepted.
	closed bool
	// pumping: some goroutine is sending; it looks at the queue again before it stops.
	pumping bool
	// queue holds batches without a number; units join the last one.
	queue []*batch
	// last is the last refusal, answered when there was an answer since.
	last verdict
}

func (l *line) init(rt *route, reads bool) {
	l.rt, l.r, l.reads = rt, rt.r, reads
	l.bytes.limit = lineBytes
}

// accept encodes u into the last batch of the queue. It waits while the budgets are full. A unit
// that is not accepted was told why.
func (l *line) accept(u *unit) bool {
	u.line = l
	if !l.bytes.acquire(u.call, u.size) {
		u.call.fail(u, refusedOverloaded)
		return false
	}
	if !l.r.bytes.acquire(u.call, u.size) {
		l.bytes.release(u.size)
		u.call.fail(u, refusedOverloaded)
		return false
	}
	var own *batch
	if u.size >= outsideBytes || u.alone {
		own = l.r.newBatch()
		own.sealed = u.alone
		own.add(u, l.reads)
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		u.batch = nil
		l.release(u.size)
		u.call.fail(u, refusedClosing)
		return false
	}
	l.pushLocked(u, own)
	l.mu.Unlock()
	return true
}

func (l *line) pushLocked(u *unit, own *batch) {
	if own != nil {
		l.queue = append(l.queue, own)
		return
	}
	if n := len(l.queue); n > 0 && l.queue[n-1].fits(u) {
		l.queue[n-1].add(u, l.reads)
		return
	}
	b := l.r.newBatch()
	b.add(u, l.reads)
	l.queue = append(l.queue, b)
}

func (l *line) release(n int64) {
	l.bytes.release(n)
	l.r.bytes.release(n)
}

// leave takes a unit away from a caller whose time is over. With lost, the unit may be executed;
// with answered, its answer is on its way and must be awaited; any other verdict is the last
// refusal, and the unit was never sent.
func (l *line) leave(u *unit) verdict {
	l.mu.Lock()
	b := u.batch
	if b == nil {
		l.mu.Unlock()
		return answered
	}
	u.call = nil
	if b.inFlight || b.unknown {
		l.mu.Unlock()
		return lost
	}
	l.killLocked(u)
	last := l.last
	l.mu.Unlock()
	if last == answered {
		return refusedTimeout
	}
	return last
}

// killLocked marks u's commands to be taken out, and drops its batch when nothing is left in it.
func (l *line) killLocked(u *unit) {
	b := u.batch
	u.dead = true
	b.dead++
	b.size -= u.size
	l.release(u.size)
	if b.dead < len(b.units) {
		return
	}
	for i, q := range l.queue {
		if q == b {
			l.queue = slices.Delete(l.queue, i, i+1)
			l.r.recycle(b)
			return
		}
	}
}

// takeLocked removes the head of the queue for sending, nil when there is none.
func (l *line) takeLocked() *batch {
	if len(l.queue) == 0 {
		return nil
	}
	b := l.queue[0]
	l.queue = slices.Delete(l.queue, 0, 1)
	b.compact()
	return b
}

// fateLocked takes b's units out of the line, so that their callers wait for the answer from now
// on.
func (l *line) fateLocked(b *batch, how verdict) fate {
	for _, u := range b.units {
		u.batch = nil
	}
	return fate{b: b, how: how}
}

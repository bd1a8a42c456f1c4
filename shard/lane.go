// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"runtime"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// Settings of lanes; LANES.md says what for.
const (
	// maxOutstanding is how many numbered batches of a lane may await an answer.
	maxOutstanding = 2
	// sessionIdle is the silence after which a lane no longer trusts its session; leaders keep
	// sessions for twice as long.
	sessionIdle = 5 * time.Minute
	// forgetAfter is how long a lane without any answer goes on for callers who all left.
	forgetAfter = time.Minute
	// attemptTimeout bounds an attempt at another node; it doubles with each attempt in a row
	// that stays without an answer, up to maxAttemptTimeout.
	attemptTimeout    = time.Second
	maxAttemptTimeout = 8 * time.Second
	// retryPause is the first pause after a refusal or loss; it doubles up to maxRetryPause.
	retryPause    = 2 * time.Millisecond
	maxRetryPause = 250 * time.Millisecond
	// promptRetries is how many retries in a row may go without a pause because a new leader was
	// learnt.
	promptRetries = 3
)

// lane is the ordered way of writes to one group. LANES.md holds its protocol. It has no goroutine
// of its own: whoever adds a unit, learns an outcome or rings its timer pumps.
type lane struct {
	line

	// Everything below is guarded by line.mu.

	// sent are the numbered batches that await an answer, by number.
	sent   []*batch
	gather gather
	// crowd is how many units the batch before had.
	crowd int
	// gathering: a goroutine is about to pump what others put into the queue.
	gathering bool
	// opening is the OPENSESSION under way, nil when there is none.
	opening *batch
	// session is 0 while the lane has none; next is the number of its next batch.
	session, next uint64
	// stream and position number the forward frames to peer; position restarts with each stream.
	stream, position uint64
	peer             string
	// recovering: nothing is sent until every attempt is settled. ended: the session is of no use
	// any more.
	recovering, ended bool
	// failures counts recoveries since a Sub was applied; the first began at failing, and failed is
	// the node of the last attempt that failed.
	failures   int
	failing    time.Time
	failed     string
	notBefore  time.Time
	timer      *time.Timer
	lastAnswer time.Time
	// fates are to be told once the lock is free; spare is room for the next ones.
	fates, spare []fate
}

func (l *lane) init(rt *route) {
	l.line.init(rt, false)
	l.stream = 1
}

// add accepts a unit with at least one write and sees to it that it is sent.
func (l *lane) add(u *unit) {
	if l.accept(u) && l.gathered() {
		l.pump()
	}
}

// gathered tells whether the caller, which has put a unit into the queue, must pump. With nothing under way the first
// one lets all others that are ready to run put theirs into the same batch: one network event makes many goroutines
// ready, and its own would go alone.
func (l *lane) gathered() bool {
	l.mu.Lock()
	first := !l.gathering && len(l.sent) == 0 && l.crowd > 1
	if l.gathering = l.gathering || first; !first {
		defer l.mu.Unlock()
		return !l.gathering
	}
	l.mu.Unlock()
	runtime.Gosched()
	l.mu.Lock()
	l.gathering = false
	l.mu.Unlock()
	return true
}

// pump sends what may be sent. One goroutine at a time does; it looks again before it stops, so
// nobody else needs to wait for it.
func (l *lane) pump() {
	l.mu.Lock()
	if l.pumping {
		l.mu.Unlock()
		return
	}
	l.pumping = true
	for {
		b := l.nextLocked()
		fates := l.fates
		l.fates, l.spare = l.spare, nil
		if b == nil && len(fates) == 0 {
			l.pumping, l.spare = false, fates
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		if b != nil {
			l.send(b)
		}
		for _, f := range fates {
			l.tell(f)
		}
		clear(fates)
		l.mu.Lock()
		l.spare = fates[:0]
	}
}

// nextLocked chooses the batch to send now and marks it as in flight; nil when nothing may be sent.
func (l *lane) nextLocked() *batch {
	if l.closed || l.opening != nil {
		return nil
	}
	if l.recovering {
		if l.inFlightLocked() {
			return nil
		}
		l.recoverLocked()
	}
	if len(l.sent) == 0 && len(l.queue) == 0 {
		return nil
	}
	if !l.notBefore.IsZero() {
		if d := time.Until(l.notBefore); d > 0 {
			l.ringLocked(d)
			return nil
		}
		l.notBefore = time.Time{}
	}
	if len(l.sent) == 0 && time.Since(l.lastAnswer) > sessionIdle {
		l.session = 0
	}
	if l.session == 0 {
		return l.openLocked()
	}
	for _, b := range l.sent {
		if !b.inFlight {
			b.compact()
			return l.launchLocked(b)
		}
	}
	if !l.mayCutLocked() {
		return nil
	}
	b := l.takeLocked()
	b.sub.Seq = l.next
	l.next++
	l.crowd = len(b.units)
	l.gather.cut(b.commands(), len(l.sent) == 0 && l.waitsLocked(b))
	l.sent = append(l.sent, b)
	return l.launchLocked(b)
}

// mayCutLocked tells whether a new batch may be made of the head of the queue. One beside others must
// hold as many commands as the last of them, or be full. Cut at once instead, the first caller that
// comes back from an answered batch would go alone, and all who come behind it would wait for one more
// log entry: 50 callers in a closed loop then take 60 entries for 1,000 commands and a third longer.
func (l *lane) mayCutLocked() bool {
	switch n := len(l.sent); {
	case len(l.queue) == 0 || n >= maxOutstanding:
		return false
	case len(l.queue) > 1:
		return true
	case n == 0:
		return l.gatheredLocked()
	default:
		last := l.sent[n-1].commands()
		return l.queue[0].commands() >= last && !l.gather.alone(last)
	}
}

// waitsLocked tells whether b, which is or was the head of the queue, takes more callers.
func (l *lane) waitsLocked(b *batch) bool {
	return !b.sealed && b.size < maxBatchBytes && (len(l.queue) == 0 || l.queue[len(l.queue)-1] == b)
}

// gatheredLocked tells whether the only batch of the queue has waited for others enough, or takes none.
func (l *lane) gatheredLocked() bool {
	b := l.queue[0]
	if !l.waitsLocked(b) {
		return true
	}
	b.compact()
	d := l.gather.wait(b.commands(), time.Now())
	if d > 0 && !l.gather.armed {
		l.gather.armed = true
		l.ringLocked(d)
	}
	return d == 0
}

// launchLocked starts an attempt of b.
func (l *lane) launchLocked(b *batch) *batch {
	b.inFlight = true
	b.lane = l
	b.sub.Session = l.session
	b.sub.Low = l.next
	if len(l.sent) > 0 {
		b.sub.Low = l.sent[0].sub.Seq
	}
	b.sub.Status, b.sub.Next = fsm.SubPending, 0
	b.sub.Results, b.sub.ReadResults = b.sub.Results[:0], b.sub.ReadResults[:0]
	return b
}

func (l *lane) openLocked() *batch {
	b := l.r.newBatch()
	open := fsm.OpenSession()
	b.sub.Body = fsm.AppendCommand(b.sub.Body, &open)
	b.sub.Writes = 1
	l.opening = b
	l.launchLocked(b)
	b.sub.Session, b.sub.Low = 0, 0
	return b
}

// send makes the attempt. It runs outside the lock; b.inFlight keeps b as it is.
func (l *lane) send(b *batch) {
	l.r.counts.subs.Add(1)
	t := l.rt.target()
	switch {
	case t.local != nil:
		b.node = l.r.cfg.Self
		t.local.Submit(&b.sub, b.answer)
	case t.node == "":
		b.node = ""
		l.settle(b, errNoTarget)
	default:
		l.forward(b, t)
	}
}

func (l *lane) forward(b *batch, t target) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		l.settle(b, errClosing)
		return
	}
	if l.peer != t.node {
		l.peer, l.position = t.node, 0
		l.stream++
	}
	wait := attemptTimeout
	if !t.asked {
		wait = min(attemptTimeout<<min(l.failures, 8), maxAttemptTimeout)
	}
	ctx, cancel := context.WithTimeout(l.r.ctx, wait)
	b.node, b.cancel = t.node, cancel
	q := forwardRequest{
		Kind: forwardWrite, Group: l.rt.group, Incarnation: l.r.cfg.Incarnation,
		Stream: l.stream, Position: l.position,
		Session: b.sub.Session, Seq: b.sub.Seq, Low: b.sub.Low,
		Count: b.sub.Writes, Body: b.sub.Body, Reads: b.sub.Reads, Room: b.askRoom(l.r, len(b.sub.Reads) > 0),
	}
	if b == l.opening {
		q.Kind, q.Body, q.Count = forwardOpen, nil, 0
	}
	l.position++
	l.r.work.Add(1)
	l.mu.Unlock()
	l.r.counts.forwarded.Add(1)
	frame := appendForwardRequest(nil, &q)
	go func() {
		defer l.r.work.Done()
		defer cancel()
		reply, err := l.r.cfg.Link.Call(ctx, t.node, raftnode.ClassForward, frame)
		if err == nil {
			b.frame = len(reply)
			err = parseForwardReply(reply, q.Kind, &b.sub)
		}
		l.settle(b, err)
	}()
}

// ringLocked makes sure that somebody pumps after d.
func (l *lane) ringLocked(d time.Duration) {
	if l.timer == nil {
		l.timer = time.AfterFunc(d, l.rung)
		return
	}
	l.timer.Reset(d)
}

func (l *lane) rung() {
	l.mu.Lock()
	l.gather.armed = false
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.r.work.Add(1)
	l.mu.Unlock()
	defer l.r.work.Done()
	l.pump()
}

func (l *lane) inFlightLocked() bool {
	for _, b := range l.sent {
		if b.inFlight {
			return true
		}
	}
	return false
}

// wake ends a pause, and the attempts at nodes other than leader, because leader was learnt. It
// calls no group: the news may come from within one.
func (l *lane) wake(leader string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for _, b := range l.sent {
		l.cancelLocked(b, leader)
	}
	l.cancelLocked(l.opening, leader)
	if !l.notBefore.IsZero() {
		l.notBefore = time.Time{}
		l.ringLocked(0)
	}
}

func (l *lane) cancelLocked(b *batch, leader string) {
	if b != nil && b.cancel != nil && b.node != leader {
		b.cancel()
	}
}

// close tells every caller what is known. Attempts at other nodes are ended by the Router; those at
// the local group end with it.
func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	var flying []*batch
	for _, b := range append(l.sent, l.queue...) {
		if b.inFlight {
			flying = append(flying, b)
		} else {
			l.endLocked(b, refusedClosing)
		}
	}
	l.queue, l.sent = nil, flying
	l.mu.Unlock()
	l.pump()
}

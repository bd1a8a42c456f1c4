// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"slices"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// settle ends b's attempt with what is known about it: nil when b.sub holds an answer.
func (l *lane) settle(b *batch, err error) {
	v, hint := classify(err)
	if v != answered && v != refusedNoSpace { // only a leader refuses for space
		l.rt.disappointed(b.node, hint)
	}
	odd := false
	l.mu.Lock()
	b.inFlight, b.cancel = false, nil
	switch {
	case b == l.opening:
		l.openedLocked(b, v)
	case v == answered:
		odd = l.answeredLocked(b)
	case v == lost:
		b.unknown = !planted("fresh-retry")
		l.failLocked(b, v)
	default:
		b.refused = v
		if v == refusedNoSpace && b.unknown {
			l.ended = true // it may stay so until there is space, and what is behind it may need none
		}
		l.failLocked(b, v)
	}
	if l.closed && slices.Contains(l.sent, b) {
		l.removeLocked(b)
		l.endLocked(b, refusedClosing)
	}
	l.mu.Unlock()
	if odd {
		l.r.cfg.Logger.Error("a session gave an answer that no session gives; it is given up", "group", l.rt.group)
	}
	l.pump()
}

// openedLocked takes the answer to an OPENSESSION. An open of unknown outcome is simply repeated.
func (l *lane) openedLocked(b *batch, v verdict) {
	l.opening = nil
	ok := v == answered && b.sub.Status == fsm.SubApplied && len(b.sub.Results) == 1
	if !ok || b.sub.Results[0].Kind != fsm.KindInt {
		if v == answered {
			v = refusedOverloaded // the group has too many sessions
		}
		l.failLocked(b, v)
		l.r.recycle(b)
		return
	}
	l.session, l.next = uint64(b.sub.Results[0].Int), 1
	l.lastAnswer = time.Now()
	l.r.counts.sessions.Add(1)
	l.r.recycle(b)
}

// answeredLocked takes what the session said about b, and tells whether that makes no sense.
func (l *lane) answeredLocked(b *batch) (odd bool) {
	l.lastAnswer = time.Now()
	switch b.sub.Status {
	case fsm.SubApplied:
		if len(b.sub.Results) != b.sub.Writes || len(b.sub.ReadResults) != len(b.sub.Reads) {
			b.unknown, l.ended = true, true
			l.failLocked(b, lost)
			return true
		}
		l.removeLocked(b)
		l.gather.answered(b.commands(), l.queuedLocked(), l.lastAnswer)
		l.fates = append(l.fates, l.fateLocked(b, answered))
		l.failures, l.failing, l.last = 0, time.Time{}, answered
	case fsm.SubGap:
		l.r.counts.gaps.Add(1)
		odd = b.sub.Next > b.sub.Seq || b.sub.Next < l.sent[0].sub.Seq
		l.ended = l.ended || odd
		l.failLocked(b, refusedOrder)
	case fsm.SubExpired:
		l.ended = true
		l.failLocked(b, refusedOrder)
	case fsm.SubStale, fsm.SubPending:
		b.unknown, l.ended, odd = true, true, true
		l.failLocked(b, lost)
	}
	return odd
}

// queuedLocked counts the commands that wait for their batch to be cut.
func (l *lane) queuedLocked() (n int) {
	for _, b := range l.queue {
		b.compact()
		n += b.commands()
	}
	return n
}

func (l *lane) removeLocked(b *batch) {
	if i := slices.Index(l.sent, b); i >= 0 {
		l.sent = slices.Delete(l.sent, i, i+1)
	}
}

// failLocked begins a recovery: LANES.md, steps 1 to 5.
func (l *lane) failLocked(b *batch, v verdict) {
	l.failed = b.node
	if v == lost {
		l.r.counts.lost.Add(1)
	} else {
		l.last = v
	}
	if l.recovering {
		return
	}
	l.recovering = true
	l.r.counts.recoveries.Add(1)
	if v != refusedNoSpace || b.unknown { // the batch is out of the way: what is behind it need not wait
		l.failures++
	}
	if l.failing.IsZero() {
		l.failing = time.Now()
	}
}

// recoverLocked runs once every attempt is settled.
func (l *lane) recoverLocked() {
	l.recovering = false
	l.stream++
	l.position = 0
	l.rejectLocked()
	gone := l.rt.gone()
	if gone || l.ended || l.forgottenLocked() {
		l.session, l.ended = 0, false
		l.dissolveLocked()
	} else {
		l.giveBackLocked()
	}
	if gone {
		for _, b := range l.queue {
			l.endLocked(b, refusedGone)
		}
		l.queue = nil
	}
	l.pauseLocked()
}

// rejectLocked takes the units of batches that were refused for what is in them out of the lane. An
// empty batch keeps the number, in case that a later one is unknown.
func (l *lane) rejectLocked() {
	for i, b := range l.sent {
		v := b.refused
		b.refused = answered
		if b.unknown || v != refusedNoSpace && v != refusedTooLarge && v != refusedInvalid {
			continue
		}
		f := l.fateLocked(b, v)
		f.final = v != refusedNoSpace
		l.fates = append(l.fates, f)
		l.sent[i] = l.r.newBatch()
		l.sent[i].sub.Seq = b.sub.Seq
	}
}

// giveBackLocked returns the batches behind the last unknown one to the queue, without their
// numbers.
func (l *lane) giveBackLocked() {
	for n := len(l.sent); n > 0 && !l.sent[n-1].unknown; n-- {
		b := l.sent[n-1]
		l.sent = l.sent[:n-1]
		l.next = b.sub.Seq
		l.requeueLocked(b)
	}
}

// dissolveLocked ends the session: what may have been executed is unknown from now on, the rest
// waits for the next session.
func (l *lane) dissolveLocked() {
	for n := len(l.sent); n > 0; n-- {
		b := l.sent[n-1]
		if b.unknown {
			l.endLocked(b, lost)
		} else {
			l.requeueLocked(b)
		}
	}
	l.sent = nil
}

// requeueLocked puts a batch that certainly was not executed at the head of the queue. Callers that
// left while it was in flight were told unknown; what they asked for is dropped.
func (l *lane) requeueLocked(b *batch) {
	b.sub.Seq = 0
	for _, u := range b.units {
		if u.call == nil && !u.dead {
			u.dead = true
			b.dead++
			b.size -= u.size
			l.release(u.size)
		}
	}
	if b.dead == len(b.units) {
		l.r.recycle(b)
		return
	}
	l.queue = slices.Insert(l.queue, 0, b)
}

// endLocked takes b out of the lane for good; unknown batches become unknown outcomes.
func (l *lane) endLocked(b *batch, v verdict) {
	if b.unknown {
		v = lost
	}
	f := l.fateLocked(b, v)
	f.final = v == refusedClosing
	l.fates = append(l.fates, f)
}

// forgottenLocked tells whether nobody awaits what is under way, and nothing was answered for long.
func (l *lane) forgottenLocked() bool {
	if len(l.sent) == 0 || time.Since(l.failing) < forgetAfter {
		return false
	}
	return !slices.ContainsFunc(l.sent, func(b *batch) bool { return !b.abandoned() })
}

// pauseLocked sets the time of the next attempt: at once when a leader other than the node that
// failed is known, for the first few times.
func (l *lane) pauseLocked() {
	if l.failures == 0 { // something was applied since
		return
	}
	leader := l.rt.leader()
	if l.failures <= promptRetries && leader != "" && leader != l.failed {
		return
	}
	d := min(retryPause<<min(l.failures-1, 10), maxRetryPause)
	l.notBefore = time.Now().Add(l.r.jitter(d))
}

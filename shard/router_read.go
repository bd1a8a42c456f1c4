// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// Pauses between the rounds of a call.
const (
	firstPause = time.Millisecond
	// maxMovePause bounds the pause while a slot moves, maxLeaderPause while a leader is missing.
	maxMovePause   = 20 * time.Millisecond
	maxLeaderPause = 100 * time.Millisecond
)

// readsHere tells whether a unit of reads is answered by the local replica.
func (k *call) readsHere(u *unit) bool {
	local := u.rt.local.Load()
	return local != nil && (k.stale || local.IsLeader())
}

// readHere answers a unit of reads from the local replica, on the calling goroutine.
func (k *call) readHere(u *unit, room *readRoom) {
	local := u.rt.local.Load()
	if local == nil {
		k.giveBack(u, retryAtOnce)
		return
	}
	cmds, results := room.cmds[:0], room.results[:0]
	for i := u.first; i >= 0; i = k.items[i].next {
		cmds = append(cmds, *k.items[i].cmd)
		results = append(results, fsm.Result{})
	}
	room.cmds, room.results = cmds, results
	room.room = fsm.Room{Free: freeReply, Ledger: &k.r.replies}
	if u.turn {
		room.room = fsm.Room{Free: u.left, Most: u.left}
	}
	if k.stale {
		local.ReadStale(cmds, results, &room.room)
	} else if err := local.Read((*callContext)(k), cmds, results, &room.room); err != nil {
		v, hint := classify(err)
		if v == lost {
			v = refusedTimeout
		}
		if v == refusedNotLeader {
			u.rt.disappointed(k.r.cfg.Self, hint)
		}
		k.giveBack(u, v)
		return
	}
	if u.turn {
		k.left -= room.room.Used
	} else if room.room.Held > 0 {
		k.held.Add(room.room.Held)
	}
	leader, n := u.rt.leader(), 0
	for i := u.first; i >= 0; i = k.items[i].next {
		k.items[i].settle(&results[n], leader)
		n++
	}
	k.arrive()
}

// readAside is readHere on a goroutine of its own, so that the fences of several groups overlap.
func (k *call) readAside(u *unit, room *readRoom) {
	k.watch()
	k.aside.Go(func() { k.readHere(u, room) })
}

func (k *call) readRoom(n int) *readRoom {
	for len(k.rooms) <= n {
		k.rooms = append(k.rooms, new(readRoom))
	}
	return k.rooms[n]
}

// again tells whether the call needs another round, and waits until that is worth while. m and news
// are what the last round began with.
func (k *call) again(m *Map, news chan struct{}) bool {
	open, wait, short, limit := false, false, false, maxMovePause
	for i := range k.items {
		it := &k.items[i]
		if it.done {
			continue
		}
		if k.r.closing.Load() {
			it.fail(KindClosing, "")
			continue
		}
		open = true
		switch it.why {
		case answered, retryAtOnce, refusedNoSpace:
		case shortOfRoom:
			short = true
		case retryMoved:
			k.stale = false // the local replica may be far behind
			wait = true
		case retryFrozen, refusedGone, refusedUnowned:
			wait = true
		default:
			wait, limit = true, maxLeaderPause
		}
	}
	if !open || k.ended() {
		return false
	}
	if short && !k.short() {
		return false
	}
	if !wait || k.r.m.Load() != m {
		return true
	}
	return k.rest(limit, news)
}

// ended tells whether the call's time is over.
func (k *call) ended() bool {
	select {
	case <-k.over:
	case <-k.ctx.Done():
		k.end()
	default:
		return false
	}
	return true
}

// rest pauses the call, longer each time up to limit, until something new is known about maps and
// leaders; false when the time is over.
func (k *call) rest(limit time.Duration, news chan struct{}) bool {
	k.pause = min(max(2*k.pause, firstPause), limit)
	t := time.NewTimer(k.r.jitter(k.pause))
	defer t.Stop()
	select {
	case <-news:
	case <-t.C:
	case <-k.over:
		return false
	case <-k.ctx.Done():
		k.end()
		return false
	}
	return true
}

// watch makes the end of the caller's context end the call's own one.
func (k *call) watch() {
	if k.unwatch == nil && k.ctx.Done() != nil {
		k.unwatch = context.AfterFunc(k.ctx, k.end)
	}
}

// callContext is the context that a call's local reads run under: it ends with the call's time. It
// costs no allocation unless the caller's own context can end.
type callContext call

// Deadline implements context.Context.
func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements context.Context.
func (c *callContext) Done() <-chan struct{} { return c.over }

// Err implements context.Context.
func (c *callContext) Err() error {
	select {
	case <-c.over:
		if err := c.ctx.Err(); err != nil {
			return err
		}
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// Value implements context.Context.
func (c *callContext) Value(key any) any { return c.ctx.Value(key) }

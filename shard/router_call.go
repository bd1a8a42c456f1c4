// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// manyUnits is the number of groups in one round from which units are found by a map.
const manyUnits = 16

// item is one command of a call, or one piece of a command that was split.
type item struct {
	cmd   *fsm.Command
	reply *Reply
	spec  *fsm.Spec
	// piece is the split command it is part of, nil when it is a whole command.
	piece *piece
	// size is the command's length in log encoding; 0 when not known yet.
	size int64
	// room is what a write that answers with data holds of the shared reply memory.
	room int64
	// next is the next item of its unit, -1 at the end.
	next int32
	slot uint16
	// many: the keys lie in several slots.
	many bool
	done bool
	// large: the reply of this write needs more than fsm.WriteReply.
	large bool
	// why is the last reason for another try, answered before the first.
	why verdict
}

// call is one run of ordinary commands through lanes, readers and local reads. It belongs to the
// goroutine that runs it; the units it handed out write to its items until they arrived.
type call struct {
	r     *Router
	ctx   context.Context
	stale bool
	items []item
	units []unit
	// byGroup finds units when there are many.
	byGroup map[uint32]int
	// splits and pieces hold split commands; see splitjoin.go.
	splits []split

	// pending counts units that did not arrive, plus one while the round is being dealt out; whoever
	// takes it to 0 sends to arrived, unless it is the call itself.
	pending atomic.Int32
	arrived chan struct{}
	// over is closed when the time is over, by timer or by ctx.
	over     chan struct{}
	overOnce atomic.Bool
	timer    *time.Timer
	deadline time.Time
	// watching tells that ctx closes over as well; unwatch ends that.
	unwatch func() bool
	// pause grows with each try in vain.
	pause time.Duration

	// parts: replies are handed on in parts; later: some commands are left to the next one. ahead: there
	// are commands of the call before the first item.
	parts, later, ahead bool
	// held is what the replies hold of the shared memory; turn tells that left bytes of a turn are there
	// beside it. progress counts the items done when the call was short last, nowhere the rounds since
	// then without another.
	held              atomic.Int64
	turn              bool
	left              int64
	progress, nowhere int

	// rooms are for local reads; aside counts the goroutines of those beyond the first.
	rooms []*readRoom
	aside sync.WaitGroup
}

// readRoom is what a local read needs beside its items.
type readRoom struct {
	cmds    []fsm.Command
	results []fsm.Result
	room    fsm.Room
}

func (r *Router) newCall(ctx context.Context, c *Caller) *call {
	k, ok := r.calls.Get().(*call)
	if !ok {
		k = &call{r: r, arrived: make(chan struct{}, 1), over: make(chan struct{})}
	}
	k.ctx, k.stale = ctx, c.Stale
	budget := c.Timeout
	if budget <= 0 {
		budget = DefaultTimeout
	}
	k.deadline = time.Now().Add(budget)
	if d, ok := ctx.Deadline(); ok && d.Before(k.deadline) {
		k.deadline = d
		budget = time.Until(d)
	}
	if k.timer == nil {
		k.timer = time.AfterFunc(budget, k.end)
	} else {
		k.timer.Reset(budget)
	}
	return k
}

// end closes over once.
func (k *call) end() {
	if k.overOnce.CompareAndSwap(false, true) {
		close(k.over)
	}
}

// release keeps the call's room for another call, if nothing can touch it any more: units outlive
// only calls whose time was over.
func (k *call) release() {
	clean := k.timer.Stop()
	if k.unwatch != nil {
		clean = k.unwatch() && clean
	}
	if !clean || k.overOnce.Load() || len(k.items) > maxBatchCommands {
		return
	}
	clear(k.items)
	clear(k.units)
	clear(k.splits)
	for _, room := range k.rooms {
		clear(room.cmds)
		clear(room.results)
	}
	k.items, k.units, k.splits = k.items[:0], k.units[:0], k.splits[:0]
	k.ctx, k.unwatch, k.byGroup, k.pause = nil, nil, nil, 0
	k.parts, k.later, k.ahead, k.turn, k.left, k.progress, k.nowhere = false, false, false, false, 0, 0, 0
	if k.held.Load() != 0 {
		k.held.Store(0)
	}
	k.r.calls.Put(k)
}

// run brings every item to its end.
func (k *call) run() {
	k.progress, k.nowhere = 0, 0
	for !k.ended() {
		news := *k.r.news.Load()
		m := k.r.m.Load()
		k.resplit(m)
		if k.deal(m) {
			k.round()
		}
		if !k.again(m, news) {
			break
		}
	}
	for i := range k.items {
		switch it := &k.items[i]; {
		case it.done:
		case k.later:
			it.reply.Err = errLater
		default:
			it.fail(it.why.kind(), "")
		}
	}
}

// deal makes one unit per group from the items that are not done, in program order. Items without
// an owner, and those behind a full unit, wait for the next round.
func (k *call) deal(m *Map) bool {
	clear(k.units)
	k.units = k.units[:0]
	for i := range k.items {
		it := &k.items[i]
		if it.done {
			continue
		}
		group := m.Owner(it.slot)
		if group == 0 {
			it.why = refusedUnowned
			continue
		}
		if it.spec.Write && it.spec.Answers(it.cmd.Args) && !k.makeRoom(it) {
			it.why = shortOfRoom
			break // what is behind it must not pass it
		}
		if it.size == 0 {
			it.size = int64(fsm.CommandSize(it.cmd))
		}
		u := k.unit(group)
		u.join(k, int32(i))
		if k.turn {
			u.turn, u.left, u.alone = true, k.left, true
			break // one command has the turn, nothing beside it
		}
	}
	return len(k.units) > 0
}

func (k *call) unit(group uint32) *unit {
	if len(k.units) < manyUnits {
		for i := range k.units {
			if k.units[i].group == group {
				return &k.units[i]
			}
		}
	} else {
		if len(k.units) == manyUnits {
			k.byGroup = make(map[uint32]int)
			for i := range k.units {
				k.byGroup[k.units[i].group] = i
			}
		}
		if i, ok := k.byGroup[group]; ok {
			return &k.units[i]
		}
		k.byGroup[group] = len(k.units)
	}
	k.units = append(k.units, unit{group: group, first: -1, last: -1})
	return &k.units[len(k.units)-1]
}

// join adds item i unless the unit would outgrow a batch.
func (u *unit) join(k *call, i int32) {
	it := &k.items[i]
	if short := it.why == shortOfRoom; u.n > 0 && short != u.wide {
		u.full = true // what was short asks for more, and goes alone
	} else {
		u.wide = short
	}
	if u.n > 0 && (u.full || u.size+it.size > maxBatchBytes || u.n == maxBatchCommands) {
		u.full = true
		return
	}
	it.next = -1
	if u.last >= 0 {
		k.items[u.last].next = i
	} else {
		u.first = i
	}
	u.last = i
	u.n++
	u.alone = u.alone || it.why == refusedNoSpace || u.wide
	u.answers = u.answers || it.room > 0
	u.size += it.size
	if it.spec.Write {
		u.writes++
	}
}

// round hands the units out and waits until all arrived, or the time is over.
func (k *call) round() {
	k.pending.Store(int32(len(k.units)) + 1)
	defer k.aside.Wait()
	var here *unit
	rooms := 0
	for i := range k.units {
		u := &k.units[i]
		u.call, u.rt = k, k.r.route(u.group)
		switch {
		case u.writes > 0:
			u.rt.lane.add(u)
		case !k.readsHere(u):
			u.rt.reads.add(u)
		case here == nil:
			here = u
		default:
			rooms++
			k.readAside(u, k.readRoom(rooms))
		}
	}
	if here != nil {
		k.watch()
		k.readHere(here, k.readRoom(0))
	}
	if k.pending.Add(-1) > 0 {
		k.await()
	}
}

// arrive is called once for every unit, behind the last write to its items.
func (k *call) arrive() {
	if k.pending.Add(-1) == 0 {
		k.arrived <- struct{}{}
	}
}

// await waits for the units; when the time is over it takes back what was not sent and leaves
// what was.
func (k *call) await() {
	select {
	case <-k.arrived:
		return
	case <-k.over:
	case <-k.ctx.Done():
		k.end()
	}
	for i := range k.units {
		u := &k.units[i]
		if u.line == nil {
			continue // a read on a goroutine of this call: it sees the end by itself
		}
		v := u.line.leave(u)
		if v == answered {
			continue
		}
		k.failItems(u, v)
		if k.pending.Add(-1) == 0 {
			return
		}
	}
	<-k.arrived
}

// sleep waits for ready; false when the time is over first.
func (k *call) sleep(ready <-chan struct{}) bool {
	select {
	case <-ready:
		return true
	case <-k.over:
	case <-k.ctx.Done():
		k.end()
	}
	return false
}

// take writes the results of u's items from b.
func (k *call) take(u *unit, b *batch) {
	leader := u.rt.leader()
	k.account(u, b)
	w, a := u.firstBody, u.firstAttached
	for i := u.first; i >= 0; i = k.items[i].next {
		it := &k.items[i]
		if it.spec.Write || u.nAtt == 0 {
			from := w
			if planted("swapped-replies") {
				from = len(b.sub.Results) - 1 - w
			}
			it.settle(&b.sub.Results[from], leader)
			w++
		} else {
			if it.settle(&b.sub.ReadResults[a], leader); it.why == shortOfRoom && !it.done {
				it.why = retryAtOnce
			}
			a++
		}
	}
	if u.nAtt > 0 {
		k.failOvertaken(u, leader)
	}
	k.arrive()
}

// failOvertaken ends the reads of u that did not run with their Sub although a write of their slot
// behind them did: repeated, they would see it.
func (k *call) failOvertaken(u *unit, leader string) {
	var reads []int32
	for i := u.first; i >= 0; i = k.items[i].next {
		if it := &k.items[i]; !it.done && it.why == retryAtOnce && !it.spec.Write {
			reads = append(reads, i)
		}
	}
	if reads == nil {
		return
	}
	last := make(map[uint16]int32) // by slot: the last write that was executed
	spread := int32(-1)            // the last one with keys in several slots
	latest := spread               // the last one of all
	for i := u.first; i >= 0; i = k.items[i].next {
		if it := &k.items[i]; it.done && it.spec.Write {
			last[it.slot], latest = i, i
			if it.many {
				spread = i
			}
		}
	}
	for _, i := range reads {
		it := &k.items[i]
		at, ok := last[it.slot]
		if ok && at > i || spread > i || it.many && latest > i {
			it.fail(KindTimeout, leader)
		}
	}
}

// fail ends u's items without result.
func (k *call) fail(u *unit, v verdict) {
	k.failItems(u, v)
	k.arrive()
}

// failItems tells u's items why there is no result. A read whose Sub is unknown is merely not
// answered.
func (k *call) failItems(u *unit, v verdict) {
	leader := u.rt.leader()
	for i := u.first; i >= 0; i = k.items[i].next {
		it := &k.items[i]
		switch {
		case v != lost:
			it.fail(v.kind(), leader)
		case it.spec.Write:
			k.r.counts.unknown.Add(1)
			kind := KindUnknown
			if planted("wrong-fail") {
				kind = KindTimeout
			}
			it.fail(kind, leader)
		default:
			it.fail(KindTimeout, leader)
		}
	}
}

// giveBack leaves u's items to the next round; without space, those that grow end here.
func (k *call) giveBack(u *unit, v verdict) {
	for i := u.first; i >= 0; i = k.items[i].next {
		it := &k.items[i]
		if v == refusedNoSpace && k.r.cfg.Table.Grows(it.cmd) {
			it.fail(KindNoSpace, u.rt.leader())
			continue
		}
		it.why = v
	}
	k.arrive()
}

// settle takes a result, or marks the item for another try when the result says that the command
// did not run.
func (it *item) settle(res *fsm.Result, leader string) {
	switch {
	case res.Kind == fsm.KindNone:
		it.why = shortOfRoom
		return
	case res.Kind != fsm.KindError:
	case res.Code == fsm.CodeSlotMoved:
		it.why = retryMoved
		return
	case res.Code == fsm.CodeSlotFrozen:
		it.why = retryFrozen
		return
	case res.Code == fsm.CodeReplyRoom:
		it.why, it.large = shortOfRoom, true
		return
	}
	it.done = true
	it.reply.Result, it.reply.Err, it.reply.Leader = *res, nil, leader
}

func (it *item) fail(kind Kind, leader string) {
	it.done = true
	op := "read"
	if it.spec.Write {
		op = "write"
	}
	it.reply.Result, it.reply.Leader = fsm.Result{}, leader
	it.reply.Err = &Error{Kind: kind, Op: op, Leader: leader}
}

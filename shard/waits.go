// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// Limits and times of waits; WAITS.md says what for.
const (
	// maxNodeWaits bounds the clients of a node that are blocked at one time.
	maxNodeWaits = 1 << 16
	// maxWaitKeys and maxWaitBytes bound the keys of one client.
	maxWaitKeys  = 1 << 10
	maxWaitBytes = 256 << 10
	// maxWaitsFrame bounds the keys in one frame, in bytes; those of one ticket always fit.
	maxWaitsFrame = 256 << 10
	// renewEvery is how often a leader is told of all tickets, waitLife how long it keeps those it is not told of.
	renewEvery = time.Second
	waitLife   = 5 * time.Second
	// waitsTimeout bounds one exchange.
	waitsTimeout = time.Second
)

// Waiting is a blocked command of one client. Its methods may be called from any goroutine.
type Waiting interface {
	// Ready tells whether the client should try, and takes the news: the command with the key-th of its keys alone, or
	// as it is when key is negative. An error ends the wait: it was not applied and will not be woken.
	Ready() (key int, ok bool, err error)
	// Again says that the try found nothing.
	Again()
	// End ends the wait. Nothing refers to the keys afterwards.
	End()
}

var errWaitTooLarge = fmt.Errorf("a command waits for %d keys of %d bytes in all at most", maxWaitKeys, maxWaitBytes)

// Wait registers a blocked command. woken is called when Ready has news; it must be quick, may come from any goroutine,
// and not after End returned. The keys are not changed before End.
func (r *Router) Wait(w fsm.Wait, woken func()) (Waiting, error) {
	size := 0
	for _, key := range w.Keys {
		size += len(key)
	}
	if len(w.Keys) > maxWaitKeys || size > maxWaitBytes {
		return nil, &Error{Kind: KindInvalid, Op: "wait", Err: errWaitTooLarge}
	}
	if r.waiting.Add(1) > maxNodeWaits {
		r.waiting.Add(-1)
		return nil, &Error{Kind: KindOverloaded, Op: "wait"}
	}
	t := &waiter{r: r, wait: w, woken: woken, id: r.tickets.Add(1), began: time.Now()}
	t.join()
	return t, nil
}

// Waiting counts the blocked commands of this node.
func (r *Router) Waiting() int64 { return r.waiting.Load() }

// waiter is a ticket at its edge.
type waiter struct {
	r     *Router
	id    uint64
	wait  fsm.Wait
	woken func()
	began time.Time

	// at is the group that the ticket waits in; changed by the session's goroutine alone.
	at *waits

	// What follows is guarded by at.mu.

	// heard is the number of the last wake, done that of the last one which the session is done with, trying that of
	// the one it took.
	heard, trying, done uint32
	// key is what to try when news is set.
	key  int
	news bool
	err  error
}

// waits are a node's tickets in one group, and what its leader was told of them.
type waits struct {
	rt *route

	mu      sync.Mutex
	tickets map[uint64]*waiter
	// changed are to be told of, ended no more to be kept. told is the node that knows all others, empty when none
	// does.
	changed map[uint64]struct{}
	ended   []uint64
	told    string
	// term is the one that the node leads in, 0 when not known: in a later one its registry may have missed writes.
	term uint64
	// running: there is a goroutine, which ends when there is nothing left to tell.
	running, closed bool
	kick            chan struct{}
	// cancel ends the exchange under way with peer.
	cancel context.CancelFunc
	peer   string
	// number is that of the last frame. It and what follows belong to the goroutine.
	number uint64
	whole  time.Time // of the last whole frame
	m      *Map      // that tickets were checked against
}

func (w *waits) init(rt *route) {
	w.rt = rt
	w.tickets, w.changed = make(map[uint64]*waiter), make(map[uint64]struct{})
	w.kick = make(chan struct{}, 1)
}

// join puts the ticket where its first key is.
func (t *waiter) join() {
	group := t.r.m.Load().Owner(fsm.SlotOf(t.wait.Keys[0]))
	t.at = &t.r.route(group).waits
	w := t.at
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tickets[t.id] = t
	w.changeLocked(t)
	if t.r.m.Load().Owner(fsm.SlotOf(t.wait.Keys[0])) != group { // a check may have gone by already
		t.heard++
		t.stir(-1)
	}
	if w.closed {
		w.endLocked(t, errClosing.kindError())
	}
}

func (r *refusal) kindError() error { return &Error{Kind: r.verdict.kind(), Op: "wait"} }

// changeLocked has the leader told of t.
func (w *waits) changeLocked(t *waiter) {
	w.changed[t.id] = struct{}{}
	w.stirLocked()
}

// stirLocked makes the goroutine look, and starts it if there is none.
func (w *waits) stirLocked() {
	if !w.running && !w.closed {
		w.running = true
		w.rt.r.work.Add(1)
		go w.run()
	}
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// endLocked tells the session that it waits in vain.
func (w *waits) endLocked(t *waiter, err error) {
	t.err = err
	t.woken()
}

// Ready implements Waiting.
func (t *waiter) Ready() (key int, ok bool, err error) {
	w := t.at
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.err != nil || !t.news {
		return 0, false, t.err
	}
	t.news, t.trying = false, t.heard
	return t.key, true, nil
}

// Again implements Waiting.
func (t *waiter) Again() {
	if group := t.r.m.Load().Owner(fsm.SlotOf(t.wait.Keys[0])); group != 0 && group != t.at.rt.group {
		t.leave()
		t.done = t.heard
		t.news = false
		t.join()
		return
	}
	w := t.at
	w.mu.Lock()
	defer w.mu.Unlock()
	t.done = t.trying
	if t.news {
		t.woken() // another wake came meanwhile
		return
	}
	w.changeLocked(t)
}

// End implements Waiting.
func (t *waiter) End() {
	t.leave()
	t.r.waiting.Add(-1)
}

func (t *waiter) leave() {
	w := t.at
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.tickets, t.id)
	delete(w.changed, t.id)
	w.ended = append(w.ended, t.id)
	w.stirLocked()
}

// wake takes news of the leader's registry, and tells which tickets have ended.
func (w *waits) wake(wakes []wake) (gone []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range wakes {
		t := w.tickets[k.ticket]
		switch {
		case t == nil || int(k.key) >= len(t.wait.Keys):
			gone = append(gone, k.ticket)
		case k.number > t.heard:
			t.heard = k.number
			t.stir(int(k.key))
		}
	}
	return gone
}

// stir makes the session try.
func (t *waiter) stir(key int) {
	t.key, t.news = key, true
	t.woken()
}

// led ends an exchange with a node that does not lead any more.
func (w *waits) led(leader string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil && w.peer != leader {
		w.cancel()
	}
}

// close ends all waits; the goroutine ends with the Router's context.
func (w *waits) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, t := range w.tickets {
		w.endLocked(t, errClosing.kindError())
	}
}

// run tells the leader what changes, until there is nothing to tell.
func (w *waits) run() {
	r := w.rt.r
	defer r.work.Done()
	pause := time.Duration(0)
	for {
		news := *r.news.Load()
		w.check()
		t, frame, idle := w.next()
		if idle {
			return
		}
		wait := time.Until(w.whole.Add(renewEvery))
		if frame != nil {
			wait = 0
			if err := w.exchange(t, frame); err == nil {
				pause = 0
			} else {
				pause = min(max(2*pause, retryPause), maxRetryPause)
				wait = r.jitter(pause)
			}
		}
		if wait > 0 && !w.rest(wait, pause == 0, news) {
			return
		}
		if r.ctx.Err() != nil {
			return
		}
	}
}

// rest waits for something to do; kicked: also for changes. False when the Router closes.
func (w *waits) rest(d time.Duration, kicked bool, news chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	kick := w.kick
	if !kicked {
		kick = nil
	}
	select {
	case <-kick:
	case <-news:
	case <-t.C:
	case <-w.rt.r.ctx.Done():
		return false
	}
	return true
}

// check sends tickets whose slots have another owner now to try there.
func (w *waits) check() {
	m := w.rt.r.m.Load()
	if m == w.m {
		return
	}
	w.m = m
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tickets {
		for _, key := range t.wait.Keys {
			if group := m.Owner(fsm.SlotOf(key)); group != w.rt.group && group != 0 && t.err == nil {
				t.heard++
				t.stir(-1)
				break
			}
		}
	}
}

// next makes the frame to be sent now, nil when there is nothing to tell. idle: the goroutine is to end.
func (w *waits) next() (t target, frame []byte, idle bool) {
	t = w.rt.target()
	node := t.node
	if t.local != nil {
		node = w.rt.r.cfg.Self
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.kick: // what it was for is seen below
	default:
	}
	if node == "" || node != w.told {
		w.ended = nil
	}
	if len(w.tickets) == 0 && len(w.ended) == 0 {
		w.running, w.told = false, ""
		return t, nil, true
	}
	if node != w.told {
		w.told, w.term, w.whole = node, 0, time.Now()
		w.allLocked()
	}
	q := waitsRequest{group: w.rt.group, incarnation: w.rt.r.cfg.Incarnation, number: w.number + 1}
	switch {
	case time.Since(w.whole) >= renewEvery:
		q.whole = true
		for _, t := range w.tickets {
			q.entries = append(q.entries, t.entry(false))
		}
		w.whole, w.ended = time.Now(), nil
	case len(w.changed) > 0 || len(w.ended) > 0:
		w.changesLocked(&q)
	default:
		return t, nil, false
	}
	w.number++
	w.peer = node
	return t, encodeWaits(&q), false // under the lock: the keys of a ticket that ends are not its own any more
}

// allLocked has the leader told of everything.
func (w *waits) allLocked() {
	for id := range w.tickets {
		w.changed[id] = struct{}{}
	}
}

// changesLocked puts as many changes as fit into the frame, the oldest tickets first.
func (w *waits) changesLocked(q *waitsRequest) {
	n := min(len(w.ended), maxNodeWaits)
	q.ended = w.ended[:n:n]
	w.ended = w.ended[n:]
	ids := make([]uint64, 0, len(w.changed))
	for id := range w.changed {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	size := 0
	for _, id := range ids {
		e := w.tickets[id].entry(true)
		for _, key := range e.keys {
			size += 4 + len(key)
		}
		if len(q.entries) > 0 && size > maxWaitsFrame {
			return
		}
		q.entries = append(q.entries, e)
		delete(w.changed, id)
	}
}

func (t *waiter) entry(keys bool) waitEntry {
	e := waitEntry{ticket: t.id, done: t.done, age: time.Since(t.began)}
	if keys {
		e.pops, e.keys = t.wait.Pops, t.wait.Keys
	}
	return e
}

// exchange tells the leader, and takes its answer. After an error nothing is taken for granted.
func (w *waits) exchange(t target, frame []byte) error {
	r := w.rt.r
	ctx, cancel := context.WithTimeout(r.ctx, waitsTimeout)
	defer cancel()
	w.mu.Lock()
	node := w.peer
	w.cancel = cancel
	w.mu.Unlock()
	var reply []byte
	err := error(errNoTarget)
	switch {
	case t.local != nil:
		reply = r.serveWaits(node, frame)
		err = nil
	case node != "":
		reply, err = r.cfg.Link.Call(ctx, node, raftnode.ClassForward, frame)
	}
	var unknown, refused []uint64
	var term uint64
	if err == nil {
		term, err = parseWaitsReply(reply, &unknown, &refused)
	}
	w.mu.Lock()
	w.cancel = nil
	switch {
	case err != nil:
		w.told = ""
	case w.term == 0:
		w.term = term
	case term > w.term:
		w.term = term
		w.allLocked()
	}
	for _, id := range unknown {
		if w.tickets[id] != nil {
			w.changed[id] = struct{}{}
		}
	}
	for _, id := range refused {
		if t := w.tickets[id]; t != nil {
			w.endLocked(t, &Error{Kind: KindOverloaded, Op: "wait"})
		}
	}
	w.mu.Unlock()
	if err != nil {
		_, hint := classify(err)
		w.rt.disappointed(node, hint)
	}
	return err
}

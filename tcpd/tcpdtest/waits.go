// SPDX-License-Identifier: Apache-2.0

package tcpdtest

import (
	"sync"
	"sync/atomic"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// waits wakes everybody who waits for a key that something can be popped from.
type waits struct {
	n  atomic.Int32
	mu sync.Mutex
	// all are in the order in which they came.
	all []*waiting
}

// waiting is one blocked command.
type waiting struct {
	w     *waits
	r     *Router
	wait  fsm.Wait
	woken func()
	key   int
	news  bool
}

// Any implements fsm.Waiters.
func (w *waits) Any() bool { return w.n.Load() > 0 }

// Touched implements fsm.Waiters.
func (w *waits) Touched(key []byte, holds fsm.Pops, _ bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.all {
		for i, k := range t.wait.Keys {
			if string(k) == string(key) && t.wait.Pops == holds && !t.news {
				t.key, t.news = i, true
				t.woken()
			}
		}
	}
}

// Opened implements fsm.Waiters: no slot comes here.
func (w *waits) Opened() {}

// Wait registers a blocked command.
func (r *Router) Wait(w fsm.Wait, woken func()) (shard.Waiting, error) {
	t := &waiting{w: &r.waits, r: r, wait: w, woken: woken}
	t.w.mu.Lock()
	t.w.all = append(t.w.all, t)
	t.w.n.Add(1)
	t.w.mu.Unlock()
	t.look()
	return t, nil
}

// look wakes the command when it need not wait.
func (t *waiting) look() {
	for i, key := range t.wait.Keys {
		res := t.r.Run(fsm.Command{Op: fsm.OpType, Args: [][]byte{key}})
		if fsm.PopsOf(res.Str) == t.wait.Pops {
			t.w.mu.Lock()
			t.key, t.news = i, true
			t.woken()
			t.w.mu.Unlock()
			return
		}
	}
}

// Waiting counts the blocked commands.
func (r *Router) Waiting() int { return int(r.waits.n.Load()) }

// Ready implements shard.Waiting.
func (t *waiting) Ready() (key int, ok bool, err error) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	ok, t.news = t.news, false
	return t.key, ok, nil
}

// Again implements shard.Waiting.
func (t *waiting) Again() { t.look() }

// End implements shard.Waiting.
func (t *waiting) End() {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	for i, o := range t.w.all {
		if o == t {
			t.w.all = append(t.w.all[:i], t.w.all[i+1:]...)
			t.w.n.Add(-1)
			return
		}
	}
}

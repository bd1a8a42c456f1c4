// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"sync"
	"sync/atomic"
)

// budget bounds the bytes of commands accepted and not answered. It admits one command of any size
// when nothing else is inside. Waiters are admitted in the order in which they came.
type budget struct {
	limit   int64
	used    atomic.Int64
	waiting atomic.Int32

	mu    sync.Mutex
	queue []*budgetWaiter
}

type budgetWaiter struct {
	n     int64
	ready chan struct{}
}

// sleeper waits for a channel; false when its time is over first.
type sleeper interface {
	sleep(ready <-chan struct{}) bool
}

// acquire takes n bytes, waiting until there is room or c's time is over; false means that nothing
// was taken.
func (b *budget) acquire(c sleeper, n int64) bool {
	if b.waiting.Load() == 0 && b.try(n) {
		return true
	}
	w := &budgetWaiter{n: n, ready: make(chan struct{})}
	b.mu.Lock()
	b.waiting.Add(1)
	b.queue = append(b.queue, w)
	b.admitLocked()
	b.mu.Unlock()
	if c.sleep(w.ready) {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, q := range b.queue {
		if q == w {
			b.queue = append(b.queue[:i], b.queue[i+1:]...)
			b.waiting.Add(-1)
			b.admitLocked()
			return false
		}
	}
	return true // admitted meanwhile
}

func (b *budget) try(n int64) bool {
	for {
		used := b.used.Load()
		if used > 0 && used+n > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// release gives n bytes back.
func (b *budget) release(n int64) {
	b.used.Add(-n)
	if b.waiting.Load() == 0 {
		return
	}
	b.mu.Lock()
	b.admitLocked()
	b.mu.Unlock()
}

func (b *budget) admitLocked() {
	for len(b.queue) > 0 && b.try(b.queue[0].n) {
		close(b.queue[0].ready)
		b.queue[0] = nil
		b.queue = b.queue[1:]
		b.waiting.Add(-1)
	}
}

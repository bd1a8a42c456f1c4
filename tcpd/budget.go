// SPDX-License-Identifier: Apache-2.0

package tcpd

import (
	"context"
	"sync"
)

// Budget is a number of bytes that connections take from and give back to. Takers are served in the
// order they came, so a large command is not starved by small ones. Any goroutine may use it.
type Budget struct {
	total int64
	mu    struct {
		sync.Mutex
		free    int64
		waiting []*taker
	}
}

type taker struct {
	n     int64
	ready chan struct{} // closed when n was taken
}

// NewBudget returns a Budget of total bytes.
func NewBudget(total int64) *Budget {
	b := &Budget{total: total}
	b.mu.free = total
	return b
}

// Take waits until n bytes are free and takes them; it returns how many, which is the whole budget
// where n is more than that. After an error nothing is taken.
func (b *Budget) Take(ctx context.Context, n int64) (int64, error) {
	n = min(n, b.total)
	b.mu.Lock()
	if len(b.mu.waiting) == 0 && b.mu.free >= n {
		b.mu.free -= n
		b.mu.Unlock()
		return n, nil
	}
	t := &taker{n: n, ready: make(chan struct{})}
	b.mu.waiting = append(b.mu.waiting, t)
	b.mu.Unlock()
	select {
	case <-t.ready:
		return n, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, w := range b.mu.waiting {
		if w == t {
			b.mu.waiting = append(b.mu.waiting[:i], b.mu.waiting[i+1:]...)
			b.grantLocked()
			return 0, context.Cause(ctx)
		}
	}
	return n, nil // it was granted meanwhile
}

// TryTake takes n bytes if they are free and nobody waits, and tells whether it did.
func (b *Budget) TryTake(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.mu.waiting) > 0 || b.mu.free < n {
		return false
	}
	b.mu.free -= n
	return true
}

// Give returns n bytes.
func (b *Budget) Give(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	b.mu.free += n
	b.grantLocked()
	b.mu.Unlock()
}

// Free tells how many bytes are free now.
func (b *Budget) Free() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.free
}

func (b *Budget) grantLocked() {
	for len(b.mu.waiting) > 0 && b.mu.waiting[0].n <= b.mu.free {
		t := b.mu.waiting[0]
		b.mu.waiting = b.mu.waiting[1:]
		b.mu.free -= t.n
		close(t.ready)
	}
}

// SPDX-License-Identifier: Apache-2.0

package tcpd

import (
	"context"
	"slices"
	"sync"
)

// Budget is a number of bytes that connections take from and give back to. Takers are served in the
// order they came, so a large command is not starved by small ones. Any goroutine may use it.
//
// Who has some and needs more goes before who has none, or all could be held by those who wait for more. One of them at
// a time may go over the budget, and then takes at once what it can need at most, so that it never waits again.
type Budget struct {
	total int64
	mu    struct {
		sync.Mutex
		free             int64 // below 0 while somebody is over the budget
		growing, waiting []*taker
	}
}

type taker struct {
	n     int64
	most  int64         // what it takes when it goes over the budget; 0 for one that may not
	ready chan struct{} // closed when got was taken
	got   int64
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
	return b.take(ctx, &taker{n: min(n, b.total)})
}

// Grow waits until n more bytes are free, or until its turn has come to go over the budget, and returns how many it took:
// n, or most in the latter case. The caller has taken some before. After an error nothing is taken.
func (b *Budget) Grow(ctx context.Context, n, most int64) (int64, error) {
	return b.take(ctx, &taker{n: n, most: max(n, most)})
}

func (b *Budget) take(ctx context.Context, t *taker) (int64, error) {
	b.mu.Lock()
	line := &b.mu.waiting
	if t.most > 0 {
		line = &b.mu.growing
	}
	if len(*line) == 0 && (t.most > 0 || len(b.mu.growing) == 0) && b.grantedLocked(t) {
		b.mu.Unlock()
		return t.got, nil
	}
	t.ready = make(chan struct{})
	*line = append(*line, t)
	b.mu.Unlock()
	select {
	case <-t.ready:
		return t.got, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(*line, t); i >= 0 {
		*line = slices.Delete(*line, i, i+1)
		b.grantLocked()
		return 0, context.Cause(ctx)
	}
	return t.got, nil // it was granted meanwhile
}

// TryTake takes n bytes if they are free and nobody waits, and tells whether it did.
func (b *Budget) TryTake(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.mu.waiting)+len(b.mu.growing) > 0 || b.mu.free < n {
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

// Free tells how many bytes are free now, below 0 while somebody is over the budget.
func (b *Budget) Free() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.free
}

func (b *Budget) grantLocked() {
	for _, line := range []*[]*taker{&b.mu.growing, &b.mu.waiting} {
		for len(*line) > 0 {
			if !b.grantedLocked((*line)[0]) {
				return
			}
			close((*line)[0].ready)
			*line = (*line)[1:]
		}
	}
}

// grantedLocked lets t take if it may now.
func (b *Budget) grantedLocked(t *taker) bool {
	switch {
	case b.mu.free >= t.n:
		t.got = t.n
	case t.most > 0 && b.mu.free >= 0:
		t.got = t.most
	default:
		return false
	}
	b.mu.free -= t.got
	return true
}

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestBudgetIsFair: waiters are admitted in order, a large one is not passed by small ones.
func TestBudgetIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &budget{limit: 10}
		k := func(d time.Duration) *call {
			c := &call{ctx: context.Background(), over: make(chan struct{})}
			time.AfterFunc(d, c.end)
			return c
		}
		if !b.acquire(k(time.Hour), 8) {
			t.Fatal("nothing was in the budget")
		}
		var mu sync.Mutex
		var order []int64
		var wg sync.WaitGroup
		for _, n := range []int64{9, 2, 50, 3} {
			wg.Go(func() {
				if b.acquire(k(time.Hour), n) {
					mu.Lock()
					order = append(order, n)
					mu.Unlock()
					time.Sleep(time.Second)
					b.release(n)
				}
			})
			synctest.Wait()
		}
		began := time.Now()
		if b.acquire(k(time.Second), 1) {
			t.Error("a late small one passed those who wait")
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("it waited %v", d)
		}
		b.release(8)
		wg.Wait()
		if fmt.Sprint(order) != "[9 2 50 3]" || b.used.Load() != 0 || b.waiting.Load() != 0 {
			t.Errorf("order %v, %d bytes, %d waiters", order, b.used.Load(), b.waiting.Load())
		}
	})
}

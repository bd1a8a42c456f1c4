// SPDX-License-Identifier: Apache-2.0

package tcpd

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// Goal: a promise of many bytes makes no memory before the bytes are there.
func TestInputGrowsWithBytes(t *testing.T) {
	in := input{budget: NewBudget(64 << 20), most: 1 << 30}
	defer in.drop()
	const promise = 32 << 20
	for got := 0; got < promise; {
		if err := in.room(context.Background(), promise); err != nil {
			t.Fatal(err)
		}
		if limit := max(2*got, BaseBuffer); len(in.buf) > limit {
			t.Fatalf("%d bytes of buffer for %d bytes of input", len(in.buf), got)
		}
		n := min(len(in.buf)-in.w, 50_000)
		in.took(n)
		got += n
	}
	if len(in.buf) != promise || in.taken != promise {
		t.Errorf("buffer %d, taken %d", len(in.buf), in.taken)
	}
	in.consume(promise)
	if err := in.room(context.Background(), 0); err != nil || len(in.buf) > BaseBuffer || in.taken != 0 {
		t.Errorf("after it: buffer %d, taken %d, err %v", len(in.buf), in.taken, err)
	}
}

// Goal: unread bytes survive every way of making room.
func TestInputKeepsUnread(t *testing.T) {
	in := input{budget: NewBudget(1 << 20), most: 1 << 30}
	defer in.drop()
	var sent, seen []byte
	next := byte(0)
	for step := range 5000 {
		need := 0
		if step%7 == 0 {
			need = 3*BaseBuffer/2 - step
		}
		if err := in.room(context.Background(), need); err != nil {
			t.Fatal(err)
		}
		n := min(len(in.buf)-in.w, 1+step*37%5000)
		for i := range n {
			in.buf[in.w+i] = next
			sent = append(sent, next)
			next++
		}
		in.took(n)
		if eat := step * 53 % 6000; step%3 == 0 || in.w-in.r > BaseBuffer {
			eat = min(max(eat, in.w-in.r-BaseBuffer/2), in.w-in.r)
			seen = append(seen, in.unread()[:eat]...)
			in.consume(eat)
		}
		if step%11 == 0 {
			l := Lease{taken: in.taken, budget: in.budget}
			in.leave()
			l.Release()
		}
	}
	if seen = append(seen, in.unread()...); !bytes.Equal(seen, sent) {
		t.Error("bytes were lost or doubled")
	}
}

// Goal: a connection that was busy and became quiet gives its large buffer up.
func TestInputShrinks(t *testing.T) {
	in := input{budget: NewBudget(0), most: 1 << 30}
	for range 10 {
		_ = in.room(context.Background(), 0)
		n := len(in.buf) - in.w
		in.took(n)
		in.consume(n)
	}
	if len(in.buf) != BaseBuffer {
		t.Fatalf("busy: %d", len(in.buf))
	}
	for range shrinkAfter + 1 {
		_ = in.room(context.Background(), 0)
		in.took(10)
		in.consume(10)
	}
	if len(in.buf) != MinBuffer {
		t.Errorf("quiet: %d", len(in.buf))
	}
}

func TestBudgetOrder(t *testing.T) {
	b := NewBudget(10)
	if n, err := b.Take(t.Context(), 100); n != 10 || err != nil {
		t.Fatalf("more than all: %d, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { _, err := b.Take(ctx, 10); gone <- err }()
	waitFor(b, 1)
	got := make(chan int64, 1)
	go func() { n, _ := b.Take(t.Context(), 3); got <- n }()
	waitFor(b, 2)
	b.Give(5) // not enough for the first; the second does not overtake it
	if len(got) != 0 {
		t.Error("overtaken")
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if n := <-got; n != 3 || b.Free() != 2 {
		t.Errorf("took %d, free %d", n, b.Free())
	}
}

// TestOverBudgetNeverWaits: whose turn it was to go over the budget has all that a command can need.
func TestOverBudgetNeverWaits(t *testing.T) {
	const most = 3<<20 - 1
	in := input{budget: NewBudget(1 << 20), most: most}
	defer in.drop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for in.w < most-1 {
		if err := in.room(ctx, 0); err != nil {
			t.Fatalf("at %d: %v", in.w, err)
		}
		in.took(min(len(in.buf), most-1) - in.w)
	}
}

// TestBudgetGrow: who has some goes before who has none; one at a time goes over the budget, by all it can need.
func TestBudgetGrow(t *testing.T) {
	b := NewBudget(10)
	for range 2 {
		_, _ = b.Take(t.Context(), 5)
	}
	got := make(chan int64, 3)
	go func() { n, _ := b.Take(t.Context(), 2); got <- 100 + n }()
	waitFor(b, 1)
	if n, err := b.Grow(t.Context(), 3, 20); n != 20 || err != nil || b.Free() != -20 {
		t.Errorf("over the budget by %d, %v", n, err)
	}
	go func() { n, _ := b.Grow(t.Context(), 4, 20); got <- 200 + n }()
	waitFor(b, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := b.Grow(ctx, 1, 20); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("a second one over the budget: %d, %v", n, err)
	}
	if b.Give(19); len(got) > 0 {
		t.Error("granted while another is over the budget")
	}
	b.Give(5)
	if n := <-got; n != 204 || len(got) > 0 || b.Free() != 0 {
		t.Errorf("the second one: %d, free %d", n, b.Free())
	}
	b.Give(1)
	b.Give(1)
	if n := <-got; n != 102 || b.Free() != 0 {
		t.Errorf("the newcomer: %d, free %d", n, b.Free())
	}
}

func waitFor(b *Budget, n int) {
	for {
		b.mu.Lock()
		have := len(b.mu.waiting) + len(b.mu.growing)
		b.mu.Unlock()
		if have == n {
			return
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// Goal: for each kind of failure, what the call returns, how often the command was tried and how
// often it was applied. Method: the node fails the first two tries.
func TestRetryRules(t *testing.T) {
	incr, mset := client.IncrBy("k", 1), client.Command("mset", "a", "1", "b", "2")
	tests := []struct {
		name    string
		cmd     client.Cmd
		op      fsm.Op
		opts    []client.Option
		kind    shard.Kind
		applied bool // the failing tries are applied all the same
		want    error
		kindOut wire.Kind
		tries   int64
		runs    int64
	}{
		{"write, no leader", incr, fsm.OpIncrBy, nil, shard.KindNotLeader, false, nil, 0, 3, 1},
		{"write, no quorum", incr, fsm.OpIncrBy, nil, shard.KindNoQuorum, false, nil, 0, 3, 1},
		{"write, overloaded", incr, fsm.OpIncrBy, nil, shard.KindOverloaded, false, nil, 0, 3, 1},
		{"write, closing", incr, fsm.OpIncrBy, nil, shard.KindClosing, false, nil, 0, 3, 1},
		{"write, never sent", incr, fsm.OpIncrBy, nil, shard.KindTimeout, false, nil, 0, 3, 1},
		{"write, no space", incr, fsm.OpIncrBy, nil, shard.KindNoSpace, false, client.ErrNotApplied, wire.FailNoSpace, 1, 0},
		{"write, denied", incr, fsm.OpIncrBy, nil, shard.KindDenied, false, client.ErrNotApplied, wire.FailDenied, 1, 0},
		{"write, invalid", incr, fsm.OpIncrBy, nil, shard.KindInvalid, false, client.ErrNotApplied, wire.FailInvalid, 1, 0},
		{"write with token, unknown and applied", incr, fsm.OpIncrBy, nil, shard.KindUnknown, true, nil, 0, 3, 3},
		{"write with token, unknown and lost", incr, fsm.OpIncrBy, nil, shard.KindUnknown, false, nil, 0, 3, 1},
		{"write without token, unknown", incr, fsm.OpIncrBy, []client.Option{client.WithoutTokens()}, shard.KindUnknown, true, client.ErrUnknown, wire.FailUnknown, 1, 1},
		{"write without token, no quorum", incr, fsm.OpIncrBy, []client.Option{client.WithoutTokens()}, shard.KindNoQuorum, false, nil, 0, 3, 1},
		{"write over slots, unknown", mset, fsm.OpMSet, nil, shard.KindUnknown, true, client.ErrUnknown, wire.FailUnknown, 1, 1},
		{"write over slots, no quorum", mset, fsm.OpMSet, nil, shard.KindNoQuorum, false, nil, 0, 3, 1},
		{"read, unknown", client.Get("k"), fsm.OpGet, nil, shard.KindUnknown, false, nil, 0, 3, 0},
		{"read, denied", client.Get("k"), fsm.OpGet, nil, shard.KindDenied, false, client.ErrNotApplied, wire.FailDenied, 1, 0},
		{"uninitialised", client.Get("k"), fsm.OpGet, nil, shard.KindUninitialised, false, client.ErrNotApplied, wire.FailUninitialised, 2, 0},
	}
	for _, exclusive := range []int{0, 1} {
		for _, tt := range tests {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster(t, 1)
				defer cl.close()
				c := cl.dial(append(tt.opts, client.WithExclusiveConns(exclusive))...)
				defer c.Close()
				cl.nodes[0].times(2, tt.op, fail(tt.kind), tt.applied)
				before := cl.router.Applied.Load()
				_, err := c.Do(t.Context(), tt.cmd)
				if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("%s: err %v, want %v", tt.name, err, tt.want)
				}
				var d *client.DeliveryError
				if errors.As(err, &d) && (d.Kind != tt.kindOut || int64(d.Attempts) != tt.tries || errors.Is(err, client.ErrUnknown) == errors.Is(err, client.ErrNotApplied)) {
					t.Errorf("%s: %+v", tt.name, d)
				}
				if got := cl.nodes[0].commands.Load(); got != tt.tries {
					t.Errorf("%s: tried %d times, want %d", tt.name, got, tt.tries)
				}
				if got := cl.router.Applied.Load() - before; got != tt.runs {
					t.Errorf("%s: %d runs, want %d", tt.name, got, tt.runs)
				}
				if n, _, gerr := c.Get(t.Context(), "k"); tt.op == fsm.OpIncrBy && err == nil && (gerr != nil || string(n) != "1") {
					t.Errorf("%s: counter %q, err %v", tt.name, n, gerr)
				}
			})
		}
	}
}

// Goal: one unknown try makes a call unknown even when all later ones were certainly not applied, and
// its token says so in each of those.
func TestUnknownIsSticky(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, 1)
		defer cl.close()
		c := cl.dial(client.WithTimeout(3 * time.Second))
		defer c.Close()
		var seen atomic.Int64
		cl.nodes[0].set(func(cmd *fsm.Command) (shard.Reply, bool) {
			n := seen.Add(1)
			if cmd.Op == fsm.OpIncrBy && cmd.Token.Seq&fsm.TokenAgain != 0 != (n > 1) {
				t.Errorf("try %d has token %x", n, cmd.Token.Seq)
			}
			if n == 1 {
				return fail(shard.KindUnknown), true
			}
			return fail(shard.KindNoQuorum), true
		})
		start := time.Now()
		_, err := c.Incr(t.Context(), "k")
		if !errors.Is(err, client.ErrUnknown) || errors.Is(err, client.ErrNotApplied) || !errors.Is(err, client.ErrTimeout) {
			t.Errorf("err %v", err)
		}
		if d := time.Since(start); d < 2500*time.Millisecond || d > 3500*time.Millisecond {
			t.Errorf("took %v", d)
		}
		if n := seen.Load(); n < 10 || n > 40 {
			t.Errorf("%d tries in 3 s", n)
		}
		_, _, err = c.Get(t.Context(), "k")
		if !errors.Is(err, client.ErrNotApplied) {
			t.Errorf("a read that failed: %v", err)
		}
	})
}

// Goal: counters come out right when connections are reset again and again under load.
func TestExactlyOnceOverResets(t *testing.T) {
	for _, exclusive := range []int{0, 4} {
		synctest.Test(t, func(t *testing.T) {
			cl := newCluster(t, 3)
			defer cl.close()
			cl.world.SetDelay("client", "n0", time.Millisecond, time.Millisecond)
			cl.world.SetDelay("n1", "client", 2*time.Millisecond, time.Millisecond)
			c := cl.dial(client.WithExclusiveConns(exclusive))
			defer c.Close()
			stop := make(chan struct{})
			var chaos sync.WaitGroup
			chaos.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-time.After(7 * time.Millisecond):
						cl.leader.Store(int64(i/5) % 3)
						cl.world.ResetConns("client", fmt.Sprintf("n%d", i%3))
					}
				}
			})
			var wg sync.WaitGroup
			var acked atomic.Int64
			for g := range 8 {
				wg.Go(func() {
					for i := range 60 {
						key := fmt.Sprintf("key-%d", (g+i)%4)
						if _, err := c.Incr(t.Context(), key); err != nil {
							t.Errorf("incr: %v", err)
							return
						}
						acked.Add(1)
						if i%3 == 0 {
							if n, err := c.Go(t.Context(), client.IncrBy(key, 1)).Int(t.Context()); err != nil || n < 1 {
								t.Errorf("async incr: %d, %v", n, err)
								return
							}
							acked.Add(1)
						}
					}
				})
			}
			wg.Wait()
			close(stop)
			chaos.Wait()
			var sum int64
			for i := range 4 {
				n, err := c.IncrBy(t.Context(), fmt.Sprintf("key-%d", i), 0)
				if err != nil {
					t.Fatal(err)
				}
				sum += n
			}
			if sum != acked.Load() {
				t.Errorf("sum %d, acknowledged %d", sum, acked.Load())
			}
			if cl.router.Applied.Load() <= sum+4 {
				t.Log("no retry reached the machine: the chaos was too weak")
			}
		})
	}
}

// Goal: commands go to the leader that the topology or an answer named, and elsewhere when it is
// gone; a new leader is learnt.
func TestRouting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, 3)
		defer cl.close()
		cl.leader.Store(1)
		c := cl.dial()
		defer c.Close()
		ctx := t.Context()
		do := func(n int) {
			t.Helper()
			for i := range n {
				if err := c.Set(ctx, fmt.Sprint(i), []byte("v")); err != nil {
					t.Fatal(err)
				}
			}
		}
		counts := func() (list [3]int64) {
			for i, s := range cl.nodes {
				list[i] = s.commands.Swap(0)
			}
			return list
		}
		do(30)
		if got := counts(); got != [3]int64{0, 30, 0} {
			t.Errorf("by topology: %v", got)
		}
		cl.leader.Store(2)
		do(30)
		if got := counts(); got != [3]int64{0, 1, 29} {
			t.Errorf("by the answer's hint: %v", got)
		}
		cl.nodes[2].set(func(*fsm.Command) (shard.Reply, bool) {
			return shard.Reply{Err: &shard.Error{Kind: shard.KindNotLeader, Leader: "n0"}}, true
		})
		cl.leader.Store(0)
		do(30)
		if got := counts(); got != [3]int64{30, 0, 1} {
			t.Errorf("by the failure's hint: %v", got)
		}
		cl.leader.Store(1)
		cl.stop(0)
		start := time.Now()
		do(30)
		if got := counts(); got[1] < 20 {
			t.Errorf("after the leader's death: %v", got)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("no service for %v", d)
		}
	})
}

// Goal: reads that may be stale are spread over replicas.
func TestStaleReadsSpread(t *testing.T) {
	cl := newCluster(t, 3)
	defer cl.close()
	cl.leader.Store(1)
	c := cl.dial()
	defer c.Close()
	for range 100 {
		if _, err := c.Do(context.Background(), client.Get("k").Stale()); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range cl.nodes {
		if n := s.commands.Load(); n < 10 {
			t.Errorf("node %d answered %d of 100", i, n)
		}
	}
}

// Goal: a node that is silent, though its connections stand, costs one attempt and is left.
func TestSilentNode(t *testing.T) {
	for _, exclusive := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			cl := newCluster(t, 2)
			defer cl.close()
			cl.leader.Store(0)
			c := cl.dial(client.WithExclusiveConns(exclusive))
			defer c.Close()
			if _, err := c.Incr(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			cl.leader.Store(1)
			cl.world.Stall("n0", "client")
			cl.world.Stall("client", "n0")
			start := time.Now()
			if n, err := c.Incr(t.Context(), "k"); err != nil || n != 2 {
				t.Errorf("%d, err %v", n, err)
			}
			if d := time.Since(start); d > client.DefaultAttemptTimeout+time.Second {
				t.Errorf("took %v", d)
			}
			start = time.Now()
			if n, err := c.Incr(t.Context(), "k"); err != nil || n != 3 {
				t.Errorf("%d, err %v", n, err)
			}
			if d := time.Since(start); d > 100*time.Millisecond {
				t.Errorf("the next took %v", d)
			}
			cl.world.HealAll()
		})
	}
}

// Goal: a call ends with its context, says so, and is unknown when it was sent as a write.
func TestContexts(t *testing.T) {
	for _, exclusive := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			cl := newCluster(t, 1)
			defer cl.close()
			c := cl.dial(client.WithExclusiveConns(exclusive))
			defer c.Close()
			cl.router.Before = func(ctx context.Context, _ *shard.Caller, cmd *fsm.Command) error {
				select {
				case <-ctx.Done():
				case <-time.After(30 * time.Second):
				}
				return &shard.Error{Kind: shard.KindUnknown}
			}
			timed, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := c.Incr(timed, "k")
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, client.ErrUnknown) || time.Since(start) != 300*time.Millisecond {
				t.Errorf("deadline: %v after %v", err, time.Since(start))
			}
			cut, stop := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, stop)
			start = time.Now()
			_, _, err = c.Get(cut, "k")
			if !errors.Is(err, context.Canceled) || !errors.Is(err, client.ErrNotApplied) || time.Since(start) != 100*time.Millisecond {
				t.Errorf("cancelled read: %v after %v", err, time.Since(start))
			}
			_, _, err = c.Get(cut, "k")
			if !errors.Is(err, context.Canceled) || !errors.Is(err, client.ErrNotApplied) {
				t.Errorf("cancelled before: %v", err)
			}
		})
	}
}

// Goal: a node that is shut down in order costs its clients not one error, whatever they do.
func TestOrderlyShutdownIsInvisible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, 3)
		defer cl.close()
		c := cl.dial(client.WithoutTokens())
		defer c.Close()
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
					if _, err := c.Incr(t.Context(), fmt.Sprint(g)); err != nil {
						t.Errorf("incr %d: %v", i, err)
						return
					}
				}
			})
		}
		for i := range cl.nodes {
			time.Sleep(100 * time.Millisecond)
			cl.leader.Store(int64(i))
			time.Sleep(50 * time.Millisecond)
			if err := cl.nodes[i].srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			cl.stop(i)
			time.Sleep(100 * time.Millisecond)
			cl.leader.Store(-1)
			cl.start(i)
		}
		close(stop)
		wg.Wait()
	})
}

// Goal: Close ends calls that wait, and later ones fail at once.
func TestCloseEndsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, 1)
		defer cl.close()
		c := cl.dial()
		cl.router.Before = func(ctx context.Context, _ *shard.Caller, _ *fsm.Command) error {
			<-ctx.Done()
			return &shard.Error{Kind: shard.KindUnknown}
		}
		got := make(chan error, 2)
		go func() { _, err := c.Incr(t.Context(), "k"); got <- err }()
		f := c.Go(t.Context(), client.Get("k"))
		synctest.Wait()
		_ = c.Close()
		if err := <-got; !errors.Is(err, client.ErrClosed) || !errors.Is(err, client.ErrUnknown) {
			t.Errorf("a write under way: %v", err)
		}
		if err := f.Err(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("a future under way: %v", err)
		}
		if _, err := c.Incr(t.Context(), "k"); !errors.Is(err, client.ErrClosed) || !errors.Is(err, client.ErrNotApplied) {
			t.Errorf("a write after: %v", err)
		}
		if err := c.Pipeline().Do(t.Context(), client.Get("k")).Err(t.Context()); !errors.Is(err, client.ErrClosed) {
			t.Errorf("a pipeline after: %v", err)
		}
		_ = c.Close()
	})
}

// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// Goal: commands of a pipeline on one key run in the order they were issued, whatever else happens on
// the connection, though the answers are awaited at the end.
func TestPipelineOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, 2)
		defer cl.close()
		c := cl.dial()
		defer c.Close()
		ctx := t.Context()
		var n atomic.Int64
		cl.router.Before = func(context.Context, *shard.Caller, *fsm.Command) error {
			if n.Add(1)%7 == 0 {
				time.Sleep(3 * time.Millisecond)
			}
			return nil
		}
		p := c.Pipeline()
		var want [3]strings.Builder
		var last [3]*client.Future
		for i := range 900 {
			k := i % 3
			part := fmt.Sprintf("%d;", i)
			want[k].WriteString(part)
			last[k] = p.Do(ctx, client.Append(fmt.Sprint("k", k), []byte(part)))
			if i%50 == 0 {
				cl.leader.Store(int64(i/50) % 2) // hints must not split the order
			}
		}
		for k, f := range last {
			get := p.Do(ctx, client.Get(fmt.Sprint("k", k)))
			if n, err := f.Int(ctx); err != nil || n != int64(want[k].Len()) {
				t.Errorf("key %d: %d bytes, want %d, err %v", k, n, want[k].Len(), err)
			}
			if b, ok, err := get.Bytes(ctx); err != nil || !ok || string(b) != want[k].String() {
				t.Errorf("key %d is out of order, err %v", k, err)
			}
		}
	})
}

// Goal: a pipeline tries nothing twice, and its errors say what was applied.
func TestPipelineNeverRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, 1)
		defer cl.close()
		c := cl.dial()
		defer c.Close()
		p := c.Pipeline()
		cl.nodes[0].times(1, fsm.OpIncrBy, fail(shard.KindNoQuorum), false)
		first, second := p.Do(t.Context(), client.IncrBy("k", 1)), p.Do(t.Context(), client.IncrBy("k", 1))
		if err := first.Err(t.Context()); !errors.Is(err, client.ErrNotApplied) {
			t.Errorf("first: %v", err)
		}
		if n, err := second.Int(t.Context()); err != nil || n != 1 {
			t.Errorf("second: %d, %v", n, err)
		}
		cl.world.SetDelay("n0", "client", time.Second, 0)
		third := p.Do(t.Context(), client.IncrBy("k", 1))
		time.Sleep(100 * time.Millisecond)
		cl.world.ResetConns("client", "n0")
		if err := third.Err(t.Context()); !errors.Is(err, client.ErrUnknown) || !errors.Is(err, client.ErrConnLost) {
			t.Errorf("third: %v", err)
		}
		if n := cl.nodes[0].commands.Load(); n != 3 {
			t.Errorf("%d tries of 3 commands", n)
		}
	})
}

// Goal: futures are tried again like plain calls, and more may be issued than a server lets in.
func TestFutures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, 1)
		defer cl.close()
		c := cl.dial(client.WithConns(1))
		defer c.Close()
		var lost atomic.Int64
		cl.nodes[0].times(50, fsm.OpIncrBy, fail(shard.KindNotLeader), false)
		cl.router.After = func(_ *shard.Caller, cmd *fsm.Command) error {
			if cmd.Token.Seq&^fsm.TokenAgain%10 == 1 && lost.Add(1)%2 == 1 {
				return &shard.Error{Kind: shard.KindUnknown}
			}
			return nil
		}
		var wg sync.WaitGroup
		futures := make([]*client.Future, 3000)
		for i := range futures {
			futures[i] = c.Go(t.Context(), client.IncrBy(fmt.Sprint("k", i%500), 1))
		}
		for _, f := range futures {
			wg.Go(func() {
				<-f.Done()
				if n, err := f.Int(t.Context()); err != nil || n < 1 {
					t.Errorf("%d, %v", n, err)
				}
			})
		}
		wg.Wait()
		for i := range 500 {
			if n, err := c.IncrBy(t.Context(), fmt.Sprint("k", i), 0); err != nil || n != 6 {
				t.Fatalf("counter %d: %d, %v", i, n, err)
			}
		}
	})
}

// Goal: waiting for a future may end before the future does.
func TestFutureWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, 1)
		defer cl.close()
		c := cl.dial()
		defer c.Close()
		cl.router.Before = func(context.Context, *shard.Caller, *fsm.Command) error { time.Sleep(time.Second); return nil }
		f := c.Go(t.Context(), client.Set("k", []byte("v")))
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := f.Err(short); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, client.ErrUnknown) {
			t.Errorf("err %v", err)
		}
		if err := f.Err(t.Context()); err != nil {
			t.Error(err)
		}
		if _, ok, err := c.Go(t.Context(), client.Get("none")).Bytes(t.Context()); ok || err != nil {
			t.Errorf("found %v, err %v", ok, err)
		}
		if _, err := c.Go(t.Context(), client.Get("k")).Int(t.Context()); !errors.Is(err, client.ErrUnexpected) {
			t.Errorf("err %v", err)
		}
		done, stop := context.WithCancel(t.Context())
		stop()
		if err := c.Go(done, client.Get("k")).Err(t.Context()); !errors.Is(err, context.Canceled) {
			t.Errorf("err %v", err)
		}
	})
}

// Goal: a future whose node does not answer is given up in time although nobody waits for it.
func TestFutureIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := newCluster(t, 1)
		defer cl.close()
		c := cl.dial(client.WithTimeout(5*time.Second), client.WithAttemptTimeout(time.Second))
		defer c.Close()
		cl.router.Before = func(ctx context.Context, _ *shard.Caller, _ *fsm.Command) error {
			select {
			case <-ctx.Done():
			case <-time.After(time.Hour):
			}
			return &shard.Error{Kind: shard.KindUnknown}
		}
		f := c.Go(t.Context(), client.Set("k", []byte("v")))
		time.Sleep(7 * time.Second)
		select {
		case <-f.Done():
		default:
			t.Fatal("still waiting")
		}
		if err := f.Err(t.Context()); !errors.Is(err, client.ErrUnknown) || !errors.Is(err, client.ErrTimeout) {
			t.Errorf("err %v", err)
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

func dialClient(t *testing.T, c *proc.Cluster, opts ...client.Option) *client.Client {
	t.Helper()
	var addrs []string
	for _, n := range c.Nodes() {
		addrs = append(addrs, n.Native())
	}
	cl, err := client.Dial(t.Context(), addrs, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

// TestParity_RC10: plain calls, and pipelined calls that return futures.
func TestParity_RC10(t *testing.T) {
	c := startCluster(t, 3)
	cl, ctx := dialClient(t, c), t.Context()
	if err := cl.Set(ctx, "sync", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := cl.Get(ctx, "sync"); err != nil || !ok || string(v) != "v" {
		t.Fatalf("Get: %q %t %v", v, ok, err)
	}
	if n, err := cl.Del(ctx, "sync", "absent"); err != nil || n != 1 {
		t.Fatalf("Del: %d %v", n, err)
	}
	futures := make([]*client.Future, 500)
	for i := range futures {
		futures[i] = cl.Go(ctx, client.Set(fmt.Sprintf("async-%d", i), fmt.Append(nil, i)))
	}
	for i, f := range futures {
		if err := f.Err(ctx); err != nil {
			t.Fatalf("future %d: %v", i, err)
		}
	}
	p := cl.Pipeline()
	var last *client.Future
	for i := range 200 {
		last = p.Do(ctx, client.IncrBy("ordered", int64(i)))
	}
	if n, err := last.Int(ctx); err != nil || n != 199*200/2 {
		t.Fatalf("the last of an ordered pipeline: %d %v", n, err)
	}
	for i := range futures {
		v, ok, err := cl.Go(ctx, client.Get(fmt.Sprintf("async-%d", i))).Bytes(ctx)
		if err != nil || !ok || string(v) != fmt.Sprint(i) {
			t.Fatalf("key %d: %q %t %v", i, v, ok, err)
		}
	}
}

// TestExactlyOnceUnderKills: many clients increment one counter through the client's own retries
// while leaders are killed; no increment is lost or doubled.
func TestExactlyOnceUnderKills(t *testing.T) {
	c := startCluster(t, 3)
	cl := dialClient(t, c, client.WithTimeout(30*time.Second))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sum, unknown atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				switch _, err := cl.Incr(t.Context(), "counter"); {
				case err == nil:
					sum.Add(1)
				case errors.Is(err, client.ErrUnknown):
					unknown.Add(1)
				}
			}
		})
	}
	for range 3 {
		s := waitStatus(t, c, "health and a counted key", func(s *shard.Status) bool { return proc.Healthy(3)(s) && totalKeys(s) > 0 })
		before := sum.Load()
		n := c.ByID(s, leaderOfData(t, s))
		if err := c.Signal(n, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "increments after the kill", func() bool { return sum.Load() > before+50 })
		if err := c.Start(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
	v, _, err := cl.Get(t.Context(), "counter")
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	if _, err := fmt.Sscan(string(v), &n); err != nil {
		t.Fatal(err)
	}
	if n < sum.Load() || n > sum.Load()+unknown.Load() {
		t.Fatalf("%d acknowledged increments, %d unknown, and the counter stands at %d", sum.Load(), unknown.Load(), n)
	}
	if sum.Load() < 150 || unknown.Load() > 8*3 {
		t.Fatalf("%d acknowledged and %d unknown increments prove little", sum.Load(), unknown.Load())
	}
}

// leaderOfData finds the leader of a group that holds keys.
func leaderOfData(t *testing.T, s *shard.Status) string {
	t.Helper()
	for i := range s.Groups {
		if s.Groups[i].ID != 0 && s.Groups[i].Keys > 0 {
			return s.Groups[i].Leader
		}
	}
	t.Fatal("no group holds a key")
	return ""
}

// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

// workers pop a list, blocked while it is empty.
type workers struct {
	wg     sync.WaitGroup
	ending atomic.Bool

	mu      sync.Mutex
	clients map[redis.UniversalClient]struct{}
	got     map[string]int
}

// work runs one worker. strict: its connection must never see an error.
func (w *workers) work(t *testing.T, dial func() redis.UniversalClient, key string, strict bool) {
	w.wg.Go(func() {
		for !w.ending.Load() {
			if err := w.pop(dial(), key); strict && !w.ending.Load() {
				t.Errorf("BLPOP: %v", err)
				return
			}
		}
	})
}

// pop pops until there is an error.
func (w *workers) pop(c redis.UniversalClient, key string) error {
	w.mu.Lock()
	w.clients[c] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.clients, c)
		w.mu.Unlock()
		_ = c.Close()
	}()
	for !w.ending.Load() {
		v, err := c.BLPop(context.Background(), 0, key).Result()
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.got[v[1]]++
		w.mu.Unlock()
	}
	return nil
}

func (w *workers) end() {
	w.ending.Store(true)
	w.mu.Lock()
	for c := range w.clients {
		_ = c.Close()
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// clusterClient knows these nodes. One that loses a leader asks for the new one a minute later, so it is as well to
// dial anew.
func clusterClient(nodes []*proc.Node) *redis.ClusterClient {
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.RESP())
	}
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, MaxRetries: -1, DialerRetries: 1})
}

// has tells whether all of these were popped, each once.
func (w *workers) has(t *testing.T, elements []string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for e, n := range w.got {
		if n > 1 {
			t.Errorf("%s was popped %d times", e, n)
		}
	}
	for _, e := range elements {
		if w.got[e] == 0 {
			return false
		}
	}
	return true
}

// blockedAt counts the clients that are blocked at these nodes.
func blockedAt(t *testing.T, nodes []*proc.Node) (n int) {
	t.Helper()
	for _, node := range nodes {
		_, rest, _ := strings.Cut(redisTool(t, node, "redis-cli", "info", "clients"), "blocked_clients:")
		text, _, _ := strings.Cut(rest, "\r")
		k, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("blocked_clients: %v", err)
		}
		n += k
	}
	return n
}

// TestRESPBlocking: clients that are blocked while the leader of their key is killed stay so, and what is pushed
// afterwards reaches them, once. Those that were connected to the leader come back by themselves.
func TestRESPBlocking(t *testing.T) {
	const key, count = "{jobs}list", 6
	for _, redirect := range []bool{false, true} {
		t.Run("redirect="+strconv.FormatBool(redirect), func(t *testing.T) {
			c := startRESP(t, redirect)
			nodes := c.Nodes()
			anyone := clusterClient(nodes)
			defer func() { _ = anyone.Close() }()
			if err := anyone.Set(t.Context(), "{jobs}there", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			s := waitStatus(t, c, "a counted key", func(s *shard.Status) bool { return proc.Healthy(3)(s) && totalKeys(s) > 0 })
			victim := c.ByID(s, leaderOfData(t, s))
			var others []*proc.Node
			for _, n := range nodes {
				if n != victim {
					others = append(others, n)
				}
			}
			w := &workers{got: make(map[string]int), clients: make(map[redis.UniversalClient]struct{})}
			defer w.end()
			for i := range count {
				w.work(t, func() redis.UniversalClient {
					if redirect {
						return clusterClient(others)
					}
					return redis.NewClient(&redis.Options{Addr: others[i%2].RESP(), MaxRetries: -1, PoolSize: 1, Protocol: 2 + i%2})
				}, key, !redirect)
			}
			push := func(part string) (elements []string) {
				for i := 0; len(elements) < 20; i++ {
					e := fmt.Sprint(part, i)
					if err := anyone.RPush(t.Context(), key, e).Err(); err == nil {
						elements = append(elements, e)
					} else if t.Context().Err() != nil {
						return elements
					} else {
						_ = anyone.Close()
						anyone = clusterClient(others)
					}
				}
				return elements
			}
			eventually(t, "all are blocked", func() bool { return blockedAt(t, nodes) == count })
			before := push("before")
			eventually(t, "elements before the kill", func() bool { return w.has(t, before) })
			eventually(t, "all are blocked again", func() bool { return blockedAt(t, nodes) == count })
			if err := c.Signal(victim, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			after := push("after")
			pushed := time.Since(start)
			eventually(t, "elements behind the kill", func() bool { return w.has(t, after) })
			t.Logf("pushed %v after the kill, popped after %v", pushed, time.Since(start))
			if n, err := anyone.LLen(t.Context(), key).Result(); n != 0 || err != nil {
				t.Errorf("%d elements are left: %v", n, err)
			}
			eventually(t, "all are blocked at the others", func() bool { return blockedAt(t, others) == count })
		})
	}
}

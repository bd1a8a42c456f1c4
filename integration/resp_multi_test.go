// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
)

// addUnderWatch adds one to a counter as Redis' documents show it, until it worked.
func addUnderWatch(ctx context.Context, c redis.UniversalClient, key string) (conflicts int64, err error) {
	for {
		err := c.Watch(ctx, func(tx *redis.Tx) error {
			n, err := tx.Get(ctx, key).Int()
			if err != nil && !errors.Is(err, redis.Nil) {
				return err
			}
			_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, key, n+1, 0)
				p.RPush(ctx, key+":log", strconv.Itoa(n+1))
				return nil
			})
			return err
		}, key)
		if !errors.Is(err, redis.TxFailedErr) {
			return conflicts, err
		}
		conflicts++
	}
}

// TestRESPTransactions: counters that many clients raise under WATCH lose nothing and are raised with their logs, through
// any node and in both modes; keys of two groups make no transaction.
func TestRESPTransactions(t *testing.T) {
	const clients, counters, adds = 6, 3, 20
	for _, redirect := range []bool{false, true} {
		t.Run("redirect="+strconv.FormatBool(redirect), func(t *testing.T) {
			c := startRESP(t, redirect)
			var conflicts atomic.Int64
			var workers sync.WaitGroup
			for w := range clients {
				var rc redis.UniversalClient = plainRedis(t, c.Nodes()[w%3], 2+w%2)
				if redirect {
					cc := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Nodes()[w%3].RESP()}, ContextTimeoutEnabled: true})
					t.Cleanup(func() { cc.Close() })
					rc = cc
				}
				workers.Go(func() {
					for i := range adds * counters {
						n, err := addUnderWatch(t.Context(), rc, fmt.Sprintf("{counter%d}", i%counters))
						if conflicts.Add(n); err != nil {
							t.Errorf("client %d: %v", w, err)
							return
						}
					}
				})
			}
			workers.Wait()
			cc := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Nodes()[0].RESP()}})
			defer cc.Close()
			for i := range counters {
				key := fmt.Sprintf("{counter%d}", i)
				log, err := cc.LRange(t.Context(), key+":log", 0, -1).Result()
				if n, err2 := cc.Get(t.Context(), key).Int(); n != clients*adds || len(log) != n || err != nil || err2 != nil {
					t.Errorf("%s: %d with a log of %d, want %d; %v %v", key, n, len(log), clients*adds, err, err2)
				}
				for j := range log {
					if log[j] != strconv.Itoa(j+1) {
						t.Fatalf("%s: entry %d of the log is %s", key, j, log[j])
					}
				}
			}
			t.Logf("%d conflicts", conflicts.Load())
		})
	}
	c := startRESP(t, false)
	_, err := plainRedis(t, c.Nodes()[0], 3).TxPipelined(t.Context(), func(p redis.Pipeliner) error {
		for i := range 20 {
			p.Set(t.Context(), strconv.Itoa(i), "v", 0)
		}
		return nil
	})
	if err == nil || err.Error()[:9] != "CROSSSLOT" {
		t.Errorf("keys of several groups: %v", err)
	}
}

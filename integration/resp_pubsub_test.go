// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kvorum/kvorum/integration/proc"
)

// confirmedBy waits for the confirmations of n subscriptions.
func confirmedBy(t *testing.T, p *redis.PubSub, n int) {
	t.Helper()
	for range n {
		if m, err := p.ReceiveTimeout(t.Context(), 10*time.Second); err != nil {
			t.Fatalf("%v %v", m, err)
		}
	}
}

// publishAt publishes on a node and returns the receivers and how long it took.
func publishAt(t *testing.T, c *redis.Client, channel, message string) (int64, time.Duration) {
	t.Helper()
	start := time.Now()
	n, err := c.Publish(t.Context(), channel, message).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n, time.Since(start)
}

// inOrder reads n numbers of each of the publishers.
func inOrder(t *testing.T, p *redis.PubSub, publishers, n int) {
	last := make(map[int]int)
	for range publishers * n {
		got, err := p.ReceiveTimeout(t.Context(), 20*time.Second)
		m, ok := got.(*redis.Message)
		if err != nil || !ok {
			t.Errorf("%v %v", got, err)
			return
		}
		var from, i int
		if _, err := fmt.Sscanf(m.Payload, "%d %d", &from, &i); err != nil || i != last[from]+1 {
			t.Errorf("%q behind %d", m.Payload, last[from])
			return
		}
		last[from] = i
	}
}

// TestRESPPubSub: who subscribed at any node gets, in order, what is published at any other, plain, by pattern and by
// sharded channel, in both modes and both protocols; the count has the receivers of all nodes.
func TestRESPPubSub(t *testing.T) {
	const each = 200
	for _, redirect := range []bool{false, true} {
		t.Run("redirect="+strconv.FormatBool(redirect), func(t *testing.T) {
			c := startRESP(t, redirect)
			var clients []*redis.Client
			var subs []*redis.PubSub
			for i, n := range c.Nodes() {
				cl := plainRedis(t, n, 2+i%2)
				p, q := cl.Subscribe(t.Context(), "news"), cl.PSubscribe(t.Context(), "n[e]*", "no*")
				confirmedBy(t, p, 1)
				confirmedBy(t, q, 2)
				t.Cleanup(func() { p.Close(); q.Close() })
				clients, subs = append(clients, cl), append(subs, p, q)
			}
			var wg sync.WaitGroup
			for _, p := range subs {
				wg.Go(func() { inOrder(t, p, len(clients), each) })
			}
			for from, cl := range clients {
				wg.Go(func() {
					for i := 1; i <= each; i++ {
						if n, err := cl.Publish(t.Context(), "news", fmt.Sprint(from, " ", i)).Result(); err != nil || n != int64(len(subs)) {
							t.Errorf("%d receivers, %v", n, err)
						}
					}
				})
			}
			wg.Wait()
			useShardChannels(t, c)
		})
	}
}

// useShardChannels subscribes with one cluster client and publishes with another.
func useShardChannels(t *testing.T, c *proc.Cluster) {
	from := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Nodes()[0].RESP()}, ContextTimeoutEnabled: true})
	to := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Nodes()[1].RESP()}, ContextTimeoutEnabled: true})
	defer from.Close()
	defer to.Close()
	for i := range 20 {
		channel := fmt.Sprint("shard", i)
		p := to.SSubscribe(t.Context(), channel)
		confirmedBy(t, p, 1)
		if n, err := from.SPublish(t.Context(), channel, "1 1").Result(); n != 1 || err != nil {
			t.Errorf("%s: %d receivers, %v", channel, n, err)
		}
		inOrder(t, p, 1, 1)
		p.Close()
	}
}

// TestRESPPubSubFaults: a node that is stopped holds publishers up for the named time once, and nobody else; messages reach it again
// when it goes on, and another life of a killed one.
func TestRESPPubSubFaults(t *testing.T) {
	c := startRESP(t, false)
	nodes := c.Nodes()
	from, near := plainRedis(t, nodes[0], 3), plainRedis(t, nodes[1], 3)
	p := near.Subscribe(t.Context(), "c")
	defer p.Close()
	confirmedBy(t, p, 1)
	far := plainRedis(t, nodes[2], 2).Subscribe(t.Context(), "c")
	defer far.Close()
	confirmedBy(t, far, 1)
	if n, _ := publishAt(t, from, "c", "0 1"); n != 2 {
		t.Fatalf("%d receivers", n)
	}
	if err := c.Signal(nodes[2], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	sent := 1
	publish := func() (int64, time.Duration) {
		sent++
		return publishAt(t, from, "c", fmt.Sprint("0 ", sent))
	}
	eventually(t, "a publisher that misses the node", func() bool { // which stops some time after the signal
		n, d := publish()
		if d > 3*time.Second {
			t.Errorf("message %d: %d receivers after %v", sent, n, d)
		}
		return n == 1
	})
	var all time.Duration // would be twenty times a second if each waited for the node
	for range 20 {
		n, d := publish()
		if n != 1 && d < time.Second {
			t.Errorf("message %d: %d receivers after %v", sent, n, d)
		}
		all += d
	}
	if all > 10*time.Second {
		t.Errorf("20 messages took %v", all)
	}
	inOrder(t, p, 1, sent)
	if err := c.Signal(nodes[2], syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "receivers on the node that goes on", func() bool {
		n, _ := publishAt(t, from, "c", "again")
		return n == 2
	})
	if err := c.Signal(nodes[2], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = nodes[2].WaitExit(t.Context()) // it was killed
	if err := c.Start(t.Context(), nodes[2]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a subscriber on the next life", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		again := plainRedis(t, nodes[2], 3).Subscribe(ctx, "c")
		defer again.Close()
		if _, err := again.Receive(ctx); err != nil {
			return false
		}
		n, _ := publishAt(t, from, "c", "anew")
		return n >= 2
	})
}

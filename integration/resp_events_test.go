// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/kvorum/kvorum/integration/proc"
)

// publishEvents sets the classes of events through one node, and waits until every node has them.
func publishEvents(t *testing.T, c *proc.Cluster, classes string) {
	t.Helper()
	const setting = "notify-keyspace-events"
	nodes := c.Nodes()
	if err := plainRedis(t, nodes[0], 2).ConfigSet(t.Context(), setting, classes).Err(); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		cl := plainRedis(t, n, 3)
		eventually(t, "the setting on "+n.Name(), func() bool {
			m, err := cl.ConfigGet(t.Context(), setting).Result()
			return err == nil && m[setting] == classes
		})
	}
}

// eventsOf reads events until one of the key last, and gives those of each key in their order.
func eventsOf(t *testing.T, p *redis.PubSub, last string) map[string][]string {
	got := make(map[string][]string)
	for {
		m, err := p.ReceiveTimeout(t.Context(), 20*time.Second)
		msg, ok := m.(*redis.Message)
		if err != nil || !ok {
			t.Errorf("%v %v behind %v", m, err, got)
			return got
		}
		_, key, _ := strings.Cut(msg.Channel, ":")
		if key == last {
			return got
		}
		got[key] = append(got[key], msg.Payload)
	}
}

// TestRESPEvents: what clients of any node write is told of to subscribers of every node, in both modes: the events of
// each key once and in their order, those of deadlines among them. Who gets an event and reads sees the write.
func TestRESPEvents(t *testing.T) {
	for _, redirect := range []bool{false, true} {
		t.Run("redirect="+strconv.FormatBool(redirect), func(t *testing.T) {
			c := startRESP(t, redirect)
			publishEvents(t, c, "AK")
			const keys = 30
			cc := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Nodes()[1].RESP()}, ContextTimeoutEnabled: true})
			defer cc.Close()
			var wg sync.WaitGroup
			for i, n := range c.Nodes() {
				p := plainRedis(t, n, 2+i%2).PSubscribe(t.Context(), "__keyspace@0__:*")
				confirmedBy(t, p, 1)
				wg.Go(func() {
					defer p.Close()
					got := eventsOf(t, p, "last")
					for k := range keys {
						key := fmt.Sprint("k", k)
						if want := []string{"set", "incrby", "append", "rename_from"}; !slices.Equal(got[key], want) {
							t.Errorf("%s: %s got %q, want %q", n.Name(), key, got[key], want)
						}
						if want := []string{"rename_to", "expire", "expired"}; !slices.Equal(got["{"+key+"}x"], want) {
							t.Errorf("%s: the other name of %s got %q, want %q", n.Name(), key, got["{"+key+"}x"], want)
						}
					}
				})
			}
			own := plainRedis(t, c.Nodes()[2], 3).Subscribe(t.Context(), "__keyspace@0__:seen")
			confirmedBy(t, own, 1)
			defer own.Close()
			for i := 1; i <= 20; i++ {
				if err := cc.Incr(t.Context(), "seen").Err(); err != nil {
					t.Fatal(err)
				}
				if _, err := own.ReceiveMessage(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n, err := cc.Get(t.Context(), "seen").Int(); err != nil || n < i {
					t.Errorf("behind event %d there is %d, %v", i, n, err)
				}
			}
			for k := range keys {
				key := fmt.Sprint("k", k)
				for _, err := range []error{
					cc.Set(t.Context(), key, "1", 0).Err(), cc.Incr(t.Context(), key).Err(), cc.Append(t.Context(), key, "0").Err(),
					cc.Rename(t.Context(), key, "{"+key+"}x").Err(), cc.PExpire(t.Context(), "{"+key+"}x", 50*time.Millisecond).Err(),
				} {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			eventually(t, "all deadlines to have passed", func() bool {
				return plainRedis(t, c.Nodes()[0], 2).DBSize(t.Context()).Val() == 1
			})
			time.AfterFunc(time.Second, func() { cc.Set(context.Background(), "last", "1", 0) })
			wg.Wait()
		})
	}
}

// TestRESPEventsLeaderKilled: while writers go on, the leaders of a node die with it; no event comes twice or out of order,
// and events of all keys go on under the next leaders. The killed node's next life tells of nothing that it replays.
func TestRESPEventsLeaderKilled(t *testing.T) {
	c := startRESP(t, false)
	publishEvents(t, c, "AK")
	nodes := c.Nodes()
	p := plainRedis(t, nodes[1], 3).PSubscribe(t.Context(), "__keyspace@0__:*")
	confirmedBy(t, p, 1)
	defer p.Close()
	cl := plainRedis(t, nodes[2], 3)
	acked := make(map[string]int)
	writeAll := func() {
		for k := range 16 {
			key := fmt.Sprint("k", k)
			if cl.RPush(t.Context(), key, "x").Err() == nil {
				acked[key]++
			}
		}
	}
	for range 20 {
		writeAll()
	}
	if err := c.Signal(nodes[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = nodes[0].WaitExit(t.Context()) // it was killed
	for range 20 {
		writeAll()
	}
	eventually(t, "writes under the next leaders", func() bool { return cl.Set(t.Context(), "done", "1", 0).Err() == nil })
	if err := c.Start(t.Context(), nodes[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Wait(t.Context(), "the next life", proc.Healthy(3)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		writeAll()
	}
	if err := cl.Set(t.Context(), "last", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	got, pushed, lost := eventsOf(t, p, "last"), 0, 0
	for key := range acked {
		there, err := cl.LLen(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if n := len(got[key]); n > int(there) {
			t.Errorf("%s: %d events of %d writes", key, n, there)
		} else {
			pushed, lost = pushed+n, lost+int(there)-n
		}
		if n := len(got[key]); n == 0 || slices.ContainsFunc(got[key], func(e string) bool { return e != "rpush" }) {
			t.Errorf("%s: %q", key, got[key])
		}
	}
	t.Logf("%d events, %d lost with their leader", pushed, lost)
	if lost > pushed/2 {
		t.Errorf("%d events were lost and %d came", lost, pushed)
	}
}

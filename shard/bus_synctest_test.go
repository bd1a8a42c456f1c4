// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// inbox is what a node's subscribers got; every node has one receiver.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (b *inbox) receive(m *Message) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, fmt.Sprintf("%t %s %s", m.Sharded, m.Channel, m.Data))
	return 1
}

func (b *inbox) list() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

func (b *inbox) all() string { return strings.Join(b.list(), ",") }

// busWorld is a fake world with an inbox for each node.
type busWorld struct {
	*fakeWorld
	inboxes []*inbox
}

func inBusWorld(t *testing.T, seed uint64, nodes int, f func(w *busWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &busWorld{fakeWorld: newFakeWorld(t, seed, nodes, 1, nil)}
		for _, n := range w.nodes {
			b := &inbox{}
			n.router.Bus().Receive(b.receive)
			w.inboxes = append(w.inboxes, b)
		}
		w.members([]string{"n0", "n1", "n2"}[:nodes]...)
		f(w)
		w.calm()
		w.close()
	})
}

// members gives every node a new map with these members.
func (w *busWorld) members(nodes ...string) {
	w.m.Version++
	for _, n := range w.nodes {
		m := *w.m
		m.Nodes = map[string]NodePlace{}
		for _, id := range nodes {
			m.Nodes[id] = NodePlace{}
		}
		n.router.setMap(&m)
	}
}

// publish publishes text on a node, and returns the receivers and how long it took.
func (w *busWorld) publish(node int, text string) (int64, time.Duration) {
	start := time.Now()
	n := w.nodes[node].router.Bus().Publish(context.Background(), &Message{Channel: []byte("c"), Data: []byte(text)})
	return n, time.Since(start)
}

// expect publishes and compares.
func (w *busWorld) expect(node int, text string, receivers int64, took time.Duration) {
	w.t.Helper()
	if n, d := w.publish(node, text); n != receivers || d.Round(time.Millisecond) != took {
		w.t.Errorf("%s: %d receivers after %v, want %d after %v", text, n, d, receivers, took)
	}
}

// TestBusReachesAll: each other node gets each message once, and the counts come back.
func TestBusReachesAll(t *testing.T) {
	inBusWorld(t, 1, 3, func(w *busWorld) {
		w.expect(0, "one", 2, 0)
		w.expect(0, "two", 2, 0)
		if n := w.nodes[2].router.Bus().Publish(w.t.Context(), &Message{Sharded: true, Channel: []byte("s")}); n != 2 {
			t.Errorf("%d receivers", n)
		}
		for i, want := range []string{"true s ", "false c one,false c two,true s ", "false c one,false c two"} {
			if got := w.inboxes[i].all(); got != want {
				t.Errorf("n%d got %q, want %q", i, got, want)
			}
		}
	})
}

// Goal: under losses, doubled frames and delays beyond every patience, a node delivers a message at most
// once and never behind a later one of its publisher, and no publisher waits longer than it may.
func TestBusInOrder(t *testing.T) {
	for seed := range uint64(20) {
		inBusWorld(t, seed, 3, func(w *busWorld) {
			w.loss.Store(15)
			w.doubled.Store(20)
			w.mu.Lock()
			w.delay = time.Duration(1+seed%4) * 700 * time.Millisecond
			w.mu.Unlock()
			const publishers, each = 4, 60
			var wg sync.WaitGroup
			for p := range publishers {
				wg.Go(func() {
					for i := 1; i <= each; i++ {
						if _, d := w.publish(p%3, fmt.Sprint(p, " ", i)); d > publishWait+time.Millisecond {
							t.Errorf("a publisher waited %v", d)
						}
						time.Sleep(time.Duration(w.dice(300)) * time.Millisecond)
					}
				})
			}
			wg.Wait()
			time.Sleep(time.Minute)
			total := 0
			for i, b := range w.inboxes {
				last := make(map[int]int)
				for _, text := range b.list() {
					var p, n int
					if _, err := fmt.Sscanf(text, "false c %d %d", &p, &n); err != nil || p%3 == i || n <= last[p] {
						t.Fatalf("seed %d: n%d got %q behind %d", seed, i, text, last[p])
					}
					last[p] = n
					total++
				}
			}
			if total < publishers*each/4 {
				t.Errorf("seed %d: %d deliveries", seed, total)
			}
			w.calm()
			w.mu.Lock()
			w.delay = 0
			w.mu.Unlock()
			for i := range w.nodes {
				w.publish(i, "to end lagging")
				synctest.Wait()
				w.expect(i, "calm", 2, 0)
			}
		})
	}
}

// TestBusCut: a node that is cut off costs its publishers the named time once and others nothing; when it
// is back it gets messages, and is counted after its first answer.
func TestBusCut(t *testing.T) {
	inBusWorld(t, 3, 3, func(w *busWorld) {
		w.cutOff("n2")
		var wg sync.WaitGroup
		wg.Go(func() { w.expect(0, "first", 1, publishWait) })
		time.Sleep(publishWait / 2)
		wg.Go(func() { w.expect(0, "beside", 1, publishWait/2) }) // from when the node is known to lag
		wg.Wait()
		for i := range 3 {
			w.expect(0, fmt.Sprint("later ", i), 1, 0)
		}
		time.Sleep(10 * time.Second)
		w.calm()
		w.publish(0, "back")
		synctest.Wait()
		w.expect(0, "counted", 2, 0)
		if got := w.inboxes[2].all(); got != "false c back,false c counted" {
			t.Errorf("n2 got %q", got)
		}
		if got := w.inboxes[1].all(); strings.Count(got, ",") != 6 {
			t.Errorf("n1 got %q", got)
		}
	})
}

// TestBusFullQueue: for a node that does not answer only so much waits; the rest is dropped for it alone,
// at once, and counted.
func TestBusFullQueue(t *testing.T) {
	inBusWorld(t, 4, 3, func(w *busWorld) {
		w.cutOff("n2")
		bus := w.nodes[0].router.Bus()
		const n, size = 40, 1 << 20
		body := strings.Repeat("x", size)
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() { w.publish(0, body) })
			synctest.Wait()
		}
		bus.mu.Lock()
		p := bus.mu.peers["n2"]
		if p.bytes > maxBusBytes || len(p.queue) < 10 {
			t.Errorf("%d messages of %d bytes wait", len(p.queue), p.bytes)
		}
		bus.mu.Unlock()
		if d := bus.Dropped(); d < n-maxBusBytes/size-2 {
			t.Errorf("%d were dropped", d)
		}
		wg.Wait()
		if got := strings.Count(w.inboxes[1].all(), "false"); got != n {
			t.Errorf("n1 got %d", got)
		}
		for range maxBusMessages + 100 {
			w.publish(0, "")
		}
		bus.mu.Lock()
		defer bus.mu.Unlock()
		if len(p.queue) > maxBusMessages || !p.lagging {
			t.Errorf("%d messages wait", len(p.queue))
		}
	})
}

// TestBusMembers: a node that joins is sent to from the next message on, one that left is forgotten, and
// one that started anew both gets and is believed.
func TestBusMembers(t *testing.T) {
	inBusWorld(t, 5, 3, func(w *busWorld) {
		w.members("n0", "n1")
		w.expect(0, "a", 1, 0)
		w.members("n0", "n1", "n2")
		w.expect(0, "b", 2, 0)
		synctest.Wait() // nothing is on its way to n1 any more
		w.members("n0", "n2")
		w.expect(0, "c", 1, 0)
		if peers := w.nodes[0].router.bus.mu.peers; len(peers) != 1 || peers["n2"] == nil {
			t.Errorf("%d peers", len(peers))
		}
		w.members("n0", "n1", "n2")
		for range 2 { // once a receiver, once a source
			n := w.nodes[2]
			n.router.close()
			cfg := n.router.cfg
			cfg.Incarnation++
			n.router = newRouter(cfg)
			n.router.Bus().Receive(w.inboxes[2].receive)
			m := *w.nodes[0].router.SlotMap()
			n.router.setMap(&m)
			w.expect(0, "d", 2, 0)
			w.expect(2, "e", 2, 0)
		}
		if got := w.inboxes[2].all(); got != "false c b,false c c,false c d,false c d" {
			t.Errorf("n2 got %q", got)
		}
	})
}

// TestBusClose: a router that closes ends its publishers and joins what they began.
func TestBusClose(t *testing.T) {
	inBusWorld(t, 6, 2, func(w *busWorld) {
		w.cutOff("n1")
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { w.expect(0, "x", 0, 100*time.Millisecond) })
		}
		time.Sleep(100 * time.Millisecond)
		w.nodes[0].router.close()
		wg.Wait()
		w.expect(0, "y", 0, 0)
		ctx, cancel := context.WithCancel(w.t.Context())
		cancel()
		if n := w.nodes[1].router.Bus().Publish(ctx, &Message{}); n != 0 {
			t.Errorf("%d receivers", n)
		}
	})
}

// Goal: the same over real links: a node cut off in the middle of a stream of messages holds nobody up, and
// what the network held back does not come behind what was sent later.
func TestBusOverLinks(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 1)
		w := &busWorld{fakeWorld: &fakeWorld{t: t}}
		for _, name := range c.names() {
			b := &inbox{}
			c.nodes[name].Router().Bus().Receive(b.receive)
			w.inboxes = append(w.inboxes, b)
			w.nodes = append(w.nodes, &fakeNode{router: c.nodes[name].Router()})
		}
		w.publish(0, "0")
		for i := 1; i <= 200; i++ {
			switch i {
			case 20:
				c.world.Cut("n1", "n3")
			case 60:
				c.world.Cut("n3", "n1")
			case 130:
				c.world.HealAll()
			}
			n, d := w.publish(0, fmt.Sprint(i))
			if d > publishWait+100*time.Millisecond || (i < 20 || i > 195) && n != 2 {
				t.Errorf("message %d: %d receivers after %v", i, n, d)
			}
			time.Sleep(100 * time.Millisecond)
		}
		for i, least := range map[int]int{1: 201, 2: 80} {
			last := -1
			for _, text := range w.inboxes[i].list() {
				var n int
				if _, err := fmt.Sscanf(text, "false c %d", &n); err != nil || n <= last {
					t.Fatalf("n%d got %q behind %d", i+1, text, last)
				}
				last = n
			}
			if got := len(w.inboxes[i].list()); got < least || last != 200 {
				t.Errorf("n%d got %d messages, the last is %d", i+1, got, last)
			}
		}
	})
}

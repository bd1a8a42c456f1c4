// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// happens tells a node of an event.
func (w *busWorld) happens(node int, event, key string) {
	w.nodes[node].router.notices.Happened(fsm.ClassString, event, []byte(key))
}

// TestNoticesReachAll: events go to the subscribers of all nodes, the own one included, in their order and in the forms
// that are wanted.
func TestNoticesReachAll(t *testing.T) {
	inBusWorld(t, 1, 3, func(w *busWorld) {
		for _, c := range []struct{ setting, want string }{
			{"KEA", "false __keyspace@0__:k set,false __keyevent@0__:set k,false __keyspace@0__:k del,false __keyevent@0__:del k"},
			{"K$", "false __keyspace@0__:k set,false __keyspace@0__:k del"},
			{"EA", "false __keyevent@0__:set k,false __keyevent@0__:del k"},
			{"A", ""},
			{"", ""},
			{"?", ""},
		} {
			n := &w.nodes[0].router.notices
			n.want(c.setting)
			if n.Wanted() != 0 {
				w.happens(0, "set", "k")
				w.happens(0, "del", "k")
			}
			synctest.Wait()
			for i, b := range w.inboxes {
				if got := b.all(); got != c.want {
					t.Errorf("%q: n%d got %q, want %q", c.setting, i, got, c.want)
				}
				b.got = nil
			}
		}
	})
}

// TestNoticesInOrder: many events, more than a frame holds and more than wait for a peer, reach the others in their
// order, none twice, and all of them while nobody is cut off.
func TestNoticesInOrder(t *testing.T) {
	inBusWorld(t, 2, 3, func(w *busWorld) {
		w.mu.Lock()
		w.delay = 3 * time.Millisecond
		w.mu.Unlock()
		w.nodes[0].router.notices.want("KA")
		const events = 3 * maxBusMessages
		want := make([]string, events)
		for i := range events {
			w.happens(0, "set", fmt.Sprint(i))
			want[i] = fmt.Sprintf("false %s%d set", keyChannel, i)
		}
		time.Sleep(time.Minute)
		for i, b := range w.inboxes {
			if got := b.list(); !slices.Equal(got, want) {
				t.Errorf("n%d got %d of %d events, or others", i, len(got), events)
			}
		}
		if n := w.nodes[0].router.Bus().Dropped(); n != 0 {
			t.Errorf("%d were dropped", n)
		}
	})
}

// TestNoticesBounded: while a peer is cut off, what waits is bounded in number and in bytes, and the rest is counted;
// the own subscribers and the other nodes go on getting events, and nobody who writes waits.
func TestNoticesBounded(t *testing.T) {
	inBusWorld(t, 3, 3, func(w *busWorld) {
		w.cutOff("n2")
		n := &w.nodes[0].router.notices
		n.want("EA")
		large := strings.Repeat("x", maxNoticeBytes/8)
		start := time.Now()
		for range 40 {
			w.happens(0, "set", large)
		}
		if n.dropped.Load() == 0 {
			t.Error("nothing was dropped for its bytes")
		}
		for range 2 * maxNotices {
			w.happens(0, "set", "k")
		}
		n.mu.Lock()
		if len(n.mu.queue) > maxNotices || n.mu.bytes > maxNoticeBytes {
			t.Errorf("%d events of %d bytes wait", len(n.mu.queue), n.mu.bytes)
		}
		n.mu.Unlock()
		if d := time.Since(start); d != 0 {
			t.Errorf("writers waited %v", d)
		}
		time.Sleep(time.Minute)
		w.happens(0, "set", "last")
		time.Sleep(publishWait)
		for i := range 2 {
			if got := w.inboxes[i].list(); len(got) < 3 || !strings.HasSuffix(got[len(got)-1], " last") {
				t.Errorf("n%d got %d events", i, len(got))
			}
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.mu.sending || n.mu.bytes != 0 || len(n.mu.queue) != 0 {
			t.Errorf("%d events of %d bytes are left", len(n.mu.queue), n.mu.bytes)
		}
	})
}

// TestClusterEvents: the setting reaches every leader through whichever node it is changed, and every write is told of
// by one node: its group's leader, to all nodes.
func TestClusterEvents(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 2)
		boxes := make(map[string]*inbox)
		for name, m := range c.nodes {
			boxes[name] = &inbox{}
			m.Router().Bus().Receive(boxes[name].receive)
		}
		set := func(key string) {
			out := make([]Reply, 1)
			c.nodes["n3"].Router().Do(c.ctx(5*time.Second), &Caller{Protocol: "internal"},
				[]fsm.Command{{Op: fsm.OpSet, Args: [][]byte{[]byte(key), []byte("v"), []byte("PX"), []byte("500")}}}, out)
			if out[0].Err != nil || out[0].Result.IsError() {
				t.Fatalf("set: %+v", out[0])
			}
		}
		set("before")
		if err := c.nodes["n2"].Configure(c.ctx(5*time.Second), func(s *Settings) { s.Events = "KA" }); err != nil {
			t.Fatal(err)
		}
		if got := c.nodes["n2"].View().Settings.Events; got != "KA" {
			t.Errorf("the node that was asked has %q", got)
		}
		c.waitFor("the setting to be everywhere", func() error {
			for name, m := range c.nodes {
				if m.Router().notices.Wanted() == 0 {
					return fmt.Errorf("%s wants nothing", name)
				}
			}
			return nil
		})
		time.Sleep(5 * time.Second) // "before" has expired
		for _, b := range boxes {
			b.mu.Lock()
			b.got = nil
			b.mu.Unlock()
		}
		var want []string
		for i := range 20 {
			set(fmt.Sprint("k", i))
			for _, event := range []string{"set", "expire", "expired"} {
				want = append(want, fmt.Sprintf("false %sk%d %s", keyChannel, i, event))
			}
		}
		time.Sleep(5 * time.Second)
		slices.Sort(want)
		for name, b := range boxes {
			got := b.list()
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s got %d events:\n%s\nwant %d", name, len(got), strings.Join(got, "\n"), len(want))
			}
		}
		if err := c.nodes["n2"].Configure(c.ctx(5*time.Second), func(s *Settings) { s.Events = "x?" }); err == nil {
			t.Error("a class that is none was accepted")
		}
	})
}

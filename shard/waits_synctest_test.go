// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/snapshots"
	"pgregory.net/rapid"
)

// client is a blocked client as a session would be one.
type client struct {
	n     *fakeNode
	cmd   fsm.Command
	spec  *fsm.Spec
	wait  Waiting
	woken chan struct{}
	tries int
}

// park registers a client that waits for keys on node n.
func (w *fakeWorld) park(n int, op fsm.Op, args ...string) *client {
	c := &client{n: w.nodes[n], cmd: cmd(op, args...), spec: w.table.Spec(op), woken: make(chan struct{}, 1)}
	wait, _ := c.spec.WaitOf(c.cmd.Args)
	var err error
	c.wait, err = c.n.router.Wait(wait, func() {
		select {
		case c.woken <- struct{}{}:
		default:
		}
	})
	if err != nil {
		w.t.Error(err)
	}
	return c
}

// pop waits for a reply that is not null, or until the context ends. What it got counts even when it is unknown: got is
// empty then.
func (c *client) pop(ctx context.Context) (got string, ok bool) {
	defer c.wait.End()
	for {
		select {
		case <-c.woken:
		case <-ctx.Done():
			return "", false
		}
		key, ready, err := c.wait.Ready()
		if err != nil {
			return "", false
		}
		if !ready {
			continue
		}
		c.tries++
		try := c.cmd
		if key >= 0 {
			try = c.spec.TryOf(c.cmd.Args, key)
		}
		r := c.n.do(0, try)[0]
		switch {
		case r.Err != nil && !NotApplied(r.Err):
			return "", true
		case r.Err == nil && r.Result.Kind != fsm.KindNull && r.Result.Code != fsm.CodeWrongType:
			return text(r), true
		}
		c.wait.Again()
	}
}

// TestWaitersInOrder: clients of several nodes are served in the order in which they came, one element each, by pushes
// of one and of many elements, and by whatever else makes a list or a sorted set.
func TestWaitersInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 3, 1, nil)
		defer w.close()
		w.delay = 2 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var mu sync.Mutex
		var served []int
		var all sync.WaitGroup
		park := func(i int, op fsm.Op, args ...string) {
			c := w.park(i%3, op, args...)
			time.Sleep(20 * time.Millisecond)
			all.Go(func() {
				got, ok := c.pop(ctx)
				mu.Lock()
				defer mu.Unlock()
				if !ok || !strings.HasSuffix(got, fmt.Sprint(" v", i, "]")) {
					t.Errorf("client %d got %q", i, got)
				}
				served = append(served, i)
			})
		}
		for i := range 6 {
			park(i, fsm.OpBLPop, "other", "q", "0")
		}
		w.nodes[0].do(time.Second, cmd(fsm.OpRPush, "q", "v0"))
		w.nodes[1].do(time.Second, cmd(fsm.OpRPush, "q", "v1", "v2"))
		time.Sleep(time.Second)
		w.nodes[2].do(time.Second, cmd(fsm.OpSet, "q", "not a list"))
		w.nodes[0].do(time.Second, cmd(fsm.OpRPush, "aside", "v3", "v4", "v5"), cmd(fsm.OpDel, "q"))
		time.Sleep(time.Second)
		w.nodes[0].do(time.Second, cmd(fsm.OpRename, "aside", "q"))
		all.Wait()
		if !slices.IsSorted(served) || len(served) != 6 {
			t.Errorf("served %v", served)
		}
		z := w.park(1, fsm.OpBZMPop, "0", "2", "none", "z", "MIN")
		w.nodes[0].do(time.Second, cmd(fsm.OpZAdd, "z", "7", "v"))
		if got, ok := z.pop(ctx); !ok || got != "[z [[v ]]]" {
			t.Errorf("of a sorted set: %q", got)
		}
	})
}

// TestWaitersAreForgotten: nothing is left of clients that went, of nodes that fell silent, and of a cluster that is
// closed.
func TestWaitersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 2, 1, func(_, n int) bool { return n == 0 })
		defer w.close()
		g := &w.nodes[0].router.route(1).registry
		var clients []*client
		for i := range 10 {
			clients = append(clients, w.park(i%2, fsm.OpBLPop, fmt.Sprint("k", i%3), fmt.Sprint("k", i%3), "l", "0"))
		}
		time.Sleep(100 * time.Millisecond)
		if g.n.Load() != 10 {
			t.Errorf("%d tickets, want 10", g.n.Load())
		}
		for _, c := range clients[:5] {
			c.wait.End()
		}
		time.Sleep(100 * time.Millisecond)
		if g.n.Load() != 5 {
			t.Errorf("%d tickets, want 5", g.n.Load())
		}
		w.cutOff("n1")
		time.Sleep(waitLife + time.Second)
		if g.n.Load() != 2 {
			t.Errorf("%d tickets, want the 2 of this node", g.n.Load())
		}
		w.calm()
		time.Sleep(5 * time.Second)
		if g.n.Load() != 5 {
			t.Errorf("%d tickets after healing, want 5", g.n.Load())
		}
		for _, c := range clients[5:] {
			c.wait.End()
		}
		time.Sleep(waitLife + time.Second)
		g.mu.Lock()
		if len(g.mu.tickets)+len(g.mu.lines)+len(g.mu.out) != 0 || g.mu.bytes != 0 || len(g.mu.edges) != 0 {
			t.Errorf("left: %d tickets, %d lines, %d out, %d bytes, %d edges", len(g.mu.tickets), len(g.mu.lines), len(g.mu.out), g.mu.bytes, len(g.mu.edges))
		}
		g.mu.Unlock()
		if n := w.nodes[0].router.Waiting() + w.nodes[1].router.Waiting(); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

// TestSilentWaiterIsPassed: a client that is woken and does nothing holds up those behind it for wakeSilence, and is
// asked again.
func TestSilentWaiterIsPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 2, 1, nil)
		defer w.close()
		silent := w.park(1, fsm.OpBLPop, "q", "0")
		time.Sleep(50 * time.Millisecond)
		second := w.park(0, fsm.OpBLPop, "q", "0")
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		w.nodes[0].do(time.Second, cmd(fsm.OpRPush, "q", "a"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if got, ok := second.pop(ctx); !ok || got != "[q a]" || time.Since(start) > wakeSilence+2*sweepEvery {
			t.Errorf("the second got %q after %v", got, time.Since(start))
		}
		time.Sleep(3 * time.Second)
		w.nodes[0].do(time.Second, cmd(fsm.OpRPush, "q", "b"))
		if got, ok := silent.pop(ctx); !ok || got != "[q b]" {
			t.Errorf("the first got %q", got)
		}
	})
}

// TestManySilentWaiters: those behind them are served all the same.
func TestManySilentWaiters(t *testing.T) {
	for _, silent := range []int{1, 2, 3, 6, 50} {
		synctest.Test(t, func(t *testing.T) {
			w := newFakeWorld(t, 1, 2, 1, nil)
			defer w.close()
			for range silent {
				w.park(1, fsm.OpBLPop, "q", "0")
			}
			time.Sleep(50 * time.Millisecond)
			c := w.park(0, fsm.OpBLPop, "q", "0")
			time.Sleep(50 * time.Millisecond)
			w.nodes[0].do(time.Second, cmd(fsm.OpRPush, "q", "a"))
			w.popsWithin(c, 2*time.Second)
		})
	}
}

// popsWithin wants c to be served.
func (w *fakeWorld) popsWithin(c *client, d time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	defer cancel()
	if got, ok := c.pop(ctx); !ok {
		w.t.Errorf("%q within %v", got, d)
	}
}

// TestSlowOnceIsNotLast: a node whose client was slow and then served is like any other again.
func TestSlowOnceIsNotLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 2, 1, nil)
		defer w.close()
		slow := w.park(1, fsm.OpBLPop, "q", "0")
		time.Sleep(50 * time.Millisecond)
		w.nodes[0].do(time.Second, cmd(fsm.OpRPush, "q", "a"))
		time.Sleep(2 * wakeSilence)
		w.popsWithin(slow, 5*time.Second)
		first := w.park(1, fsm.OpBLPop, "q", "0")
		time.Sleep(50 * time.Millisecond)
		w.park(0, fsm.OpBLPop, "q", "0")
		time.Sleep(50 * time.Millisecond)
		w.nodes[0].do(time.Second, cmd(fsm.OpRPush, "q", "b"))
		w.popsWithin(first, wakeSilence/2)
	})
}

// TestEdgeRestartsWhileOut: those behind a client of a node that restarts are served.
func TestEdgeRestartsWhileOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 2, 1, func(_, n int) bool { return n == 0 })
		defer w.close()
		w.park(1, fsm.OpBLPop, "q", "0") // dies before it tries
		time.Sleep(50 * time.Millisecond)
		second := w.park(0, fsm.OpBLPop, "q", "0")
		time.Sleep(50 * time.Millisecond)
		w.nodes[0].do(time.Second, cmd(fsm.OpRPush, "q", "a"))
		time.Sleep(100 * time.Millisecond)
		w.nodes[1].router.close()
		w.nodes[0].router.serveWaits("n1", encodeWaits(&waitsRequest{group: 1, incarnation: 2, number: 1}))
		w.popsWithin(second, time.Second)
	})
}

// TestWaitThroughImport: what an import brings wakes those who wait for it.
func TestWaitThroughImport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, 1, 2, 1, nil)
		defer w.close()
		w.nodes[0].do(time.Second, cmd(fsm.OpRPush, "q", "x", "y"))
		v, err := w.rafts[1].machine.View()
		if err != nil {
			t.Fatal(err)
		}
		var saved bytes.Buffer
		if _, err := v.WriteTo(&saved); err != nil {
			t.Fatal(err)
		}
		v.Close()
		w.nodes[0].do(time.Second, cmd(fsm.OpDel, "q"))
		c := w.park(1, fsm.OpBLPop, "q", "0")
		time.Sleep(100 * time.Millisecond)
		w.rafts[1].run(fsm.ImportBegin(1))
		from, err := snapshots.NewReader(&saved)
		if err != nil {
			t.Fatal(err)
		}
		for {
			section, err := from.Next()
			if err != nil {
				break
			}
			if section.Kind == fsm.SectionSlot {
				w.rafts[1].run(fsm.Import(1, uint16(section.ID), 0, 1, 1, bytes.Clone(section.Data)))
			}
		}
		w.rafts[1].run(fsm.ImportEnd(1, true))
		w.popsWithin(c, time.Second)
	})
}

// waitRun plays blocked clients and pushes under faults.
type waitRun struct {
	w  *fakeWorld
	mu sync.Mutex
	// got counts what clients popped, by element; unknown counts pops and pushes of which nobody knows.
	got     map[string]int
	pushed  map[string]bool
	unknown int
	waiting sync.WaitGroup
}

// TestWaitersUnderFaults: under cuts, losses and changes of leader no element is popped twice or from nowhere; after
// healing every element that is left finds a client that waits.
func TestWaitersUnderFaults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(t *testing.T) {
			for _, fault := range playWaits(t, seed) {
				t.Error(fault)
			}
		})
		if t.Failed() {
			rt.Fatalf("seed %d", seed)
		}
	})
}

// playWaits gives what went wrong.
func playWaits(t *testing.T, seed uint64) (faults []string) {
	const elements, clients = 40, 6
	w := newFakeWorld(t, seed, 3+int(seed%2), 2, func(_, node int) bool { return node < 3 })
	defer w.close()
	p := &waitRun{w: w, got: make(map[string]int), pushed: make(map[string]bool)}
	w.loss.Store(int32(w.dice(15)))
	w.doubled.Store(int32(w.dice(10)))
	w.delay = time.Duration(1+w.dice(20)) * time.Millisecond
	keys := []string{keyOf(1, 1), keyOf(2, 2)}
	ctx, cancel := context.WithCancel(t.Context())
	defer p.waiting.Wait()
	defer cancel()
	stop := make(chan struct{})
	var nemesis sync.WaitGroup
	nemesis.Go(func() { (&faultRun{w: w, seed: seed}).disturb(stop) })
	for i := range clients {
		p.waiting.Go(func() {
			for ctx.Err() == nil {
				c := w.park((i+w.dice(2))%len(w.nodes), fsm.OpBLPop, keys[i%2], "0")
				p.popped(c.pop(ctx))
			}
		})
	}
	for i := range elements {
		p.push(keys[i%2], fmt.Sprint("e", i))
		time.Sleep(time.Duration(w.dice(200)) * time.Millisecond)
	}
	close(stop)
	nemesis.Wait()
	w.calm()
	for _, raft := range w.rafts {
		raft.lead(raft.replicas[w.dice(len(raft.replicas))].node.id)
	}
	time.Sleep(15 * time.Second)
	for _, key := range keys {
		p.push(key, "last of "+key)
	}
	const soon = 300 * time.Millisecond // no renewal may be needed
	time.Sleep(soon)
	faults = p.check(keys)
	cancel()
	p.waiting.Wait()
	for i, key := range keys { // what comes between a client's try and its wait
		p.push(key, "between")
		late, cancel := context.WithTimeout(t.Context(), soon)
		if got, ok := w.park(i, fsm.OpBLPop, key, "0").pop(late); !ok {
			faults = append(faults, fmt.Sprintf("a client waits for %s, which was there before it: %s", key, got))
		}
		cancel()
	}
	return faults
}

// check is for when all is well again.
func (p *waitRun) check(keys []string) (faults []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := range p.pushed {
		if p.got[e] == 0 && p.unknown == 0 {
			faults = append(faults, "nobody got "+e)
		}
	}
	for e, n := range p.got {
		if n > 1 {
			faults = append(faults, fmt.Sprintf("%s was popped %d times", e, n))
		}
	}
	for _, key := range keys {
		if r := p.w.nodes[0].do(time.Second, cmd(fsm.OpLLen, key))[0]; r.Err != nil || r.Result.Int != 0 {
			faults = append(faults, fmt.Sprintf("clients wait for %s, where %s elements are left", key, text(r)))
		}
	}
	return faults
}

func (p *waitRun) popped(got string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok && got == "" {
		p.unknown++
	} else if ok {
		_, e, _ := strings.Cut(strings.Trim(got, "[]"), " ")
		p.got[e]++
	}
}

func (p *waitRun) push(key, e string) {
	r := p.w.nodes[p.w.dice(len(p.w.nodes))].do(0, cmd(fsm.OpRPush, key, e))[0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Err == nil {
		p.pushed[e] = true
	} else if !NotApplied(r.Err) {
		p.unknown++
	}
}

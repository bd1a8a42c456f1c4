// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"pgregory.net/rapid"
)

// pushed is one element that a client tried to append to a list.
type pushed struct {
	key, value string
	client     int
	err        error
	length     int64 // as answered
}

// faultRun drives clients that append unique elements to lists while leaders change, frames are
// lost and doubled, nodes are cut off and leaders refuse.
type faultRun struct {
	w    *fakeWorld
	seed uint64
	// gathers: many clients of one node, whose lanes gather all the time.
	gathers bool
	// waits counts the moments at which a batch was seen to wait for callers.
	waits *int
	mu    sync.Mutex
	log   []pushed
}

// TestExactlyOnceUnderFaults: every acknowledged element is there once, no refused element is there,
// an unknown one is there at most once, and each client's elements are in its own order.
func TestExactlyOnceUnderFaults(t *testing.T) {
	waits := 0
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		synctest.Test(t, func(t *testing.T) {
			f := &faultRun{seed: seed, gathers: rapid.Bool().Draw(rt, "gathers"), waits: &waits}
			f.w = newFakeWorld(t, seed, 3+int(seed%2), 2, func(_, node int) bool { return node < 3 })
			f.run(t)
			f.w.close()
		})
		if t.Failed() {
			rt.Fatalf("seed %d", seed)
		}
	})
	if waits == 0 && !t.Failed() {
		t.Error("no batch waited for callers")
	}
}

func (f *faultRun) run(t *testing.T) {
	w := f.w
	w.loss.Store(int32(w.dice(15)))
	w.doubled.Store(int32(w.dice(10)))
	w.refuse.Store(int32(w.dice(10)))
	w.delay = time.Duration(1+w.dice(30)) * time.Millisecond
	stop := make(chan struct{})
	var faults, clients sync.WaitGroup
	faults.Go(func() { f.disturb(stop) })
	n := 6
	if f.gathers {
		n = 24
		faults.Go(func() { f.gather(stop) })
	}
	for c := range n {
		clients.Go(func() { f.client(c) })
	}
	clients.Wait()
	close(stop)
	faults.Wait()
	f.heal(t)
	f.check(t)
}

// gather has the lanes of the first node gather, whatever comes of it, until stop.
func (f *faultRun) gather(stop chan struct{}) {
	for {
		for g := range f.w.rafts {
			l := &f.w.nodes[0].router.route(g).lane
			l.mu.Lock()
			l.gather.on = true
			if l.gather.armed {
				*f.waits++
			}
			l.mu.Unlock()
		}
		select {
		case <-stop:
			return
		case <-time.After(3 * time.Millisecond):
		}
	}
}

// disturb changes leaders and cuts nodes off until stop.
func (f *faultRun) disturb(stop chan struct{}) {
	w := f.w
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(10+w.dice(400)) * time.Millisecond):
		}
		raft := w.rafts[uint32(1+w.dice(len(w.rafts)))]
		switch w.dice(5) {
		case 0:
			raft.lead("")
			time.Sleep(time.Duration(w.dice(300)) * time.Millisecond)
			raft.lead(raft.replicas[w.dice(len(raft.replicas))].node.id)
		case 1:
			raft.lead(raft.replicas[w.dice(len(raft.replicas))].node.id)
		case 2:
			node := w.nodes[w.dice(len(w.nodes))].id
			w.mu.Lock()
			clear(w.cut)
			w.cut[node] = true
			w.mu.Unlock()
		case 3:
			w.mu.Lock()
			clear(w.cut)
			w.mu.Unlock()
		case 4:
			if w.dice(100) < 30 {
				raft.closeSessions()
			}
		}
	}
}

func (f *faultRun) heal(t *testing.T) {
	w := f.w
	w.calm()
	for _, raft := range w.rafts {
		raft.lead(raft.replicas[0].node.id)
	}
	for i, n := range w.nodes {
		for g := range w.rafts {
			r := n.do(30*time.Second, cmd(fsm.OpRPush, keyOf(g, 99), fmt.Sprint(i)))[0]
			if r.Err != nil {
				t.Errorf("seed %d: %s still fails after healing: %v", f.seed, n.id, r.Err)
			}
		}
	}
}

// keyOf gives a key in a slot of group g.
func keyOf(g uint32, i int) string {
	for n := 0; ; n++ {
		key := fmt.Sprintf("{%d-%d}", i, n)
		if fsm.SlotOf([]byte(key))%2 == uint16(g-1) {
			return key
		}
	}
}

func (f *faultRun) client(c int) {
	rng := rand.New(rand.NewPCG(f.seed, uint64(c)+100))
	n, last, pause := f.w.nodes[rng.IntN(len(f.w.nodes))], 150, 20*time.Millisecond
	if f.gathers {
		n, last, pause = f.w.nodes[0], 60, time.Millisecond
	}
	for seq := 0; seq < last; {
		var cmds []fsm.Command
		var pushes []pushed
		for range 1 + rng.IntN(6) {
			key := keyOf(uint32(1+rng.IntN(2)), rng.IntN(3))
			if rng.IntN(4) == 0 {
				cmds = append(cmds, cmd(fsm.OpLLen, key))
				pushes = append(pushes, pushed{})
				continue
			}
			value := fmt.Sprintf("%d.%d", c, seq)
			seq++
			cmds = append(cmds, cmd(fsm.OpRPush, key, value))
			pushes = append(pushes, pushed{key: key, value: value, client: c})
		}
		timeout := time.Duration(20+rng.IntN(3000)) * time.Millisecond
		began := time.Now()
		out := n.do(timeout, cmds...)
		if d := time.Since(began); d > timeout+time.Millisecond {
			f.w.t.Errorf("seed %d: a call took %v with a budget of %v", f.seed, d, timeout)
		}
		f.record(cmds, pushes, out)
		for _, c := range cmds { // the call's time with the arguments is over
			for _, a := range c.Args {
				clear(a)
			}
		}
		time.Sleep(time.Duration(rng.Int64N(int64(pause))))
	}
}

// record notes outcomes, and checks that commands in a pipeline see the writes before them. A read may
// see later writes of its pipeline too: when a resend is answered from the session's cache, reads
// run after the whole Sub.
func (f *faultRun) record(cmds []fsm.Command, pushes []pushed, out []Reply) {
	f.mu.Lock()
	defer f.mu.Unlock()
	floor := make(map[string]int64)
	for i, r := range out {
		key := string(cmds[i].Args[0])
		if r.Err == nil && r.Result.Kind != fsm.KindInt && r.Result.Code != fsm.CodeReplyDropped {
			f.w.t.Errorf("seed %d: odd reply %s", f.seed, text(r))
		}
		if r.Err == nil && r.Result.Int < floor[key] {
			f.w.t.Errorf("seed %d: %s is %d long behind a reply of %d", f.seed, key, r.Result.Int, floor[key])
		}
		if r.Err == nil && pushes[i].key != "" {
			floor[key] = r.Result.Int
		}
		if pushes[i].key != "" {
			pushes[i].err, pushes[i].length = r.Err, r.Result.Int
			f.log = append(f.log, pushes[i])
		}
	}
}

func (f *faultRun) check(t *testing.T) {
	found := make(map[string]int)
	place := make(map[string]int)
	for g, raft := range f.w.rafts {
		for i := range 3 {
			key := keyOf(g, i)
			out := make([]fsm.Result, 1)
			raft.machine.Query([]fsm.Command{cmd(fsm.OpLRange, key, "0", "-1")}, out, 1, nil)
			last := make(map[byte]int)
			for at, e := range out[0].Elems {
				v := string(e.Str)
				found[v]++
				place[v] = at + 1
				var client, seq int
				if _, err := fmt.Sscanf(v, "%d.%d", &client, &seq); err != nil {
					t.Fatal(err)
				}
				if prev, ok := last[byte(client)]; ok && prev > seq {
					t.Errorf("seed %d: %s: client %d's element %d stands behind %d", f.seed, key, client, seq, prev)
				}
				last[byte(client)] = seq
			}
		}
	}
	var ok, refused, unknown int
	for _, p := range f.log {
		n := found[p.value]
		delete(found, p.value)
		switch {
		case p.err == nil:
			ok++
			if n != 1 || p.length != 0 && int64(place[p.value]) != p.length {
				t.Errorf("seed %d: acknowledged %s is there %d times, at %d, answered %d", f.seed, p.value, n, place[p.value], p.length)
			}
		case NotApplied(p.err):
			refused++
			if n != 0 {
				t.Errorf("seed %d: %s is there though %v", f.seed, p.value, p.err)
			}
		default:
			unknown++
			if n > 1 {
				t.Errorf("seed %d: unknown %s is there %d times", f.seed, p.value, n)
			}
		}
	}
	for v := range found {
		t.Errorf("seed %d: %s came from nowhere", f.seed, v)
	}
	if ok == 0 {
		t.Errorf("seed %d: nothing was acknowledged (%d refused, %d unknown)", f.seed, refused, unknown)
	}
	t.Logf("seed %d: %d acknowledged, %d refused, %d unknown", f.seed, ok, refused, unknown)
}

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host/racing"
)

const mib = 1 << 20

// replyWorld is a fakeWorld on the real clock with values of size bytes under k0 …, and little memory
// for replies.
func replyWorld(t *testing.T, nodes, groups, keys, size int, limit int64) *fakeWorld {
	w := newFakeWorld(t, 1, nodes, groups, nil)
	t.Cleanup(w.close)
	value := strings.Repeat("v", size)
	for i := range keys {
		if r := w.nodes[0].do(time.Minute, cmd(fsm.OpSet, fmt.Sprint("k", i), value)); r[0].Err != nil {
			t.Fatal(r[0].Err)
		}
	}
	for _, n := range w.nodes {
		n.router.replies.init(limit)
		n.router.serving.init(limit)
	}
	return w
}

// settled checks that every byte of reply memory was given back.
func (w *fakeWorld) replySettled(t *testing.T) {
	t.Helper()
	w.calls.Wait()
	for _, n := range w.nodes {
		for name, b := range map[string]*budget{
			"shared": &n.router.replies.shared, "turns": &n.router.replies.turns,
			"serving": &n.router.serving.shared, "serving turns": &n.router.serving.turns,
		} {
			for over := time.Now().Add(30 * time.Second); b.used.Load() != 0; runtime.Gosched() { // some come back behind the answers
				if time.Now().After(over) {
					t.Errorf("%s: %d bytes of %s were not given back", n.id, b.used.Load(), name)
					break
				}
			}
		}
	}
}

// heapPeak runs f and returns the largest heap seen beside what was there before.
func heapPeak(f func()) int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, stop, done := int64(m.HeapAlloc), make(chan struct{}), make(chan int64)
	go func() {
		peak := int64(0)
		for {
			runtime.ReadMemStats(&m)
			peak = max(peak, int64(m.HeapAlloc))
			select {
			case <-stop:
				done <- peak - before
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	f()
	close(stop)
	return <-done
}

// TestStreamBoundsMemory: 256 GETs of 4 MiB each from several connections at the same time, at the
// leader and through another node, are all answered in order, in little memory.
func TestStreamBoundsMemory(t *testing.T) {
	const conns, size, limit = 4, 4 * mib, 16 * mib
	pipeline := racing.Fewer(256, 48) // still many times the limit
	for i, where := range []string{"leader", "forwarding node"} {
		t.Run(where, func(t *testing.T) {
			w := replyWorld(t, 3, 1, 4, size, limit)
			n := w.nodes[i]
			var wg sync.WaitGroup
			var answered atomic.Int64
			peak := heapPeak(func() {
				for range conns {
					wg.Go(func() {
						cmds := make([]fsm.Command, pipeline)
						for i := range cmds {
							cmds[i] = cmd(fsm.OpGet, fmt.Sprint("k", i%4))
						}
						out := make([]Reply, pipeline)
						_ = n.router.Stream(context.Background(), &Caller{Timeout: time.Minute}, cmds, out, func(out []Reply) error {
							for i := range out {
								if out[i].Err != nil || len(out[i].Result.Str) != size {
									t.Errorf("%v, %d bytes", out[i].Err, len(out[i].Result.Str))
								}
							}
							answered.Add(int64(len(out)))
							return nil
						})
					})
				}
				wg.Wait()
			})
			if answered.Load() != int64(conns*pipeline) {
				t.Errorf("%d of %d were answered", answered.Load(), conns*pipeline)
			}
			w.replySettled(t)
			// Live memory is limit and turns, doubled where a reply is encoded; garbage doubles it again.
			if bound := int64(4 * (limit + replyTurns*fsm.MaxReply)); peak > bound {
				t.Errorf("the heap grew by %d MiB, more than %d", peak/mib, bound/mib)
			}
			t.Logf("peak %d MiB", peak/mib)
		})
	}
}

// TestStreamKeepsOrder: whatever comes out short, commands on one key take effect in program order, and
// replies come in that order.
func TestStreamKeepsOrder(t *testing.T) {
	for i, where := range []string{"leader", "forwarding node"} {
		t.Run(where, func(t *testing.T) {
			w := replyWorld(t, 2, 2, 1, 10, 2*mib)
			n := w.nodes[i]
			var wg sync.WaitGroup
			for c := range 4 {
				wg.Go(func() {
					var cmds []fsm.Command
					var want []string
					for round := range 40 {
						key := fmt.Sprintf("c%d-%d", c, round%5)
						value := fmt.Sprintf("%d:%s", round, strings.Repeat("x", 300<<10))
						cmds = append(cmds, cmd(fsm.OpSet, key, value), cmd(fsm.OpGet, key), cmd(fsm.OpGetSet, key, "s"), cmd(fsm.OpGet, key))
						want = append(want, "OK", value, value, "s")
					}
					got := 0
					err := n.router.Stream(context.Background(), &Caller{Timeout: time.Minute}, cmds, make([]Reply, len(cmds)), func(out []Reply) error {
						for i := range out {
							if s := text(out[i]); s != want[got] {
								t.Errorf("reply %d is %.40s of %d bytes, want %.40s", got, s, len(s), want[got])
							}
							got++
						}
						return nil
					})
					if err != nil || got != len(cmds) {
						t.Errorf("%d of %d replies, %v", got, len(cmds), err)
					}
				})
			}
			wg.Wait()
			w.replySettled(t)
		})
	}
}

// TestLargeWriteReplies: the replies of writes that answer with much data are delivered, each once,
// though they need more memory than there is for all at one time.
func TestLargeWriteReplies(t *testing.T) {
	for i, where := range []string{"leader", "forwarding node"} {
		t.Run(where, func(t *testing.T) {
			const keys, size = 24, 3 * mib
			w := replyWorld(t, 2, 1, keys, size, 8*mib)
			n := w.nodes[i]
			var wg sync.WaitGroup
			for c := range 4 {
				wg.Go(func() {
					var cmds []fsm.Command
					for i := c; i < keys; i += 4 {
						cmds = append(cmds, cmd(fsm.OpGetDel, fmt.Sprint("k", i)), cmd(fsm.OpExists, fmt.Sprint("k", i)))
					}
					i := 0
					_ = n.router.Stream(context.Background(), &Caller{Timeout: time.Minute}, cmds, make([]Reply, len(cmds)), func(out []Reply) error {
						for _, r := range out {
							if r.Err != nil || i%2 == 0 && len(r.Result.Str) != size || i%2 == 1 && r.Result.Int != 0 {
								t.Errorf("reply %d: %v, %d bytes, %d", i, r.Err, len(r.Result.Str), r.Result.Int)
							}
							i++
						}
						return nil
					})
				})
			}
			wg.Wait()
			w.replySettled(t)
		})
	}
}

// TestJoinedReplyTooLarge: a reply over several groups obeys the limit of one command, and one that is
// within it is answered although there is hardly any memory.
func TestJoinedReplyTooLarge(t *testing.T) {
	w := replyWorld(t, 2, 3, 8, 9*mib, mib)
	for _, c := range []struct {
		keys int
		ok   bool
	}{{8, false}, {6, true}} {
		get := fsm.Command{Op: fsm.OpMGet}
		for i := range c.keys {
			get.Args = append(get.Args, fmt.Appendf(nil, "k%d", i))
		}
		for _, n := range w.nodes {
			r := n.do(time.Minute, get)[0]
			if c.ok && (r.Err != nil || len(r.Result.Elems) != c.keys) || !c.ok && r.Result.Code != fsm.CodeTooBig {
				t.Errorf("%s: %d keys: %v, code %d, %d elements", n.id, c.keys, r.Err, r.Result.Code, len(r.Result.Elems))
			}
		}
	}
	w.replySettled(t)
}

// TestNoRoomIsNotApplied: who waits for a turn until his time is over is told that nothing happened.
func TestNoRoomIsNotApplied(t *testing.T) {
	w := replyWorld(t, 1, 1, 2, mib, mib/2)
	n := w.nodes[0]
	r := n.router
	for range replyTurns {
		if !r.replies.turns.try(fsm.MaxReply) {
			t.Fatal("no turn")
		}
	}
	r.replies.shared.used.Add(mib / 2)
	got := n.do(50*time.Millisecond, cmd(fsm.OpGet, "k0"), cmd(fsm.OpGetDel, "k1"))
	if kindOf(got[0]) != KindOverloaded || kindOf(got[1]) != KindOverloaded {
		t.Errorf("%s, %s", text(got[0]), text(got[1]))
	}
	r.replies.giveBack(mib/2, true)
	r.replies.giveBack(0, true)
	if got := n.do(time.Minute, cmd(fsm.OpGet, "k1")); len(got[0].Result.Str) != mib {
		t.Errorf("the refused GETDEL took effect: %.60s", text(got[0]))
	}
	w.replySettled(t)
}

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host/racing"
	"github.com/kvorum/kvorum/raftnode"
)

// instantGroup answers everything at once.
type instantGroup struct{ opened int64 }

var okResults = []fsm.Result{fsm.OK()}

func (g *instantGroup) Submit(sub *fsm.Sub, done func(*fsm.Sub, error)) {
	sub.Status = fsm.SubApplied
	sub.Results = fsm.ResultRoom(sub.Results, sub.Writes)
	for i := range sub.Results {
		sub.Results[i] = okResults[0]
	}
	if sub.Session == 0 {
		g.opened++
		sub.Results = []fsm.Result{fsm.Int(g.opened)}
	}
	if len(sub.Reads) > 0 {
		sub.ReadResults = make([]fsm.Result, len(sub.Reads))
		for i := range sub.ReadResults {
			sub.ReadResults[i] = okResults[0]
		}
	}
	done(sub, nil)
}

func (g *instantGroup) Read(_ context.Context, cmds []fsm.Command, out []fsm.Result, _ *fsm.Room) error {
	for i := range cmds {
		out[i] = okResults[0]
	}
	return nil
}

func (g *instantGroup) Vouch() raftnode.Voucher { return raftnode.Voucher{} }
func (g *instantGroup) ReadVouched(string, raftnode.Voucher, []fsm.Command, []fsm.Result, *fsm.Room) bool {
	return false
}

func (g *instantGroup) ReadStale(cmds []fsm.Command, out []fsm.Result, room *fsm.Room) {
	_ = g.Read(context.Background(), cmds, out, room)
}
func (g *instantGroup) Leader() raftnode.Hint { return raftnode.Hint{Node: "n0", Term: 1} }
func (g *instantGroup) IsLeader() bool        { return true }

func newInstantRouter(groups int) *Router {
	r := newRouter(routerConfig{Self: "n0", Incarnation: 1, Table: fsm.Data(), Logger: slog.New(slog.DiscardHandler)})
	m := &Map{Epoch: 1, Version: 1, Groups: make(map[uint32]GroupPlace)}
	for s := range m.Slots {
		m.Slots[s] = uint32(s%groups) + 1
	}
	for g := range groups {
		m.Groups[uint32(g+1)] = GroupPlace{Replicas: []string{"n0"}}
	}
	r.setMap(m)
	for g := range groups {
		r.attach(uint32(g+1), &instantGroup{})
	}
	return r
}

func BenchmarkDo(b *testing.B) {
	value := make([]byte, 100)
	for _, bb := range []struct {
		name string
		cmds int
		make func(i int) fsm.Command
	}{
		{"set", 1, func(int) fsm.Command {
			return fsm.Command{Op: fsm.OpSet, Args: [][]byte{[]byte("key:0000000000001"), value}}
		}},
		{"get", 1, func(int) fsm.Command { return cmd(fsm.OpGet, "key:0000000000001") }},
		{"set", 64, func(i int) fsm.Command {
			return fsm.Command{Op: fsm.OpSet, Args: [][]byte{fmt.Appendf(nil, "key:%013d", i), value}}
		}},
		{"get", 64, func(i int) fsm.Command { return cmd(fsm.OpGet, fmt.Sprintf("key:%013d", i)) }},
		{"mixed", 64, func(i int) fsm.Command {
			if i%2 == 0 {
				return cmd(fsm.OpGet, fmt.Sprintf("key:%013d", i))
			}
			return fsm.Command{Op: fsm.OpSet, Args: [][]byte{fmt.Appendf(nil, "key:%013d", i), value}}
		}},
		{"mget", 1, func(int) fsm.Command { return cmd(fsm.OpMGet, "a", "b", "c", "d", "e", "f", "g", "h") }},
	} {
		b.Run(fmt.Sprintf("%s/cmds=%d", bb.name, bb.cmds), func(b *testing.B) {
			r := newInstantRouter(4)
			defer r.close()
			cmds := make([]fsm.Command, bb.cmds)
			for i := range cmds {
				cmds[i] = bb.make(i)
			}
			out := make([]Reply, len(cmds))
			c := &Caller{Protocol: "internal"}
			b.ReportAllocs()
			for b.Loop() {
				r.Do(context.Background(), c, cmds, out)
			}
			if out[0].Err != nil {
				b.Fatal(out[0].Err)
			}
		})
	}
}

// TestDoAllocations holds the hot path to its cost: nothing is allocated for one command, beside what
// the group itself allocates.
func TestDoAllocations(t *testing.T) {
	if racing.Detector { // pools forget at random, so allocations cannot be counted
		t.Skip("pools forget at random under the race detector")
	}
	r := newInstantRouter(4)
	defer r.close()
	c := &Caller{Protocol: "internal"}
	set := []fsm.Command{cmd(fsm.OpSet, "key", "value")}
	get := []fsm.Command{cmd(fsm.OpGet, "key")}
	out := make([]Reply, 1)
	for _, cmds := range [][]fsm.Command{set, get} {
		n := testing.AllocsPerRun(1000, func() { r.Do(context.Background(), c, cmds, out) })
		if out[0].Err != nil || n > 0.5 {
			t.Errorf("%v allocations for one %v (%v)", n, r.Table().Spec(cmds[0].Op).Name, out[0].Err)
		}
	}
}

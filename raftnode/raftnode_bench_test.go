// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
)

// realCluster starts three nodes of one group in this process, on real files and loopback TCP, and
// returns the leader.
func realCluster(b *testing.B, store string) *testNode {
	b.Helper()
	w := newBench(b)
	dirs := b.TempDir()
	var nodes []*testNode
	var mu sync.Mutex
	addrs := make(map[string]string)
	for i := range 3 {
		n := &testNode{b: w, name: fmt.Sprintf("n%d", i+1)}
		cfg := DefaultConfig()
		cfg.Dir, cfg.Listen, cfg.Logger = fmt.Sprint(dirs, "/", i), "127.0.0.1:0", testLogger(n.name)
		cfg.LogStore = store
		node, err := Open(host.Real(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := node.SetCluster("cluster-a"); err != nil {
			b.Fatal(err)
		}
		n.node = node
		addrs[node.ID()] = node.Addr()
		node.SetDirectory(func(id string) (string, bool) {
			mu.Lock()
			defer mu.Unlock()
			a, ok := addrs[id]
			return a, ok
		})
		nodes = append(nodes, n.start(uint64(i+1), i == 0))
	}
	b.Cleanup(func() {
		for _, n := range nodes {
			if err := n.node.Close(); err != nil {
				b.Error(err)
			}
		}
	})
	lead := nodes[0]
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	awaitLead(ctx, b, lead.group)
	lead.must(fsm.Own(1, allSlots()))
	for i, n := range nodes[1:] {
		replica := uint64(i + 2)
		if err := lead.group.AddNonvoter(ctx, n.node.ID(), replica, 0); err != nil {
			b.Fatal(err)
		}
		if err := n.group.WaitApplied(ctx, lead.group.Applied()); err != nil {
			b.Fatal(err)
		}
		if err := lead.group.Promote(ctx, n.node.ID(), replica, 0); err != nil {
			b.Fatal(err)
		}
	}
	return lead
}

// awaitLead waits until g leads.
func awaitLead(ctx context.Context, b *testing.B, g *Group) {
	b.Helper()
	for {
		changed := g.changed.wait()
		if g.IsLeader() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			b.Fatal("the founder does not lead")
		}
	}
}

// BenchmarkSet: durable SETs of 100 bytes by closed-loop clients, each with depth SETs on their way.
func BenchmarkSet(b *testing.B) {
	for _, store := range []string{LogStoreWAL, LogStoreBolt} {
		for _, tt := range []struct{ clients, depth int }{{1, 1}, {10, 1}, {50, 1}, {50, 16}, {50, 64}} {
			b.Run(fmt.Sprintf("store=%s/clients=%d/depth=%d", store, tt.clients, tt.depth), func(b *testing.B) {
				lead := realCluster(b, store)
				before := lead.group.Status().StoreCalls
				value := strings.Repeat("v", 100)
				var left, latency atomic.Int64
				var failed atomic.Bool
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				b.ResetTimer()
				for c := range tt.clients {
					wg.Go(func() {
						done := make(chan error, tt.depth)
						for left.Add(-int64(tt.depth)) > -int64(tt.depth) {
							start := time.Now()
							for d := range tt.depth {
								lead.group.Submit(pack(setCmd(fmt.Sprint("key-", c, d), value)), func(_ *fsm.Sub, err error) { done <- err })
							}
							for range tt.depth {
								if err := <-done; err != nil && !failed.Swap(true) {
									b.Error(err)
								}
							}
							if failed.Load() {
								return
							}
							latency.Add(int64(time.Since(start)))
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				calls := lead.group.Status().StoreCalls - before
				b.ReportMetric(float64(calls)*1000/float64(b.N), "appends/1000")
				b.ReportMetric(float64(latency.Load())*float64(tt.depth)/float64(b.N)/1e3, "µs/round")
			})
		}
	}
}

// BenchmarkRead: reads of one key behind the fence.
func BenchmarkRead(b *testing.B) {
	for _, readers := range []int{1, 10, 50, 200} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			lead := realCluster(b, LogStoreWAL)
			lead.must(setCmd("k", strings.Repeat("v", 100)))
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range readers {
				wg.Go(func() {
					cmds, out := []fsm.Command{getCmd("k")}, make([]fsm.Result, 1)
					for left.Add(-1) >= 0 {
						if err := lead.group.Read(b.Context(), cmds, out, nil); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kvorum/kvorum/fsm"
)

// TestStoreCallsPerSet: what closed-loop clients cost in log appends, which are fsyncs, on the leader
// of one group. A client has depth SETs on their way, each answered by itself.
func TestStoreCallsPerSet(t *testing.T) {
	for _, tt := range []struct {
		name           string
		clients, depth int
		most           float64 // appends per 1000 acknowledged SETs
	}{
		{name: "50 clients", clients: 50, depth: 1, most: 60},
		{name: "pipeline 64", clients: 50, depth: 64, most: 5},
		{name: "one client, pipeline 64", clients: 1, depth: 64, most: 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(b *bench) {
				b.cluster("n1", "n2", "n3")
				lead := b.leader()
				before := lead.group.Status().StoreCalls
				const rounds = 100
				var acked atomic.Int64
				var wg sync.WaitGroup
				for c := range tt.clients {
					wg.Go(func() {
						done := make(chan error, tt.depth)
						for range rounds {
							for d := range tt.depth {
								lead.group.Submit(pack(setCmd(fmt.Sprint(c, d), "value")), func(_ *fsm.Sub, err error) { done <- err })
							}
							for range tt.depth {
								if err := <-done; err != nil {
									t.Error(err)
								}
								acked.Add(1)
							}
						}
					})
				}
				wg.Wait()
				calls := lead.group.Status().StoreCalls - before
				per := float64(calls) * 1000 / float64(acked.Load())
				t.Logf("%d appends for %d SETs: %.1f per 1000", calls, acked.Load(), per)
				if per > tt.most {
					t.Errorf("%.1f appends per 1000 SETs are more than %.0f", per, tt.most)
				}
			})
		})
	}
}

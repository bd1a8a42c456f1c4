// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// TestFounderAlone: one node elects itself, writes and reads.
func TestFounderAlone(t *testing.T) {
	inWorld(t, func(b *bench) {
		nodes := b.cluster("n1")
		b.write("k", "v")
		got, err := nodes[0].get(b.t.Context(), "k")
		if err != nil || got != "v" {
			t.Fatalf("got %q, %v", got, err)
		}
	})
}

// TestAcknowledgedSurvives: what was acknowledged survives the death of leaders and of all nodes.
func TestAcknowledgedSurvives(t *testing.T) {
	inWorld(t, func(b *bench) {
		names := []string{"n1", "n2", "n3"}
		b.cluster(names...)
		acked := 0
		write := func(count int) {
			for range count {
				b.write(fmt.Sprintf("k%d", acked), fmt.Sprintf("v%d", acked))
				acked++
			}
		}
		write(20)
		for range 5 {
			lead := b.leader()
			lead.crash()
			write(10)
			b.reopen(lead.name, replicaOf(lead.name))
			write(5)
		}
		for _, n := range b.live() {
			n.crash()
		}
		for _, name := range names {
			b.reopen(name, replicaOf(name))
		}
		write(1)
		b.converged()
		for _, n := range b.live() {
			for i := range acked {
				if got := n.local(fmt.Sprintf("k%d", i)); got != fmt.Sprintf("v%d", i) {
					t.Fatalf("%s: k%d = %q", n.name, i, got)
				}
			}
		}
	})
}

func nop(*fsm.Sub, error) {}

func replicaOf(name string) uint64 { return uint64(name[1] - '0') }

// TestReadsFollowWrites: reads through the fence see every acknowledged write while leaders change.
func TestReadsFollowWrites(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cluster("n1", "n2", "n3")
		for i := range 100 {
			want := fmt.Sprint(i)
			b.write("k", want)
			lead := b.leader()
			ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
			got, err := lead.get(ctx, "k")
			cancel()
			if err != nil || got != want {
				t.Fatalf("read %d on %s: %q, %v", i, lead.name, got, err)
			}
			if i%20 == 19 {
				lead.crash()
				b.reopen(lead.name, replicaOf(lead.name))
			}
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestPacer: a snapshot is written at the rate, and takes a part in pacerShare of a goroutine's time at most.
func TestPacer(t *testing.T) {
	const piece = 64 << 10
	for _, c := range []struct {
		name      string
		rate      int64
		work      time.Duration // per piece
		pieces    int
		least     time.Duration
		most      time.Duration
		unbounded bool
	}{
		{"by rate", 64 << 20, 100 * time.Microsecond, 1024, 990 * time.Millisecond, 1010 * time.Millisecond, false},
		{"by work", 1 << 40, time.Millisecond, 1000, (1000*pacerShare - 10) * time.Millisecond, (1000*pacerShare + 10) * time.Millisecond, false},
		{"slow disk", 64 << 20, 60 * time.Millisecond, 10, (600*pacerShare - 50) * time.Millisecond, (600*pacerShare + 50) * time.Millisecond, false},
		{"no bound", 0, time.Millisecond, 1000, time.Second, time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pacer{rate: c.rate}
				began, pauses := time.Now(), 0
				for range c.pieces {
					time.Sleep(c.work)
					if d := p.spent(piece, c.work); d > 0 {
						pauses++
						time.Sleep(d)
					}
				}
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("it took %v, want %v to %v", took, c.least, c.most)
				}
				if (pauses == 0) != c.unbounded {
					t.Errorf("%d pauses", pauses)
				}
			})
		})
	}
}

// TestPacerDoesNotSaveUp: after an idle time there is no burst.
func TestPacerDoesNotSaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer{rate: 1 << 20}
		p.spent(1<<20, 0)
		time.Sleep(time.Hour)
		if d := p.spent(1<<20, 0); d != time.Second {
			t.Errorf("pause of %v", d)
		}
	})
}

// TestSnapshotIsPaced: a snapshot goes by the node's rate, and stopping the group does not wait for it.
func TestSnapshotIsPaced(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.SnapshotRate = 1 << 20 }
		n := b.cluster("n1")[0]
		noise := make([]byte, 1<<20) // it does not compress
		for i := range 4 {
			_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(noise)
			n.must(setCmd(fmt.Sprint(i), string(noise)))
		}
		began := time.Now()
		if err := n.group.Snapshot(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
		if took := time.Since(began); took < 3*time.Second || took > 6*time.Second {
			b.t.Errorf("a snapshot of 4 MiB took %v", took)
		}
		n.must(setCmd("again", "v"))
		done := make(chan error)
		go func() { done <- n.group.Snapshot(b.t.Context()) }()
		b.sleep(time.Second)
		began = time.Now()
		n.close()
		if took := time.Since(began); took > 500*time.Millisecond {
			b.t.Errorf("close took %v", took)
		}
		if err := <-done; err == nil {
			b.t.Error("the snapshot was taken nevertheless")
		}
	})
}

// TestOnlyVoterStandsAtOnce: it does not wait for a leader that nobody can be; beside others it does.
func TestOnlyVoterStandsAtOnce(t *testing.T) {
	inWorld(t, func(b *bench) {
		n := b.cluster("n1")[0]
		n.must(setCmd("k", "v"))
		for range 3 {
			n.crash()
			began := time.Now()
			n = b.reopen("n1", 1)
			b.leader()
			if took := time.Since(began); took > DefaultHeartbeat/4 {
				b.t.Errorf("leads after %v", took)
			}
		}
	})
	inWorld(t, func(b *bench) {
		nodes := b.cluster("n1", "n2", "n3")
		for _, n := range nodes {
			n.crash()
		}
		n := b.reopen("n1", 1)
		b.sleep(10 * DefaultHeartbeat)
		if n.group.IsLeader() {
			b.t.Error("it leads alone")
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// slowBlock is how long slowSnapshots lets the write of one block of a snapshot take.
	slowBlock = time.Second
	// closeSoon bounds what a shutdown may take over a snapshot being written: the block on its way, a
	// heartbeat for outstanding entries, and a few syncs.
	closeSoon = 3 * time.Second
)

// slowSnapshots makes n's disk write one block of an unfinished snapshot in slowBlock. What it returns
// counts the writes begun.
func (n *testNode) slowSnapshots() *atomic.Int32 {
	begun := new(atomic.Int32)
	n.b.world.FS(n.name).OnStep(func(op, name string) error {
		if op == "write" && strings.HasSuffix(name, ".tmp") {
			begun.Add(1)
			time.Sleep(slowBlock)
		}
		return nil
	})
	return begun
}

// unfinished lists what there is of unfinished snapshots of n's replica.
func (n *testNode) unfinished() []string {
	n.b.t.Helper()
	names, err := n.b.world.Host(n.name).FS.ReadDir(path.Join(n.group.dir, snapshotsName))
	if err != nil {
		n.b.t.Fatal(err)
	}
	var out []string
	for _, name := range names {
		if strings.HasSuffix(name, ".tmp") {
			out = append(out, name)
		}
	}
	return out
}

// fillLarge writes 6 MiB that do not pack: a snapshot of more than twenty blocks.
func (b *bench) fillLarge() {
	b.t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		value := make([]byte, 100<<10)
		for j := range value {
			value[j] = byte(random.Uint32())
		}
		b.write(fmt.Sprint("large", i), string(value))
	}
}

// TestCloseDuringSnapshot: a node closes, and a group restarts in place, without waiting for the rest of
// a snapshot being written or received; nothing of it is left, and the replica goes on as it was.
func TestCloseDuringSnapshot(t *testing.T) {
	for _, tt := range []struct {
		name string
		// end is called with a snapshot of n on its way and returns the replica's next life.
		end func(b *bench, n *testNode) *testNode
	}{
		{name: "close", end: func(b *bench, n *testNode) *testNode {
			n.close()
			return n
		}},
		{name: "stop group", end: func(b *bench, n *testNode) *testNode {
			if err := n.node.StopGroup(testGroup); err != nil {
				b.t.Error(err)
			}
			return n
		}},
		{name: "restart in place", end: func(b *bench, n *testNode) *testNode {
			n.group.restart("test")
			return n
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(b *bench) {
				n := b.cluster("n1")[0]
				b.fillLarge()
				begun := n.slowSnapshots()
				ended := make(chan error, 1)
				go func() { ended <- n.group.Snapshot(context.Background()) }()
				b.waitFor("a snapshot on its way", func() bool { return begun.Load() > 3 })
				start := time.Now()
				n = tt.end(b, n)
				if took := time.Since(start); took > closeSoon {
					t.Errorf("it took %v", took)
				}
				if err := <-ended; !errors.Is(err, ErrClosed) {
					t.Errorf("the snapshot ended with %v", err)
				}
				if left := n.unfinished(); len(left) > 0 {
					t.Errorf("%v are left", left)
				}
				b.world.FS("n1").OnStep(nil)
				n.close()
				n = b.reopen("n1", 1)
				b.waitFor("the state", func() bool { return len(n.local("large59")) == 100<<10 })
				if err := n.group.Snapshot(b.t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestCloseDuringInstall: the same for a snapshot that another node sends.
func TestCloseDuringInstall(t *testing.T) {
	inWorld(t, func(b *bench) {
		b.cfg = func(_ string, c *Config) { c.SnapshotLogBytes = 8 << 20 }
		lead := b.cluster("n1")[0]
		b.fillLarge()
		for i := range minTrailingLogs {
			b.write("k", fmt.Sprint(i)) // the late node needs the snapshot: the log behind it is cut
		}
		if err := lead.group.Snapshot(b.t.Context()); err != nil {
			t.Fatal(err)
		}
		late := b.open("n4").start(4, false)
		begun := late.slowSnapshots()
		if err := lead.group.AddNonvoter(b.t.Context(), late.node.ID(), 4, 0); err != nil {
			t.Fatal(err)
		}
		b.waitFor("a snapshot on its way", func() bool { return begun.Load() > 3 })
		start := time.Now()
		late.close()
		if took := time.Since(start); took > closeSoon {
			t.Errorf("it took %v", took)
		}
		if left := late.unfinished(); len(left) > 0 {
			t.Errorf("%v are left", left)
		}
		b.world.FS("n4").OnStep(nil)
		b.reopen("n4", 4)
		b.converged()
	})
}

// TestCrashDuringSnapshot: what a crash leaves of a snapshot being written goes at the next start.
func TestCrashDuringSnapshot(t *testing.T) {
	inWorld(t, func(b *bench) {
		n := b.cluster("n1")[0]
		b.fillLarge()
		begun := n.slowSnapshots()
		ended := make(chan error, 1)
		go func() { ended <- n.group.Snapshot(context.Background()) }()
		b.waitFor("a snapshot on its way", func() bool { return begun.Load() > 3 })
		if err := b.world.Host("n1").FS.SyncDir(path.Join(n.group.dir, snapshotsName)); err != nil {
			t.Fatal(err)
		}
		n.crash()
		<-ended
		b.world.FS("n1").OnStep(nil)
		if left := n.unfinished(); len(left) != 1 {
			t.Fatalf("the crash left %v", left)
		}
		n = b.reopen("n1", 1)
		if left := n.unfinished(); len(left) > 0 {
			t.Errorf("%v are left", left)
		}
		b.waitFor("the state", func() bool { return len(n.local("large59")) == 100<<10 })
	})
}

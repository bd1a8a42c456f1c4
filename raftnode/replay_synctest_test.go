// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// TestSnapshotDuringReplay: a replica that was restarted in place is asked for a snapshot while raft
// hands it again what its machine has seen. The machine is ahead of the index that raft would write on
// the snapshot, so there must be none: a start from it would apply entries a second time.
func TestSnapshotDuringReplay(t *testing.T) {
	inWorld(t, func(b *bench) {
		var replaying atomic.Bool
		b.cfg = func(_ string, c *Config) {
			c.Events.Applied = func(uint32, uint64) {
				if replaying.Load() {
					time.Sleep(time.Millisecond) // the request for a snapshot arrives between two batches
				}
			}
		}
		n := b.cluster("n1")[0]
		for i := range 400 {
			b.write(fmt.Sprint("k", i), fmt.Sprint(i))
		}
		b.sleep(time.Second)
		at := n.group.Applied()
		replaying.Store(true)
		n.group.restart("test")
		for range 5000 {
			_ = n.group.Snapshot(b.t.Context()) // refused as long as raft is behind the machine
			if index, _ := n.group.snaps.local(); index != 0 && index < at {
				b.t.Fatalf("a snapshot at entry %d holds the state at %d", index, at)
			}
			time.Sleep(time.Millisecond)
		}
		replaying.Store(false)
		b.waitFor("leadership", n.group.IsLeader)
		if err := n.group.Snapshot(b.t.Context()); err != nil {
			b.t.Error(err)
		}
		n.crash()
		n = b.reopen("n1", 1)
		b.waitFor("the state", func() bool { return n.local("k399") == "399" })
	})
}

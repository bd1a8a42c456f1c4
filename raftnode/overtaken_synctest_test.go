// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// holdSnapshot holds up the next snapshot that n's disk writes, and no other, at its first such operation.
// held tells whether it has come to that.
func (n *testNode) holdSnapshot(op string) (held func() bool, release func()) {
	var name atomic.Pointer[string]
	gate := make(chan struct{})
	n.b.world.FS(n.name).OnStep(func(did, file string) error {
		if did == op && strings.HasSuffix(file, ".tmp") {
			name.CompareAndSwap(nil, &file)
			if *name.Load() == file {
				<-gate
			}
		}
		return nil
	})
	return func() bool { return name.Load() != nil }, sync.OnceFunc(func() { close(gate) })
}

// holdRemoval holds up the removal of n's next old snapshot.
func (n *testNode) holdRemoval(string) (held func() bool, release func()) {
	var pauses atomic.Int32
	gate := make(chan struct{})
	n.group.snaps.dir.Pause(func() bool {
		if pauses.Add(1) == 1 {
			<-gate
		}
		return true
	})
	return func() bool { return pauses.Load() > 0 }, sync.OnceFunc(func() { close(gate) })
}

// TestInstallOvertakesOwnSnapshot: a replica that writes a snapshot of its own is cut off meanwhile and gets
// a newer one from the leader. It goes on behind the newer one, wherever its own has been held up.
func TestInstallOvertakesOwnSnapshot(t *testing.T) {
	for _, at := range []string{"write", "rename", "removal"} {
		t.Run(at, func(t *testing.T) {
			inWorld(t, func(b *bench) {
				b.cfg = func(_ string, c *Config) { c.SnapshotLogBytes = 4 << 20 }
				b.cluster("n1", "n2", "n3")
				b.fillLarge()
				lead := b.leader()
				n := b.others(lead)[0]
				for range 2 { // so that the next one lets an old one go
					b.write("k", "v")
					b.sleep(time.Second)
					if err := n.group.Snapshot(b.t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				b.write("k", "w")
				b.sleep(time.Second)
				hold := n.holdSnapshot
				if at == "removal" {
					hold = n.holdRemoval
				}
				held, release := hold(at)
				defer release()
				own := make(chan error, 1)
				go func() { own <- n.group.Snapshot(b.t.Context()) }()
				b.waitFor("the snapshot to be held up", held)
				b.world.Isolate(n.name, lead.name, b.others(lead)[1].name)
				b.fillLarge()
				b.fillLarge()
				lead = b.leader()
				if err := lead.group.Snapshot(b.t.Context()); err != nil {
					t.Fatal(err)
				}
				newer, _ := lead.group.snaps.local()
				if first, err := lead.group.logs.FirstIndex(); err != nil || first <= n.group.Applied()+1 {
					t.Fatalf("the log from %d, %v: a replica at %d needs no snapshot", first, err, n.group.Applied())
				}
				b.world.HealAll()
				b.sleep(5 * time.Second)
				if at != "rename" && n.group.Applied() < newer {
					t.Errorf("applied %d; the leader's snapshot is at %d", n.group.Applied(), newer)
				}
				release()
				if err := <-own; err != nil {
					t.Errorf("own snapshot: %v", err)
				}
				b.write("after", "1")
				b.converged()
				if index, _ := n.group.snaps.local(); index < newer {
					t.Errorf("newest snapshot at %d, the leader shipped one at %d", index, newer)
				}
				b.waitFor("the old snapshots to go", func() bool { return len(n.unfinished()) == 0 })
			})
		})
	}
}

// TestOlderSnapshotEndsLater: of two snapshots in the making the older one is given up when the newer one is
// there first; one of this node's own keeps a newer one waiting until raft has noted it.
func TestOlderSnapshotEndsLater(t *testing.T) {
	inWorld(t, func(b *bench) {
		n := b.cluster("n1")[0]
		b.write("k", "v")
		if err := n.group.Snapshot(b.t.Context()); err != nil {
			t.Fatal(err)
		}
		s := n.group.snaps
		base, err := s.newest()
		if err != nil {
			t.Fatal(err)
		}
		sink := func(index uint64, own bool) *snapSink {
			made, err := s.Create(base.Version, index, base.Term, base.Configuration, base.ConfigurationIndex, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, r, err := s.dir.Open(base.ID)
			if err != nil {
				t.Fatal(err)
			}
			made.(*snapSink).own = own
			if _, err := io.Copy(made, r); err != nil {
				t.Fatal(err)
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			return made.(*snapSink)
		}
		oldest, own, received, last := sink(base.Index+1, true), sink(base.Index+2, true), sink(base.Index+3, false), sink(base.Index+2, false)
		if err := own.Close(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- received.Close() }()
		b.sleep(time.Second)
		if index, _ := s.local(); index != own.index {
			t.Errorf("at %d while raft has not noted the one at %d", index, own.index)
		}
		s.settle()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		for _, older := range []*snapSink{last, oldest} {
			if err := older.Close(); err == nil {
				t.Errorf("the one at %d counts", older.index)
			}
		}
		s.settle()
		if index, _ := s.local(); index != received.index || s.size() == 0 {
			t.Errorf("newest at %d, want %d", index, received.index)
		}
		if newest, err := s.newest(); err != nil || newest.Index != received.index {
			t.Errorf("on disk %d, %v", newest.Index, err)
		}
		// raft knows nothing of these snapshots: n ends before it writes one.
	})
}

// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/link"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

// TestRepairLogTable: what the log may look like beside the newest snapshot, and what becomes of it.
func TestRepairLogTable(t *testing.T) {
	newest := raft.SnapshotMeta{Index: 100, Term: 5}
	for _, tt := range []struct {
		name        string
		first, last uint64
		termAt      uint64 // term of entry 100, if there
		dropped     bool
		lost        bool
	}{
		{name: "empty"},
		{name: "ends before", first: 1, last: 60, dropped: true},
		{name: "ends at it", first: 1, last: 100, termAt: 5},
		{name: "goes on", first: 50, last: 150, termAt: 5},
		{name: "another entry there", first: 50, last: 150, termAt: 4, dropped: true},
		{name: "begins right behind", first: 101, last: 150},
		{name: "begins too late", first: 102, last: 150, lost: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			logs, err := logstore.OpenWAL(host.NewWorld(1).Host("n1").FS, "/wal", logstore.Options{SegmentBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			for i := tt.first; i <= tt.last && i > 0; i++ {
				term := uint64(4)
				if i >= 100 {
					term = max(tt.termAt, 4)
				}
				if err := logs.StoreLog(&raft.Log{Index: i, Term: term}); err != nil {
					t.Fatal(err)
				}
			}
			err = repairLog(logs, newest)
			if lost := errors.Is(err, ErrDataLost); lost != tt.lost || err != nil && !lost {
				t.Fatalf("repair: %v", err)
			}
			last, _ := logs.LastIndex()
			if want := tt.last; last != want && !tt.dropped || tt.dropped && last != 0 {
				t.Errorf("the log ends at %d", last)
			}
			if err := logs.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDamagedSnapshot: a newest snapshot that cannot be read is passed over when the log leads to it
// from the one before, and otherwise the replica refuses to start instead of going back.
func TestDamagedSnapshot(t *testing.T) {
	for _, covered := range []bool{true, false} {
		t.Run(fmt.Sprint("covered=", covered), func(t *testing.T) {
			inWorld(t, func(b *bench) {
				b.cfg = func(_ string, c *Config) { c.SegmentBytes, c.SnapshotLogBytes = 64<<10, 1<<20 }
				n := b.cluster("n1")[0]
				step := func(name string, writes int) {
					for i := range writes {
						b.write(fmt.Sprint(name, i), strings.Repeat(name, 500))
					}
					if err := n.group.Snapshot(b.t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				step("a", 10)
				if covered {
					step("b", 10)
				} else {
					step("b", 3*minTrailingLogs)
				}
				dir := path.Join(n.group.dir, snapshotsName)
				n.crash()
				names, err := b.world.Host("n1").FS.ReadDir(dir)
				if err != nil || len(names) != 2 {
					t.Fatalf("%v, %v", names, err)
				}
				err = b.world.FS("n1").Edit(path.Join(dir, names[1]), func(content []byte) []byte {
					content[len(content)/2] ^= 1
					return content
				})
				if err != nil {
					t.Fatal(err)
				}
				if covered {
					n = b.reopen("n1", 1)
					b.waitFor("the log to be applied", func() bool { return n.local("b9") != "" })
					return
				}
				n = b.open("n1")
				_, err = n.node.StartGroup(GroupConfig{Group: testGroup, Replica: 1, Machine: n.machineOnly()})
				if err == nil {
					t.Error("the replica went back to an older state")
				}
				n.close()
			})
		})
	}
}

// TestRemoveGroupCrash: whenever the process dies around RemoveGroup, the replica is there wholly or
// gone with its files at the next start.
func TestRemoveGroupCrash(t *testing.T) {
	inWorld(t, func(b *bench) {
		n := b.cluster("n1")[0]
		b.write("k", "v")
		dir := n.group.dir
		if err := n.node.cat.dropGroup(testGroup); err != nil {
			t.Fatal(err)
		}
		n.crash() // between the record and the files
		n = b.open("n1")
		if _, err := b.world.Host("n1").FS.Stat(dir); err == nil {
			t.Error("files of a removed replica are still there")
		}
		if err := n.node.RemoveGroup(testGroup); !errors.Is(err, ErrNoGroup) {
			t.Errorf("removing it again: %v", err)
		}
		n.close()
	})
}

// TestPeerCalls: the layers above talk over the same link as the term checks.
func TestPeerCalls(t *testing.T) {
	inWorld(t, func(b *bench) {
		nodes := b.cluster("n1", "n2")
		for _, class := range []Class{ClassControl, ClassForward, ClassJoin} {
			nodes[1].node.Handle(class, func(_ context.Context, from string, req []byte) ([]byte, error) {
				if string(req) == "fail" {
					return nil, errors.New("as asked")
				}
				return fmt.Appendf(nil, "%v %s %s", class, from, req), nil
			})
		}
		ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
		defer cancel()
		me, peer := nodes[0].node, nodes[1].node
		for _, class := range []Class{ClassControl, ClassForward} {
			got, err := me.Call(ctx, peer.ID(), class, []byte("hello"))
			if want := fmt.Sprintf("%v %s hello", class, me.ID()); err != nil || string(got) != want {
				t.Errorf("%v: %q, %v", class, got, err)
			}
			_, err = me.Call(ctx, peer.ID(), class, []byte("fail"))
			if _, ok := errors.AsType[*RemoteError](err); !ok {
				t.Errorf("%v: %v", class, err)
			}
		}
		if got, err := me.CallAddr(ctx, "n2:7400", ClassControl, []byte("hello")); err != nil || !strings.HasSuffix(string(got), "hello") {
			t.Errorf("by address: %q, %v", got, err)
		}
		if _, err := me.Call(ctx, peer.ID(), ClassObserve, nil); !errors.Is(err, ErrNotSent) || !errors.Is(err, link.ErrNoHandler) {
			t.Errorf("no handler: %v", err)
		}
		if _, err := me.Call(ctx, "nobody", ClassForward, nil); !errors.Is(err, ErrNotSent) {
			t.Errorf("unknown node: %v", err)
		}
		me.Forget(peer.ID())
		if _, err := me.Call(ctx, peer.ID(), ClassForward, []byte("hello")); err != nil {
			t.Errorf("after Forget the directory still knows it: %v", err)
		}
		b.write("k", "v")
	})
}

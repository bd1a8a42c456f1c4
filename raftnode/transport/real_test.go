// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/link"
)

// Three replicas on real loopback elect a leader, agree on a log with large entries, hand the
// leadership over and agree on more.
func TestRealLoopback(t *testing.T) {
	addrs := make(map[string]string)
	var links []*link.Link
	var replicas []*replica
	for i := range 3 {
		links = append(links, realLink(t, nodeName(i), addrs))
		replicas = append(replicas, newReplica(ServerID(nodeName(i), uint64(i+1))))
	}
	elected := make(chan *replica, 16)
	done := make(chan struct{})
	var watchers sync.WaitGroup
	for i, r := range replicas {
		tr, err := newMux(t, links[i], nil).Open(testGroup, uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		r.start(t, tr)
		conf := servers(replicas[0].id, replicas[1].id, replicas[2].id)
		if err := r.raft.BootstrapCluster(conf).Error(); err != nil {
			t.Fatal(err)
		}
		watchers.Go(func() {
			for {
				select {
				case leads := <-r.raft.LeaderCh():
					if leads {
						elected <- r
					}
				case <-done:
					return
				}
			}
		})
	}
	defer func() {
		close(done)
		watchers.Wait()
		for _, r := range replicas {
			r.stop(t)
		}
		for _, l := range links {
			_ = l.Close()
		}
	}()
	lead := awaitLeader(t, elected)
	for i := range 200 {
		data := bytes.Repeat(fmt.Appendf(nil, "entry %d ", i), 1+100*i)
		if err := lead.raft.Apply(data, 0).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if err := lead.raft.LeadershipTransfer().Error(); err != nil {
		t.Fatal(err)
	}
	next := awaitLeader(t, elected)
	if err := next.raft.Apply([]byte("last"), 0).Error(); err != nil {
		t.Fatal(err)
	}
	want := next.fsm.state()
	for _, r := range replicas {
		awaitState(t, r, want)
	}
}

// realLink is a link on real loopback that finds nodes in addrs, where it enters itself.
func realLink(tb testing.TB, node string, addrs map[string]string) *link.Link {
	tb.Helper()
	l, err := link.New(link.Config{Host: host.Real(), Node: node, Logger: quiet})
	if err != nil {
		tb.Fatal(err)
	}
	l.SetCluster(link.Identity{Cluster: "test"})
	l.SetDirectory(func(n string) (string, bool) { addr, ok := addrs[n]; return addr, ok })
	if err := l.Listen("127.0.0.1:0"); err != nil {
		tb.Fatal(err)
	}
	addrs[node] = l.Addr()
	return l
}

func awaitLeader(t *testing.T, elected <-chan *replica) *replica {
	t.Helper()
	select {
	case r := <-elected:
		return r
	case <-time.After(30 * time.Second):
		t.Fatal("no leader")
		return nil
	}
}

// awaitState waits until r has the state; every command wakes it.
func awaitState(t *testing.T, r *replica, want []string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !slices.Equal(r.fsm.state(), want) {
		select {
		case <-r.fsm.changed:
		case <-deadline:
			t.Fatalf("%s has %d of %d entries", r.id, len(r.fsm.state()), len(want))
		}
	}
}

// BenchmarkAppend measures one round trip of an append to a replica that answers at once.
func BenchmarkAppend(b *testing.B) {
	for _, shape := range []struct{ entries, size int }{{0, 0}, {1, 256}, {4, 256 << 10}} {
		b.Run(fmt.Sprintf("entries=%d/size=%dB", shape.entries, shape.size), func(b *testing.B) {
			from, to := realPair(b)
			go answer(to)
			a := &raft.AppendEntriesRequest{Term: 1}
			a.Entries = entries(1, 1, uint64(shape.entries))
			for _, e := range a.Entries {
				e.Data = make([]byte, shape.size)
			}
			var r raft.AppendEntriesResponse
			b.ReportAllocs()
			b.SetBytes(int64(shape.entries * shape.size))
			for b.Loop() {
				if err := from.AppendEntries(idB, "", a, &r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// realPair is replica a, which sends, and replica b, on real loopback.
func realPair(b *testing.B) (from, to *Transport) {
	b.Helper()
	addrs := make(map[string]string)
	var trans []*Transport
	for i, node := range []string{"a", "b"} {
		l := realLink(b, node, addrs)
		m, err := NewMux(Config{Link: l, Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		tr, err := m.Open(testGroup, uint64(i+1))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = tr.Close()
			_ = l.Close()
		})
		trans = append(trans, tr)
	}
	trans[1].Attach(Hooks{
		LocalSnapshot: func() (uint64, uint64) { return 0, 0 },
		Applied:       func() uint64 { return 0 },
	})
	return trans[0], trans[1]
}

func answer(t *Transport) {
	for {
		select {
		case rpc := <-t.Consumer():
			rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: true}, nil)
		case <-t.ctx.Done():
			return
		}
	}
}

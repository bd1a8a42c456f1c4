// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/internal/host"
)

// TestW13 sends an append to a peer that is down. raft would count each quick failure and sleep ever
// longer, so the append is held until the peer answers a heartbeat, and no longer than this replica
// leads.
func TestW13(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		a := newLink(t, w.Host("a"), "a")
		defer a.Close()
		tr, err := newMux(t, a, nil).Open(testGroup, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		var leads atomic.Bool
		leads.Store(true)
		tr.Attach(Hooks{Term: func() uint64 { return 5 }, Leader: func() raft.ServerID {
			if leads.Load() {
				return idA
			}
			return idB
		}})
		send := func(args raft.AppendEntriesRequest) (<-chan time.Duration, time.Time) {
			done, began := make(chan time.Duration, 1), time.Now()
			args.RPCHeader, args.Term = rpcHeader(idA), 5
			go func() {
				_ = tr.AppendEntries(idB, "", &args, new(raft.AppendEntriesResponse))
				done <- time.Since(began)
			}()
			return done, began
		}
		held, began := send(raft.AppendEntriesRequest{PrevLogEntry: 3, PrevLogTerm: 5})
		for range 10 {
			beat, _ := send(raft.AppendEntriesRequest{})
			<-beat // a heartbeat fails at once
			time.Sleep(time.Second)
		}
		if len(held) != 0 {
			t.Fatalf("the append came back after %v, its peer was still down", <-held)
		}

		b := newLink(t, w.Host("b"), "b")
		defer b.Close()
		peer, err := newMux(t, b, nil).Open(testGroup, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		agree(peer)
		back := time.Now()
		for len(held) == 0 && time.Since(back) < 10*time.Second {
			beat, _ := send(raft.AppendEntriesRequest{})
			<-beat
			time.Sleep(50 * time.Millisecond)
		}
		if took := <-held; began.Add(took).Sub(back) > 2*time.Second {
			t.Errorf("the append came back %v after its peer", began.Add(took).Sub(back))
		}

		b.Close()
		held, _ = send(raft.AppendEntriesRequest{PrevLogEntry: 3, PrevLogTerm: 5})
		time.Sleep(10 * time.Second)
		leads.Store(false)
		if took := <-held; took > 11*time.Second {
			t.Errorf("the append of a deposed leader was held for %v", took)
		}
	})
}

// agree lets a replica answer every message with success until its transport closes.
func agree(peer *Transport) {
	peer.Attach(Hooks{
		Term: func() uint64 { return 5 }, Leader: func() raft.ServerID { return idA }, HasConfiguration: func() bool { return true },
		LocalSnapshot: func() (uint64, uint64) { return 0, 0 }, Applied: func() uint64 { return 0 }, HasEntry: func(uint64, uint64) bool { return true },
	})
	go func() {
		for {
			select {
			case rpc := <-peer.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 5, Success: true}, nil)
			case <-peer.ctx.Done():
				return
			}
		}
	}()
}

// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// raft counts the failed appends to a peer and sleeps before the next one, twice as long each time,
// up to ten seconds; nothing wakes it when the peer is back. A peer that was down for a minute would
// get no entries for up to ten seconds after its return, and with another replica lost meanwhile the
// group would stand still. So a failed append does not return before it makes sense to try again
// (W13): when a heartbeat to the peer, which raft retries at a steady pace, was answered.
const (
	// patienceTick is how often a waiting append looks whether this replica still leads.
	patienceTick = 500 * time.Millisecond
	// patienceMax bounds the wait, for a peer that never comes back.
	patienceMax = 30 * time.Second
)

// answers wakes appends that failed when their peer answers a heartbeat.
type answers struct {
	mu      sync.Mutex
	waiting map[raft.ServerID]chan struct{}
}

// next returns a channel that is closed at the peer's next answer to a heartbeat.
func (a *answers) next(id raft.ServerID) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	ch := a.waiting[id]
	if ch == nil {
		if a.waiting == nil {
			a.waiting = make(map[raft.ServerID]chan struct{})
		}
		ch = make(chan struct{})
		a.waiting[id] = ch
	}
	return ch
}

// heard tells that the peer answered a heartbeat.
func (a *answers) heard(id raft.ServerID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ch := a.waiting[id]; ch != nil {
		close(ch)
		delete(a.waiting, id)
	}
}

// isHeartbeat recognises raft's heartbeats as its own network transport does.
func isHeartbeat(args *raft.AppendEntriesRequest) bool {
	return args.Term != 0 && args.PrevLogEntry == 0 && args.PrevLogTerm == 0 && len(args.Entries) == 0 && args.LeaderCommitIndex == 0
}

// wait holds a failed append until its peer answers a heartbeat, this replica no longer leads in the
// append's term, or the transport closes.
func (t *Transport) wait(term uint64, answered <-chan struct{}) {
	tick := time.NewTicker(patienceTick)
	defer tick.Stop()
	limit := time.NewTimer(patienceMax)
	defer limit.Stop()
	for {
		select {
		case <-answered:
			return
		case <-t.ctx.Done():
			return
		case <-limit.C:
			return
		case <-tick.C:
			if h := t.hooks.Load(); h == nil || h.Term() != term || h.Leader() != t.self {
				return
			}
		}
	}
}

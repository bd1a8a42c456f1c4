// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/hashicorp/raft"
)

// raft sends an entry to the followers only when it lies on the leader's own disk, so that an entry waits for
// one disk after the other. A leader may write and send at once, as long as it does not count itself before
// its own write is done (Ongaro's thesis, 10.2.1). So the log store, when raft hands it a leader's entries,
// first has the transport send them ahead (W16); when raft asks for the same append afterwards, it is given
// the answer to that message. raft counts nobody earlier than without: its own entry is counted when
// StoreLogs has returned, a follower's when raft has asked for the append.
//
// A message ahead is an ordinary append of a leader in its term. If the write fails, or the process dies in it,
// the follower has an entry that the leader has not: raft steps down before it could give the index to another
// entry of that term, and the next leader keeps the entry or overwrites it, as with any uncommitted one.

// aheadTable holds at most one append sent ahead for each replica.
type aheadTable struct {
	mu struct {
		sync.Mutex
		m map[raft.ServerID]*ahead
	}
	senders sync.WaitGroup
}

// ahead is an append that left before raft asked for it.
type ahead struct {
	// req is not changed any more.
	req *raft.AppendEntriesRequest
	// done is closed behind the last write to resp and err.
	done chan struct{}
	resp raft.AppendEntriesResponse
	err  error
}

// Abreast names the replicas that have acknowledged all entries up to index, the last one of a leader that is about to
// write more in its term: those to which Ahead may send.
func (t *Transport) Abreast(term, index uint64) []raft.ServerID {
	if t.ctx.Err() != nil || t.mux.diskOverdue() {
		return nil
	}
	return t.progress.at(term, index)
}

// Ahead sends entries, which this replica as the leader of their term is about to write, to those that are Abreast and
// have nothing else ahead. prevTerm is the term of the entry before the first, commit the leader's commit index. raft's
// main loop calls it, from within StoreLogs; it does not wait for an answer.
func (t *Transport) Ahead(to []raft.ServerID, entries []*raft.Log, prevTerm, commit uint64) {
	req := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax},
		Term:      entries[0].Term, PrevLogEntry: entries[0].Index - 1, PrevLogTerm: prevTerm,
		Entries: slices.Clone(entries), LeaderCommitIndex: commit,
	}
	if checkEntries(req) != nil {
		return
	}
	cutEntries(req)
	clampCommit(req)
	sent := false
	for _, id := range to {
		a := t.ahead.begin(id, req)
		if a == nil {
			continue
		}
		sent = true
		t.ahead.senders.Go(func() {
			defer close(a.done)
			a.err = t.exchange(id, a.req, &a.resp)
		})
	}
	if sent {
		runtime.Gosched() // the write that follows keeps the processor: let the messages leave first
	}
}

// Join waits until nothing is being sent ahead any more: behind Close, when raft has ended.
func (t *Transport) Join() { t.ahead.senders.Wait() }

// begin notes that req is sent ahead to id; nil when something else is. It forgets all that is outdated: nobody asks
// for what went to a replica that was removed.
func (t *aheadTable) begin(id raft.ServerID, req *raft.AppendEntriesRequest) *ahead {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.mu.m, func(_ raft.ServerID, old *ahead) bool { return old.outdated(req) })
	if t.mu.m[id] != nil {
		return nil
	}
	if t.mu.m == nil {
		t.mu.m = make(map[raft.ServerID]*ahead)
	}
	a := &ahead{req: req, done: make(chan struct{})}
	t.mu.m[id] = a
	return a
}

// take gives what was sent ahead to id in place of args, an append that raft asks for; nil if nothing was, or if that
// has failed by now: the peer may be there again.
func (t *aheadTable) take(id raft.ServerID, args *raft.AppendEntriesRequest) *ahead {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.mu.m[id]
	switch {
	case a == nil || len(args.Entries) == 0:
		return nil
	case a.begins(args) || planted("ahead-any") && len(a.req.Entries) <= len(args.Entries):
		delete(t.mu.m, id)
		if a.failed() {
			return nil
		}
		return a
	case a.outdated(args):
		delete(t.mu.m, id)
	}
	return nil
}

// begins tells whether a is args, or an append of the first of its entries: from one leader in one term, the
// same indexes are the same entries.
func (a *ahead) begins(args *raft.AppendEntriesRequest) bool {
	return a.req.Term == args.Term && a.req.PrevLogEntry == args.PrevLogEntry && a.req.PrevLogTerm == args.PrevLogTerm &&
		len(a.req.Entries) <= len(args.Entries)
}

// failed tells whether the message is known not to have been answered.
func (a *ahead) failed() bool {
	select {
	case <-a.done:
		return a.err != nil
	default:
		return false
	}
}

// outdated tells whether raft will not ask for a any more, since it is at args.
func (a *ahead) outdated(args *raft.AppendEntriesRequest) bool {
	return a.req.Term < args.Term || a.req.Term == args.Term && a.req.PrevLogEntry < args.PrevLogEntry
}

// await turns args into what was sent ahead, and waits for its answer.
func (t *Transport) await(a *ahead, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	select {
	case <-a.done:
	case <-t.ctx.Done():
		return ErrClosed
	}
	if a.err != nil {
		return a.err
	}
	if !planted("ahead-more") {
		args.Entries = args.Entries[:len(a.req.Entries)]
	}
	clampCommit(args)
	*resp = a.resp
	return nil
}

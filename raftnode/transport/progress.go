// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Progress is what a leader learned about one replica from the answers to its appends.
type Progress struct {
	// Term is the leader's term.
	Term uint64
	// Match is the highest index the replica acknowledged in this term, 0 before the first.
	Match uint64
	// LastLog is the last index of the replica's log when it answered.
	LastLog uint64
	// Sent and Answered are the times of the latest answered append.
	Sent, Answered time.Time
}

// now is read for ages, which go by its monotonic part, never for dates.
func now() time.Time { return time.Now() } //nolint:forbidigo // monotonic, see above

// progressTable holds one term's progress: the first append of a later term empties it, which also
// bounds it by the size of a configuration.
type progressTable struct {
	mu struct {
		sync.Mutex
		term uint64
		m    map[raft.ServerID]*Progress
	}
}

func (p *progressTable) get(id raft.ServerID) (Progress, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.mu.m[id]; v != nil {
		return *v, true
	}
	return Progress{}, false
}

// at gives the replicas that acknowledged exactly the entries up to index in this term.
func (p *progressTable) at(term, index uint64) (ids []raft.ServerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.term != term {
		return nil
	}
	for id, v := range p.mu.m {
		if v.Match == index {
			ids = append(ids, id)
		}
	}
	return ids
}

// note takes an answer into account. vouched is the index up to which the request spoke, 0 for a
// heartbeat.
func (p *progressTable) note(id raft.ServerID, term, vouched uint64, sent time.Time, resp *raft.AppendEntriesResponse) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if term < p.mu.term || resp.Term > term {
		return
	}
	if term > p.mu.term || p.mu.m == nil {
		p.mu.term, p.mu.m = term, make(map[raft.ServerID]*Progress)
	}
	v := p.mu.m[id]
	if v == nil {
		v = &Progress{Term: term}
		p.mu.m[id] = v
	}
	if resp.Success {
		v.Match = max(v.Match, vouched)
	}
	v.LastLog = resp.LastLog
	v.Sent, v.Answered = sent, now()
}

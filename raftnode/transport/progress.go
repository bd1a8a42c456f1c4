// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"sync"

	"github.com/hashicorp/raft"
)

// progressTable is what a leader learned about the replicas from the answers to its appends in one term: the first
// append of a later term empties it, which also bounds it by the size of a configuration.
type progressTable struct {
	mu struct {
		sync.Mutex
		term uint64
		// match is the highest index that each replica acknowledged, 0 before the first.
		match map[raft.ServerID]uint64
	}
}

// at gives the replicas that acknowledged exactly the entries up to index in this term.
func (p *progressTable) at(term, index uint64) (ids []raft.ServerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.term != term {
		return nil
	}
	for id, match := range p.mu.match {
		if match == index {
			ids = append(ids, id)
		}
	}
	return ids
}

// note takes an answer into account. vouched is the index up to which the request spoke, 0 for a
// heartbeat.
func (p *progressTable) note(id raft.ServerID, term, vouched uint64, resp *raft.AppendEntriesResponse) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if term < p.mu.term || resp.Term > term || !resp.Success {
		return
	}
	if term > p.mu.term || p.mu.match == nil {
		p.mu.term, p.mu.match = term, make(map[raft.ServerID]uint64)
	}
	p.mu.match[id] = max(p.mu.match[id], vouched)
}

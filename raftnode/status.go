// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"time"

	"github.com/hashicorp/raft"
)

// GroupRecord is what the catalogue holds about a replica.
type GroupRecord struct {
	Group   uint32
	Replica uint64
	// Founder: this replica was started with Bootstrap.
	Founder bool
}

// GroupStatus is one replica's view of its group.
type GroupStatus struct {
	Group   uint32
	Replica uint64
	Leader  Hint
	// Leading: this replica leads and has applied an entry of its term.
	Leading bool
	// Running: raft has started. What raft knows is zero before.
	Running bool
	Term    uint64
	// Applied is the last index applied here; Commit and LastLog as this replica knows them.
	Applied, Commit, LastLog uint64
	// ConfigIndex is the log index of the last committed membership, for prevIndex.
	ConfigIndex       uint64
	Voters, Nonvoters []ReplicaStatus
	SnapshotIndex     uint64
	SnapshotBytes     int64
	// LogBytes were written since the last snapshot.
	LogBytes int64
	// StoreCalls counts the appends to the log store since start; one fsync each.
	StoreCalls uint64
	// LogReads counts the entries read back from the log's disk since start. Followers that keep up are
	// served from memory.
	LogReads uint64
	// LowDisk: growing writes are refused, here or by a majority.
	LowDisk bool
}

// ReplicaStatus is a member of a group. Fields below Replica are known on the leader only.
type ReplicaStatus struct {
	Node    string
	Replica uint64
	// Known: the replica answered at least once since this one began to lead.
	Known bool
	// LastLog and Applied as the replica said at Contact; Lag is how many entries of this leader's
	// log it had not stored then.
	LastLog, Applied, Lag uint64
	// Contact is how long ago it answered last; 0 for this replica itself.
	Contact time.Duration
	LowDisk bool
}

// Status describes the group as seen here.
func (g *Group) Status() GroupStatus {
	bytes := g.logs.logged()
	s := GroupStatus{
		Group: g.id, Replica: g.replica,
		Leader: g.Leader(), Leading: g.IsLeader(),
		Applied: g.Applied(), ConfigIndex: g.applier.config.Load(),
		SnapshotBytes: g.snaps.size(),
		LogBytes:      bytes, StoreCalls: g.logs.calls.Load(), LogReads: g.logs.DiskReads(),
		LowDisk: g.prop.lowDisk.Load(),
	}
	s.SnapshotIndex, _ = g.snaps.local()
	in := g.inst.Load()
	if in == nil {
		return s
	}
	s.Running = true
	s.Term, s.Commit, s.LastLog = in.raft.CurrentTerm(), in.raft.CommitIndex(), in.raft.LastIndex()
	for _, server := range in.servers() {
		r := g.replicaStatus(server, s.LastLog)
		if server.Suffrage == raft.Voter {
			s.Voters = append(s.Voters, r)
		} else {
			s.Nonvoters = append(s.Nonvoters, r)
		}
	}
	return s
}

func (g *Group) replicaStatus(server raft.Server, lastLog uint64) ReplicaStatus {
	node, replica, _ := splitServerID(server.ID)
	r := ReplicaStatus{Node: node, Replica: replica}
	if server.ID == g.self {
		r.Known, r.LastLog, r.Applied = true, lastLog, g.applier.index.Load()
		r.Lag = lastLog - min(lastLog, r.Applied)
		r.LowDisk = g.n.low.Load()
		return r
	}
	a, ok := g.peers.of(node, replica)
	if !ok {
		return r
	}
	r.Known, r.LastLog, r.Applied, r.LowDisk = true, a.lastLog, a.applied, a.lowDisk
	r.Lag = a.asked - min(a.asked, a.lastLog)
	r.Contact = time.Since(a.sent)
	return r
}

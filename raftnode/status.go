// SPDX-License-Identifier: Apache-2.0

package raftnode

import "time"

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
	// LowDisk: growing writes are refused, here or by a majority.
	LowDisk bool
}

// ReplicaStatus is a member of a group. Fields below Replica are known on the leader only.
type ReplicaStatus struct {
	Node    string
	Replica uint64
	// Known: the replica answered at least once in this term.
	Known bool
	// LastLog and Applied as the replica said at Contact; Lag is how many entries it was behind
	// this leader's log then.
	LastLog, Applied, Lag uint64
	// Contact is how long ago it answered last; 0 for the leader itself.
	Contact time.Duration
	LowDisk bool
}

// SPDX-License-Identifier: Apache-2.0

package shard

import "github.com/kvorum/kvorum/fsm"

// Health is the state of the whole cluster in one word.
type Health string

// The healths, best first.
const (
	// HealthOK: every node is up and every group has all the voters it should have.
	HealthOK Health = "ok"
	// HealthDegraded: every key can be read and written, but something is missing.
	HealthDegraded Health = "degraded"
	// HealthUnavailable: some keys cannot be read or written now.
	HealthUnavailable Health = "unavailable"
	// HealthUninitialised: the node asked belongs to no cluster.
	HealthUninitialised Health = "uninitialised"
)

// Status is the cluster as one node sees it.
type Status struct {
	Cluster ClusterStatus `json:"cluster"`
	// Nodes are in the order in which they joined.
	Nodes    []NodeStatus  `json:"nodes"`
	Groups   []GroupStatus `json:"groups"`
	Warnings []Warning     `json:"warnings"`
}

// ClusterStatus is the header of a Status.
type ClusterStatus struct {
	ID          string `json:"id"`
	Initialised bool   `json:"initialised"`
	Health      Health `json:"health"`
	// Tolerates is how many more nodes may fail, whichever they are, before some key can no
	// longer be written; -1 when that is so already.
	Tolerates int    `json:"tolerates"`
	Epoch     uint64 `json:"epoch"`
	Version   uint32 `json:"version"`
	Replicas  int    `json:"replicas"`
	// Self is the id of the node that was asked.
	Self string `json:"self"`
}

// NodeStatus is one member.
type NodeStatus struct {
	ID    string            `json:"id"`
	Name  string            `json:"name"`
	Addrs map[string]string `json:"addrs"`
	Zone  string            `json:"zone,omitempty"`
	// Alive: the node sent its report in time.
	Alive bool `json:"alive"`
	// Leaving: the node was asked to leave and still holds replicas.
	Leaving  bool   `json:"leaving,omitempty"`
	Version  string `json:"version,omitempty"`
	Leaders  int    `json:"leaders"`
	Replicas int    `json:"replicas"`
	// Keys, KeyBytes, ValueBytes and Bytes sum over the groups that the node leads, so that the
	// sum over nodes counts each key once.
	Keys       uint64 `json:"keys"`
	KeyBytes   uint64 `json:"keyBytes"`
	ValueBytes uint64 `json:"valueBytes"`
	Bytes      uint64 `json:"bytes"`
	// Error says why there is no report, empty when there is one.
	Error string `json:"error,omitempty"`
}

// GroupStatus is one group; group 0 is the control group.
type GroupStatus struct {
	ID uint32 `json:"id"`
	// Leader is a node id, empty when no report names one.
	Leader   string          `json:"leader"`
	Term     uint64          `json:"term"`
	Voters   []ReplicaStatus `json:"voters"`
	Learners []ReplicaStatus `json:"learners"`
	// Lag is the largest distance, in log entries, between the leader and a replica.
	Lag     uint64 `json:"lag"`
	Applied uint64 `json:"applied"`
	// Slots counts the slots that the control group assigned to the group.
	Slots      int    `json:"slots"`
	Keys       uint64 `json:"keys"`
	KeyBytes   uint64 `json:"keyBytes"`
	ValueBytes uint64 `json:"valueBytes"`
	// Bytes are logical bytes, as the memory limit counts them.
	Bytes uint64 `json:"bytes"`
	// TokenBytes are those of what is remembered of request tokens, besides.
	TokenBytes uint64 `json:"tokenBytes"`
	// StoreCalls counts the appends to the leader's log since it started.
	StoreCalls uint64 `json:"storeCalls"`
	// LogBytes is the size of the leader's log.
	LogBytes uint64 `json:"logBytes"`
	// LowDisk: the leader refuses growing writes because disk space ran out.
	LowDisk bool `json:"lowDisk,omitempty"`
	// Importing: the group's keys wait for the end of a restore, or for it to be cleared up.
	Importing bool `json:"importing,omitempty"`
}

// ReplicaStatus is one replica as its leader sees it.
type ReplicaStatus struct {
	Node    string `json:"node"`
	Replica uint64 `json:"replica"`
	// Lag is in log entries.
	Lag   uint64 `json:"lag"`
	Alive bool   `json:"alive"`
}

// ReplicaDigest is the digest of one replica at one applied index: replicas of a group at the same index
// have the same digest.
type ReplicaDigest struct {
	Group   uint32 `json:"group"`
	Node    string `json:"node"`
	Applied uint64 `json:"applied"`
	// Digest is 32 hex digits.
	Digest string `json:"digest"`
	// Parts are the digests of the group's slots, where they were asked for.
	Parts []fsm.PartDigest `json:"parts,omitempty"`
}

// Warning is something an operator should mend, with the command that does it.
type Warning struct {
	Text string `json:"text"`
	Mend string `json:"mend,omitempty"`
}

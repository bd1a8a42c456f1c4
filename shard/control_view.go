// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kvorum/kvorum/fsm"
)

// controlGroup is the id of the control group.
const controlGroup uint32 = 0

// View is the whole control state at one revision. It is immutable: every change makes a new View
// that shares what did not change.
type View struct {
	// ClusterID is 32 hex digits, chosen at founding.
	ClusterID string
	// ClusterVersion is the highest version that leaders may use in entries.
	ClusterVersion uint32
	// HashKey orders large collections and SCAN, the same on every node.
	HashKey [16]byte
	// Revision grows by one with every change; 0 means that nothing was founded yet.
	Revision uint64
	Settings Settings
	// SettingsRev is the Revision of the last change of Settings.
	SettingsRev uint64
	// Nodes are the members in the order of their ids.
	Nodes []NodeInfo
	// Groups are the groups in the order of their ids, the control group first.
	Groups []GroupInfo
	// NextGroup is the lowest group id that was never issued.
	NextGroup uint32
	// Slots gives the owner of each slot, 0 for none. Not to be changed.
	Slots *[SlotCount]uint32
	// Epoch grows with every change of Slots.
	Epoch uint64
	// Holds are in the order of their ids; while there is one, no slot begins to move.
	Holds []Hold
	// Restored is the id of the restore that was kept last, 0 for none.
	Restored uint64
}

// Settings are the cluster's settings.
type Settings struct {
	// Groups is the number of data groups.
	Groups int `json:"groups"`
	// Replicas is the number of voters that a data group should have; odd.
	Replicas int `json:"replicas"`
	// MaxMemory is the cluster's limit in logical bytes, one copy counted; each group's share
	// follows its slots. 0 means no limit.
	MaxMemory uint64 `json:"maxMemory"`
	// Policy is the eviction policy, as Redis spells it.
	Policy string `json:"policy"`
	// DefaultTTLMillis is given to keys written without a TTL; 0 means none.
	DefaultTTLMillis int64 `json:"defaultTtlMillis"`
	// Events are the classes of events of keys that are published, in the letters of notify-keyspace-events;
	// empty publishes none.
	Events string `json:"events,omitempty"`
}

func (s *Settings) validate() error {
	_, known := fsm.ParsePolicy(s.Policy)
	_, classes := fsm.ParseClasses(s.Events)
	switch {
	case s.Groups < 1 || s.Groups > MaxGroups:
		return fmt.Errorf("%w: groups %d is not within 1 … %d", ErrRefused, s.Groups, MaxGroups)
	case s.Replicas < 1 || s.Replicas > MaxReplicas || s.Replicas%2 == 0:
		return fmt.Errorf("%w: replicas %d is not an odd number within 1 … %d", ErrRefused, s.Replicas, MaxReplicas)
	case s.DefaultTTLMillis < 0:
		return fmt.Errorf("%w: default TTL is negative", ErrRefused)
	case !classes:
		return fmt.Errorf("%w: classes of events %q are not known", ErrRefused, s.Events)
	case !known:
		return fmt.Errorf("%w: eviction policy %q is not known", ErrRefused, s.Policy)
	}
	return nil
}

// NodeInfo is a member.
type NodeInfo struct {
	ID    string            `json:"id"`
	Name  string            `json:"name"`
	Addrs map[string]string `json:"addrs"`
	Zone  string            `json:"zone,omitempty"`
	// Weight is the node's share of replicas, at least 1.
	Weight int `json:"weight"`
	// Leaving: the node was asked to leave; it gets no replica any more.
	Leaving bool `json:"leaving,omitempty"`
	// Joined is the Revision at which the node joined.
	Joined uint64 `json:"joined"`
	// Rev is the Revision of the node's last change.
	Rev uint64 `json:"rev"`
}

// Role is what a replica shall be in its group.
type Role string

// The roles.
const (
	// RoleVoter: the replica shall vote, once it is caught up.
	RoleVoter Role = "voter"
	// RoleLearner: the replica shall follow the log without a vote.
	RoleLearner Role = "learner"
	// RoleGone: the replica shall leave the group's membership; then it is forgotten and its data
	// deleted.
	RoleGone Role = "gone"
)

// ReplicaInfo is a replica that may exist.
type ReplicaInfo struct {
	Node string `json:"node"`
	// Number is issued once in the group's life.
	Number uint64 `json:"number"`
	Role   Role   `json:"role"`
}

// GroupInfo is a group.
type GroupInfo struct {
	ID uint32 `json:"id"`
	// Founder is the node whose replica number 1 founded the group.
	Founder string `json:"founder"`
	// Replicas are in the order of their numbers.
	Replicas []ReplicaInfo `json:"replicas"`
	// NextReplica is the lowest replica number that was never issued.
	NextReplica uint64 `json:"nextReplica"`
	// Lead is the node that should lead; empty means any.
	Lead string `json:"lead,omitempty"`
	// Rev is the Revision of the group's last change.
	Rev uint64 `json:"rev"`
}

// Node returns the member with the id.
func (v *View) Node(id string) (NodeInfo, bool) {
	i, ok := v.nodeIndex(id)
	if !ok {
		return NodeInfo{}, false
	}
	return v.Nodes[i], true
}

// Group returns the group with the id.
func (v *View) Group(id uint32) (GroupInfo, bool) {
	i, ok := v.groupIndex(id)
	if !ok {
		return GroupInfo{}, false
	}
	return v.Groups[i], true
}

func (v *View) nodeIndex(id string) (int, bool) {
	return slices.BinarySearchFunc(v.Nodes, id, func(n NodeInfo, id string) int { return cmp.Compare(n.ID, id) })
}

func (v *View) groupIndex(id uint32) (int, bool) {
	return slices.BinarySearchFunc(v.Groups, id, func(g GroupInfo, id uint32) int { return cmp.Compare(g.ID, id) })
}

// replicaOn returns the replica that a node holds or shall hold.
func (g *GroupInfo) replicaOn(node string) (ReplicaInfo, bool) {
	for _, r := range g.Replicas {
		if r.Node == node {
			return r, true
		}
	}
	return ReplicaInfo{}, false
}

// nodesWith lists the nodes whose replicas have the role, in the order of the replicas.
func (g *GroupInfo) nodesWith(role Role) []string {
	var out []string
	for _, r := range g.Replicas {
		if r.Role == role {
			out = append(out, r.Node)
		}
	}
	return out
}

// slotCounts counts the slots of every group.
func (v *View) slotCounts() map[uint32]int {
	counts := make(map[uint32]int, len(v.Groups))
	if v.Slots != nil {
		for _, g := range v.Slots {
			counts[g]++
		}
	}
	return counts
}

// share is the part of a cluster-wide number of bytes that falls to a group with so many slots,
// rounded up; 0 stays 0, which means no limit.
func share(total uint64, slots int) uint64 {
	q, r := total/SlotCount, total%SlotCount
	return q*uint64(slots) + (r*uint64(slots)+SlotCount-1)/SlotCount
}

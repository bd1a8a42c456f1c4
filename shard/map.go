// SPDX-License-Identifier: Apache-2.0

package shard

// SlotCount is the number of slots of every cluster.
const SlotCount = 16384

// Map says which group owns each slot and where groups and nodes live, at one epoch of the control
// group. It is immutable after it was handed to a Router: whoever changes the cluster makes a new
// one.
type Map struct {
	// Epoch grows with every change of slot ownership. 0 means that the cluster is not
	// initialised.
	Epoch uint64
	// Version grows with every change of anything in the Map: the control group's applied index.
	Version uint64
	// Slots gives the owner of each slot; 0 (the control group) means that no group owns it.
	Slots [SlotCount]uint32
	// Groups are the data groups that exist, by id.
	Groups map[uint32]GroupPlace
	// Nodes are the members, by node id.
	Nodes map[string]NodePlace

	// owners are the groups that own a slot, each with its first one. Made by setMap.
	owners []owner
}

type owner struct {
	group uint32
	slot  uint16
}

// GroupPlace is where the replicas of a group live.
type GroupPlace struct {
	// Replicas are node ids, voters first.
	Replicas []string
}

// NodePlace is how a node is reached.
type NodePlace struct {
	Name string
	// Addrs are host:port by protocol: "peer", "http", "native", "resp", "memcached". A protocol
	// that is off is absent.
	Addrs map[string]string
}

// Owner returns the group that owns the slot, 0 for none.
func (m *Map) Owner(slot uint16) uint32 { return m.Slots[slot%SlotCount] }

// Initialised tells whether there is a cluster to route in.
func (m *Map) Initialised() bool { return m != nil && m.Epoch > 0 }

func (m *Map) findOwners() {
	seen := make(map[uint32]bool)
	m.owners = m.owners[:0]
	for slot, group := range m.Slots {
		if group != 0 && !seen[group] {
			seen[group] = true
			m.owners = append(m.owners, owner{group: group, slot: uint16(slot)})
		}
	}
}

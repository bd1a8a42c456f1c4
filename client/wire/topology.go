// SPDX-License-Identifier: Apache-2.0

package wire

// Slots is the number of slots of every cluster.
const Slots = 16384

// Topology says which group owns each slot, and where the groups' leaders are reached.
type Topology struct {
	// Version grows with every change of anything here; 0 before the cluster is founded.
	Version uint64
	// Epoch grows with every change of slot ownership.
	Epoch uint64
	Nodes []TopologyNode
	// Groups are the data groups, in no particular order.
	Groups []TopologyGroup
	// Owners[slot] is the index in Groups of the slot's owner, or -1. It is empty or has Slots
	// elements.
	Owners []int16
}

// TopologyNode is one member.
type TopologyNode struct {
	ID string
	// Addr is the host:port of its native port, empty when that is off.
	Addr string
}

// TopologyGroup is one data group.
type TopologyGroup struct {
	ID uint32
	// Leader is an index in Nodes, or -1 when the answering node knows none.
	Leader int16
	// Replicas are indexes in Nodes, voters first.
	Replicas []int16
}

// Limits of a topology: nodes and replicas are counted in two bytes with a sign to spare, groups
// are at most as many as a cluster may have.
const (
	MaxNodes  = 1 << 14
	MaxGroups = 1 << 10
)

// AppendTopologyRequest appends a whole FrameTopology. known is the version that the client has;
// it is answered with that version alone when nothing changed.
func AppendTopologyRequest(dst []byte, id, known uint64) []byte {
	at := len(dst)
	return endFrame(appendU64(beginFrame(dst, FrameTopology, id), known), at)
}

// ParseTopologyRequest reads the body of a FrameTopology.
func ParseTopologyRequest(body []byte) (known uint64, err error) {
	r := reader{src: body}
	known = r.u64()
	if !r.done() {
		return 0, ErrMalformed
	}
	return known, nil
}

// AppendTopology appends t as a whole FrameView. Owners are written as runs of equal slots. A nil
// Nodes, Groups and Owners says "unchanged since that version".
func AppendTopology(dst []byte, id uint64, t *Topology) []byte {
	at := len(dst)
	dst = appendU64(appendU64(beginFrame(dst, FrameView, id), t.Version), t.Epoch)
	dst = appendU16(dst, uint16(len(t.Nodes)))
	for _, n := range t.Nodes {
		dst = appendName(appendName(dst, n.ID), n.Addr)
	}
	dst = appendU16(dst, uint16(len(t.Groups)))
	for _, g := range t.Groups {
		dst = appendU16(appendU32(dst, g.ID), uint16(g.Leader))
		dst = appendU16(dst, uint16(len(g.Replicas)))
		for _, i := range g.Replicas {
			dst = appendU16(dst, uint16(i))
		}
	}
	for slot := 0; slot < len(t.Owners); {
		run := slot + 1
		for run < len(t.Owners) && t.Owners[run] == t.Owners[slot] {
			run++
		}
		dst = appendU16(appendU16(dst, uint16(run-slot)), uint16(t.Owners[slot]))
		slot = run
	}
	return endFrame(dst, at)
}

// ParseTopology reads the body of a FrameView. Nothing aliases body.
func ParseTopology(body []byte) (*Topology, error) {
	r := reader{src: body}
	t := &Topology{Version: r.u64(), Epoch: r.u64()}
	nodes := int(r.u16())
	// A node takes two bytes at least, so the count cannot make more than the bytes allow.
	if nodes > MaxNodes || 2*nodes > len(r.src) {
		return nil, ErrMalformed
	}
	for range nodes {
		t.Nodes = append(t.Nodes, TopologyNode{ID: r.name(), Addr: r.name()})
	}
	groups := int(r.u16())
	if groups > MaxGroups || 8*groups > len(r.src) {
		return nil, ErrMalformed
	}
	for range groups {
		g := TopologyGroup{ID: r.u32(), Leader: r.index(nodes, true)}
		replicas := int(r.u16())
		if 2*replicas > len(r.src) {
			return nil, ErrMalformed
		}
		for range replicas {
			g.Replicas = append(g.Replicas, r.index(nodes, false))
		}
		t.Groups = append(t.Groups, g)
	}
	for len(r.src) > 0 && !r.bad {
		run, owner := int(r.u16()), r.index(groups, true)
		if run == 0 || len(t.Owners)+run > Slots {
			return nil, ErrMalformed
		}
		for range run {
			t.Owners = append(t.Owners, owner)
		}
	}
	if !r.done() || len(t.Owners) != 0 && len(t.Owners) != Slots {
		return nil, ErrMalformed
	}
	return t, nil
}

// index reads an index below n, or -1 where none is allowed.
func (r *reader) index(n int, none bool) int16 {
	i := int16(r.u16())
	if i >= int16(n) || i < -1 || i == -1 && !none {
		r.bad = true
		return -1
	}
	return i
}

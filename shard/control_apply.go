// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"
	"maps"
	"slices"

	"github.com/kvorum/kvorum/fsm"
)

// apply returns the state after one command, which is v itself when nothing changes. It is a
// function of v and the command alone; it never changes v; an error, which wraps ErrRefused or
// ErrConflict, changes nothing. Total: no input makes it panic.
func (v *View) apply(op fsm.Op, args [][]byte) (*View, error) {
	arg, err := parseControl(op, args)
	if err != nil {
		return v, err
	}
	if c, ok := arg.(*cmdFound); ok {
		return v.found(c)
	}
	if v.Revision == 0 {
		return v, fmt.Errorf("%w: the cluster is not founded", ErrRefused)
	}
	n := *v
	n.Revision++
	var changed bool
	switch c := arg.(type) {
	case *cmdAddNode:
		changed, err = n.addNode(c)
	case *cmdSetNode:
		changed, err = n.setNode(c)
	case *cmdLeaveNode:
		changed, err = n.leaveNode(c)
	case *cmdRemoveNode:
		changed, err = n.removeNode(c)
	case *cmdSetReplicas:
		changed, err = n.setReplicas(c)
	case *cmdForget:
		changed, err = n.forget(c)
	case *cmdPrefer:
		changed, err = n.prefer(c)
	case *cmdSettings:
		changed, err = n.setSettings(c)
	case *cmdHold:
		changed, err = n.hold(c)
	case *cmdRenew:
		changed, err = n.renew(c)
	case *cmdRelease:
		changed, err = n.release(c)
	}
	if err != nil || !changed {
		return v, err
	}
	return &n, nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

func (v *View) found(c *cmdFound) (*View, error) {
	if v.Revision != 0 {
		if v.ClusterID == c.ClusterID {
			return v, nil
		}
		return v, refuse("cluster %s is founded already", v.ClusterID)
	}
	if c.ClusterID == "" || len(c.HashKey) != len(v.HashKey) {
		return v, refuse("founding needs an id and a hash key of %d bytes", len(v.HashKey))
	}
	if err := c.Settings.validate(); err != nil {
		return v, err
	}
	if err := c.Node.validate(); err != nil {
		return v, err
	}
	slots, err := slotsOf(c.Slots)
	if err != nil {
		return v, err
	}
	for s, g := range slots {
		if g < 1 || g > uint32(c.Settings.Groups) {
			return v, refuse("slot %d is given to group %d of %d", s, g, c.Settings.Groups)
		}
	}
	n := &View{
		ClusterID: c.ClusterID, ClusterVersion: c.ClusterVersion, HashKey: [16]byte(c.HashKey),
		Revision: 1, Settings: c.Settings, SettingsRev: 1, Slots: slots, Epoch: 1,
		NextGroup: uint32(c.Settings.Groups) + 1,
	}
	node := c.Node
	node.Joined, node.Rev, node.Leaving = 1, 1, false
	n.Nodes = []NodeInfo{node}
	for id := range n.NextGroup {
		n.Groups = append(n.Groups, GroupInfo{
			ID: id, Founder: node.ID, NextReplica: 2, Lead: node.ID, Rev: 1,
			Replicas: []ReplicaInfo{{Node: node.ID, Number: 1, Role: RoleVoter}},
		})
	}
	return n, nil
}

// validate checks what a node says about itself.
func (n *NodeInfo) validate() error {
	switch {
	case n.ID == "" || len(n.ID) > MaxNameLen:
		return refuse("node id has %d bytes", len(n.ID))
	case len(n.Name) > MaxNameLen || len(n.Zone) > MaxNameLen:
		return refuse("node name or zone is longer than %d bytes", MaxNameLen)
	case n.Weight < 1 || n.Weight > MaxWeight:
		return refuse("node weight %d is not within 1 … %d", n.Weight, MaxWeight)
	case len(n.Addrs) > MaxAddrs:
		return refuse("node has more than %d addresses", MaxAddrs)
	case n.Addrs["peer"] == "":
		return refuse("node has no peer address")
	}
	for proto, a := range n.Addrs {
		if len(proto) > MaxNameLen || len(a) > MaxNameLen {
			return refuse("node address is longer than %d bytes", MaxNameLen)
		}
	}
	return nil
}

// sameSelf tells whether two descriptions say the same about a node itself.
func (n *NodeInfo) sameSelf(o *NodeInfo) bool {
	return n.ID == o.ID && n.Name == o.Name && n.Zone == o.Zone && n.Weight == o.Weight && maps.Equal(n.Addrs, o.Addrs)
}

// editNode makes Nodes and the node at i private to v and returns it.
func (v *View) editNode(i int) *NodeInfo {
	v.Nodes = slices.Clone(v.Nodes)
	v.Nodes[i].Rev = v.Revision
	return &v.Nodes[i]
}

// editGroup makes Groups and the group at i private to v and returns it.
func (v *View) editGroup(i int) *GroupInfo {
	v.Groups = slices.Clone(v.Groups)
	g := &v.Groups[i]
	g.Replicas = slices.Clone(g.Replicas)
	g.Rev = v.Revision
	return g
}

func (v *View) addNode(c *cmdAddNode) (bool, error) {
	if err := c.Node.validate(); err != nil {
		return false, err
	}
	i, ok := v.nodeIndex(c.Node.ID)
	if ok {
		if v.Nodes[i].Leaving {
			return false, refuse("node %s is leaving the cluster", c.Node.ID)
		}
		return v.describe(i, &c.Node), nil
	}
	if len(v.Nodes) >= MaxNodes {
		return false, refuse("the cluster has %d nodes already", MaxNodes)
	}
	node := c.Node
	node.Joined, node.Rev, node.Leaving = v.Revision, v.Revision, false
	v.Nodes = slices.Insert(slices.Clone(v.Nodes), i, node)
	g := v.editGroup(0)
	g.Replicas = append(g.Replicas, ReplicaInfo{Node: node.ID, Number: g.NextReplica, Role: RoleLearner})
	g.NextReplica++
	return true, nil
}

// describe takes over what node i says about itself.
func (v *View) describe(i int, as *NodeInfo) bool {
	if v.Nodes[i].sameSelf(as) {
		return false
	}
	n := v.editNode(i)
	n.Name, n.Addrs, n.Zone, n.Weight = as.Name, as.Addrs, as.Zone, as.Weight
	return true
}

func (v *View) setNode(c *cmdSetNode) (bool, error) {
	if err := c.Node.validate(); err != nil {
		return false, err
	}
	i, ok := v.nodeIndex(c.Node.ID)
	if !ok {
		return false, refuse("node %s is no member", c.Node.ID)
	}
	if v.Nodes[i].Rev != c.If {
		return false, ErrConflict
	}
	return v.describe(i, &c.Node), nil
}

func (v *View) leaveNode(c *cmdLeaveNode) (bool, error) {
	i, ok := v.nodeIndex(c.Node)
	if !ok {
		return false, refuse("node %s is no member", c.Node)
	}
	if v.Nodes[i].Leaving {
		return false, nil
	}
	stay := 0
	for _, n := range v.Nodes {
		if !n.Leaving {
			stay++
		}
	}
	if stay < 2 {
		return false, refuse("the last node cannot leave")
	}
	v.editNode(i).Leaving = true
	return true, nil
}

func (v *View) removeNode(c *cmdRemoveNode) (bool, error) {
	i, ok := v.nodeIndex(c.Node)
	if !ok {
		return false, nil
	}
	if !v.Nodes[i].Leaving {
		return false, refuse("node %s was not asked to leave", c.Node)
	}
	for _, g := range v.Groups {
		if _, holds := g.replicaOn(c.Node); holds {
			return false, refuse("node %s still holds a replica of group %d", c.Node, g.ID)
		}
	}
	v.Nodes = slices.Delete(slices.Clone(v.Nodes), i, i+1)
	return true, nil
}

func (v *View) setReplicas(c *cmdSetReplicas) (bool, error) {
	seen := make(map[uint32]bool, len(c.Groups))
	for i := range c.Groups {
		r := &c.Groups[i]
		if seen[r.Group] {
			return false, refuse("group %d is listed twice", r.Group)
		}
		seen[r.Group] = true
		if err := v.setGroup(r); err != nil {
			return false, err
		}
	}
	return len(c.Groups) > 0, nil
}

// setGroup retargets one group.
func (v *View) setGroup(c *groupReplicas) error {
	i, ok := v.groupIndex(c.Group)
	if !ok {
		return refuse("there is no group %d", c.Group)
	}
	if v.Groups[i].Rev != c.If {
		return ErrConflict
	}
	if len(c.Voters)%2 == 0 || len(c.Voters)+len(c.Learners) > MaxNodes {
		return refuse("%d voters and %d learners: voters must be odd in number", len(c.Voters), len(c.Learners))
	}
	role := make(map[string]Role, len(c.Voters)+len(c.Learners))
	want := slices.Concat(c.Voters, c.Learners)
	for k, node := range want {
		if _, twice := role[node]; twice {
			return refuse("node %s is listed twice", node)
		}
		if _, member := v.nodeIndex(node); !member {
			return refuse("node %s is no member", node)
		}
		role[node] = RoleVoter
		if k >= len(c.Voters) {
			role[node] = RoleLearner
		}
	}
	g := v.editGroup(i)
	for k := range g.Replicas {
		r := &g.Replicas[k]
		if to, listed := role[r.Node]; listed {
			r.Role = to
			delete(role, r.Node)
		} else {
			r.Role = RoleGone
		}
	}
	for _, node := range want {
		if to, missing := role[node]; missing {
			g.Replicas = append(g.Replicas, ReplicaInfo{Node: node, Number: g.NextReplica, Role: to})
			g.NextReplica++
		}
	}
	if r, holds := g.replicaOn(g.Lead); !holds || r.Role != RoleVoter {
		g.Lead = ""
	}
	return nil
}

func (v *View) forget(c *cmdForget) (bool, error) {
	i, ok := v.groupIndex(c.Group)
	if !ok || c.Number == 0 || c.Number >= v.Groups[i].NextReplica {
		return false, refuse("replica %d of group %d never was", c.Number, c.Group)
	}
	k := slices.IndexFunc(v.Groups[i].Replicas, func(r ReplicaInfo) bool { return r.Number == c.Number })
	if k < 0 {
		return false, nil
	}
	if v.Groups[i].Replicas[k].Role != RoleGone {
		return false, ErrConflict
	}
	g := v.editGroup(i)
	g.Replicas = slices.Delete(g.Replicas, k, k+1)
	return true, nil
}

func (v *View) prefer(c *cmdPrefer) (bool, error) {
	i, ok := v.groupIndex(c.Group)
	if !ok {
		return false, refuse("there is no group %d", c.Group)
	}
	if v.Groups[i].Rev != c.If {
		return false, ErrConflict
	}
	if r, holds := v.Groups[i].replicaOn(c.Node); c.Node != "" && (!holds || r.Role != RoleVoter) {
		return false, refuse("node %s holds no voter of group %d", c.Node, c.Group)
	}
	if v.Groups[i].Lead == c.Node {
		return false, nil
	}
	v.editGroup(i).Lead = c.Node
	return true, nil
}

func (v *View) setSettings(c *cmdSettings) (bool, error) {
	if v.SettingsRev != c.If {
		return false, ErrConflict
	}
	if err := c.Settings.validate(); err != nil {
		return false, err
	}
	if c.Settings.Groups != v.Settings.Groups {
		return false, refuse("the number of groups is not a setting that can change here")
	}
	if c.Settings == v.Settings {
		return false, nil
	}
	v.Settings, v.SettingsRev = c.Settings, v.Revision
	return true, nil
}

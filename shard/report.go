// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/kvorum/kvorum/raftnode"
)

// nodeReport is what a node says about itself when it is asked for its status.
type nodeReport struct {
	Node    string        `json:"node"`
	Version string        `json:"version"`
	Groups  []groupReport `json:"groups"`
	// err is why there is no report; it does not travel.
	err error
}

// groupReport is one replica as its node sees it.
type groupReport struct {
	Raft       raftnode.GroupStatus `json:"raft"`
	Keys       uint64               `json:"keys"`
	KeyBytes   uint64               `json:"keyBytes"`
	ValueBytes uint64               `json:"valueBytes"`
	Bytes      uint64               `json:"bytes"`
	TokenBytes uint64               `json:"tokenBytes"`
	Importing  bool                 `json:"importing,omitempty"`
}

// report is this node's own.
func (n *Node) report() nodeReport {
	rep := nodeReport{Node: n.ID(), Version: n.cfg.Version}
	for _, r := range n.localReplicas() {
		g := groupReport{Raft: r.group.Status()}
		if r.keyspace != nil {
			s := r.keyspace.Stats()
			g.Keys, g.KeyBytes = uint64(max(s.Keys, 0)), uint64(max(s.KeyBytes, 0))
			g.ValueBytes, g.Bytes = uint64(max(s.ValueBytes, 0)), uint64(max(s.LogicalBytes, 0))
			g.TokenBytes = uint64(max(s.TokenBytes, 0))
			_, g.Importing = r.keyspace.Import()
		}
		rep.Groups = append(rep.Groups, g)
	}
	return rep
}

// reports asks every member of v at once; one that does not answer in time has err set. The order is
// that of v.Nodes.
func (n *Node) reports(ctx context.Context, v *View) []nodeReport {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.StatusTimeout)
	defer cancel()
	out := make([]nodeReport, len(v.Nodes))
	var wg sync.WaitGroup
	for i, node := range v.Nodes {
		if node.ID == n.ID() {
			out[i] = n.report()
			continue
		}
		wg.Go(func() {
			out[i].err = n.ask(ctx, node.ID, opReport, nil, &out[i])
			out[i].Node = node.ID
		})
	}
	wg.Wait()
	return out
}

// Status describes the whole cluster; nodes that do not answer in time show as down.
func (n *Node) Status(ctx context.Context) (Status, error) {
	v := n.View()
	if v == nil {
		id := n.book.Load()
		s := Status{Cluster: ClusterStatus{ID: id.ClusterID, Initialised: n.Initialised(), Health: HealthUninitialised, Self: n.ID()}}
		s.Nodes, s.Groups, s.Warnings = []NodeStatus{}, []GroupStatus{}, []Warning{blankWarning(id)}
		return s, nil
	}
	reports := n.reports(ctx, v)
	if err := ctx.Err(); err != nil {
		return Status{}, fmt.Errorf("shard: status: %w", context.Cause(ctx))
	}
	return joinReports(v, n.ID(), reports), nil
}

func blankWarning(id *identity) Warning {
	switch id.Phase {
	case phaseLeft:
		return Warning{Text: ErrLeft.Error()}
	case phaseBlank:
		return Warning{Text: "this node belongs to no cluster yet", Mend: "kvorum join MEMBER, or start it with --init"}
	case phaseFounding, phaseMember:
	}
	return Warning{Text: "this node has not caught up with its cluster yet: no member that leads has reached it"}
}

// joinReports makes one Status of a View and the members' reports, which are in the order of
// v.Nodes. Pure.
func joinReports(v *View, self string, reports []nodeReport) Status {
	s := Status{Cluster: ClusterStatus{
		ID: v.ClusterID, Initialised: true, Health: HealthOK, Epoch: v.Epoch, Version: v.ClusterVersion,
		Replicas: v.Settings.Replicas, Self: self,
	}, Warnings: []Warning{}}
	for i, node := range v.Nodes {
		row := NodeStatus{
			ID: node.ID, Name: node.Name, Addrs: node.Addrs, Zone: node.Zone, Leaving: node.Leaving,
			Alive: reports[i].err == nil, Version: reports[i].Version, Replicas: v.replicasOf(node.ID, true),
		}
		if reports[i].err != nil {
			row.Error = reports[i].err.Error()
		}
		s.Nodes = append(s.Nodes, row)
	}
	slots := v.slotCounts()
	tolerates := len(v.Nodes)
	for i := range v.Groups {
		g := &v.Groups[i]
		row, spare := joinGroup(g, reports)
		row.Slots = slots[g.ID]
		tolerates = min(tolerates, spare)
		s.Groups = append(s.Groups, row)
		for k := range s.Nodes {
			if node := &s.Nodes[k]; node.ID == row.Leader {
				node.Leaders++
				node.Keys, node.KeyBytes = node.Keys+row.Keys, node.KeyBytes+row.KeyBytes
				node.ValueBytes, node.Bytes = node.ValueBytes+row.ValueBytes, node.Bytes+row.Bytes
			}
		}
	}
	s.Cluster.Tolerates = max(tolerates, -1)
	joined := func(id string) uint64 { node, _ := v.Node(id); return node.Joined }
	slices.SortStableFunc(s.Nodes, func(a, b NodeStatus) int { return cmp.Compare(joined(a.ID), joined(b.ID)) })
	s.judge(v)
	return s
}

// joinGroup makes a group's row from its leader's report, or without one from the View and the most
// advanced replica. spare is how many more of its voters may fail; negative when it has no majority
// or no leader now. A replica is alive when its node says so itself: what the leader knows may be of a process that
// died, and a node answers before its replicas have started.
func joinGroup(g *GroupInfo, reports []nodeReport) (row GroupStatus, spare int) {
	alive := make(map[string]bool)
	row.ID, row.Voters, row.Learners = g.ID, []ReplicaStatus{}, []ReplicaStatus{}
	var lead, best *groupReport
	for i := range reports {
		for k := range reports[i].Groups {
			r := &reports[i].Groups[k]
			if r.Raft.Group != g.ID {
				continue
			}
			alive[reports[i].Node] = r.Raft.Running
			if r.Raft.Leading && (lead == nil || r.Raft.Term > lead.Raft.Term) {
				lead, row.Leader = r, reports[i].Node
			}
			if best == nil || cmp.Or(cmp.Compare(r.Raft.Term, best.Raft.Term), cmp.Compare(r.Raft.Applied, best.Raft.Applied)) > 0 {
				best = r
			}
		}
	}
	seen := lead
	if lead == nil {
		seen = best
	}
	if seen == nil {
		for _, r := range g.Replicas {
			st := ReplicaStatus{Node: r.Node, Replica: r.Number}
			if r.Role == RoleVoter {
				row.Voters = append(row.Voters, st)
			} else {
				row.Learners = append(row.Learners, st)
			}
		}
		return row, -1
	}
	row.Term, row.Applied = seen.Raft.Term, seen.Raft.Applied
	row.Keys, row.KeyBytes, row.ValueBytes, row.Bytes = seen.Keys, seen.KeyBytes, seen.ValueBytes, seen.Bytes
	row.TokenBytes = seen.TokenBytes
	row.Importing = seen.Importing
	row.StoreCalls, row.LogBytes, row.LowDisk = seen.Raft.StoreCalls, uint64(max(seen.Raft.LogBytes, 0)), seen.Raft.LowDisk
	working := 0
	row.Voters = replicaRows(seen.Raft.Voters, alive, lead != nil, &row.Lag)
	row.Learners = replicaRows(seen.Raft.Nonvoters, alive, lead != nil, &row.Lag)
	for _, v := range row.Voters {
		working += rank(v.Alive)
	}
	if lead == nil {
		return row, -1
	}
	return row, working - majority(len(row.Voters))
}

// replicaRows lists members of a group; what the leader knows about them counts only if one answered.
func replicaRows(rs []raftnode.ReplicaStatus, alive map[string]bool, led bool, lag *uint64) []ReplicaStatus {
	rows := make([]ReplicaStatus, 0, len(rs))
	for _, r := range rs {
		row := ReplicaStatus{Node: r.Node, Replica: r.Replica, Alive: alive[r.Node] && (!led || r.Known)}
		if led {
			row.Lag = r.Lag
			*lag = max(*lag, r.Lag)
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b ReplicaStatus) int { return cmp.Compare(a.Replica, b.Replica) })
	return rows
}

// nodeName is what people call a node.
func nodeName(v *View, id string) string {
	if n, ok := v.Node(id); ok {
		return n.Name
	}
	return id
}

// judge sets the health and the warnings.
func (s *Status) judge(v *View) {
	warn := func(health Health, mend, format string, args ...any) {
		if s.Cluster.Health != HealthUnavailable {
			s.Cluster.Health = health
		}
		s.Warnings = append(s.Warnings, Warning{Text: fmt.Sprintf(format, args...), Mend: mend})
	}
	stay, down := 0, 0
	for _, node := range s.Nodes {
		stay += rank(!node.Leaving)
		down += rank(!node.Leaving && !node.Alive)
	}
	for i := range s.Nodes {
		node := &s.Nodes[i]
		switch {
		case !node.Alive && !node.Leaving:
			warn(HealthDegraded, "start it again, or for good: kvorum leave "+node.ID, "node %s (%s) does not answer", node.Name, node.ID)
		case node.Leaving && down > 0:
			warn(HealthDegraded, "start the nodes that are down, or: kvorum leave them", "node %s is leaving and still holds %d replicas, which may have to wait for %d nodes that are down", node.Name, node.Replicas, down)
		case node.Leaving:
			warn(HealthDegraded, "kvorum leave "+node.ID+" waits for it", "node %s is leaving and still holds %d replicas", node.Name, node.Replicas)
		}
	}
	for i := range s.Groups {
		s.judgeGroup(v, &s.Groups[i], stay, warn)
	}
	if h := v.restoring(); h != nil {
		warn(HealthUnavailable, "wait; or, if that node is gone: kvorum snapshot restore --cancel",
			"the cluster is being restored through node %s: until that ends no key can be read or written", nodeName(v, h.Node))
	}
	if stay < v.Settings.Replicas {
		mend := ""
		if len(s.Nodes) > 0 {
			mend = "kvorum serve --join " + s.Nodes[0].Addrs["peer"]
		}
		s.Warnings = append(s.Warnings, Warning{
			Text: fmt.Sprintf("%d nodes cannot hold the %d voting replicas asked for: fewer failures are survived", stay, v.Settings.Replicas),
			Mend: mend,
		})
	}
}

// judgeGroup is judge for one group of a cluster in which stay nodes are to stay.
func (s *Status) judgeGroup(v *View, g *GroupStatus, stay int, warn func(health Health, mend, format string, args ...any)) {
	want := oddBelow(min(v.Settings.Replicas, stay))
	if g.ID == controlGroup {
		want = controlVotes(stay)
	}
	working, starting := 0, 0
	for _, r := range g.Voters {
		working += rank(r.Alive)
		starting += rank(!r.Alive && slices.ContainsFunc(s.Nodes, func(n NodeStatus) bool { return n.ID == r.Node && n.Alive }))
	}
	switch {
	case g.Leader != "" && working < majority(len(g.Voters)):
		warn(HealthUnavailable, "start the nodes that hold it", "group %d has %d of %d voters up, which is no majority", g.ID, working, len(g.Voters))
	case g.Leader == "":
		warn(HealthUnavailable, "start the nodes that hold it", "group %d has no leader", g.ID)
	case len(g.Voters) < want:
		warn(HealthDegraded, "", "group %d has %d of %d voters; the others are catching up", g.ID, len(g.Voters), want)
	case starting > 0:
		warn(HealthDegraded, "wait a moment", "group %d has %d of %d voters up; %d on nodes that answer do not take part yet", g.ID, working, len(g.Voters), starting)
	}
	if g.Importing && v.restoring() == nil {
		warn(HealthUnavailable, "wait a moment", "group %d has not opened its keys yet, after a restore that ended", g.ID)
	}
	if g.LowDisk {
		warn(HealthDegraded, "free disk space on the nodes that hold it", "group %d refuses growing writes: disk space is low", g.ID)
	}
}

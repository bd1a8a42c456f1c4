// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"slices"
)

// governorStep returns the next control command (a *cmd… value) that the cluster needs, nil for
// none. up tells which nodes are in contact. DESIGN.md §5 and §6. Pure.
func governorStep(v *View, up map[string]bool) any {
	for _, next := range []func(*View, map[string]bool) any{removeLeft, placeData, placeControl, placeLeads} {
		if c := next(v, up); c != nil {
			return c
		}
	}
	return nil
}

// removeLeft drops a leaving node that holds nothing any more.
func removeLeft(v *View, _ map[string]bool) any {
	for _, n := range v.Nodes {
		if n.Leaving && v.replicasOf(n.ID, true) == 0 {
			return &cmdRemoveNode{Node: n.ID}
		}
	}
	return nil
}

// replicasOf counts the replicas of a node, gone ones included; those of group 0 only if control.
func (v *View) replicasOf(node string, control bool) int {
	n := 0
	for i := range v.Groups {
		if _, ok := v.Groups[i].replicaOn(node); ok && (control || v.Groups[i].ID != controlGroup) {
			n++
		}
	}
	return n
}

// placeData retargets all data groups whose replicas are not where they should be, at once: a plan
// that is carried out in part would be another one the next time.
func placeData(v *View, up map[string]bool) any {
	var nodes []placeNode
	for _, n := range v.Nodes {
		if !n.Leaving {
			nodes = append(nodes, placeNode{ID: n.ID, Zone: n.Zone, Weight: n.Weight, Open: up[n.ID]})
		}
	}
	var groups []placeGroup
	for i := range v.Groups {
		if g := &v.Groups[i]; g.ID != controlGroup {
			held := slices.Concat(g.nodesWith(RoleVoter), g.nodesWith(RoleLearner))
			groups = append(groups, placeGroup{ID: g.ID, Nodes: held})
		}
	}
	placed := place(nodes, groups, v.Settings.Replicas)
	c := new(cmdSetReplicas)
	for i := range v.Groups {
		g := &v.Groups[i]
		want := placed[g.ID]
		// Fewer than wanted only because nodes are down: better to wait with the old ones.
		if g.ID == controlGroup || len(want) < min(v.Settings.Replicas, len(nodes)) {
			continue
		}
		if r, differs := retarget(g, want, oddBelow(len(want))); differs {
			c.Groups = append(c.Groups, r)
		}
	}
	if len(c.Groups) == 0 {
		return nil
	}
	return c
}

// oddBelow is the largest odd number that is at most n, for n ≥ 1.
func oddBelow(n int) int { return n - 1 + n%2 }

// retarget gives a group these nodes, votes of them voters: present voters first, then the order of
// want. differs is false when that is so already.
func retarget(g *GroupInfo, want []string, votes int) (r groupReplicas, differs bool) {
	order := slices.Clone(want)
	votesNow := func(node string) bool { r, ok := g.replicaOn(node); return ok && r.Role == RoleVoter }
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(rank(votesNow(b)), rank(votesNow(a))) })
	r = groupReplicas{Group: g.ID, If: g.Rev, Voters: order[:votes:votes], Learners: order[votes:]}
	slices.Sort(r.Voters)
	slices.Sort(r.Learners)
	voters, learners := g.nodesWith(RoleVoter), g.nodesWith(RoleLearner)
	slices.Sort(voters)
	slices.Sort(learners)
	return r, !slices.Equal(voters, r.Voters) || !slices.Equal(learners, r.Learners)
}

// controlVotes is how many voters the control group has among n nodes that stay.
func controlVotes(n int) int {
	switch {
	case n < 3:
		return 1
	case n < 5:
		return 3
	}
	return 5
}

// placeControl keeps every node a member of the control group: those that stay, and those that
// leave until they hold no data.
func placeControl(v *View, up map[string]bool) any {
	g, ok := v.Group(controlGroup)
	if !ok {
		return nil
	}
	var stay, drain []string
	for _, n := range v.Nodes {
		switch {
		case !n.Leaving:
			stay = append(stay, n.ID)
		case v.replicasOf(n.ID, false) > 0:
			drain = append(drain, n.ID)
		}
	}
	if len(stay) == 0 {
		return nil
	}
	votes := controlVotes(len(stay))
	voters := pickControl(v, &g, stay, votes, up)
	rest := slices.DeleteFunc(slices.Concat(stay, drain), func(id string) bool { return slices.Contains(voters, id) })
	r, differs := retarget(&g, slices.Concat(voters, rest), votes)
	if !differs {
		return nil
	}
	return &cmdSetReplicas{Groups: []groupReplicas{r}}
}

// pickControl chooses voters one by one: present voters in contact, other present voters, then nodes
// in contact; within each, zones that have no voter yet, then rank.
func pickControl(v *View, g *GroupInfo, stay []string, votes int, up map[string]bool) []string {
	zones := make(map[string]int, len(stay))
	left := slices.Clone(stay)
	var picked []string
	class := func(id string) int {
		r, ok := g.replicaOn(id)
		return 2*rank(ok && r.Role == RoleVoter) + rank(up[id])
	}
	for len(picked) < votes {
		best := slices.MinFunc(left, func(a, b string) int {
			na, _ := v.Node(a)
			nb, _ := v.Node(b)
			return cmp.Or(
				cmp.Compare(class(b), class(a)),
				cmp.Compare(zones[na.Zone], zones[nb.Zone]),
				cmp.Compare(rendezvous(b, g.ID, 1), rendezvous(a, g.ID, 1)),
				cmp.Compare(a, b))
		})
		n, _ := v.Node(best)
		zones[n.Zone]++
		picked = append(picked, best)
		left = slices.DeleteFunc(left, func(id string) bool { return id == best })
	}
	return picked
}

// placeLeads spreads the preferred leaders of data groups.
func placeLeads(v *View, up map[string]bool) any {
	leads := make(map[string]int, len(v.Nodes))
	for _, g := range v.Groups {
		if g.ID != controlGroup {
			leads[g.Lead]++
		}
	}
	for i := range v.Groups {
		g := &v.Groups[i]
		if g.ID == controlGroup {
			continue
		}
		to, ok := fewestLeads(v, g, up, leads)
		if !ok {
			continue
		}
		from, now := g.replicaOn(g.Lead)
		if !now || from.Role != RoleVoter || leads[g.Lead] >= leads[to]+2 {
			return &cmdPrefer{Group: g.ID, If: g.Rev, Node: to}
		}
	}
	return nil
}

// fewestLeads finds the voter of a group, in contact and staying, that is preferred least often.
func fewestLeads(v *View, g *GroupInfo, up map[string]bool, leads map[string]int) (string, bool) {
	best, found := "", false
	for _, id := range g.nodesWith(RoleVoter) {
		n, _ := v.Node(id)
		if n.Leaving || !up[id] {
			continue
		}
		if !found || cmp.Or(
			cmp.Compare(leads[id], leads[best]),
			cmp.Compare(rendezvous(best, g.ID, n.Weight), rendezvous(id, g.ID, n.Weight)),
			cmp.Compare(id, best)) < 0 {
			best, found = id, true
		}
	}
	return best, found
}

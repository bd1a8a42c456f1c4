// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"hash/fnv"
	"maps"
	"math"
	"slices"
)

// placeNode is a node that may hold replicas.
type placeNode struct {
	ID     string
	Zone   string
	Weight int
	// Open: the node is up and may get replicas that it does not hold yet.
	Open bool
}

// placeGroup is a group and the nodes that shall hold it now.
type placeGroup struct {
	ID    uint32
	Nodes []string
}

// place says which nodes shall hold each group: min(replicas, nodes) of them, fewer only where too
// few nodes are open. It starts from the present holders and moves as little as even shares by
// weight allow; ties, and what to move, follow weighted rendezvous hashing; zones are spread as far as shares
// allow. The lists are in the order of rank, best first.
func place(nodes []placeNode, groups []placeGroup, replicas int) map[uint32][]string {
	out := placeOnce(nodes, groups, replicas)
	for range placeRounds {
		settled := slices.Clone(groups)
		for i := range settled {
			settled[i].Nodes = out[settled[i].ID]
		}
		again := placeOnce(nodes, settled, replicas)
		if maps.EqualFunc(out, again, slices.Equal) {
			break
		}
		out = again
	}
	return out
}

// placeRounds bounds the rounds of place: where zones and quotas are at odds, a round may end where the next would
// still move something, and the reconciler would then move replicas for nothing.
const placeRounds = 4

func placeOnce(nodes []placeNode, groups []placeGroup, replicas int) map[uint32][]string {
	p := newPlacement(nodes, groups, replicas)
	p.release()
	p.fillGroups()
	p.spreadZones()
	out := make(map[uint32][]string, len(groups))
	for gi, g := range p.groups {
		held := p.held[gi]
		slices.SortFunc(held, func(a, b int) int { return p.byRank(gi, a, b) })
		for _, ni := range held {
			out[g.ID] = append(out[g.ID], p.nodes[ni].ID)
		}
	}
	return out
}

// placement is the working state of place; nodes and groups are indexes.
type placement struct {
	nodes  []placeNode  // ascending ids
	groups []placeGroup // ascending ids
	want   int          // replicas of a group
	held   [][]int      // per group: nodes
	load   []int        // per node: groups
	quota  []int        // per node: groups
	score  [][]float64  // per group, per node; higher is better
}

func newPlacement(nodes []placeNode, groups []placeGroup, replicas int) *placement {
	p := &placement{nodes: slices.Clone(nodes), groups: slices.Clone(groups)}
	slices.SortFunc(p.nodes, func(a, b placeNode) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(p.groups, func(a, b placeGroup) int { return cmp.Compare(a.ID, b.ID) })
	p.want = min(replicas, len(p.nodes))
	p.held = make([][]int, len(p.groups))
	p.score = make([][]float64, len(p.groups))
	p.load = make([]int, len(p.nodes))
	index := make(map[string]int, len(p.nodes))
	for ni, n := range p.nodes {
		index[n.ID] = ni
	}
	for gi, g := range p.groups {
		p.score[gi] = make([]float64, len(p.nodes))
		for ni := range p.nodes {
			p.score[gi][ni] = rendezvous(p.nodes[ni].ID, g.ID, p.nodes[ni].Weight)
		}
		for _, id := range g.Nodes {
			if ni, ok := index[id]; ok && !slices.Contains(p.held[gi], ni) {
				p.held[gi] = append(p.held[gi], ni)
				p.load[ni]++
			}
		}
	}
	p.quota = placeQuotas(p.nodes, p.load, len(p.groups), p.want)
	return p
}

// rendezvous ranks a node for a group: weighted rendezvous hashing, -weight/ln(u) for u uniform in
// (0, 1). It decides what is proposed, never what is applied, so floats do no harm.
func rendezvous(node string, group uint32, weight int) float64 {
	h := fnv.New64a()
	h.Write([]byte(node)) // never fails
	u := (float64(mix64(h.Sum64()^mix64(uint64(group)))>>11) + 0.5) / (1 << 53)
	return -float64(max(weight, 1)) / math.Log(u)
}

// placeQuotas shares groups×want places by weight, no node more than once a group, and no closed
// node more than it holds. Equal remainders go to the node that holds more of it, then the lower id.
func placeQuotas(nodes []placeNode, load []int, groups, want int) []int {
	quota := make([]int, len(nodes))
	limit := make([]int, len(nodes))
	for i, n := range nodes {
		limit[i] = groups
		if !n.Open {
			limit[i] = min(load[i], groups)
		}
	}
	left := groups * want
	free := make([]bool, len(nodes)) // not at its limit yet
	for i := range free {
		free[i] = true
	}
	for left > 0 {
		total := 0
		for i, n := range nodes {
			if free[i] {
				total += n.Weight
			}
		}
		if total == 0 {
			break
		}
		// Nodes whose share exceeds their limit are settled at it, and the rest is shared anew.
		settled := false
		for i, n := range nodes {
			if free[i] && left*n.Weight >= limit[i]*total {
				quota[i], free[i], settled = limit[i], false, true
			}
		}
		if settled {
			left = groups * want
			for i := range nodes {
				if !free[i] {
					left -= quota[i]
				}
			}
			continue
		}
		shareOut(nodes, load, quota, free, left, total)
		break
	}
	return quota
}

// shareOut gives left places to the free nodes by largest remainder.
func shareOut(nodes []placeNode, load, quota []int, free []bool, left, total int) {
	var order []int
	rest := left
	for i, n := range nodes {
		if free[i] {
			quota[i] = left * n.Weight / total
			rest -= quota[i]
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(
			cmp.Compare(left*nodes[b].Weight%total, left*nodes[a].Weight%total),
			cmp.Compare(load[b]-quota[b], load[a]-quota[a]),
			cmp.Compare(a, b))
	})
	for _, i := range order[:rest] {
		quota[i]++
	}
}

// byRank orders nodes for a group, best first.
func (p *placement) byRank(gi, a, b int) int {
	return cmp.Or(cmp.Compare(p.score[gi][b], p.score[gi][a]), cmp.Compare(a, b))
}

// inZone counts the group's holders in node ni's zone, ni itself left out.
func (p *placement) inZone(gi, ni int) int {
	n := 0
	for _, h := range p.held[gi] {
		if h != ni && p.nodes[h].Zone == p.nodes[ni].Zone {
			n++
		}
	}
	return n
}

func (p *placement) holds(gi, ni int) bool { return slices.Contains(p.held[gi], ni) }

func (p *placement) add(gi, ni int) {
	p.held[gi] = append(p.held[gi], ni)
	p.load[ni]++
}

func (p *placement) drop(gi, ni int) {
	p.held[gi] = slices.DeleteFunc(p.held[gi], func(h int) bool { return h == ni })
	p.load[ni]--
}

// release lets go what is too much: first in groups that have more than they want, then on nodes
// over quota. Doubled zones go first, then groups that lost nothing yet, then low ranks.
func (p *placement) release() {
	for gi := range p.groups {
		for len(p.held[gi]) > p.want {
			p.drop(gi, slices.MaxFunc(p.held[gi], func(a, b int) int {
				return cmp.Or(
					cmp.Compare(p.load[a]-p.quota[a], p.load[b]-p.quota[b]),
					cmp.Compare(p.inZone(gi, a), p.inZone(gi, b)),
					p.byRank(gi, a, b))
			}))
		}
	}
	for ni := range p.nodes {
		if p.load[ni] <= p.quota[ni] {
			continue
		}
		var held []int
		for gi := range p.groups {
			if p.holds(gi, ni) {
				held = append(held, gi)
			}
		}
		slices.SortFunc(held, func(a, b int) int {
			return cmp.Or(
				cmp.Compare(p.inZone(b, ni), p.inZone(a, ni)),
				cmp.Compare(len(p.held[b]), len(p.held[a])),
				cmp.Compare(p.score[a][ni], p.score[b][ni]),
				cmp.Compare(a, b))
		})
		for _, gi := range held[:p.load[ni]-p.quota[ni]] {
			p.drop(gi, ni)
		}
	}
}

// fillGroups gives every group the replicas that it lacks.
func (p *placement) fillGroups() {
	for gi := range p.groups {
		for len(p.held[gi]) < p.want {
			ni, ok := p.bestFree(gi)
			if !ok {
				if p.exchange(gi) {
					continue
				}
				if ni, ok = p.leastOver(gi); !ok {
					break
				}
			}
			p.add(gi, ni)
		}
	}
}

// leastOver finds the open node that one more replica of the group puts the least over its share:
// the last resort when a share belongs to a node that is down.
func (p *placement) leastOver(gi int) (int, bool) {
	best, found := 0, false
	for ni := range p.nodes {
		if !p.nodes[ni].Open || p.holds(gi, ni) {
			continue
		}
		if !found || cmp.Or(cmp.Compare(p.load[ni]-p.quota[ni], p.load[best]-p.quota[best]), p.byRank(gi, ni, best)) < 0 {
			best, found = ni, true
		}
	}
	return best, found
}

// bestFree finds the best node with room for one more replica of the group.
func (p *placement) bestFree(gi int) (int, bool) {
	best, found := 0, false
	for ni := range p.nodes {
		if !p.nodes[ni].Open || p.load[ni] >= p.quota[ni] || p.holds(gi, ni) {
			continue
		}
		if !found || cmp.Or(cmp.Compare(p.inZone(gi, ni), p.inZone(gi, best)), p.byRank(gi, ni, best)) < 0 {
			best, found = ni, true
		}
	}
	return best, found
}

// exchange makes room for one more replica of group gi by the shortest chain of moves that ends at
// a node with room: gi takes a full node's place, one of that node's groups moves on, and so on.
func (p *placement) exchange(gi int) bool {
	type hop struct{ from, group int } // the group that moves from node `from` to this one
	seen := make(map[int]hop, len(p.nodes))
	var queue []int
	for ni := range p.nodes {
		if p.nodes[ni].Open && !p.holds(gi, ni) {
			seen[ni] = hop{from: -1, group: gi}
			queue = append(queue, ni)
		}
	}
	for len(queue) > 0 {
		ni := queue[0]
		queue = queue[1:]
		if p.load[ni] < p.quota[ni] {
			for at := ni; at >= 0; at = seen[at].from {
				h := seen[at]
				if h.from >= 0 {
					p.drop(h.group, h.from)
				}
				p.add(h.group, at)
			}
			return true
		}
		for h := range p.groups {
			if h == gi || !p.holds(h, ni) {
				continue
			}
			for to := range p.nodes {
				if _, known := seen[to]; !known && p.nodes[to].Open && !p.holds(h, to) {
					seen[to] = hop{from: ni, group: h}
					queue = append(queue, to)
				}
			}
		}
	}
	return false
}

// spreadZones moves or exchanges replicas that share a zone with another one of their group, where
// that leaves every share as it is and doubles no other zone.
func (p *placement) spreadZones() {
	for gi := range p.groups {
		for _, ni := range slices.Clone(p.held[gi]) {
			if p.inZone(gi, ni) > 0 {
				p.leaveZone(gi, ni)
			}
		}
	}
}

// leaveZone finds another place for group gi's replica on ni, in a zone that gi does not use.
func (p *placement) leaveZone(gi, ni int) {
	for to := range p.nodes {
		if !p.nodes[to].Open || p.holds(gi, to) || p.inZone(gi, to) > 0 || p.nodes[to].Zone == p.nodes[ni].Zone {
			continue
		}
		if p.load[to] < p.quota[to] {
			p.drop(gi, ni)
			p.add(gi, to)
			return
		}
		for h := range p.groups {
			if h == gi || !p.nodes[ni].Open || !p.holds(h, to) || p.holds(h, ni) {
				continue
			}
			// h swaps `to` for ni: its doubles must not grow.
			before := p.inZone(h, to)
			p.drop(h, to)
			after := p.inZone(h, ni)
			if after <= before {
				p.add(h, ni)
				p.drop(gi, ni)
				p.add(gi, to)
				return
			}
			p.add(h, to)
		}
	}
}

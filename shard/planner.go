// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"slices"
)

// slotTable gives the owner of each slot; 0 means none.
type slotTable [SlotCount]uint32

// planSlots returns who should own each slot, starting from who owns it now. groups are the groups
// that shall own slots, at least one, ids unique and above 0.
//
// A slot changes its owner only if its present owner is not among the groups (it goes to the ring
// successor with room), or if its owner is above quota and the taker is new or more than one slot
// below quota, or if its owner is more than one slot above quota. Afterwards every group is within
// one slot of its quota, and a group that had nothing has exactly its quota.
func planSlots(now *slotTable, groups []weightedGroup) *slotTable {
	p := newSlotPlan(now, groups)
	p.adoptOrphans()
	fresh := func(id uint32) bool { return p.start[id] == 0 }
	p.fill(func(id uint32) bool {
		return p.count[id] < p.quota[id] && (fresh(id) || p.count[id] < p.quota[id]-1)
	}, 0)
	p.fill(func(id uint32) bool { return p.count[id] < p.quota[id] }, 1)
	return p.table
}

// slotPlan is the planner's working state.
type slotPlan struct {
	ring   *ring
	groups []weightedGroup // ascending ids
	table  *slotTable
	start  map[uint32]int // slots owned before, of groups that stay
	count  map[uint32]int // slots owned in table
	quota  map[uint32]int
}

func newSlotPlan(now *slotTable, groups []weightedGroup) *slotPlan {
	sorted := slices.Clone(groups)
	slices.SortFunc(sorted, func(a, b weightedGroup) int { return cmp.Compare(a.ID, b.ID) })
	table := *now
	p := &slotPlan{
		ring: newRing(sorted), groups: sorted, table: &table,
		start: make(map[uint32]int, len(groups)), count: make(map[uint32]int, len(groups)),
	}
	for _, g := range sorted {
		p.start[g.ID] = 0
	}
	for slot, g := range table {
		if _, stays := p.start[g]; stays {
			p.start[g]++
			p.count[g]++
		} else {
			table[slot] = 0
		}
	}
	p.quota = slotQuotas(sorted, p.start)
	return p
}

// slotQuotas shares the slots by weight, largest remainder first; equal remainders go to the group
// that has more beyond its whole share now, then to the lower id. The sum is SlotCount.
func slotQuotas(groups []weightedGroup, now map[uint32]int) map[uint32]int {
	total := 0
	for _, g := range groups {
		total += g.Weight
	}
	quota := make(map[uint32]int, len(groups))
	left := SlotCount
	for _, g := range groups {
		quota[g.ID] = SlotCount * g.Weight / total
		left -= quota[g.ID]
	}
	byRemainder := slices.Clone(groups)
	slices.SortFunc(byRemainder, func(a, b weightedGroup) int {
		return cmp.Or(
			cmp.Compare(SlotCount*b.Weight%total, SlotCount*a.Weight%total),
			cmp.Compare(now[b.ID]-quota[b.ID], now[a.ID]-quota[a.ID]),
			cmp.Compare(a.ID, b.ID))
	})
	for _, g := range byRemainder[:left] {
		quota[g.ID]++
	}
	return quota
}

// adoptOrphans gives every slot without owner to its ring successor with room.
func (p *slotPlan) adoptOrphans() {
	pts := p.ring.points
	// next[i] is a point at or behind i, no further than the first one with room: full groups'
	// points are skipped for good, since counts only grow here.
	next := make([]int, len(pts))
	for i := range next {
		next[i] = i
	}
	full := func(i int) bool { g := pts[i].group; return p.count[g] >= p.quota[g] }
	find := func(i int) int {
		at := i
		for next[at] != at || full(at) {
			if next[at] == at {
				next[at] = (at + 1) % len(pts)
			}
			at = next[at]
		}
		for i != at {
			i, next[i] = next[i], at
		}
		return at
	}
	for slot, owner := range p.table {
		if owner != 0 {
			continue
		}
		g := pts[find(p.ring.successor(slot))].group
		p.table[slot] = g
		p.count[g]++
	}
}

// fill lets every group that wants take slots from groups more than slack above their quota: first
// those that are the taker's by the ring, then others, in ring order from the taker's first point.
func (p *slotPlan) fill(wants func(id uint32) bool, slack int) {
	var owners [SlotCount]uint32 // by the plain ring, computed at first need
	var known bool
	for _, g := range p.groups {
		if !wants(g.ID) {
			continue
		}
		if !known {
			for slot := range owners {
				owners[slot] = p.ring.points[p.ring.successor(slot)].group
			}
			known = true
		}
		first := p.firstSlot(g.ID)
		p.take(g.ID, first, slack, func(slot int) bool { return owners[slot] == g.ID })
		p.take(g.ID, first, slack, func(int) bool { return true })
	}
}

// take moves slots to group id until it has its quota.
func (p *slotPlan) take(id uint32, first, slack int, may func(slot int) bool) {
	for i := range SlotCount {
		if p.count[id] >= p.quota[id] {
			return
		}
		slot := (first + i) % SlotCount
		from := p.table[slot]
		if from == id || p.count[from] <= p.quota[from]+slack || !may(slot) {
			continue
		}
		p.table[slot] = id
		p.count[from]--
		p.count[id]++
	}
}

// firstSlot returns the first slot that stands behind the group's lowest point.
func (p *slotPlan) firstSlot(id uint32) int {
	for _, pt := range p.ring.points {
		if pt.group == id {
			return int(pt.at >> 50)
		}
	}
	return 0
}

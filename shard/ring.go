// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"slices"
)

// vnodesPerWeight is how many points of the ring stand for one unit of a group's weight; with
// equal weights every group has this many.
const vnodesPerWeight = 64

// maxRingPoints bounds the points of a ring: beyond it every group gets proportionally fewer, at
// least one.
const maxRingPoints = 1 << 18

// ringPoint is one virtual node.
type ringPoint struct {
	at    uint64
	group uint32
}

// ring is a consistent-hash ring of groups. Slot s stands at s<<50, so that the ring's order is
// the slots' order, and belongs by rights to the first point at or behind it. Immutable.
type ring struct {
	points []ringPoint
}

// weightedGroup is a group and its share; Weight is at least 1.
type weightedGroup struct {
	ID     uint32
	Weight int
}

// newRing spreads the groups' virtual nodes. A point depends on its group and number alone, so
// that adding or removing a group leaves all other points where they are.
func newRing(groups []weightedGroup) *ring {
	total := 0
	for _, g := range groups {
		total += g.Weight * vnodesPerWeight
	}
	shrink := max(1, (total+maxRingPoints-1)/maxRingPoints)
	r := &ring{points: make([]ringPoint, 0, min(total, maxRingPoints)+len(groups))}
	for _, g := range groups {
		n := max(1, g.Weight*vnodesPerWeight/shrink)
		for i := range n {
			r.points = append(r.points, ringPoint{at: mix64(uint64(g.ID)<<32 | uint64(i)), group: g.ID})
		}
	}
	slices.SortFunc(r.points, func(a, b ringPoint) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.group, b.group))
	})
	return r
}

// slotAt is where a slot stands on the ring.
func slotAt(slot int) uint64 { return uint64(slot) << 50 }

// successor returns the index of the first point at or behind the slot, wrapping round.
func (r *ring) successor(slot int) int {
	i, _ := slices.BinarySearchFunc(r.points, slotAt(slot), func(p ringPoint, at uint64) int {
		return cmp.Compare(p.at, at)
	})
	return i % len(r.points)
}

// mix64 is the finaliser of splitmix64: a bijection whose output bits all depend on all input bits.
func mix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

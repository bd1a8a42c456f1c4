// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"testing"

	"github.com/kvorum/kvorum/internal/host/racing"
	"pgregory.net/rapid"
)

func equalGroups(n int) []weightedGroup {
	gs := make([]weightedGroup, n)
	for i := range gs {
		gs[i] = weightedGroup{ID: uint32(i + 1), Weight: 1}
	}
	return gs
}

func countSlots(t *slotTable) map[uint32]int {
	c := map[uint32]int{}
	for _, g := range t {
		c[g]++
	}
	return c
}

// checkBalance fails when a slot has no owner, or a group is more than one slot off its quota.
func checkBalance(t interface{ Fatalf(string, ...any) }, tab *slotTable, groups []weightedGroup) {
	counts := countSlots(tab)
	if counts[0] != 0 {
		t.Fatalf("%d slots without owner", counts[0])
	}
	total, sum := 0, 0
	for _, g := range groups {
		total += g.Weight
	}
	for _, g := range groups {
		sum += counts[g.ID]
		// The exact share is SlotCount*w/total; a quota is its floor or ceiling.
		lo, hi := SlotCount*g.Weight/total-1, (SlotCount*g.Weight+total-1)/total+1
		if c := counts[g.ID]; c < lo || c > hi {
			t.Fatalf("group %d of weight %d has %d slots, want %d … %d", g.ID, g.Weight, c, lo, hi)
		}
	}
	if sum != SlotCount {
		t.Fatalf("%d slots belong to groups that are not in the plan", SlotCount-sum)
	}
}

// Adding a group to n moves exactly its quota, all of it to the new group; removing one moves
// exactly its slots; a plan of an unchanged set moves nothing.
func TestPlanSlotsAddRemove(t *testing.T) {
	for n := 1; n <= 64; n += racing.Fewer(1, 9) {
		groups := equalGroups(n)
		base := planSlots(new(slotTable), groups)
		checkBalance(t, base, groups)
		if again := planSlots(base, groups); *again != *base {
			t.Fatalf("n=%d: planning an unchanged set moved slots", n)
		}

		more := equalGroups(n + 1)
		grown := planSlots(base, more)
		checkBalance(t, grown, more)
		newID, moved := uint32(n+1), 0
		for s := range base {
			if base[s] != grown[s] {
				moved++
				if grown[s] != newID {
					t.Fatalf("n=%d: slot %d moved between old groups %d and %d", n, s, base[s], grown[s])
				}
			}
		}
		if c := countSlots(grown)[newID]; moved != c || (c != SlotCount/(n+1) && c != SlotCount/(n+1)+1) {
			t.Fatalf("n=%d: new group has %d slots, %d moved", n, c, moved)
		}

		// Remove each of a few groups from the grown set.
		for _, gone := range []uint32{1, newID, uint32(n/2 + 1)} {
			var rest []weightedGroup
			for _, g := range more {
				if g.ID != gone {
					rest = append(rest, g)
				}
			}
			shrunk := planSlots(grown, rest)
			checkBalance(t, shrunk, rest)
			for s := range grown {
				if grown[s] != gone && grown[s] != shrunk[s] {
					t.Fatalf("n=%d: slot %d of group %d moved though group %d was removed", n, s, grown[s], gone)
				}
			}
		}
	}
}

// An orphan goes to the group whose virtual node follows it, when that group has room.
func TestPlanSlotsFollowsRing(t *testing.T) {
	groups := equalGroups(8)
	base := planSlots(new(slotTable), groups)
	r := newRing(groups)
	byRing := 0
	for s := range base {
		if r.points[r.successor(s)].group == base[s] {
			byRing++
		}
	}
	if byRing < SlotCount*3/4 {
		t.Fatalf("only %d of %d slots lie where the ring puts them", byRing, SlotCount)
	}
}

// Random walks of weighted sets: every plan is balanced, nothing moves between two groups that
// were in balance and stay, and fresh groups get their quota exactly.
func TestPlanSlotsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := new(slotTable)
		next := uint32(1)
		var groups []weightedGroup
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			for range rapid.IntRange(0, 5).Draw(t, "add") {
				groups = append(groups, weightedGroup{ID: next, Weight: rapid.IntRange(1, 9).Draw(t, "weight")})
				next++
			}
			if len(groups) > 1 && rapid.Bool().Draw(t, "remove") {
				i := rapid.IntRange(0, len(groups)-1).Draw(t, "which")
				groups = append(groups[:i:i], groups[i+1:]...)
			}
			if len(groups) == 0 {
				continue
			}
			before := countSlots(tab)
			quota := newSlotPlan(tab, groups).quota
			got := planSlots(tab, groups)
			checkBalance(t, got, groups)
			in := map[uint32]bool{}
			for _, g := range groups {
				in[g.ID] = true
				if c := countSlots(got)[g.ID]; before[g.ID] == 0 && c != quota[g.ID] {
					t.Fatalf("fresh group %d got %d slots, quota %d", g.ID, c, quota[g.ID])
				}
			}
			for s := range got {
				from, to := tab[s], got[s]
				if from == to || !in[from] {
					continue
				}
				if before[from] <= quota[from] {
					t.Fatalf("slot %d taken from group %d, which was at %d of %d", s, from, before[from], quota[from])
				}
				if before[to] >= quota[to] {
					t.Fatalf("slot %d given to group %d, which was at %d of %d", s, to, before[to], quota[to])
				}
			}
			tab = got
		}
	})
}

func BenchmarkPlanSlots(b *testing.B) {
	groups := equalGroups(MaxGroups)
	for b.Loop() {
		planSlots(new(slotTable), groups)
	}
}

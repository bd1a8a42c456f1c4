// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func openNodes(n int) []placeNode {
	nodes := make([]placeNode, n)
	for i := range nodes {
		nodes[i] = placeNode{ID: fmt.Sprintf("node-%03d", i), Weight: 100, Open: true}
	}
	return nodes
}

func emptyGroups(n int) []placeGroup {
	gs := make([]placeGroup, n)
	for i := range gs {
		gs[i].ID = uint32(i + 1)
	}
	return gs
}

func groupsOf(placed map[uint32][]string) []placeGroup {
	var gs []placeGroup
	for id, nodes := range placed {
		gs = append(gs, placeGroup{ID: id, Nodes: nodes})
	}
	return gs
}

func loads(placed map[uint32][]string) map[string]int {
	l := map[string]int{}
	for _, nodes := range placed {
		for _, n := range nodes {
			l[n]++
		}
	}
	return l
}

// Every group gets its replicas on distinct nodes, shares are within one place of even, a second
// run moves nothing, and a new node takes exactly its share from others.
func TestPlaceEvenAndSticky(t *testing.T) {
	for n := 1; n <= 9; n++ {
		for _, groups := range []int{1, 2, 4, 7, 64} {
			nodes := openNodes(n)
			placed := place(nodes, emptyGroups(groups), 3)
			want := min(3, n)
			for id, on := range placed {
				if len(on) != want || len(slices.Compact(slices.Sorted(slices.Values(on)))) != want {
					t.Fatalf("n=%d groups=%d: group %d is on %v", n, groups, id, on)
				}
			}
			l := loads(placed)
			for _, nd := range nodes {
				if even := groups * want / n; l[nd.ID] < even || l[nd.ID] > even+1 {
					t.Fatalf("n=%d groups=%d: node %s holds %d, even is %d", n, groups, nd.ID, l[nd.ID], even)
				}
			}
			if moved := movedPlaces(placed, place(nodes, groupsOf(placed), 3)); moved != 0 {
				t.Fatalf("n=%d groups=%d: %d replicas moved for nothing", n, groups, moved)
			}
			grown := place(openNodes(n+1), groupsOf(placed), 3)
			added := loads(grown)[fmt.Sprintf("node-%03d", n)]
			if n >= 3 {
				if moved := movedPlaces(placed, grown); moved != added {
					t.Fatalf("n=%d groups=%d: new node got %d replicas, %d moved", n, groups, added, moved)
				}
			}
			if even := groups * min(3, n+1) / (n + 1); added < even {
				t.Fatalf("n=%d groups=%d: new node got %d of %d", n, groups, added, even)
			}
		}
	}
}

// movedPlaces counts replicas in b on nodes that did not hold the group in a.
func movedPlaces(a, b map[uint32][]string) int {
	n := 0
	for id, nodes := range b {
		for _, nd := range nodes {
			if !slices.Contains(a[id], nd) {
				n++
			}
		}
	}
	return n
}

// With three zones of two nodes each, every group of three stands in all three zones.
func TestPlaceZones(t *testing.T) {
	nodes := openNodes(6)
	for i := range nodes {
		nodes[i].Zone = fmt.Sprint("z", i%3)
	}
	zone := func(id string) string {
		i := slices.IndexFunc(nodes, func(n placeNode) bool { return n.ID == id })
		return nodes[i].Zone
	}
	for id, on := range place(nodes, emptyGroups(32), 3) {
		seen := map[string]bool{}
		for _, n := range on {
			seen[zone(n)] = true
		}
		if len(seen) != 3 {
			t.Errorf("group %d stands on %v", id, on)
		}
	}
}

// Random worlds: places are distinct, closed nodes get nothing that they did not hold, nobody exceeds
// the share that weights give by more than one, and wants are met whenever enough nodes are open.
func TestPlaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 10).Draw(t, "nodes")
		nodes := openNodes(n)
		open := 0
		for i := range nodes {
			nodes[i].Weight = rapid.IntRange(1, 4).Draw(t, "weight")
			nodes[i].Zone = fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "zone"))
			if nodes[i].Open = rapid.IntRange(0, 4).Draw(t, "open") > 0; nodes[i].Open {
				open++
			}
		}
		replicas := rapid.SampledFrom([]int{1, 3, 5}).Draw(t, "replicas")
		groups := emptyGroups(rapid.IntRange(1, 20).Draw(t, "groups"))
		for i := range groups {
			for _, nd := range nodes {
				if rapid.IntRange(0, 3).Draw(t, "held") == 0 {
					groups[i].Nodes = append(groups[i].Nodes, nd.ID)
				}
			}
		}
		placed := place(nodes, groups, replicas)
		for _, g := range groups {
			on := slices.Sorted(slices.Values(placed[g.ID]))
			if len(slices.Compact(slices.Clone(on))) != len(on) || len(on) > min(replicas, n) {
				t.Fatalf("group %d stands on %v", g.ID, on)
			}
			if open >= replicas && len(on) != replicas {
				t.Fatalf("group %d stands on %v, though %d nodes are open", g.ID, on, open)
			}
			for _, nd := range nodes {
				if !nd.Open && slices.Contains(on, nd.ID) && !slices.Contains(g.Nodes, nd.ID) {
					t.Fatalf("group %d was given to closed node %s", g.ID, nd.ID)
				}
			}
		}
		again := place(nodes, groupsOf(placed), replicas)
		if moved := movedPlaces(placed, again); open == n && moved != 0 {
			t.Fatalf("%d replicas moved in a second run", moved)
		}
	})
}

func BenchmarkPlace(b *testing.B) {
	nodes, groups := openNodes(1000), emptyGroups(1024)
	for b.Loop() {
		place(nodes, groups, 3)
	}
}

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

const (
	// maxDifferences is how many slots that differ are named.
	maxDifferences = 10
	// comparePause is the pause between two rounds of a comparison.
	comparePause = 200 * time.Millisecond
	// silentRounds is after how many rounds in a row a comparison gives up on nodes that do not answer.
	silentRounds = 3
)

// Verdict is what a comparison of replicas found.
type Verdict string

// The verdicts.
const (
	// VerdictEqual: every replica was seen at one entry, all alike.
	VerdictEqual Verdict = "equal"
	// VerdictDifferent: two replicas at one entry were not alike.
	VerdictDifferent Verdict = "different"
	// VerdictIncomplete: some replica was not seen, and those seen at one entry were alike.
	VerdictIncomplete Verdict = "incomplete"
)

// Comparison is what Compare found of all groups.
type Comparison struct {
	// Verdict is the worst of the groups'.
	Verdict Verdict           `json:"verdict"`
	Groups  []GroupComparison `json:"groups"`
}

// GroupComparison is one group; group 0 is the control group.
type GroupComparison struct {
	Group   uint32  `json:"group"`
	Verdict Verdict `json:"verdict"`
	// Applied is the entry at which the replicas were compared; of the control group the Revision.
	Applied uint64 `json:"applied"`
	// Digest is that of all replicas, empty unless they are equal.
	Digest string `json:"digest,omitempty"`
	// Replicas are those that were seen, each where it stood.
	Replicas []ReplicaDigest `json:"replicas"`
	// Missing are the nodes whose replica was not seen at that entry.
	Missing []string `json:"missing,omitempty"`
	// Differing counts the parts that differ, Differences has the first of them.
	Differing   int          `json:"differing,omitempty"`
	Differences []Difference `json:"differences,omitempty"`
}

// Difference is one part of a group's state that is not the same everywhere.
type Difference struct {
	// Part says which: "slot 7".
	Part string `json:"part"`
	// Digests are by node id; "nothing" where a slot is empty.
	Digests map[string]string `json:"digests"`
}

// Compare compares all replicas of each group at one entry. It takes as many rounds as it needs until every
// group is decided, ctx ends, or only nodes are missing that do not answer.
func (n *Node) Compare(ctx context.Context) (Comparison, error) {
	v, err := n.awaitView(ctx)
	if err != nil {
		return Comparison{}, fmt.Errorf("shard: compare: %w", err)
	}
	found := make(map[uint32]GroupComparison)
	quiet := 0
	for {
		r, err := n.digestRun(ctx, v)
		if err != nil && len(found) == 0 {
			return Comparison{}, fmt.Errorf("shard: compare: %w", err)
		}
		if err == nil {
			quiet++
			for i := range v.Groups {
				g := &v.Groups[i]
				if old, ok := found[g.ID]; ok && old.Verdict != VerdictIncomplete {
					continue
				}
				c := compareGroup(g, r.all)
				if c.Verdict == VerdictDifferent {
					n.explain(ctx, v, r, &c)
				}
				if c.Verdict == VerdictIncomplete && slices.ContainsFunc(c.Missing, func(node string) bool { return r.silent[node] == nil }) {
					quiet = 0
				}
				found[g.ID] = c
			}
		}
		all := joinComparisons(found)
		if !all.open() || quiet >= silentRounds {
			return all, nil
		}
		select {
		case <-time.After(comparePause):
			v = n.View()
		case <-ctx.Done():
			return all, nil
		}
	}
}

// open tells whether some group is not decided.
func (c *Comparison) open() bool {
	return slices.ContainsFunc(c.Groups, func(g GroupComparison) bool { return g.Verdict == VerdictIncomplete })
}

func joinComparisons(found map[uint32]GroupComparison) Comparison {
	c := Comparison{Verdict: VerdictEqual}
	for _, g := range found {
		c.Groups = append(c.Groups, g)
		switch {
		case g.Verdict == VerdictDifferent:
			c.Verdict = VerdictDifferent
		case g.Verdict == VerdictIncomplete && c.Verdict == VerdictEqual:
			c.Verdict = VerdictIncomplete
		}
	}
	slices.SortFunc(c.Groups, func(a, b GroupComparison) int { return cmp.Compare(a.Group, b.Group) })
	return c
}

// compareGroup judges one group by the digests of one round. Pure.
func compareGroup(g *GroupInfo, all []ReplicaDigest) GroupComparison {
	c := GroupComparison{Group: g.ID, Verdict: VerdictEqual, Replicas: []ReplicaDigest{}}
	at := make(map[uint64]string)
	for _, d := range all {
		if r, holds := g.replicaOn(d.Node); d.Group != g.ID || !holds || r.Role == RoleGone {
			continue
		}
		c.Replicas = append(c.Replicas, d)
		if other, seen := at[d.Applied]; seen && other != d.Digest {
			c.Verdict, c.Applied = VerdictDifferent, d.Applied
		}
		at[d.Applied] = d.Digest
		if c.Verdict == VerdictEqual {
			c.Applied = max(c.Applied, d.Applied)
		}
	}
	slices.SortFunc(c.Replicas, func(a, b ReplicaDigest) int { return cmp.Compare(a.Node, b.Node) })
	for _, node := range slices.Concat(g.nodesWith(RoleVoter), g.nodesWith(RoleLearner)) {
		if !slices.ContainsFunc(c.Replicas, func(d ReplicaDigest) bool { return d.Node == node && d.Applied == c.Applied }) {
			c.Missing = append(c.Missing, node)
		}
	}
	switch {
	case c.Verdict == VerdictDifferent:
	case len(c.Missing) > 0:
		c.Verdict = VerdictIncomplete
	default:
		c.Digest = at[c.Applied]
	}
	return c
}

// explain asks which slots of a group differ.
func (n *Node) explain(ctx context.Context, v *View, r *digestRound, c *GroupComparison) {
	all, err := n.digestPhase(ctx, v, digestOrder{ID: r.id, Phase: digestParts, Group: c.Group}, r.silent)
	if err != nil {
		n.log.Warn("differing slots not learnt", "group", c.Group, "error", err)
		return
	}
	all = slices.DeleteFunc(all, func(d ReplicaDigest) bool { return d.Applied != c.Applied })
	c.Differing, c.Differences = differences(all)
}

// digestPartsHere tells the digests of the slots of one group in a run.
func (n *Node) digestPartsHere(order digestOrder) []ReplicaDigest {
	d, ok := n.digests.parts(order.ID, order.Group)
	if !ok {
		return nil
	}
	return []ReplicaDigest{{
		Group: order.Group, Node: n.ID(), Applied: d.Index, Digest: hex.EncodeToString(d.Machine[:]), Parts: d.Parts,
	}}
}

// differences counts the parts that are not the same in all replicas, and describes the first. Pure.
func differences(all []ReplicaDigest) (n int, first []Difference) {
	sums := make([]map[uint32][16]byte, len(all))
	var ids []uint32
	for i := range all {
		sums[i] = make(map[uint32][16]byte, len(all[i].Parts))
		for _, p := range all[i].Parts {
			sums[i][p.ID] = p.Sum
			ids = append(ids, p.ID)
		}
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if !slices.ContainsFunc(sums, func(m map[uint32][16]byte) bool { return m[id] != sums[0][id] }) {
			continue
		}
		if n++; n > maxDifferences {
			continue
		}
		d := Difference{Part: partName(id), Digests: make(map[string]string)}
		for i := range all {
			text := "nothing"
			if sum, has := sums[i][id]; has {
				text = hex.EncodeToString(sum[:])
			}
			d.Digests[all[i].Node] = text
		}
		first = append(first, d)
	}
	return n, first
}

func partName(id uint32) string {
	if id == fsm.DigestKeyspace {
		return "settings and slot ownership"
	}
	return fmt.Sprintf("slot %d", id)
}

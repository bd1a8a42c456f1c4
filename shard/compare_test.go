// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

func digestsAt(group uint32, applied uint64, nodes ...string) []ReplicaDigest {
	var out []ReplicaDigest
	for _, n := range nodes { // "node" or "node:digest"
		node, digest, _ := strings.Cut(n, ":")
		out = append(out, ReplicaDigest{Group: group, Node: node, Applied: applied, Digest: digest})
	}
	return out
}

// A group is equal only when every listed replica answered, all at one entry and alike; two that differ at
// one entry are damage, whoever else is missing.
func TestCompareGroup(t *testing.T) {
	g := GroupInfo{ID: 1, Replicas: []ReplicaInfo{
		{"a", 1, RoleVoter}, {"b", 2, RoleVoter}, {"c", 3, RoleLearner}, {"d", 4, RoleGone},
	}}
	for _, c := range []struct {
		name    string
		all     []ReplicaDigest
		verdict Verdict
		missing []string
	}{
		{"all alike", digestsAt(1, 5, "a:x", "b:x", "c:x"), VerdictEqual, nil},
		{"one that is gone counts not", digestsAt(1, 5, "a:x", "b:x", "c:x", "d:y"), VerdictEqual, nil},
		{"of another group", append(digestsAt(1, 5, "a:x", "b:x", "c:x"), digestsAt(2, 5, "a:y")...), VerdictEqual, nil},
		{"nobody", nil, VerdictIncomplete, []string{"a", "b", "c"}},
		{"a learner is missing", digestsAt(1, 5, "a:x", "b:x"), VerdictIncomplete, []string{"c"}},
		{"one is behind", append(digestsAt(1, 5, "a:x", "c:x"), digestsAt(1, 4, "b:y")...), VerdictIncomplete, []string{"b"}},
		{"different", digestsAt(1, 5, "a:x", "b:y", "c:x"), VerdictDifferent, nil},
		{"different, and one is missing", digestsAt(1, 5, "a:x", "b:y"), VerdictDifferent, []string{"c"}},
		{"different at an older entry", append(digestsAt(1, 4, "a:x", "b:y"), digestsAt(1, 5, "c:x")...), VerdictDifferent, []string{"c"}},
	} {
		got := compareGroup(&g, c.all)
		if got.Verdict != c.verdict || !reflect.DeepEqual(got.Missing, c.missing) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestDifferences(t *testing.T) {
	sum := func(b byte) [16]byte { return [16]byte{b} }
	with := func(node string, parts ...fsm.PartDigest) ReplicaDigest {
		return ReplicaDigest{Group: 1, Node: node, Parts: parts}
	}
	all := []ReplicaDigest{
		with("a", fsm.PartDigest{ID: 1, Sum: sum(1)}, fsm.PartDigest{ID: 7, Sum: sum(7)}, fsm.PartDigest{ID: fsm.DigestKeyspace, Sum: sum(9)}),
		with("b", fsm.PartDigest{ID: 1, Sum: sum(1)}, fsm.PartDigest{ID: 8, Sum: sum(8)}, fsm.PartDigest{ID: fsm.DigestKeyspace, Sum: sum(10)}),
	}
	n, first := differences(all)
	if n != 3 || len(first) != 3 || first[0].Part != "slot 7" || first[1].Part != "slot 8" || first[2].Part != "settings and slot ownership" {
		t.Fatalf("%d differences, %+v", n, first)
	}
	if first[0].Digests["a"] == "" || first[0].Digests["b"] != "nothing" {
		t.Errorf("%+v", first[0])
	}
	if n, first := differences(all[:1]); n != 0 || len(first) != 0 {
		t.Errorf("one replica differs from itself: %d %+v", n, first)
	}
	many := with("c")
	for i := range uint32(100) {
		many.Parts = append(many.Parts, fsm.PartDigest{ID: i, Sum: sum(1)})
	}
	if n, first := differences([]ReplicaDigest{many, with("d")}); n != 100 || len(first) != maxDifferences {
		t.Errorf("%d differences, %d named", n, len(first))
	}
}

// Replicas that are alike are found to be; a slot that was changed on one replica is named; a node that is
// down makes the comparison incomplete, quickly.
func TestCompare(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 2)
		c.fill("n1", 0, 60)
		cmp, err := c.nodes["n2"].Compare(c.ctx(time.Minute))
		if err != nil || cmp.Verdict != VerdictEqual || len(cmp.Groups) != 3 {
			t.Fatalf("%v: %+v", err, cmp)
		}
		for _, g := range cmp.Groups {
			if g.Verdict != VerdictEqual || len(g.Replicas) != 3 || g.Digest == "" {
				t.Errorf("group %d: %+v", g.Group, g)
			}
		}

		// One replica gets what the others have not.
		data, _ := c.save("n1")
		sr, err := fsm.NewSaveReader(strings.NewReader(string(data)), false)
		if err != nil {
			t.Fatal(err)
		}
		var slot uint16
		var piece []byte
		for piece == nil {
			s, err := sr.Next()
			if err != nil {
				t.Fatal(err)
			}
			slot, piece = s.Slot, s.Data
		}
		v := c.nodes["n3"].View()
		group := v.Slots[slot]
		other := uint16(0)
		for v.Slots[other] != group || other == slot {
			other++
		}
		key := 0
		for fsm.SlotOf(cmdKey(key)) != other {
			key++
		}
		odd := oddSection(t, cmdKey(key))
		if err := c.nodes["n3"].local(group).keyspace.Load(fsm.SectionSlot, uint32(other), odd); err != nil {
			t.Fatal(err)
		}
		cmp, err = c.nodes["n1"].Compare(c.ctx(time.Minute))
		if err != nil || cmp.Verdict != VerdictDifferent {
			t.Fatalf("%v: %+v", err, cmp)
		}
		for _, g := range cmp.Groups {
			if want := g.Group == group; (g.Verdict == VerdictDifferent) != want {
				t.Errorf("group %d: %+v", g.Group, g)
			} else if want && (g.Differing != 1 || g.Differences[0].Part != partName(uint32(other)) || len(g.Differences[0].Digests) != 3) {
				t.Errorf("differences %+v", g.Differences)
			}
		}
		if _, err := json.Marshal(cmp); err != nil {
			t.Error(err)
		}
		c.crash("n3") // with what was wrong in its memory
		start := time.Now()
		cmp, err = c.nodes["n1"].Compare(c.ctx(5 * time.Minute))
		if err != nil || cmp.Verdict != VerdictIncomplete || time.Since(start) > time.Minute {
			t.Fatalf("after %v: %v: %+v", time.Since(start), err, cmp)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if cmp, err = c.nodes["n1"].Compare(ctx); err == nil && cmp.Verdict == VerdictEqual {
			t.Error("equal without one of three")
		}
		c.open("n3")
		c.settled()
	})
}

func cmdKey(i int) []byte {
	return []byte("odd-" + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + time.Duration(i).String())
}

// oddSection is a slot with one key, in the store's encoding.
func oddSection(t testing.TB, key []byte) []byte {
	t.Helper()
	table := fsm.Data()
	k := fsm.NewKeyspace(table, fsm.KeyspaceConfig{})
	m := fsm.NewMachine(table, k, fsm.Options{})
	sub := new(fsm.Sub)
	for _, c := range []fsm.Command{fsm.Own(1, []uint16{fsm.SlotOf(key)}), {Op: fsm.OpSet, Args: [][]byte{key, []byte("odd")}}} {
		sub.Body, sub.Writes = fsm.AppendCommand(sub.Body, &c), sub.Writes+1
	}
	m.Apply(1, 1, fsm.AppendSub(fsm.AppendEntryHeader(nil, &fsm.Header{Clock: 1000}), sub), nil)
	f, err := k.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []byte
	_ = f.Sections(func(kind uint8, _ uint32, data []byte) error {
		if kind == fsm.SectionSlot {
			out = append([]byte(nil), data...)
		}
		return nil
	})
	return out
}

// A mark that a leader has applied and its followers have not yet does not have the replicas taken at
// different entries: a digest under steady questions would never be one again.
func TestDigestBehindOtherMarks(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 3, 1)
		v := c.nodes["n1"].View()
		group := v.Groups[len(v.Groups)-1].ID
		for range 5 {
			for _, m := range c.nodes {
				r := m.local(group)
				if !r.group.IsLeader() {
					continue
				}
				before := r.group.Applied()
				r.mark.Store(true)
				kick(r.wake)
				if err := r.group.WaitApplied(c.ctx(time.Second), before+1); err != nil {
					t.Fatal(err)
				}
			}
			all, err := c.nodes["n1"].Digest(c.ctx(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			taken := map[uint64]int{}
			for _, d := range all {
				if d.Group == group {
					taken[d.Applied]++
				}
			}
			for at, n := range taken {
				if n != 3 {
					t.Fatalf("%d of three replicas were taken at %d: %v", n, at, taken)
				}
			}
			if len(taken) == 0 {
				t.Fatal("no replica was taken")
			}
		}
	})
}

// A digest that was taken is told although a group before it let the time run out; a machine takes none once
// nobody waits for them.
func TestDigestsThatAreThere(t *testing.T) {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	var m groupMachine
	for range 100 {
		w := digestWaiter{machine: &m, c: m.arm()}
		for index := range uint64(maxMarks) {
			m.deliver(fsm.Digest{Index: 10 + index})
		}
		if d, ok := w.behind(over, 10+maxMarks-2); !ok || d.Index != 10+maxMarks-1 {
			t.Fatalf("behind the floor: %d, %t", d.Index, ok)
		}
		if m.armed.Load() {
			t.Fatal("full, and still armed")
		}
	}
	var runs digestRuns
	for id := range uint64(3 * maxDigestRuns) {
		runs.add(id, map[uint32]digestWaiter{1: {machine: &m, c: m.arm()}})
		if n := len(m.mu.waiting); n > maxDigestRuns || !m.armed.Load() {
			t.Fatalf("%d wait, armed: %t", n, m.armed.Load())
		}
	}
	for id := range uint64(3 * maxDigestRuns) {
		if w, ok := runs.get(id).waiters[1]; ok {
			if _, ok := w.behind(over, 0); ok {
				t.Fatal("a digest that nobody took")
			}
		}
	}
	if m.armed.Load() || len(m.mu.waiting) != 0 {
		t.Fatal("nobody waits, and still armed")
	}
}

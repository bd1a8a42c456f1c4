// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"testing"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/snapshots"
)

// piecedSave is a save of one group whose slots come in several pieces each, and what it holds.
func piecedSave(t testing.TB, pieces, slots, size int) (data []byte, want map[string]string) {
	t.Helper()
	want = map[string]string{}
	var head []byte
	var shell []byte
	bySlot := map[uint32][][]byte{}
	for p := range pieces {
		table := fsm.Data()
		m := fsm.NewMachine(table, fsm.NewKeyspace(table, fsm.KeyspaceConfig{}), fsm.Options{Cluster: "old", Group: 1})
		sub := new(fsm.Sub)
		add := func(c fsm.Command) { sub.Body, sub.Writes = fsm.AppendCommand(sub.Body, &c), sub.Writes+1 }
		all := make([]uint16, SlotCount)
		for i := range all {
			all[i] = uint16(i)
		}
		add(fsm.Own(1, all))
		for s := range slots {
			key, value := fmt.Sprintf("{%d}%d", s, p), fmt.Sprintf("%d.%d.%s", s, p, bytes.Repeat([]byte("v"), size))
			want[key] = value
			add(cmd(fsm.OpSet, key, value))
		}
		m.Apply(1, 1, fsm.AppendSub(fsm.AppendEntryHeader(nil, &fsm.Header{Clock: 1000}), sub), nil)
		v, err := m.View()
		if err != nil {
			t.Fatal(err)
		}
		var buf bytes.Buffer
		if _, err := v.WriteTo(&buf); err != nil {
			t.Fatal(err)
		}
		v.Close()
		sr, err := snapshots.NewReader(&buf)
		for err == nil {
			var s snapshots.Section
			if s, err = sr.Next(); err != nil {
				break
			}
			switch s.Kind {
			case fsm.SectionShell:
				shell = bytes.Clone(s.Data)
			case fsm.SectionKeyspace:
				head = bytes.Clone(s.Data)
			default:
				bySlot[s.ID] = append(bySlot[s.ID], bytes.Clone(s.Data))
			}
		}
	}
	var group bytes.Buffer
	gw, err := snapshots.NewWriter(&group, snapshots.Header{ClusterVersion: 1, Cluster: "old", Group: 1, Epoch: 1, Index: 1, Term: 1})
	if err != nil {
		t.Fatal(err)
	}
	_ = gw.Section(fsm.SectionShell, 0, shell)
	_ = gw.Section(fsm.SectionKeyspace, 0, head)
	cover := new(fsm.Cover)
	for slot := range uint32(SlotCount) {
		cover.Add(uint16(slot))
		for _, p := range bySlot[slot] {
			_ = gw.Section(fsm.SectionSlot, slot, p)
		}
	}
	if err := gw.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	sw, err := fsm.NewSaveWriter(&out, fsm.SaveHead{Cluster: "old", ClusterVersion: 1, Epoch: 1, Groups: []uint32{1}})
	if err == nil {
		err = sw.Group(1, cover, &group)
	}
	if err == nil {
		err = sw.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), want
}

// TestRestorePieces: slots of several pieces, spread over batches in flight at once, while leaders die and
// links break: every piece is applied once, in order.
func TestRestorePieces(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		data, want := piecedSave(t, 6, 40, 40_000)
		newTestCluster(c, 3, 3)
		faults := []func(){
			func() { c.world.ResetConns("n1", "n2"); c.world.ResetConns("n2", "n1") },
			func() { c.crash("n2", host.CrashPolicy{}) },
			func() { c.world.ResetConns("n1", "n3") },
			func() { c.open("n2") },
		}
		var src io.Reader = bytes.NewReader(nil)
		step := len(data) / (len(faults) + 1)
		for i, f := range faults {
			src = io.MultiReader(src, bytes.NewReader(data[i*step:(i+1)*step]), &hookOnce{f})
		}
		src = io.MultiReader(src, bytes.NewReader(data[len(faults)*step:]))
		var last RestoreProgress
		err := c.nodes["n1"].Restore(c.ctx(minutes(20)), src, RestoreOptions{News: func(p RestoreProgress) { last = p }})
		if err != nil {
			t.Fatalf("restore: %v", err)
		}
		if last.Phase != RestoreEnd || last.Keys != int64(len(want)) {
			t.Errorf("the last news: %+v", last)
		}
		for key, value := range want {
			if r := c.nodes["n3"].do("GET", key); string(r.Result.Str) != value {
				t.Fatalf("%s: %.40q of %d bytes, %v", key, r.Result.Str, len(r.Result.Str), r.Err)
			}
		}
		c.settled()
	})
}

// TestRestoreOutlivesItsNode: once a restore was kept, it stands, whoever dies before the groups opened.
func TestRestoreOutlivesItsNode(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		const keys = 40
		newTestCluster(c, 1, 2)
		c.fill("n1", 0, keys)
		want := c.everything("n1", keys)
		data, _ := c.save("n1")
		o := c.another("a", 3, 4)
		defer o.stopAll()
		_ = o.nodes["a2"].Restore(c.ctx(minutes(5)), bytes.NewReader(data), RestoreOptions{News: func(p RestoreProgress) {
			if p.Phase == RestoreEnd {
				o.crash("a2")
			}
		}})
		if v := o.nodes["a1"].View(); v.Restored == 0 || len(v.Holds) != 0 {
			t.Fatalf("restored %d, holds %+v", v.Restored, v.Holds)
		}
		if got := o.everything("a1", keys); !maps.Equal(got, want) {
			t.Error("keys differ")
		}
		o.open("a2")
		o.settled()
	})
}

// TestRestoreSettings: the save's settings come along when asked for, and only then.
func TestRestoreSettings(t *testing.T) {
	inCluster(t, func(c *testCluster) {
		newTestCluster(c, 1, 1)
		set := func(s *Settings) { s.MaxMemory, s.Policy, s.DefaultTTLMillis = 1<<30, "allkeys-lru", 5000 }
		if err := c.nodes["n1"].Configure(c.ctx(minutes(1)), set); err != nil {
			t.Fatal(err)
		}
		data, _ := c.save("n1")
		o := c.another("a", 1, 1)
		defer o.stopAll()
		for _, with := range []bool{false, true} {
			if err := o.nodes["a1"].Restore(c.ctx(minutes(1)), bytes.NewReader(data), RestoreOptions{Settings: with}); err != nil {
				t.Fatal(err)
			}
			want := c.nodes["n1"].View().Settings
			if got := o.nodes["a1"].View().Settings; (got == want) != with {
				t.Errorf("settings %+v, with %t", got, with)
			}
		}
	})
}

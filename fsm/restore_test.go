// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/snapshots"
)

// writeView gives a view as a snapshot stream, and closes it.
func writeView(t failer, v *View) []byte {
	t.Helper()
	var file bytes.Buffer
	n, err := v.WriteTo(&file)
	if err != nil || n != int64(file.Len()) {
		t.Fatalf("write of %d bytes: %d, %v", file.Len(), n, err)
	}
	v.Close()
	return file.Bytes()
}

// takeView gives a machine's snapshot stream.
func takeView(t failer, m *Machine) []byte {
	t.Helper()
	v, err := m.View()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return writeView(t, v)
}

// TestRestoreRefusesDamage flips bytes and cuts: the machine stays as it was.
func TestRestoreRefusesDamage(t *testing.T) {
	tm := newOwner(t)
	for i := range 50 {
		tm.do("SET", fmt.Sprint("k", i), strings.Repeat("v", i))
	}
	v, err := tm.m.View()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tm.m.View(); err == nil {
		t.Error("two views at once")
	}
	file := writeView(t, v)
	v.Close() // again: harmless
	other := newOwner(t)
	other.do("SET", "mine", "1")
	before := other.m.Digest()
	for i := 0; i < len(file); i += 7 {
		for _, bad := range [][]byte{file[:i], slices.Concat(file[:i], []byte{file[i] ^ 0x55}, file[i+1:])} {
			err := other.m.Restore(bytes.NewReader(bad))
			if err == nil || errors.Is(err, ErrRestoreBroken) {
				t.Fatalf("damage at byte %d: %v", i, err)
			}
		}
	}
	if after := other.m.Digest(); after.Machine != before.Machine {
		t.Error("a refused snapshot changed the machine")
	}
	if res := other.do("GET", "mine"); show(res) != `"1"` {
		t.Errorf("after refused snapshots: %s", show(res))
	}
	stranger := NewMachine(other.table, other.k, Options{Cluster: "another", Group: 7})
	if err := stranger.Restore(bytes.NewReader(file)); !errors.Is(err, ErrOtherGroup) {
		t.Errorf("another cluster's snapshot: %v", err)
	}
	if err := other.m.Restore(bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	if a, b := tm.m.Digest(), other.m.Digest(); a.Machine != b.Machine || a.Index != b.Index {
		t.Error("the restored machine differs")
	}
}

// TestRestoreOfUnknownSections writes well-formed streams that this build cannot load.
func TestRestoreOfUnknownSections(t *testing.T) {
	tm := newOwner(t)
	stream := func(sections ...snapshots.Section) *bytes.Reader {
		var file bytes.Buffer
		w, err := snapshots.NewWriter(&file, snapshots.Header{Cluster: "test", Group: 7})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sections {
			if err := w.Section(s.Kind, s.ID, s.Data); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return bytes.NewReader(file.Bytes())
	}
	shell := snapshots.Section{Kind: SectionShell, Data: tm.m.appendShell(nil)}
	newer := snapshots.Section{Kind: SectionShell, Data: []byte{shellSectionVersion + 1}}
	slot := snapshots.Section{Kind: SectionSlot, Data: []byte{1, 0, 0, 0}}
	for name, file := range map[string]*bytes.Reader{
		"nothing":      stream(),
		"no shell":     stream(slot),
		"two shells":   stream(shell, shell),
		"newer shell":  stream(newer),
		"cut shell":    stream(snapshots.Section{Kind: SectionShell, Data: shell.Data[:3]}),
		"unknown kind": stream(shell, snapshots.Section{Kind: 9}),
	} {
		if err := tm.m.Restore(file); err == nil || errors.Is(err, ErrRestoreBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := tm.m.Restore(stream(shell, snapshots.Section{Kind: SectionKeyspace, Data: []byte{9}})); !errors.Is(err, ErrRestoreBroken) {
		t.Errorf("a state section that does not load: %v", err)
	}
	if err := tm.m.Restore(stream(shell)); !errors.Is(err, ErrStopped) {
		t.Errorf("after a broken restore: %v", err)
	}
}

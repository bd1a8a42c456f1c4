// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/snapshots"
)

// shareOf gives each of n groups every n-th slot.
func shareOf(group uint32, n int) []uint16 {
	var out []uint16
	for slot := range uint16(Slots) {
		if uint32(int(slot)%n)+1 == group {
			out = append(out, slot)
		}
	}
	return out
}

func coverOf(slots []uint16) *Cover {
	c := new(Cover)
	for _, s := range slots {
		c.Add(s)
	}
	return c
}

// groupsOf makes n groups that share the slots, with keys in them.
func groupsOf(t failer, n, keys int) []*testMachine {
	var out []*testMachine
	for g := range n {
		tm := &testMachine{t: t, table: Data(), clock: testClock + int64(g)}
		tm.k = NewKeyspace(tm.table, KeyspaceConfig{HashKey: [16]byte{1, 2, 3}})
		tm.m = NewMachine(tm.table, tm.k, Options{Cluster: "test", Group: uint32(g + 1), Fatal: func(err error) { tm.fatal = err }})
		tm.must(Own(4, shareOf(uint32(g+1), n)))
		out = append(out, tm)
	}
	for i := range keys {
		key := fmt.Sprint("key-", i)
		tm := out[int(SlotOf([]byte(key)))%n]
		switch i % 4 {
		case 0:
			tm.do("SET", key, strings.Repeat("v", i%50), "PX", fmt.Sprint(1_000_000+i))
		case 1:
			tm.do("RPUSH", key, "a", "b")
		case 2:
			tm.do("HSET", key, "f", "v")
		default:
			tm.do("SET", key, "plain")
		}
	}
	return out
}

func snapshotOf(t failer, m *Machine) []byte {
	v, err := m.View()
	if err != nil {
		t.Fatalf("view: %v", err)
	}
	defer v.Close()
	var buf bytes.Buffer
	if _, err := v.WriteTo(&buf); err != nil {
		t.Fatalf("write: %v", err)
	}
	return buf.Bytes()
}

func testSaveHead(groups int) SaveHead {
	h := SaveHead{Cluster: "test", ClusterVersion: 1, Epoch: 4, Created: testClock, Program: "1.2.3", Keys: 9, Settings: []byte(`{"a":1}`)}
	for g := range groups {
		h.Groups = append(h.Groups, uint32(g+1))
	}
	return h
}

// saveOf writes a save of groups.
func saveOf(t failer, groups []*testMachine) []byte {
	var buf bytes.Buffer
	w, err := NewSaveWriter(&buf, testSaveHead(len(groups)))
	if err != nil {
		t.Fatalf("save: %v", err)
	}
	for i, tm := range groups {
		if err := w.Group(uint32(i+1), coverOf(shareOf(uint32(i+1), len(groups))), bytes.NewReader(snapshotOf(t, tm.m))); err != nil {
			t.Fatalf("group %d: %v", i+1, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return buf.Bytes()
}

// readSave reads a save to its end; pieces are copied.
func readSave(data []byte, audit bool) (steps []SaveStep, info *SaveInfo, err error) {
	r, err := NewSaveReader(bytes.NewReader(data), audit)
	if err != nil {
		return nil, nil, err
	}
	for {
		step, err := r.Next()
		if errors.Is(err, io.EOF) {
			return steps, r.Info(), nil
		}
		if err != nil {
			return steps, nil, err
		}
		step.Data = bytes.Clone(step.Data)
		steps = append(steps, step)
	}
}

// TestSave: a save of three groups says what is in them, and fills two others with exactly that.
func TestSave(t *testing.T) {
	const keys = 400
	from := groupsOf(t, 3, keys)
	data := saveOf(t, from)
	steps, info, err := readSave(data, true)
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint16][16]byte{}
	for _, tm := range from {
		maps.Copy(want, slotDigests(tm.k))
	}
	got := map[uint16][16]byte{}
	for _, s := range info.Sums {
		got[s.Slot] = s.Sum
	}
	if !maps.Equal(got, want) || len(info.Sums) != len(want) {
		t.Error("digests differ")
	}
	if info.Totals.Keys != keys || info.Totals.Timed != keys/4 || len(info.Groups) != 3 || info.Voids != nil {
		t.Errorf("%+v", info.Totals)
	}
	var ranges SaveTotals
	for i := range info.Ranges {
		ranges.add(&info.Ranges[i])
	}
	if ranges != info.Totals {
		t.Errorf("ranges hold %+v, all groups %+v", ranges, info.Totals)
	}
	if h := info.Head; h.Cluster != "test" || h.Epoch != 4 || h.Created != testClock || h.Program != "1.2.3" || string(h.Settings) != `{"a":1}` || h.Keys != 9 {
		t.Errorf("head %+v", h)
	}
	for i, tm := range from {
		index, term := tm.m.Applied()
		c := info.Groups[i].Cut
		if c.Index != index || c.Term != term || c.Clock != tm.m.Clock() || c.Version != tm.m.Version() || c.Slots.Len() != len(shareOf(uint32(i+1), 3)) {
			t.Errorf("group %d: %+v", i+1, c)
		}
	}
	to := groupsOf(t, 2, 0)
	for _, tm := range to {
		tm.must(ImportBegin(1))
	}
	var cut *SaveCut
	for _, s := range steps {
		if s.Cut != nil {
			cut = s.Cut
		}
		if s.Data != nil {
			to[int(s.Slot)%2].must(Import(1, s.Slot, s.Number, cut.Clock, cut.Version, s.Data))
		}
	}
	restored := map[uint16][16]byte{}
	for _, tm := range to {
		tm.must(ImportEnd(1, true))
		maps.Copy(restored, slotDigests(tm.k))
	}
	if !maps.Equal(restored, want) {
		t.Error("digests differ after the import")
	}
	if _, quick, err := readSave(data, false); err != nil || quick.Totals != info.Totals || quick.Content != info.Content {
		t.Errorf("without audit: %v", err)
	}
}

// TestSaveRetry: a group whose snapshot breaks off is void, and comes again.
func TestSaveRetry(t *testing.T) {
	groups := groupsOf(t, 2, 300)
	first := snapshotOf(t, groups[0].m)
	var buf bytes.Buffer
	w, err := NewSaveWriter(&buf, testSaveHead(2))
	if err != nil {
		t.Fatal(err)
	}
	cover := coverOf(shareOf(1, 2))
	for _, cut := range []int{0, 10, len(first) / 2, len(first) - 1} {
		if err := w.Group(1, cover, bytes.NewReader(first[:cut])); !errors.Is(err, snapshots.ErrCorrupt) || w.Broken() != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
	}
	broken := errors.New("connection lost")
	if err := w.Group(1, cover, io.MultiReader(bytes.NewReader(first[:len(first)-100]), errReader{broken})); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	groups[0].do("SET", "key-later", "1")
	for i, tm := range groups {
		if err := w.Group(uint32(i+1), coverOf(shareOf(uint32(i+1), 2)), bytes.NewReader(snapshotOf(t, tm.m))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, info, err := readSave(buf.Bytes(), true)
	if err != nil {
		t.Fatal(err)
	}
	index, _ := groups[0].m.Applied()
	if len(info.Voids) == 0 || len(info.Groups) != 2 || info.Groups[0].Cut.Index != index || info.Totals != w.Totals() {
		t.Errorf("voids %v, %+v", info.Voids, info.Groups)
	}
	var clean bytes.Buffer
	if err := CopySave(&clean, bytes.NewReader(buf.Bytes()), info.Voids); err != nil {
		t.Fatal(err)
	}
	_, without, err := readSave(clean.Bytes(), true)
	if err != nil || without.Voids != nil || without.Content != info.Content || without.Totals != info.Totals || clean.Len() >= buf.Len() {
		t.Errorf("without voids: %v, %d of %d bytes", err, clean.Len(), buf.Len())
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestSaveRefusals: what a save may not be made of.
func TestSaveRefusals(t *testing.T) {
	groups := groupsOf(t, 2, 50)
	one := func(group uint32, want *Cover, data []byte) error {
		var buf bytes.Buffer
		w, err := NewSaveWriter(&buf, testSaveHead(2))
		if err != nil {
			t.Fatal(err)
		}
		err = w.Group(group, want, bytes.NewReader(data))
		if cerr := w.Close(); !errors.Is(cerr, ErrSaveUncovered) {
			t.Errorf("closed with one group of two: %v", cerr)
		}
		return err
	}
	cover := coverOf(shareOf(1, 2))
	if err := one(1, cover, snapshotOf(t, groups[0].m)); err != nil {
		t.Error(err)
	}
	if err := one(2, cover, snapshotOf(t, groups[0].m)); !errors.Is(err, ErrOtherGroup) {
		t.Errorf("another group: %v", err)
	}
	if err := one(2, cover, snapshotOf(t, groups[1].m)); !errors.Is(err, ErrSaveMoved) {
		t.Errorf("other slots: %v", err)
	}
	groups[0].k.setFrozen(shareOf(1, 2)[3], true)
	if err := one(1, cover, snapshotOf(t, groups[0].m)); !errors.Is(err, ErrSaveMoved) {
		t.Errorf("a frozen slot: %v", err)
	}
	groups[0].k.setFrozen(shareOf(1, 2)[3], false)
	var buf bytes.Buffer
	w, _ := NewSaveWriter(&buf, testSaveHead(2))
	for _, want := range []error{nil, ErrSaveUncovered} {
		if err := w.Group(1, cover, bytes.NewReader(snapshotOf(t, groups[0].m))); !errors.Is(err, want) {
			t.Errorf("once more: %v", err)
		}
	}
	full := errors.New("disk full")
	if _, err := NewSaveWriter(errWriter{full}, testSaveHead(1)); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
}

type errWriter struct{ err error }

func (w errWriter) Write([]byte) (int, error) { return 0, w.err }

// setFrozen is what a move will do.
func (k *Keyspace) setFrozen(slot uint16, frozen bool) {
	k.st.Lock(slot)
	k.slots[slot].frozen = frozen
	k.st.Unlock(slot)
}

// TestSaveDamage: streams whose container is sound and whose sections are not those of a save.
func TestSaveDamage(t *testing.T) {
	groups := groupsOf(t, 1, 8)
	var sections []snapshots.Section
	sr, err := snapshots.NewReader(bytes.NewReader(saveOf(t, groups)))
	if err != nil {
		t.Fatal(err)
	}
	for {
		s, err := sr.Next()
		if err != nil {
			break
		}
		s.Data = bytes.Clone(s.Data)
		sections = append(sections, s)
	}
	last := len(sections) - 1
	for _, c := range []struct {
		name string
		edit func(s []snapshots.Section) []snapshots.Section
		want error
	}{
		{"as it is", func(s []snapshots.Section) []snapshots.Section { return s }, nil},
		{"no head", func(s []snapshots.Section) []snapshots.Section { return s[1:] }, ErrNoSave},
		{"nothing", func([]snapshots.Section) []snapshots.Section { return nil }, ErrTruncated},
		{"no end", func(s []snapshots.Section) []snapshots.Section { return s[:last] }, ErrSaveUncovered},
		{"a slot less", func(s []snapshots.Section) []snapshots.Section { return slices.Delete(s, 3, 4) }, ErrMalformed},
		{"slots swapped", func(s []snapshots.Section) []snapshots.Section { s[2], s[3] = s[3], s[2]; return s }, ErrMalformed},
		{"a slot's bytes", func(s []snapshots.Section) []snapshots.Section { s[2].Data[0]++; return s }, ErrUnknown},
		{"a slot cut", func(s []snapshots.Section) []snapshots.Section { s[2].Data = s[2].Data[:9]; return s }, ErrMalformed},
		{"another value", func(s []snapshots.Section) []snapshots.Section {
			at := &s[last-1]
			at.Data[len(at.Data)-1] ^= 1
			return s
		}, ErrSaveDigest},
		{"group twice", func(s []snapshots.Section) []snapshots.Section { return append(s, s[1:]...) }, ErrSaveUncovered},
		{"group in group", func(s []snapshots.Section) []snapshots.Section { s[2] = s[1]; return s }, ErrMalformed},
		{"void outside", func(s []snapshots.Section) []snapshots.Section {
			return append(s, snapshots.Section{Kind: SectionSaveVoid, ID: 1, Data: []byte{1, 0}})
		}, ErrMalformed},
		{"an unknown kind", func(s []snapshots.Section) []snapshots.Section { s[2].Kind = 99; return s }, ErrMalformed},
		{"a newer head", func(s []snapshots.Section) []snapshots.Section { s[0].Data[0]++; return s }, ErrUnknown},
		{"a newer end", func(s []snapshots.Section) []snapshots.Section { s[last].Data[0]++; return s }, ErrUnknown},
	} {
		edited := make([]snapshots.Section, len(sections))
		for i, s := range sections {
			edited[i] = s
			edited[i].Data = bytes.Clone(s.Data)
		}
		var buf bytes.Buffer
		w, err := snapshots.NewWriter(&buf, sr.Header())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range c.edit(edited) {
			if err := w.Section(s.Kind, s.ID, s.Data); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_, _, err = readSave(buf.Bytes(), true)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if damaged := c.want != nil && c.want != ErrUnknown && c.want != ErrNoSave; SaveDamaged(err) != damaged {
			t.Errorf("%s: damaged %t", c.name, !damaged)
		}
	}
	if _, _, err := readSave(snapshotOf(t, groups[0].m), true); !errors.Is(err, ErrNoSave) {
		t.Errorf("a group's snapshot: %v", err)
	}
}

// TestSaveSections: the encodings of version 1 never change their meaning.
func TestSaveSections(t *testing.T) {
	h := testSaveHead(2)
	cut := SaveCut{Group: 3, Index: 300, Term: 2, Clock: 5, Version: 1 << 40, Slots: *coverOf([]uint16{0, 1, 2, 100, 16383})}
	done := SaveDone{
		Totals: SaveTotals{Slots: 2, Pieces: 3, Keys: 4, Timed: 1, KeyBytes: 5, ValueBytes: 6, LogicalBytes: 700},
		Sums:   []SlotSum{{1, [16]byte{1}}, {16383, [16]byte{0xff}}},
	}
	for _, c := range []struct{ name, got, want string }{
		{"head", hex.EncodeToString(h.append(nil)), "0180d095ffbc3105312e322e3309020102077b2261223a317d00"},
		{"cut", hex.EncodeToString(cut.append(nil)), "01ac02020580808080802007000361019a7f0100"},
		{"done", hex.EncodeToString(done.append(nil)), "01020304010506bc05020101000000000000000000000000000000fd7fff00000000000000000000000000000000"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
}

// FuzzSaveSections: anything is refused or is what its value encodes to.
func FuzzSaveSections(f *testing.F) {
	h := testSaveHead(2)
	cut := SaveCut{Slots: *coverOf([]uint16{0, 1, 100})}
	done := SaveDone{Sums: []SlotSum{{1, [16]byte{1}}, {100, [16]byte{2}}}}
	f.Add(h.append(nil))
	f.Add(cut.append(nil))
	f.Add(done.append(nil))
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, src []byte) {
		same := func(what string, again []byte) {
			if len(again) > len(src) || len(again) == len(src) && !bytes.Equal(again, src) {
				t.Fatalf("%s: %x became %x", what, src, again)
			}
		}
		if h, err := parseSaveHead(src, snapshots.Header{}); err == nil {
			same("head", h.append(nil))
		}
		if c, err := parseSaveCut(1, src); err == nil {
			same("cut", c.append(nil))
		}
		if d, err := parseSaveDone(src); err == nil {
			same("done", d.append(nil))
		}
		_ = parseSaveVoid(src)
	})
}

func BenchmarkSave(b *testing.B) {
	groups := groupsOf(b, 1, 100_000)
	snapshot, cover := snapshotOf(b, groups[0].m), coverOf(shareOf(1, 1))
	for b.Loop() {
		w, err := NewSaveWriter(io.Discard, testSaveHead(1))
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(w.Group(1, cover, bytes.NewReader(snapshot)), w.Close()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "keys/s")
}

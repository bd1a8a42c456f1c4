// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/kvorum/kvorum/store/collections"
	"pgregory.net/rapid"
)

// sampleEntry is what a test writes under a key.
type sampleEntry struct {
	kind    int
	version uint64
	at      int64
}

// pieces is a slot's content as several sections, and the store that holds all of it.
type pieces struct {
	slot     uint16
	sections [][]byte
	whole    *Store
}

// drawPieces draws pieces, some of whose keys come again in a later one, as another type.
func drawPieces(t *rapid.T) pieces {
	p := pieces{slot: SlotOf([]byte("{s}")), whole: New(Config{HashKey: testHashKey})}
	last := map[string]sampleEntry{}
	removed, version := uint64(0), uint64(0)
	for n := range rapid.IntRange(1, 5).Draw(t, "pieces") {
		part := New(Config{HashKey: testHashKey})
		names := rapid.SliceOfNDistinct(rapid.IntRange(0, 40), 0, 20, rapid.ID[int]).Draw(t, "keys")
		for _, name := range names {
			version++
			e := sampleEntry{rapid.IntRange(0, 3).Draw(t, "kind"), version, rapid.Int64Range(0, 3).Draw(t, "deadline")}
			key := fmt.Sprint("{s}", name)
			last[key] = e
			addSample(part, p.slot, key, e)
		}
		if rapid.Bool().Draw(t, "removal") {
			version++
			removed = version
			part.NoteRemoved(p.slot, version)
		}
		if rapid.Bool().Draw(t, "token") {
			r := TokenRecord{Seq: version, Version: version, At: int64(n + 1), Reply: []byte("OK")}
			part.PutToken(p.slot, client(n%3), r)
			p.whole.PutToken(p.slot, client(n%3), r)
		}
		p.sections = append(p.sections, sections(t, part, p.slot)...)
	}
	for _, key := range slices.Sorted(maps.Keys(last)) {
		addSample(p.whole, p.slot, key, last[key])
	}
	if removed > 0 {
		p.whole.NoteRemoved(p.slot, removed)
	}
	return p
}

// addSample writes one entry: a string, a list, a small or a large hash.
func addSample(s *Store, slot uint16, name string, e sampleEntry) {
	key := []byte(name)
	switch e.kind {
	case 0:
		s.SetString(slot, key, fmt.Append(nil, e.version), Meta{Flags: uint32(e.version % 3), Version: e.version})
	case 1:
		s.EditList(slot, key, e.version, func(l *ListEdit) { l.PushBack([]byte("e")); l.PushBack(fmt.Append(nil, e.version)) })
	default:
		s.EditHash(slot, key, e.version, func(h *HashEdit) { fillHash(h, 3+(e.kind-2)*collections.SmallFields) })
	}
	s.SetExpire(slot, key, e.at)
}

// popSet pops what is due at 2, in an order that does not depend on the hash key.
func popSet(s *Store) []string {
	var out []string
	for _, d := range popDue(s, 2, 1000) {
		out = append(out, fmt.Sprint(d.Deadline, d.Slot, string(d.Key), d.Version))
	}
	slices.Sort(out)
	return out
}

// Goal: a slot that came in pieces is the slot. Method: random pieces, some of whose keys replace those
// of earlier ones, added one after the other; digest and accounting are those of the entries written
// directly, and everything that is kept beside the entries still works.
func TestAddSection(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPieces(t)
		s := New(Config{HashKey: [16]byte{9}})
		s.Lock(p.slot)
		for _, data := range p.sections {
			if data == nil {
				continue
			}
			if err := s.AddSection(p.slot, data); err != nil {
				t.Fatal(err)
			}
		}
		s.Unlock(p.slot)
		if s.Digest(p.slot) != p.whole.Digest(p.slot) || s.Removed(p.slot) != p.whole.Removed(p.slot) {
			t.Fatal("digests differ")
		}
		if s.Stats(p.slot) != p.whole.Stats(p.slot) || s.Totals() != p.whole.Totals() {
			t.Fatalf("%+v, want %+v", s.Totals(), p.whole.Totals())
		}
		if s.NextDeadline() != p.whole.NextDeadline() {
			t.Fatalf("next deadline %d, want %d", s.NextDeadline(), p.whole.NextDeadline())
		}
		a, b := popSet(s), popSet(p.whole)
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("due %v, want %v", a, b)
		}
		s.Clear(p.slot)
		s.DropSlot(p.slot)
		if s.Totals() != (Stats{}) || s.NextDeadline() != 0 {
			t.Fatalf("accounting does not return to zero: %+v", s.Totals())
		}
	})
}

// Goal: a piece that is refused changes nothing. Method: every bit flipped and every cut of a piece,
// onto a slot that holds some of its keys; a load finds the same.
func TestAddSectionDamage(t *testing.T) {
	from := New(Config{HashKey: testHashKey})
	slot := sampleSlot(from)
	good := section(t, from, slot)
	fresh := func() *Store {
		s := New(Config{HashKey: testHashKey})
		s.SetString(slot, []byte("{s}plain"), []byte("older"), Meta{Version: 1, ExpireAt: 5})
		s.SetString(slot, []byte("{s}mine"), []byte("mine"), Meta{Version: 2})
		return s
	}
	s := fresh()
	digest, totals, again := s.Digest(slot), s.Totals(), section(t, s, slot)
	try := func(what string, bad []byte) {
		t.Helper()
		err := s.AddSection(slot, bad)
		loading := New(Config{HashKey: testHashKey})
		if other := loading.LoadSection(slot, bad); (other == nil) != (err == nil) {
			t.Fatalf("%s: %v when added, %v when loaded", what, err, other)
		}
		if err == nil {
			s = fresh() // a sound section of another content
			return
		}
		if !errors.Is(err, ErrSectionCorrupt) && !errors.Is(err, ErrSectionVersion) {
			t.Fatalf("%s: %v", what, err)
		}
		if s.Digest(slot) != digest || s.Totals() != totals || !bytes.Equal(section(t, s, slot), again) || s.NextDeadline() != 5 {
			t.Fatalf("%s: a refused piece changed the slot", what)
		}
	}
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		try(fmt.Sprint("bit ", i), bad)
	}
	for n := range good {
		try(fmt.Sprint("cut at ", n), good[:n])
	}
	if err := s.AddSection(slot, good); err != nil {
		t.Fatal(err)
	}
	if ref, ok := s.Lookup(slot, []byte("{s}plain")); !ok || string(ref.Bytes()) != "value" || ref.ExpireAt() != 0 {
		t.Error("a key that was there was not replaced")
	}
	if _, ok := s.Lookup(slot, []byte("{s}mine")); !ok {
		t.Error("a key of no piece is gone")
	}
}

// Goal: a frozen view does not see pieces added after it; held slots stay held. Method: a view made
// between two pieces.
func TestAddSectionUnderView(t *testing.T) {
	from := New(Config{HashKey: testHashKey})
	slot := sampleSlot(from)
	piece := section(t, from, slot)
	s := New(Config{HashKey: testHashKey})
	s.HoldDue(slot, true)
	s.SetString(slot, []byte("{s}mine"), []byte("mine"), Meta{Version: 2})
	before := section(t, s, slot)
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := s.AddSection(slot, piece); err != nil {
		t.Fatal(err)
	}
	var got []byte
	if err := v.Section(slot, func(data []byte) error { got = append(got, data...); return nil }); err != nil || !bytes.Equal(got, before) {
		t.Errorf("the view shows a later piece: %v", err)
	}
	if s.NextDeadline() != 0 || s.PopDue(1<<60, 100, nil) != 0 {
		t.Error("deadlines of a held slot are due")
	}
	s.HoldDue(slot, false)
	if s.NextDeadline() != 99 {
		t.Errorf("next deadline %d, want 99", s.NextDeadline())
	}
}

func BenchmarkAddSection(b *testing.B) {
	from := New(Config{})
	for i := range 1000 {
		from.SetString(SlotOf([]byte("{s}")), fmt.Appendf(nil, "{s}%08d", i), make([]byte, 100), Meta{Version: uint64(i + 1)})
	}
	slot := SlotOf([]byte("{s}"))
	piece := section(b, from, slot)
	s := New(Config{})
	b.SetBytes(int64(len(piece)))
	for b.Loop() {
		s.DropSlot(slot)
		for range 2 { // into an empty slot, and over what is there
			if err := s.AddSection(slot, piece); err != nil {
				b.Fatal(err)
			}
		}
	}
}

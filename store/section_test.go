// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/store/collections"
)

// sampleSlot fills a slot with one of everything and returns its number.
func sampleSlot(s *Store) uint16 {
	slot := SlotOf([]byte("{s}"))
	key := func(name string) []byte { return []byte("{s}" + name) }
	s.SetTick(77)
	s.SetString(slot, key("plain"), []byte("value"), Meta{Version: 1 << 40})
	s.SetString(slot, key("all"), nil, Meta{Flags: 1<<32 - 1, Version: 2, ExpireAt: 1 << 41})
	s.SetString(slot, key("gone"), nil, Meta{Version: 3})
	s.Delete(slot, key("gone"))
	s.EditList(slot, key("list"), 4, func(l *collections.ListEdit) {
		for i := range 3 {
			l.PushFront(fmt.Append(nil, i))
		}
	})
	s.EditHash(slot, key("small"), 5, func(h *collections.HashEdit) { fillHash(h, 4) })
	s.EditHash(slot, key("large"), 6, func(h *collections.HashEdit) {
		h.Set([]byte("f"), make([]byte, collections.SmallBytes+1))
		h.Set([]byte("g"), nil)
	})
	s.SetExpire(slot, key("list"), 99)
	s.PutToken(slot, client(2), TokenRecord{Seq: 9, Code: 200, Version: 10, Reply: []byte("OK"), At: 1000})
	s.PutToken(slot, client(1), TokenRecord{Seq: 1, At: 1000})
	s.slots[slot].t.tokens.forgotten = 999
	return slot
}

// section is a slot that fits into one.
func section(t interface{ Fatal(...any) }, s *Store, slot uint16) []byte {
	all := sections(t, s, slot)
	if len(all) != 1 {
		t.Fatal(len(all), "sections")
	}
	return all[0]
}

func replaceSlot(t interface{ Fatal(...any) }, s *Store, slot uint16, data []byte) {
	load(t, s, slot, [][]byte{data})
}

// Goal: a damaged section is refused, or is a sound section of another content; the slot stays as it
// was when it is refused. Method: every bit flipped, every cut, a byte appended.
func TestSectionDamage(t *testing.T) {
	s := New(Config{HashKey: testHashKey})
	slot := sampleSlot(s)
	good := section(t, s, slot)
	into := New(Config{HashKey: testHashKey})
	replaceSlot(t, into, slot, good)
	digest := into.Digest(slot)
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if err := addTo(into, slot, bad); err == nil {
			replaceSlot(t, into, slot, good)
		} else if !errors.Is(err, ErrSectionCorrupt) && !errors.Is(err, ErrSectionVersion) {
			t.Fatalf("bit %d: %v", i, err)
		}
		if into.Digest(slot) != digest {
			t.Fatalf("bit %d: a refused section changed the slot", i)
		}
	}
	for n := range good {
		// Cut between two entries it is a shorter section: the snapshot's checksums see that.
		other := New(Config{HashKey: testHashKey})
		if err := addTo(other, slot, good[:n]); err != nil && !errors.Is(err, ErrSectionCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		} else if err == nil && string(section(t, other, slot)) != string(good[:n]) {
			t.Fatalf("cut at %d: it loads as something else", n)
		}
	}
	for name, bad := range map[string][]byte{
		"tail":          append(bytes.Clone(good), 0),
		"newer version": append([]byte{sectionVersion + 1}, good[1:]...),
		"other slot":    bytes.ReplaceAll(good, []byte("{s}"), []byte("{t}")),
		"long varint":   {sectionVersion, 0x80, 0x00, 0, 0, 0},
	} {
		if err := addTo(into, slot, bad); err == nil {
			t.Errorf("%s goes through", name)
		}
	}
	if err := addTo(into, slot, []byte{sectionVersion + 1}); !errors.Is(err, ErrSectionVersion) {
		t.Errorf("newer version: %v", err)
	}
	if into.Digest(slot) != digest || into.Totals() != s.Totals() {
		t.Error("a refused section changed the slot")
	}
}

// Goal: a section alone justifies what its decoder allocates. Method: bytes allocated for sections
// that claim much and hold little, and for the densest sound ones.
func TestSectionAllocations(t *testing.T) {
	key := []byte("k")
	slot := SlotOf(key)
	claim := func(typ Type, tail ...byte) []byte {
		p := []byte{sectionVersion, 0, 0, 0, byte(typ), 0, 1, 'k', 1}
		return append(p, tail...)
	}
	huge := binary.AppendUvarint(nil, 1<<40)
	list := New(Config{})
	list.EditList(slot, key, 1, func(l *collections.ListEdit) {
		for range 100_000 {
			l.PushBack(nil)
		}
	})
	hash := New(Config{})
	hash.EditHash(slot, key, 1, func(h *collections.HashEdit) { fillHash(h, 100_000) })
	for name, data := range map[string][]byte{
		"string":                       claim(TypeString, huge...),
		"list":                         claim(TypeList, huge...),
		"hash":                         claim(TypeHash, append([]byte{1}, huge...)...),
		"tokens":                       append([]byte{sectionVersion, 0, 0}, huge...),
		"sound list of empty elements": sections(t, list, slot)[0],
		"sound hash of empty values":   sections(t, hash, slot)[0],
	} {
		s := New(Config{})
		_ = addTo(s, slot, claim(TypeString, 0)) // the slot's own memory
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := addTo(s, slot, data)
		runtime.ReadMemStats(&after)
		if (err == nil) != strings.HasPrefix(name, "sound") {
			t.Errorf("%s: %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 8192+64*uint64(len(data)) {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(data))
		}
	}
}

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// Goal: sections and digests of version 3 never change their meaning. Method: a committed section
// with its digest is what today's code makes, and loads to that digest.
func TestGoldenSection(t *testing.T) {
	s := New(Config{HashKey: testHashKey})
	slot := sampleSlot(s)
	digest := s.Digest(slot)
	made := hex.Dump(section(t, s, slot)) + "digest " + hex.EncodeToString(digest[:]) + "\n"
	name := filepath.Join("testdata", "section-v3.txt")
	if *rewrite {
		if err := os.WriteFile(name, []byte(made), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != made {
		t.Errorf("section or digest changed; now\n%s", made)
	}
}

// FuzzSection: any bytes are refused, or load to a slot whose section loads to the same digest and
// accounting; memory stays within a multiple of the input.
func FuzzSection(f *testing.F) {
	s := New(Config{HashKey: testHashKey})
	slot := sampleSlot(s)
	f.Add(section(f, s, slot))
	f.Add([]byte{})
	f.Add([]byte{sectionVersion, 0, 0, 0})
	f.Add([]byte{sectionVersion, 0, 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := New(Config{HashKey: testHashKey}), New(Config{HashKey: [16]byte{1}})
		if err := addTo(a, slot, data); err != nil {
			if !errors.Is(err, ErrSectionCorrupt) && !errors.Is(err, ErrSectionVersion) {
				t.Fatalf("error without a cause: %v", err)
			}
			if a.Totals() != (Stats{}) {
				t.Fatal("a refused section changed the slot")
			}
			return
		}
		load(t, b, slot, sections(t, a, slot))
		if a.Digest(slot) != b.Digest(slot) || a.Stats(slot) != b.Stats(slot) || a.Totals() != a.Stats(slot) {
			t.Fatal("digest or accounting changed over a section")
		}
		a.Clear(slot)
		a.DropSlot(slot)
		if a.Totals() != (Stats{}) || a.NextDeadline() != 0 {
			t.Fatalf("accounting does not return to zero: %+v", a.Totals())
		}
	})
}

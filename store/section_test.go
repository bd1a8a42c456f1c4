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
	s.EditList(slot, key("list"), 4, func(l *List) {
		for i := range 3 {
			l.PushFront(fmt.Append(nil, i))
		}
	})
	s.EditHash(slot, key("small"), 5, func(h *Hash) { fillHash(h, 4) })
	s.EditHash(slot, key("large"), 6, func(h *Hash) { h.Set([]byte("f"), make([]byte, HashSmallBytes+1)); h.Set([]byte("g"), nil) })
	s.SetExpire(slot, key("list"), 99)
	s.PutToken(slot, client(2), TokenRecord{Seq: 9, Code: 200, Version: 10, Reply: []byte("OK"), At: 1000})
	s.PutToken(slot, client(1), TokenRecord{Seq: 1, At: 1000})
	return slot
}

// Goal: a damaged section is refused, or is a sound section of another content; the slot stays as it
// was when it is refused. Method: every bit flipped, every cut, a byte appended.
func TestSectionDamage(t *testing.T) {
	s := New(Config{HashKey: testHashKey})
	slot := sampleSlot(s)
	good := s.AppendSection(nil, slot)
	into := New(Config{HashKey: testHashKey})
	load(t, into, slot, good)
	digest := into.Digest(slot)
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		if err := into.LoadSection(slot, bad); err == nil {
			if again := into.AppendSection(nil, slot); len(again) != len(bad) {
				t.Fatalf("bit %d: %d bytes load as %d", i, len(bad), len(again))
			}
			load(t, into, slot, good)
		} else if !errors.Is(err, ErrSectionCorrupt) && !errors.Is(err, ErrSectionVersion) {
			t.Fatalf("bit %d: %v", i, err)
		}
		if into.Digest(slot) != digest {
			t.Fatalf("bit %d: a refused section changed the slot", i)
		}
	}
	for n := range good {
		if err := into.LoadSection(slot, good[:n]); !errors.Is(err, ErrSectionCorrupt) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	for name, bad := range map[string][]byte{
		"tail":          append(bytes.Clone(good), 0),
		"newer version": append([]byte{sectionVersion + 1}, good[1:]...),
		"other slot":    bytes.ReplaceAll(good, []byte("{s}"), []byte("{t}")),
		"long varint":   {sectionVersion, 0x80, 0x00, 0, 0},
	} {
		if err := into.LoadSection(slot, bad); err == nil {
			t.Errorf("%s goes through", name)
		}
	}
	if err := into.LoadSection(slot, []byte{sectionVersion + 1}); !errors.Is(err, ErrSectionVersion) {
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
		p := []byte{sectionVersion, 0, 0, 1, byte(typ), 0, 1, 'k', 1}
		return append(p, tail...)
	}
	huge := binary.AppendUvarint(nil, 1<<40)
	list := New(Config{})
	list.EditList(slot, key, 1, func(l *List) {
		for range 100_000 {
			l.PushBack(nil)
		}
	})
	hash := New(Config{})
	hash.EditHash(slot, key, 1, func(h *Hash) { fillHash(h, 100_000) })
	for name, data := range map[string][]byte{
		"string":                       claim(TypeString, huge...),
		"list":                         claim(TypeList, huge...),
		"hash":                         claim(TypeHash, append([]byte{1}, huge...)...),
		"tokens":                       append([]byte{sectionVersion, 0}, huge...),
		"entries":                      append([]byte{sectionVersion, 0, 0}, huge...),
		"sound list of empty elements": list.AppendSection(nil, slot),
		"sound hash of empty values":   hash.AppendSection(nil, slot),
	} {
		s := New(Config{})
		_ = s.LoadSection(slot, claim(TypeString, 0)) // the slot's own memory
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := s.LoadSection(slot, data)
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

// Goal: sections and digests of version 1 never change their meaning. Method: a committed section
// with its digest is what today's code makes, and loads to that digest.
func TestGoldenSection(t *testing.T) {
	s := New(Config{HashKey: testHashKey})
	slot := sampleSlot(s)
	digest := s.Digest(slot)
	made := hex.Dump(s.AppendSection(nil, slot)) + "digest " + hex.EncodeToString(digest[:]) + "\n"
	name := filepath.Join("testdata", "section-v1.txt")
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
	f.Add(s.AppendSection(nil, slot))
	f.Add([]byte{})
	f.Add([]byte{sectionVersion, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := New(Config{HashKey: testHashKey}), New(Config{HashKey: [16]byte{1}})
		if err := a.LoadSection(slot, data); err != nil {
			if !errors.Is(err, ErrSectionCorrupt) && !errors.Is(err, ErrSectionVersion) {
				t.Fatalf("error without a cause: %v", err)
			}
			if a.Totals() != (Stats{}) {
				t.Fatal("a refused section changed the slot")
			}
			return
		}
		again := a.AppendSection(nil, slot)
		if again != nil {
			if len(again) != len(data) {
				t.Fatalf("%d bytes load as %d", len(data), len(again))
			}
			load(t, b, slot, again)
		}
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

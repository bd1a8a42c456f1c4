// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/snapshots"
)

// sectionsOf gives the slots of a machine as a snapshot holds them, with its clock and version.
func sectionsOf(t failer, m *Machine) map[uint16][][]byte {
	t.Helper()
	v, err := m.View()
	if err != nil {
		t.Fatalf("view: %v", err)
	}
	defer v.Close()
	var buf bytes.Buffer
	if _, err := v.WriteTo(&buf); err != nil {
		t.Fatalf("write: %v", err)
	}
	sr, err := snapshots.NewReader(&buf)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	out := map[uint16][][]byte{}
	for {
		s, err := sr.Next()
		if err != nil {
			return out
		}
		if s.Kind == SectionSlot {
			out[uint16(s.ID)] = append(out[uint16(s.ID)], bytes.Clone(s.Data))
		}
	}
}

// filled is a machine with one of everything, in several slots.
func filled(t failer) *testMachine {
	t.Helper()
	tm := newOwner(t)
	tm.do("SET", "plain", "value")
	tm.do("SET", "timed", "soon", "PX", "5000")
	tm.do("SET", "late", "later", "PX", "500000")
	tm.do("RPUSH", "list", "a", "b", "c")
	tm.do("HSET", "hash", "f", "v", "g", "w")
	tm.do("SET", "gone", "x")
	tm.do("DEL", "gone")
	c, _ := tm.command("SET", "tokened", "1")
	c.Token = Token{Client: [16]byte{7}, Seq: 3}
	tm.must(c)
	return tm
}

func slotDigests(k *Keyspace) map[uint16][16]byte {
	out := map[uint16][16]byte{}
	for slot := range uint16(Slots) {
		if sum := k.SlotDigest(slot); sum != [16]byte{} {
			out[slot] = sum
		}
	}
	return out
}

// importAll sends every piece of a machine's slots to another one.
func importAll(from, to *testMachine, id uint64) {
	for slot, list := range sectionsOf(to.t, from.m) {
		for n, data := range list {
			to.must(Import(id, slot, uint32(n), from.m.Clock(), from.m.Version(), data))
		}
	}
}

// TestImport: what was imported is what was saved: values, deadlines, versions, tokens; nobody sees or
// changes any of it before the end.
func TestImport(t *testing.T) {
	from, to := filled(t), newOwner(t)
	from.clock += 400_000 // ahead of the other machine's clock, by which "timed" would still live
	from.do("SET", "newest", "1")
	from.clock += 2 // and one more is alive and due soon
	from.do("SET", "brief", "x", "PX", "10")
	before := slotDigests(from.k)
	to.must(ImportBegin(5))
	if id, open := to.k.Import(); id != 5 || !open {
		t.Fatalf("import %d, open %t", id, open)
	}
	importAll(from, to, 5)
	if got := slotDigests(to.k); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Error("digests differ before the end")
	}
	if to.m.Clock() != from.m.Clock() || to.m.Version() < from.m.Version() {
		t.Errorf("clock %d, version %d: want %d, %d", to.m.Clock(), to.m.Version(), from.m.Clock(), from.m.Version())
	}
	for _, words := range []string{"GET plain", "SET plain x", "DEL plain", "SCAN 0", "MGET plain other", "KEYS *", "RANDOMKEY", "RENAME plain new"} {
		if res := to.do(strings.Fields(words)...); res.Code != CodeSlotFrozen {
			t.Errorf("%s while importing: %s", words, show(res))
		}
	}
	if w, ok := ParseWhole(ptr(to.do("FLUSHALL"))); !ok || w.Value.Code != CodeSlotFrozen {
		t.Errorf("FLUSHALL while importing: %s", show(w.Value))
	}
	to.clock = from.clock + 1000
	to.entry(Header{Evict: []Victim{{Slot: SlotOf([]byte("plain")), Key: []byte("plain"), Version: versionOf(to, "plain")}}})
	if got := slotDigests(to.k); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Error("expiry or eviction touched what is being imported")
	}
	to.must(ImportEnd(5, true))
	to.must(ImportEnd(5, true))
	to.entry(Header{})
	to.script(`
		GET plain => "value"
		GET timed => nil
		GET brief => nil
		LRANGE list 0 -1 => ["a" "b" "c"]
		GET late => "later"
		HGET hash g => "w"
		SET after 1 => +OK
	`)
	c, _ := to.command("SET", "tokened", "2")
	c.Token = Token{Client: [16]byte{7}, Seq: 2}
	if res := to.write(c); res.Code != CodeTokenExpired {
		t.Errorf("an old token: %s", show(res))
	}
	if v := versionOf(to, "after"); v <= from.m.Version() {
		t.Errorf("version %d of a new write is not above %d", v, from.m.Version())
	}
}

func ptr(r Result) *Result { return &r }

func versionOf(tm *testMachine, key string) uint64 {
	slot := SlotOf([]byte(key))
	ref, ok := tm.k.st.Lookup(slot, []byte(key))
	if !ok {
		return 0
	}
	return ref.Version()
}

// TestImportRefusals: whose turn it is, in which order, and into what.
func TestImportRefusals(t *testing.T) {
	from := filled(t)
	var slot uint16
	var piece []byte
	for s, list := range sectionsOf(t, from.m) {
		slot, piece = s, list[0]
	}
	to := newOwner(t)
	refused := func(want string, cmd Command) {
		t.Helper()
		if res := to.write(cmd); !res.IsError() || !strings.HasPrefix(string(res.Str), want) {
			t.Errorf("%s: %s, want %s", to.table.Spec(cmd.Op).Name, show(res), want)
		}
	}
	one := func(id uint64, n uint32, data []byte) Command { return Import(id, slot, n, 1, 1, data) }

	refused(TextImportOver, one(4, 0, piece))
	to.do("SET", "mine", "x")
	refused(TextImportNotEmpty, ImportBegin(4))
	to.do("DEL", "mine")
	refused(TextSyntax, ImportBegin(0))
	to.must(ImportBegin(4))
	to.must(ImportBegin(4)) // a repeated try
	refused(TextImportBusy, ImportBegin(5))
	refused(TextImportBusy, ImportBegin(3))
	refused(TextImportOver, one(3, 0, piece))
	refused(TextImportOver, one(5, 0, piece))
	refused(TextImportGap, one(4, 1, piece))
	refused(TextImportDamaged, one(4, 0, piece[:len(piece)-1]))
	refused(TextSyntax, Import(4, Slots-1, 0, MaxClock+1, 1, piece))
	refused(TextSyntax, Command{Op: OpImport, Args: bytesOf("4", "16384", "0", "1", "1", "")})
	to.must(one(4, 0, piece))
	digest := to.k.SlotDigest(slot)
	to.must(one(4, 0, piece)) // again: done already
	to.must(one(4, 0, nil))   // whatever it says
	if to.k.SlotDigest(slot) != digest {
		t.Error("a repeated piece changed the slot")
	}
	refused(TextImportOver, ImportEnd(3, true))
	refused(TextImportOver, ImportEnd(5, false))
	to.must(ImportEnd(4, false))
	if n := to.k.Stats(); n.Keys != 0 || n.LogicalBytes != 0 {
		t.Errorf("something is left: %+v", n)
	}
	refused(TextImportOver, ImportBegin(4)) // it ended
	refused(TextImportOver, one(4, 1, piece))
	to.script("SET mine x => +OK\nDEL mine => 1")
	to.must(ImportBegin(6))
	if to.k.st.Removed(SlotOf([]byte("mine"))) != 0 {
		t.Error("removals of the empty cluster stayed")
	}
	to.must(one(6, 0, piece))
	to.must(Drop(2, []uint16{slot}))
	if res := to.write(one(6, 1, piece)); res.Code != CodeSlotMoved {
		t.Errorf("a slot that is not owned: %s", show(res))
	}
}

// TestImportOverSnapshot: a replica that loads a snapshot in the middle of an import goes on like the others.
func TestImportOverSnapshot(t *testing.T) {
	from, to := filled(t), newOwner(t)
	to.must(ImportBegin(9))
	importAll(from, to, 9)
	var buf bytes.Buffer
	v, err := to.m.View()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	v.Close()
	other := newTestMachine(t)
	if err := other.m.Restore(bytes.NewReader(buf.Bytes())); err != nil {
		t.Fatal(err)
	}
	other.clock = to.clock
	if a, b := to.m.Digest(), other.m.Digest(); a.Machine != b.Machine {
		t.Fatal("digests differ")
	}
	slot := SlotOf([]byte("plain"))
	for _, tm := range []*testMachine{to, other} {
		if res := tm.do("GET", "plain"); res.Code != CodeSlotFrozen {
			t.Errorf("GET: %s", show(res))
		}
		tm.must(Import(9, slot, 0, 1, 1, nil)) // had its turn
		if res := tm.write(Import(9, slot, 2, 1, 1, nil)); !strings.HasPrefix(string(res.Str), TextImportGap) {
			t.Errorf("a gap: %s", show(res))
		}
		tm.must(ImportEnd(9, true))
		tm.script(`GET plain => "value"`)
	}
	if a, b := to.m.Digest(), other.m.Digest(); a.Machine != b.Machine {
		t.Fatal("digests differ at the end")
	}
	// What ended is remembered too.
	again := newTestMachine(t)
	buf.Reset()
	if v, err = to.m.View(); err != nil {
		t.Fatal(err)
	}
	if _, err := v.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	v.Close()
	if err := again.m.Restore(bytes.NewReader(buf.Bytes())); err != nil {
		t.Fatal(err)
	}
	if id, open := again.k.Import(); id != 9 || open {
		t.Errorf("import %d, open %t", id, open)
	}
}

// TestImportHoldsPlans: the proposer plans no eviction of what is being imported.
func TestImportHoldsPlans(t *testing.T) {
	from, to := filled(t), newOwner(t)
	p, _ := ParsePolicy("allkeys-lru")
	to.must(Limit(1, p, 0))
	to.must(ImportBegin(1))
	importAll(from, to, 1)
	if v := to.m.PlanEvictions(100); v != nil {
		t.Errorf("plans %d evictions", len(v))
	}
	to.must(ImportEnd(1, true))
	if v := to.m.PlanEvictions(100); len(v) == 0 {
		t.Error("plans none afterwards")
	}
}

// TestImportLargestValue: a piece is larger than the largest value.
func TestImportLargestValue(t *testing.T) {
	from, to := newOwner(t), newOwner(t)
	from.do("SET", "large", strings.Repeat("x", DefaultMaxValue))
	p, _ := ParsePolicy("noeviction")
	to.must(Limit(0, p, 1000))
	to.must(ImportBegin(1))
	importAll(from, to, 1)
	to.must(ImportEnd(1, true))
	if res := to.do("STRLEN", "large"); res.Int != DefaultMaxValue {
		t.Errorf("STRLEN: %s", show(res))
	}
}

// TestImportFreezesSlotsThatCome: a slot that the group is given while an import is open waits for its end like
// the others, so that no write in it is taken and then emptied.
func TestImportFreezesSlotsThatCome(t *testing.T) {
	for _, keep := range []bool{true, false} {
		tm := newTestMachine(t)
		tm.must(ImportBegin(1))
		tm.must(Own(1, allSlots()))
		if res := tm.do("SET", "k", "v"); res.Code != CodeSlotFrozen {
			t.Fatalf("SET during an import: %s", show(res))
		}
		tm.must(ImportEnd(1, keep))
		tm.must(Own(1, allSlots()))
		if res := tm.do("SET", "k", "v"); res.IsError() {
			t.Errorf("SET after the import: %s", show(res))
		}
	}
}

// TestImportLetsGoOfSlotsThatLeave: a slot that was taken away during an import is not frozen when it is back.
func TestImportLetsGoOfSlotsThatLeave(t *testing.T) {
	tm := newOwner(t)
	tm.must(ImportBegin(1))
	tm.must(Drop(2, allSlots()))
	tm.must(ImportEnd(1, true))
	tm.must(Own(3, allSlots()))
	if res := tm.do("SET", "k", "v"); res.IsError() {
		t.Errorf("SET: %s", show(res))
	}
}

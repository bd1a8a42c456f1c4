// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"runtime"
	"testing"
)

// allocationLimit bounds what a parser may allocate for src: a small multiple, for the slices that point
// into it.
func allocationLimit(src []byte) uint64 { return 32<<10 + 512*uint64(len(src)) }

// frugal fails the test when f allocates more than the limit for src.
func frugal(t *testing.T, src []byte, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > allocationLimit(src) {
		t.Fatalf("%d bytes allocated for %d", n, len(src))
	}
}

func FuzzParseCommand(f *testing.F) {
	c := Command{Op: OpSet, Args: bytesOf("key", "value", "EX", "10"), Token: Token{Client: [16]byte{1}, Seq: 300}}
	f.Add(AppendCommand(nil, &c))
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{5, 1, 1, 'a', 3, 2, 1, 'x'})
	f.Fuzz(func(t *testing.T, src []byte) {
		var c Command
		var n int
		var err error
		frugal(t, src, func() { c, n, err = ParseCommand(src) })
		if err != nil {
			return
		}
		again := AppendCommand(nil, &c)
		back, m, err := ParseCommand(again)
		if err != nil || m != len(again) || !sameCommand(c, back) {
			t.Fatalf("%x was parsed as %+v, and written again as %x", src[:n], c, again)
		}
		// Only optional extensions that are not known may be lost.
		if len(again) > n || len(again) == n && !bytes.Equal(again, src[:n]) {
			t.Fatalf("%x became %x", src[:n], again)
		}
	})
}

func FuzzParseResult(f *testing.F) {
	r := Array([]Result{Int(-5), Null(), Error(CodeVersion, "VERSION 1"), Map([]Result{Bulk([]byte("a")), {Kind: KindDouble, Dbl: 1.5}})})
	f.Add(AppendResult(nil, &r))
	f.Add([]byte{byte(KindArray), 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add(bytes.Repeat([]byte{byte(KindArray), 2}, 12))
	f.Fuzz(func(t *testing.T, src []byte) {
		var r Result
		var n int
		var err error
		frugal(t, src, func() { r, n, err = ParseResult(src) })
		if err != nil {
			return
		}
		if again := AppendResult(nil, &r); !bytes.Equal(again, src[:n]) {
			t.Fatalf("%x became %x", src[:n], again)
		}
	})
}

func FuzzParseEntry(f *testing.F) {
	c := Command{Op: OpIncr, Args: bytesOf("key")}
	h := Header{ClusterVersion: 1, Proposer: 2, Batch: 3, Clock: testClock, Seed: 4, Close: []uint64{5}, Evict: []Victim{{Slot: 6, Key: []byte("k"), Version: 7}}}
	f.Add(entryOf(h, &Sub{Session: 8, Seq: 9, Low: 9, Writes: 1, Body: AppendCommand(nil, &c)}))
	f.Add([]byte{entryVersion})
	f.Add([]byte{99})
	f.Fuzz(func(t *testing.T, src []byte) {
		var e Entry
		var err error
		frugal(t, src, func() { e, err = ParseEntry(src) })
		if err != nil {
			return
		}
		again := appendEntry(&e)
		if len(again) > len(src) || len(again) == len(src) && !bytes.Equal(again, src) {
			t.Fatalf("%x became %x", src, again)
		}
		for _, s := range e.Subs {
			_, _ = ValidateBody(Data(), s.Body, s.Writes)
		}
	})
}

// FuzzApply feeds a machine anything as an entry: it applies it or stops, and never fails otherwise.
func FuzzApply(f *testing.F) {
	for _, words := range [][]string{
		{"SET", "k", "v", "EX", "10"},
		{"LPOP", "k", "1"},
		{"LSET", "l", "0"},
		{"LTRIM", "l", "1", "x"},
		{"HSET", "h", "a"},
		{"OWN", "1", "\x00\x80\x80\x01"},
		{"DROP", "1", "\x00\x01"},
		{"LIMIT", "1", "x", "1"},
		{"IMPORT.BEGIN", "1"},
		{"IMPORT", "1", "0", "0", "1", "1", "\x01\x00\x00\x00"},
		{"IMPORT.END", "1", "0"},
		{"MSET", "a"},
		{"FLUSHALL", "x"},
		{"SETRANGE", "k", "16777215", "x"},
		{"OPENSESSION"},
		{"CLUSTERVERSION", "1"},
		{"EXPIRE", "k", "-9223372036854775808"},
		{"SET"},
	} {
		spec, _ := Data().Lookup([]byte(words[0]))
		cmd := Command{Op: spec.Op, Args: bytesOf(words[1:]...)}
		f.Add(AppendCommand(nil, &cmd), uint8(1))
	}
	f.Fuzz(func(t *testing.T, body []byte, writes uint8) {
		tm := newTestMachine(t)
		tm.must(Own(1, []uint16{0, SlotOf([]byte("k")), SlotOf([]byte("l")), SlotOf([]byte("h"))}))
		tm.do("RPUSH", "l", "a", "b")
		tm.do("SET", "k", "1")
		index, _ := tm.m.Applied()
		tm.m.Apply(index+1, 1, entryOf(Header{Clock: testClock}, &Sub{Writes: int(writes), Body: body}), nil)
		if tm.fatal != nil && bytes.Contains([]byte(tm.fatal.Error()), []byte("defect")) {
			t.Fatal(tm.fatal)
		}
		if got, _ := tm.m.Applied(); got != index+1 && tm.fatal == nil {
			t.Fatal("neither applied nor stopped")
		}
	})
}

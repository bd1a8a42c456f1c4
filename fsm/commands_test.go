// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCommandScripts runs testdata/scripts, which say what commands answer: one line a command, " => " and
// its reply as show words it.
func TestCommandScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			newOwner(t).script(string(text))
		})
	}
}

// TestLimitsAtAndPast tries each limit at its value and one past it, through Check and through Apply.
func TestLimitsAtAndPast(t *testing.T) {
	tm := newOwner(t)
	tm.table = DataWith(Limits{MaxKey: 8, MaxValue: 16, MaxArgs: 4, MaxCommand: 40})
	for _, c := range []struct {
		words []string
		want  string
	}{
		{[]string{"SET", "12345678", strings.Repeat("v", 16)}, "+OK"},
		{[]string{"SET", "123456789", "v"}, "-" + TextKeyTooBig},
		{[]string{"SET", "k", strings.Repeat("v", 17)}, "-" + TextStringTooBig},
		{[]string{"DEL", "a", "b", "c", "d"}, "0"},
		{[]string{"DEL", "a", "b", "c", "d", "e"}, "-" + TextTooManyArgs},
		{[]string{"RPUSH", "12345678", strings.Repeat("v", 16), strings.Repeat("v", 16)}, "-WRONGTYPE"},
		{[]string{"RPUSH", "12345678", strings.Repeat("v", 16), strings.Repeat("v", 16), "x"}, "-" + TextCommandTooBig},
	} {
		if got := show(tm.do(c.words...)); !strings.HasPrefix(got, c.want) {
			t.Errorf("%.40q: got %s, want %s", c.words, got, c.want)
		}
	}
	tm = newOwner(t)
	tm.must(Limit(0, 0, 10))
	tm.script(`
		SET a 1234567890 => +OK
		SET a 12345678901 => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
		APPEND a x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
		SET a 123456789 => +OK
		APPEND a x => 10
		SETRANGE a 9 x => 10
		SETRANGE a 10 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
	`)
	tm.must(Limit(0, 0, 0))
	big := strings.Repeat("k", MaxKeyBytes)
	if got := show(tm.write(Command{Op: OpSet, Args: bytesOf(big, "v")})); got != "+OK" {
		t.Errorf("key at the limit: %s", got)
	}
	if got := tm.write(Command{Op: OpSet, Args: bytesOf(big+"k", "v")}); got.Code != CodeTooBig {
		t.Errorf("key past the limit: %s", show(got))
	}
}

// TestDeadKeysStayDead moves the clock past a deadline and asks every kind of command.
func TestDeadKeysStayDead(t *testing.T) {
	tm := newOwner(t)
	// Enough dead keys that the bounded removal leaves some.
	for i := range 3 * dueBatch {
		tm.do("SET", fmt.Sprint("k", i), "1", "PX", "10")
	}
	tm.do("RPUSH", "list", "a")
	tm.do("PEXPIRE", "list", "11")
	tm.clock += 20
	tm.entry(Header{})
	if n := tm.k.Stats().Keys; n != 2*dueBatch+1 {
		t.Fatalf("one entry removed all but %d keys, want %d", n, 2*dueBatch+1)
	}
	var out [1]Result
	cmd, _ := tm.command("EXISTS", "list")
	tm.m.Query([]Command{cmd}, out[:], 0, nil)
	if out[0].Int != 0 {
		t.Error("a dead list is seen")
	}
	if res := tm.do("SCAN", "0", "COUNT", "10000"); len(res.Elems[1].Elems) != 0 {
		t.Errorf("a scan sees the dead: %s", show(res))
	}
	// A write that takes a dead key over keeps nothing of it.
	if got := show(tm.do("HSET", "list", "f", "v")); got != "1" {
		t.Errorf("HSET on a dead list: %s", got)
	}
	if got := show(tm.do("TTL", "list")); got != "-1" {
		t.Errorf("deadline of a dead key lives on: %s", got)
	}
	for range 3 {
		tm.entry(Header{})
	}
	if n := tm.k.Stats().Keys; n != 1 {
		t.Errorf("%d keys are left, want 1", n)
	}
	// The clock never goes back, so the dead do not return.
	tm.clock -= 1000
	tm.entry(Header{})
	if got := tm.m.Clock(); got != tm.clock+1000 {
		t.Errorf("clock went back to %d", got)
	}
}

// TestDueRemovalOrder checks that an entry removes the due keys first in (deadline, slot, key) order.
func TestDueRemovalOrder(t *testing.T) {
	tm := newOwner(t)
	type due struct {
		at   int
		slot uint16
		key  string
	}
	var all []due
	for i := range 2 * dueBatch {
		d := due{at: 10 + i%7, key: fmt.Sprint("k", i)}
		d.slot = SlotOf([]byte(d.key))
		all = append(all, d)
		tm.do("SET", d.key, "1", "PX", fmt.Sprint(d.at))
	}
	slices.SortFunc(all, func(a, b due) int {
		return slices.Compare([]int{a.at, int(a.slot), strings.Compare(a.key, b.key)}, []int{b.at, int(b.slot), 0})
	})
	tm.clock += 100
	tm.entry(Header{})
	for i, d := range all {
		tm.k.st.Lock(d.slot)
		_, there := tm.k.st.Lookup(d.slot, []byte(d.key))
		tm.k.st.Unlock(d.slot)
		if there != (i >= dueBatch) {
			t.Fatalf("key number %d in order of removal: there = %v", i, there)
		}
	}
}

// TestQueryReportsDue checks the hint that makes a leader tick.
func TestQueryReportsDue(t *testing.T) {
	tm := newOwner(t)
	tm.do("SET", "a", "1", "PX", "100")
	tm.do("SET", "b", "1")
	out := make([]Result, 1)
	for _, c := range []struct {
		name string
		cmd  []string
		wall int64
		want bool
	}{
		{"before", []string{"GET", "a"}, testClock + 99, false},
		{"at", []string{"GET", "a"}, testClock + 100, true},
		{"other key", []string{"GET", "b"}, testClock + 100, false},
		{"scan", []string{"SCAN", "0", "COUNT", "100"}, testClock + 100, true},
		{"mget", []string{"MGET", "b", "a"}, testClock + 100, true},
		{"not asked", []string{"GET", "a"}, 0, false},
	} {
		cmd, _ := tm.command(c.cmd...)
		if due := tm.m.Query([]Command{cmd}, out, c.wall, nil); due != c.want {
			t.Errorf("%s: due = %v", c.name, due)
		}
		if out[0].Kind == KindNull {
			t.Errorf("%s: the key is gone before the log clock says so", c.name)
		}
	}
}

func TestDefaultTTL(t *testing.T) {
	tm := newOwner(t)
	tm.must(DefaultTTL(5000))
	tm.script(`
		SET a 1 => +OK
		PTTL a => 5000
		INCR b => 1
		PTTL b => 5000
		RPUSH l 1 => 1
		PTTL l => 5000
		HSET h f v => 1
		PTTL h => 5000
		HINCRBY i f 1 => 1
		PTTL i => 5000
		SETNX x 1 => 1
		PTTL x => 5000
		MSET y 1 => +OK
		PTTL y => 5000
		SETRANGE z 0 v => 1
		PTTL z => 5000
		APPEND s v => 1
		PTTL s => 5000
		PERSIST s => 1
		APPEND s v => 2
		PTTL s => -1
		SET a 1 EX 100 => +OK
		PTTL a => 100000
	`)
	if res := tm.write(DefaultTTL(-1)); !res.IsError() {
		t.Error("a negative default TTL was accepted")
	}
}

// TestScan checks that a full scan meets every key, whatever COUNT and filters are.
func TestScan(t *testing.T) {
	tm := newOwner(t)
	want := map[string]bool{}
	for i := range 500 {
		k := fmt.Sprintf("key:%d", i)
		want[k] = true
		tm.do("SET", k, "v")
	}
	tm.do("RPUSH", "list", "v")
	scan := func(options ...string) (keys []string, calls int) {
		cursor := "0"
		for {
			res := tm.do(append([]string{"SCAN", cursor}, options...)...)
			for _, e := range res.Elems[1].Elems {
				keys = append(keys, string(e.Str))
			}
			calls++
			if cursor = string(res.Elems[0].Str); cursor == "0" {
				return keys, calls
			}
		}
	}
	for _, count := range []string{"1", "7", "100", "100000"} {
		keys, _ := scan("COUNT", count, "TYPE", "STRING")
		slices.Sort(keys)
		if keys = slices.Compact(keys); len(keys) != len(want) {
			t.Errorf("COUNT %s: %d keys, want %d", count, len(keys), len(want))
		}
	}
	if keys, _ := scan("MATCH", "key:1?"); len(keys) != 10 {
		t.Errorf("MATCH: %q", keys)
	}
	if keys, _ := scan("TYPE", "list"); len(keys) != 1 {
		t.Errorf("TYPE: %q", keys)
	}
	tm.script(`
		SCAN x => -ERR invalid cursor
		SCAN 4611686018427387904 => -ERR invalid cursor
		SCAN 0 COUNT 0 => -ERR syntax error
		SCAN 0 COUNT x => -ERR value is not an integer or out of range
		SCAN 0 COUNT => -ERR syntax error
		SCAN 0 BOGUS 1 => -ERR syntax error
	`)
}

// TestScanStopsAtForeignSlots checks that a scan hands over to the owner of the next slot.
func TestScanStopsAtForeignSlots(t *testing.T) {
	tm := newTestMachine(t)
	tm.must(Own(1, []uint16{0, 1, 2, 5}))
	res := tm.do("SCAN", "0", "COUNT", "1000")
	if len(res.Elems) != 2 {
		t.Fatal(show(res))
	}
	slot, ok := ScanSlot([][]byte{res.Elems[0].Str})
	if !ok || slot != 3 {
		t.Errorf("the scan goes on at slot %d, want 3", slot)
	}
	if res := tm.do("SCAN", string(res.Elems[0].Str)); res.Code != CodeSlotMoved {
		t.Errorf("scan of a foreign slot: %s", show(res))
	}
	if _, ok := ScanSlot([][]byte{[]byte("x")}); ok {
		t.Error("a bad cursor has a slot")
	}
}

// TestGlobSteps: names and patterns that are made to take long do not.
func TestGlobSteps(t *testing.T) {
	a := strings.Repeat("a", 64<<10)
	for name, pattern := range map[string]string{"stars": "*" + a[:20_000] + "b", "class": "*[" + strings.Repeat("b", 8<<10) + "]"} {
		if globMatch([]byte(pattern), []byte(a)) {
			t.Errorf("%s: it matches", name)
		}
		steps := 3 * globSteps
		for range 3 {
			if GlobMatch([]byte(pattern), []byte(a), &steps) {
				t.Errorf("%s: it matches", name)
			}
		}
		if steps > 0 || steps < -len(pattern)*3 {
			t.Errorf("%s: %d steps are left", name, steps)
		}
		if GlobMatch([]byte("*"), []byte("x"), &steps) {
			t.Errorf("%s: there are steps left", name)
		}
	}
	if steps := globSteps; !GlobMatch([]byte("n[e]*"), []byte("news"), &steps) || steps < globSteps-20 {
		t.Errorf("a sensible pattern takes %d steps", globSteps-steps)
	}
	if !globMatch([]byte("*"+a[:1000]+"b"), []byte(a[:1500]+"b")) {
		t.Error("a long match is not found")
	}
}

func TestGlobMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true},
		{"", "a", false},
		{"*", "", true},
		{"a*b*c", "aXbYc", true},
		{"a*b*c", "aXbY", false},
		{"h?llo", "hello", true},
		{"h?llo", "hllo", false},
		{"h[ae]llo", "hallo", true},
		{"h[^e]llo", "hello", false},
		{"h[a-c]llo", "hbllo", true},
		{"h[c-a]llo", "hbllo", true},
		{"h[a", "ha", true},
		{"[]a", "a", false},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{`a\`, `a\`, true},
		{`[\]]`, "]", true},
		{"**a", "bca", true},
	} {
		if got := globMatch([]byte(c.pattern), []byte(c.s)); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.s, got)
		}
	}
	// A pattern that takes exponential time in a naive matcher.
	if globMatch([]byte(strings.Repeat("a*", 200)+"b"), bytes.Repeat([]byte("a"), 5000)) {
		t.Error("matched")
	}
}

// TestTable checks the rows against each other.
func TestTable(t *testing.T) {
	table := Data()
	n := 0
	for s := range table.All() {
		n++
		if got, ok := table.Lookup([]byte(strings.ToLower(s.Name))); !ok || got != s || table.Spec(s.Op) != s {
			t.Errorf("%s is not found again", s.Name)
		}
		if s.Since == 0 {
			t.Errorf("%s: no Since", s.Name)
		}
		if !s.Internal && !s.Script && (s.Write != (s.Categories&CatWrite != 0) || s.Write == (s.Categories&CatRead != 0)) {
			t.Errorf("%s: categories do not fit Write", s.Name)
		}
		if s.Whole && s.FirstKey != 0 || s.DenyOOM && !s.Write {
			t.Errorf("%s: flags do not fit", s.Name)
		}
	}
	if n < 60 {
		t.Errorf("%d rows", n)
	}
	mset, _ := table.Lookup([]byte("mset"))
	var keys []string
	for _, k := range mset.Keys(bytesOf("a", "1", "b", "2")) {
		keys = append(keys, string(k))
	}
	if fmt.Sprint(keys) != "[a b]" {
		t.Errorf("keys of MSET: %q", keys)
	}
	if _, ok := table.Lookup(bytes.Repeat([]byte("x"), 1000)); ok {
		t.Error("an endless name is found")
	}
	name := []byte("gEt")
	if allocs := testing.AllocsPerRun(100, func() { table.Lookup(name) }); allocs != 0 {
		t.Errorf("Lookup allocates %v times", allocs)
	}
}

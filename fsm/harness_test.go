// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"fmt"
	"strings"
)

// testClock is where the clocks of tests begin, in milliseconds.
const testClock = 1_700_000_000_000

// failer is what a test machine needs of *testing.T, *testing.B or *rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// testMachine is a machine with what a test needs around it.
type testMachine struct {
	t     failer
	m     *Machine
	k     *Keyspace
	table *Table
	clock int64
	fatal error
}

func allSlots() []uint16 {
	slots := make([]uint16, Slots)
	for i := range slots {
		slots[i] = uint16(i)
	}
	return slots
}

// newTestMachine makes a machine that owns no slot.
func newTestMachine(t failer) *testMachine {
	tm := &testMachine{t: t, table: Data(), clock: testClock}
	tm.k = NewKeyspace(tm.table, KeyspaceConfig{HashKey: testHashKey})
	tm.m = NewMachine(tm.table, tm.k, Options{Cluster: "test", Group: 7, Fatal: func(err error) { tm.fatal = err }})
	return tm
}

// newOwner makes a machine that owns all slots.
func newOwner(t failer) *testMachine {
	tm := newTestMachine(t)
	tm.must(Own(1, allSlots()))
	return tm
}

// sub packs commands as a Sub outside any session.
func packSub(cmds ...Command) *Sub {
	s := &Sub{Writes: len(cmds)}
	for i := range cmds {
		s.Body = AppendCommand(s.Body, &cmds[i])
	}
	return s
}

func entryOf(h Header, subs ...*Sub) []byte {
	data := AppendEntryHeader(nil, &h)
	for _, s := range subs {
		data = AppendSub(data, s)
	}
	return data
}

// entry applies one entry made of subs and fails the test when the machine stops.
func (tm *testMachine) entry(h Header, subs ...*Sub) {
	tm.t.Helper()
	if h.Clock == 0 {
		h.Clock = tm.clock
	}
	index, _ := tm.m.Applied()
	tm.m.Apply(index+1, 1, entryOf(h, subs...), subs)
	if tm.fatal != nil {
		tm.t.Fatalf("machine stopped: %v", tm.fatal)
	}
}

// age lets time pass, in entries.
func (tm *testMachine) age(millis int64) {
	tm.t.Helper()
	for ; millis > 0; millis -= maxAging {
		tm.clock += min(millis, maxAging)
		tm.entry(Header{})
	}
}

// restored is a machine that the snapshot of tm was loaded into.
func restored(tm *testMachine) *testMachine {
	tm.t.Helper()
	other := newTestMachine(tm.t)
	if err := other.m.Restore(bytes.NewReader(takeView(tm.t, tm.m))); err != nil {
		tm.t.Fatalf("%v", err)
	}
	other.clock = tm.clock
	if other.m.Digest().Machine != tm.m.Digest().Machine {
		tm.t.Fatalf("digests differ over a snapshot")
	}
	return other
}

// write applies one command in an entry of its own.
func (tm *testMachine) write(cmd Command) Result {
	tm.t.Helper()
	s := packSub(cmd)
	tm.entry(Header{}, s)
	return s.Results[0]
}

func (tm *testMachine) must(cmd Command) {
	tm.t.Helper()
	if res := tm.write(cmd); res.IsError() {
		tm.t.Fatalf("%s: %s", tm.table.Spec(cmd.Op).Name, res.Str)
	}
}

// command makes a Command of words.
func (tm *testMachine) command(words ...string) (Command, bool) {
	spec, ok := tm.table.Lookup([]byte(words[0]))
	if !ok {
		return Command{}, false
	}
	cmd := Command{Op: spec.Op, Args: make([][]byte, 0, len(words))}
	for _, w := range words[1:] {
		cmd.Args = append(cmd.Args, []byte(w))
	}
	return cmd, true
}

// do runs a command as an edge would: lookup, check, then log or query; and again with more room when the
// reply of a write found too little.
func (tm *testMachine) do(words ...string) Result {
	tm.t.Helper()
	cmd, ok := tm.command(words...)
	if !ok {
		args := make([][]byte, 0, len(words))
		for _, w := range words[1:] {
			args = append(args, []byte(w))
		}
		return UnknownCommand([]byte(words[0]), args)
	}
	res, ok := tm.table.Check(&cmd)
	if !ok {
		return res
	}
	if tm.table.Spec(cmd.Op).Write {
		if res = tm.write(cmd); res.Code == CodeReplyRoom {
			cmd.Room = MaxReply
			res = tm.write(cmd)
		}
		return res
	}
	var out [1]Result
	tm.m.Query([]Command{cmd}, out[:], 0, nil)
	return out[0]
}

// show words a result for comparison.
func show(r Result) string {
	switch r.Kind {
	case KindNone:
		return "none"
	case KindNull:
		return "nil"
	case KindInt:
		return fmt.Sprint(r.Int)
	case KindStatus:
		return "+" + string(r.Str)
	case KindError:
		return "-" + string(r.Str)
	case KindBulk:
		return fmt.Sprintf("%q", r.Str)
	case KindDouble:
		return "," + string(AppendDouble(nil, r.Dbl))
	case KindArray, KindMap, KindSet:
		var parts []string
		for _, e := range r.Elems {
			parts = append(parts, show(e))
		}
		open := "["
		switch r.Kind {
		case KindMap:
			open = "{"
		case KindSet:
			open = "~["
		}
		return open + strings.Join(parts, " ") + "]"
	}
	return fmt.Sprintf("kind %d", r.Kind)
}

// script runs a script: each line is a command, " => " and the reply as show words it.
func (tm *testMachine) script(text string) {
	tm.t.Helper()
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		cmd, want, ok := strings.Cut(line, " => ")
		if !ok {
			tm.t.Fatalf("line %d: no =>", n+1)
		}
		if got := show(tm.do(strings.Fields(cmd)...)); got != want {
			tm.t.Errorf("line %d: %s\n got %s\nwant %s", n+1, cmd, got, want)
		}
	}
}

func bytesOf(words ...string) [][]byte {
	out := make([][]byte, len(words))
	for i, w := range words {
		out[i] = []byte(w)
	}
	return out
}

func sameResult(a, b Result) bool {
	return bytes.Equal(AppendResult(nil, &a), AppendResult(nil, &b))
}

// testHashKey is the cluster's in tests.
var testHashKey = [16]byte{1, 2, 3}

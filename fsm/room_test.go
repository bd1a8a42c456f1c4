// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// purse is a Ledger with a fixed sum.
type purse struct{ left int64 }

func (p *purse) Try(n int64) bool {
	if n > p.left {
		return false
	}
	p.left -= n
	return true
}

const mib = 1 << 20

// mustSet stores values of size bytes under names.
func (tm *testMachine) mustSet(t *testing.T, size int, names ...string) {
	t.Helper()
	value := strings.Repeat("v", size)
	for _, name := range names {
		if res := tm.do("SET", name, value); res.IsError() {
			t.Fatalf("SET %s: %s", name, res.Str)
		}
	}
}

// TestQueryBound: the replies of one Query stay within MaxBatchReply. The first always fits; the first
// that does not, and everything behind it, is not answered.
func TestQueryBound(t *testing.T) {
	tm := newOwner(t)
	tm.mustSet(t, 10*mib, "a")
	tm.mustSet(t, 10, "b")
	cmds := []Command{get("a"), get("b"), get("a"), get("a"), get("a"), get("b"), get("a")}
	out := make([]Result, len(cmds))
	room := Room{Free: MaxReply}
	tm.m.Query(cmds, out, testClock, &room)
	for i, want := range []int{10 * mib, 10, 10 * mib, 10 * mib, -1, -1, -1} {
		if want < 0 && out[i].Kind != KindNone || want >= 0 && len(out[i].Str) != want {
			t.Errorf("reply %d has kind %d and %d bytes, want %d", i, out[i].Kind, len(out[i].Str), want)
		}
	}
	if !room.Short || room.Used > MaxBatchReply || room.Held != 0 {
		t.Errorf("room %+v", room)
	}
}

// TestQueryLedger: what goes beyond Free is asked for before it is made, and counted in Held.
func TestQueryLedger(t *testing.T) {
	tm := newOwner(t)
	tm.mustSet(t, 2*mib, "a")
	cmds := []Command{get("a"), get("a"), get("a")}
	out := make([]Result, len(cmds))
	p := purse{left: 5 * mib}
	room := Room{Free: 100, Ledger: &p}
	tm.m.Query(cmds, out, testClock, &room)
	if out[1].Kind != KindBulk || out[2].Kind != KindNone || !room.Short {
		t.Errorf("kinds %d %d %d, room %+v", out[0].Kind, out[1].Kind, out[2].Kind, room)
	}
	if room.Held != 5*mib-p.left || room.Used > room.Free+room.Held {
		t.Errorf("room %+v, %d left", room, p.left)
	}
	small := Room{Free: 4096, Ledger: &p}
	tm.mustSet(t, 100, "s")
	tm.m.Query([]Command{get("s")}, out[:1], testClock, &small)
	if small.Held != 0 || out[0].Kind != KindBulk {
		t.Errorf("a small reply asked: %+v", small)
	}
}

// TestReplyTooLarge: a reply beyond MaxReply is refused before memory is taken for it, whatever command
// asks for it, and the write among them changes nothing.
func TestReplyTooLarge(t *testing.T) {
	tm := newOwner(t)
	names := make([]string, 7)
	for i := range names {
		names[i] = fmt.Sprintf("{t}%d", i)
	}
	tm.mustSet(t, 9*mib, names...)
	chunk := strings.Repeat("e", 9*mib)
	for i := range 7 {
		tm.do("RPUSH", "{t}list", chunk)
		tm.do("HSET", "{t}hash", fmt.Sprint("f", i), chunk)
	}
	fields := []string{"{t}hash", "f0", "f1", "f2", "f3", "f4", "f5", "f6"}
	for _, words := range [][]string{
		append([]string{"MGET"}, names...),
		{"LRANGE", "{t}list", "0", "-1"},
		{"HGETALL", "{t}hash"},
		{"HVALS", "{t}hash"},
		append([]string{"HMGET"}, fields...),
		{"LPOP", "{t}list", "7"},
		{"RPOP", "{t}list", "100"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		res := tm.do(words...)
		runtime.ReadMemStats(&after)
		if res.Code != CodeTooBig || string(res.Str) != TextReplyTooBig {
			t.Errorf("%s: kind %d code %d %.60s", words[0], res.Kind, res.Code, res.Str)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 8*mib {
			t.Errorf("%s took %d bytes to refuse", words[0], took)
		}
	}
	if n := tm.do("LLEN", "{t}list"); n.Int != 7 {
		t.Errorf("%d elements are left of 7", n.Int)
	}
	if res := tm.do("LRANGE", "{t}list", "0", "5"); len(res.Elems) != 6 {
		t.Errorf("54 MiB: %d elements, %s", len(res.Elems), res.Str)
	}
}

// TestWriteReplyRoom: a write whose reply needs more room than its sender made changes nothing, and
// nothing behind it in the Sub passes it on its slot; with room it runs.
func TestWriteReplyRoom(t *testing.T) {
	for _, words := range [][]string{
		{"GETDEL", "k"}, {"GETSET", "k", "new"}, {"SET", "k", "new", "GET"}, {"GETEX", "k", "PERSIST"}, {"LPOP", "l"}, {"RPOP", "l", "1"},
	} {
		t.Run(words[0], func(t *testing.T) {
			tm := newOwner(t)
			value := strings.Repeat("v", WriteReply+1)
			tm.do("SET", "k", value)
			tm.do("RPUSH", "l", value)
			key := words[1]
			run := func(room int64) []Result {
				c, _ := tm.command(words...)
				c.Room = room
				s := &Sub{Writes: 3}
				for _, c := range []Command{c, {Op: OpDel, Args: bytesOf(key)}, {Op: OpSet, Args: bytesOf("other", "1")}} {
					s.Body = AppendCommand(s.Body, &c)
				}
				tm.entry(Header{}, s)
				return s.Results
			}
			got := run(0)
			if got[0].Code != CodeReplyRoom || got[1].Code != CodeSlotFrozen || got[2].IsError() {
				t.Fatalf("without room: codes %d %d %d", got[0].Code, got[1].Code, got[2].Code)
			}
			if n := tm.do("EXISTS", key); n.Int != 1 {
				t.Fatal("a refused command changed something")
			}
			got = run(WriteReply + 1 + 2*ReplyOverhead)
			size := len(got[0].Str)
			if got[0].Kind == KindArray {
				size = len(got[0].Elems[0].Str)
			}
			if size != len(value) {
				t.Fatalf("with room: %d bytes, code %d", size, got[0].Code)
			}
			if got[1].IsError() {
				t.Errorf("the command behind it: %s", got[1].Str)
			}
		})
	}
}

// TestSubReplyBound: the replies of one Sub's writes stay within MaxBatchReply; what goes beyond is to be
// tried again.
func TestSubReplyBound(t *testing.T) {
	tm := newOwner(t)
	const n = MaxBatchReply/(60<<10) + 10
	s := &Sub{Writes: n}
	for i := range n {
		key := fmt.Sprint("k", i)
		tm.mustSet(t, 60<<10, key)
		c := Command{Op: OpGetDel, Args: bytesOf(key)}
		s.Body = AppendCommand(s.Body, &c)
	}
	tm.entry(Header{}, s)
	total, frozen := int64(0), 0
	for i := range s.Results {
		if s.Results[i].Code == CodeSlotFrozen {
			frozen++
			continue
		}
		total += ReplySize(&s.Results[i])
	}
	if total > MaxBatchReply || frozen == 0 || frozen > 12 {
		t.Errorf("%d bytes of replies, %d to be tried again", total, frozen)
	}
	if left := tm.do("DBSIZE"); int(left.Elems[2].Int) != frozen {
		t.Errorf("%d keys are left, %d were refused", left.Elems[2].Int, frozen)
	}
}

// TestAttachedBound: reads beside writes are bounded as well.
func TestAttachedBound(t *testing.T) {
	tm := newOwner(t)
	tm.mustSet(t, 10*mib, "a")
	s := packSub(Command{Op: OpSet, Args: bytesOf("b", "1")})
	for range 5 {
		s.Reads = append(s.Reads, AttachedRead{After: 1, Cmd: get("a")})
	}
	tm.entry(Header{}, s)
	answered := 0
	for i := range s.ReadResults {
		if s.ReadResults[i].Kind == KindBulk {
			answered++
		}
	}
	if answered != 3 || s.Results[0].IsError() {
		t.Errorf("%d of 5 reads were answered, the write: %s", answered, s.Results[0].Str)
	}
}

// TestScanBound: however long the keys are, a SCAN ends early, and none is lost.
func TestScanBound(t *testing.T) {
	tm := newOwner(t)
	const keys = 64
	for i := range keys {
		tm.do("SET", fmt.Sprintf("{t}%d%s", i, strings.Repeat("k", 60<<10)), "")
	}
	seen, cursor := map[string]bool{}, fmt.Sprint(uint64(SlotOf([]byte("{t}")))<<48)
	for range keys {
		res := tm.do("SCAN", cursor, "COUNT", "10000")
		size := int64(0)
		for _, k := range res.Elems[1].Elems {
			seen[string(k.Str)] = true
			size += ReplySize(&k)
		}
		if size > scanBytes+scanStep*(MaxKeyBytes+ReplyOverhead) {
			t.Fatalf("one SCAN found %d bytes of keys", size)
		}
		if cursor = string(res.Elems[0].Str); cursor == "0" {
			break
		}
	}
	if len(seen) != keys {
		t.Errorf("found %d of %d keys", len(seen), keys)
	}
}

// TestRoomCodec: a command's Room travels, beside a token and alone.
func TestRoomCodec(t *testing.T) {
	for _, c := range []Command{
		{Op: OpGetDel, Args: bytesOf("k"), Room: 1}, {Op: OpGetDel, Args: bytesOf("k"), Room: MaxReply, Token: Token{Seq: 9}},
	} {
		b := AppendCommand(nil, &c)
		got, n, err := ParseCommand(b)
		if err != nil || n != len(b) || n != CommandSize(&c) || got.Room != c.Room || got.Token != c.Token {
			t.Errorf("%+v: got %+v, %d of %d bytes, %v", c, got, n, len(b), err)
		}
	}
	if _, _, err := ParseCommand([]byte{1, 0, 3, tagRoom, 1, 0}); err == nil {
		t.Error("a room of 0 bytes was taken")
	}
}

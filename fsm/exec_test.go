// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// exec runs lines of words as a transaction that watches keys with their marks.
func (tm *testMachine) exec(watched, marks [][]byte, lines ...string) Result {
	tm.t.Helper()
	return tm.write(tm.transaction(watched, marks, lines...))
}

func (tm *testMachine) transaction(watched, marks [][]byte, lines ...string) Command {
	var cmds []Command
	for _, line := range lines {
		c, ok := tm.command(strings.Fields(line)...)
		if !ok {
			tm.t.Fatalf("unknown command in %q", line)
		}
		cmds = append(cmds, c)
	}
	return Exec(tm.table, watched, marks, cmds)
}

// watch gives the marks of keys.
func (tm *testMachine) watch(keys ...string) (watched, marks [][]byte) {
	tm.t.Helper()
	res := tm.do(append([]string{"KV.WATCH"}, keys...)...)
	if len(res.Elems) != len(keys) {
		tm.t.Fatalf("KV.WATCH: %s", show(res))
	}
	for i := range res.Elems {
		watched, marks = append(watched, []byte(keys[i])), append(marks, res.Elems[i].Str)
	}
	return watched, marks
}

func TestExec(t *testing.T) {
	tm := newOwner(t)
	tm.do("SET", "{t}s", "x")
	res := tm.exec(nil, nil,
		"SET {t}n 1", "INCR {t}n", "GET {t}n", "LPUSH {t}s a", "RPUSH {t}l a b c", "LRANGE {t}l 0 -1", "INCRBY {t}n 40", "SADD {t}m x y", "SPOP {t}m 2", "GET {t}none")
	want := `[OK (int) 2 "2" !WRONGTYPE Operation against a key holding the wrong kind of value (int) 3 ["a" "b" "c"] (int) 42 (int) 2`
	if got := show(res); len(res.Elems) != 10 || res.Elems[1].Int != 2 || string(res.Elems[2].Str) != "2" || !res.Elems[3].IsError() ||
		len(res.Elems[5].Elems) != 3 || res.Elems[6].Int != 42 || len(res.Elems[8].Elems) != 2 || res.Elems[9].Kind != KindNull {
		t.Errorf("got %s\nlike %s", got, want)
	}
	if got := show(tm.do("GET", "{t}n")); got != `"42"` {
		t.Errorf("n is %s", got)
	}
	if res := tm.exec([][]byte{[]byte("a")}, nil); res.Kind != KindArray || len(res.Elems) != 0 {
		t.Errorf("no commands: %s", show(res))
	}
}

// TestWatch: a transaction runs when nothing happened to the watched keys, and only then.
func TestWatch(t *testing.T) {
	for _, c := range []struct {
		name, before string // what is done before the key is watched, and after
		after        []string
		runs         bool
	}{
		{"nothing happened", "SET {t}k v", nil, true},
		{"absent and still so", "", nil, true},
		{"another key of the slot was written", "", []string{"SET {t}other v"}, true},
		{"another key of the slot went, which an absent one may have been", "", []string{"SET {t}other v", "DEL {t}other"}, false},
		{"written", "SET {t}k v", []string{"SET {t}k v"}, false},
		{"deleted", "SET {t}k v", []string{"DEL {t}k"}, false},
		{"deleted and made again", "SET {t}k v", []string{"DEL {t}k", "SET {t}k v"}, false},
		{"came", "", []string{"SET {t}k v"}, false},
		{"came and went", "", []string{"SET {t}k v", "DEL {t}k"}, false},
		{"element added", "RPUSH {t}k a", []string{"RPUSH {t}k b"}, false},
		{"deadline set", "SET {t}k v", []string{"EXPIRE {t}k 100"}, false},
		{"deadline moved", "SET {t}k v EX 50", []string{"EXPIRE {t}k 100"}, false},
		{"only read", "RPUSH {t}k a", []string{"LRANGE {t}k 0 -1", "EXISTS {t}k"}, true},
		{"not changed by a failed write", "SET {t}k v", []string{"LPUSH {t}k a", "SET {t}k w NX"}, true},
	} {
		tm := newOwner(t)
		if c.before != "" {
			tm.do(strings.Fields(c.before)...)
		}
		watched, marks := tm.watch("{t}k", "{t}k", "unused")
		for _, line := range c.after {
			tm.do(strings.Fields(line)...)
		}
		res := tm.exec(watched, marks, "SET {t}done 1")
		if done := tm.do("EXISTS", "{t}done").Int == 1; done != c.runs || (res.Kind == KindNull) == c.runs {
			t.Errorf("%s: ran %v, answered %s", c.name, done, show(res))
		}
	}
	tm := newOwner(t)
	tm.do("SET", "{t}k", "v", "PX", "50")
	watched, marks := tm.watch("{t}k")
	tm.clock += 100
	tm.entry(Header{})
	if res := tm.exec(watched, marks, "SET {t}done 1"); res.Kind != KindNull {
		t.Errorf("expired: %s", show(res))
	}
}

// TestExecRefuses: what is no transaction changes nothing, whatever the log holds.
func TestExecRefuses(t *testing.T) {
	tm := newOwner(t)
	set := Command{Op: OpSet, Args: bytesOf("a", "1")}
	body := AppendCommand(nil, &set)
	tokened := set
	tokened.Token = Token{Client: [16]byte{1}, Seq: 1}
	nested := Exec(tm.table, nil, nil, []Command{set})
	watched, marks := tm.watch("a")
	for name, args := range map[string][][]byte{
		"no keys":              {[]byte("0"), nil, body},
		"a number too large":   {[]byte("9"), []byte("a"), nil, body},
		"no marks":             {[]byte("1"), []byte("a")},
		"half a mark":          {[]byte("1"), []byte("a"), marks[0][:9], body},
		"a mark of no kind":    {[]byte("1"), []byte("a"), append([]byte{7}, marks[0][1:]...), body},
		"more marks than keys": {[]byte("1"), watched[0], bytes.Repeat(marks[0], 2), body},
		"a key not named":      {[]byte("1"), []byte("b"), nil, body},
		"half a command":       {[]byte("1"), []byte("a"), nil, body[:len(body)-1]},
		"more than a command":  {[]byte("1"), []byte("a"), nil, append(bytes.Clone(body), 0)},
		"a token":              {[]byte("1"), []byte("a"), nil, AppendCommand(nil, &tokened)},
		"a transaction":        {[]byte("1"), []byte("a"), nil, AppendCommand(nil, &nested)},
		"an internal command":  {[]byte("1"), []byte("a"), nil, AppendCommand(nil, &Command{Op: OpDefaultTTL, Args: bytesOf("1")})},
		"a whole command":      {[]byte("1"), []byte("a"), nil, AppendCommand(nil, &Command{Op: OpFlushAll})},
		"an unknown command":   {[]byte("1"), []byte("a"), nil, AppendCommand(nil, &Command{Op: 9999, Args: bytesOf("a")})},
		"a wrong command":      {[]byte("1"), []byte("a"), nil, body, AppendCommand(nil, &Command{Op: OpSet, Args: bytesOf("a")})},
	} {
		if res := tm.write(Command{Op: OpExec, Args: args}); !res.IsError() {
			t.Errorf("%s: %s", name, show(res))
		}
	}
	if n := tm.do("DBSIZE").Elems; tm.do("EXISTS", "a").Int != 0 {
		t.Errorf("something was set: %v", n)
	}
}

// TestExecRoom: a transaction whose replies are too long is refused as a whole before it changed anything, and
// afterwards only the reply that does not fit fails.
func TestExecRoom(t *testing.T) {
	tm := newOwner(t)
	tm.do("SET", "{t}long", strings.Repeat("x", WriteReply))
	tm.do("SET", "{t}n", "0")
	if res := tm.exec(nil, nil, "GET {t}n", "GET {t}long", "INCR {t}n"); res.Code != CodeReplyRoom {
		t.Errorf("read first: %.50s", show(res))
	}
	cmd := tm.transaction(nil, nil, "GET {t}n", "GET {t}long", "INCR {t}n")
	cmd.Room = 2 * WriteReply
	if res := tm.write(cmd); len(res.Elems) != 3 || len(res.Elems[1].Str) != WriteReply || res.Elems[2].Int != 1 {
		t.Errorf("with room: %.50s", show(res))
	}
	res := tm.exec(nil, nil, "INCR {t}n", "GET {t}long", "INCR {t}n")
	if len(res.Elems) != 3 || res.Elems[0].Int != 2 || res.Elems[1].Code != CodeTooBig || res.Elems[2].Int != 3 {
		t.Errorf("written first: %.50s", show(res))
	}
}

// TestExecToken: a repeated transaction answers what it answered.
func TestExecToken(t *testing.T) {
	tm := newOwner(t)
	cmd := tm.transaction(nil, nil, "INCR {t}n", "GET {t}n")
	cmd.Token = Token{Client: [16]byte{1}, Seq: 1}
	for range 2 {
		if got := show(tm.write(cmd)); !strings.Contains(got, "1") || strings.Contains(got, "2") {
			t.Errorf("got %s", got)
		}
	}
}

// TestExecGrowth: the bound has what the commands may add.
func TestExecGrowth(t *testing.T) {
	tm := newOwner(t)
	policy, _ := ParsePolicy("allkeys-lru")
	tm.must(Limit(1<<30, policy, 0))
	cmd := tm.transaction(nil, nil, "SETRANGE {t}a 100000 x", "RPUSH {t}l "+strings.Repeat("y ", 1000), "SADD {t}m a b c", "SUNIONSTORE {t}d {t}m {t}m")
	bound := tm.m.GrowthBound([]*Sub{packSub(cmd)})
	before := tm.used()
	tm.must(cmd)
	if grown := tm.used() - before; grown > bound || grown < 100_000 {
		t.Errorf("grew by %d, the bound was %d", grown, bound)
	}
	if !tm.table.Grows(&cmd) {
		t.Error("does not count as growing")
	}
	del := tm.transaction(nil, nil, "DEL {t}a", "GET {t}l")
	if tm.table.Grows(&del) {
		t.Error("a transaction that deletes counts as growing")
	}
}

// TestExecDeterminism: replicas with different dice draw the same in a transaction.
func TestExecDeterminism(t *testing.T) {
	var replies []string
	for i := range 2 {
		tm := newOwner(t)
		for m := range 50 {
			tm.do("SADD", "{t}m", fmt.Sprint(m))
		}
		tm.m.opts.Dice = func() uint64 { return uint64(i) * 77 }
		replies = append(replies, show(tm.exec(nil, nil, "SRANDMEMBER {t}m 5", "SRANDMEMBER {t}m 5", "SPOP {t}m", "SPOP {t}m")))
	}
	if replies[0] != replies[1] {
		t.Errorf("%s\n%s", replies[0], replies[1])
	}
}

// TestExecOverfull: under noeviction a transaction with a growing command is refused as a whole, any other runs.
func TestExecOverfull(t *testing.T) {
	tm := overfull(t)
	if res := tm.exec(nil, nil, "DEL s", "SET new x", "GET t"); res.Code != CodeOOM || show(res) != "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'." {
		t.Errorf("got %s", show(res))
	}
	if res := tm.exec(nil, nil, "GET s", "DEL s"); show(res) != `["value" 1]` {
		t.Errorf("got %s", show(res))
	}
}

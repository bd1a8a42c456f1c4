// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"strings"
	"testing"
)

// look is KV.LOOK.
func (tm *testMachine) look(keys ...string) Look {
	tm.t.Helper()
	res := tm.do(append([]string{"KV.LOOK"}, keys...)...)
	l, ok := ParseLook(&res)
	if !ok || len(l.Marks) != len(keys) {
		tm.t.Fatalf("KV.LOOK: %s", show(res))
	}
	return l
}

func args(words ...string) (out [][]byte) {
	for _, w := range words {
		out = append(out, []byte(w))
	}
	return out
}

// TestEffect: effects are applied when the keys are what they were and the largest value is the same, and otherwise
// nothing happens.
func TestEffect(t *testing.T) {
	tm := newOwner(t)
	tm.do("SET", "a", "1")
	keys := args("a", "b")
	cmds := []Command{{Op: OpIncr, Args: args("a")}, {Op: OpRPush, Args: args("b", "x", "y")}}
	l := tm.look("a", "b")
	if res := tm.write(Effect(&l, keys, cmds)); show(res) != show(OK()) {
		t.Fatalf("effects: %s", show(res))
	}
	if res := tm.write(Effect(&l, keys, cmds)); res.Kind != KindNull {
		t.Errorf("again: %s", show(res))
	}
	l = tm.look("a", "b")
	other := l
	other.MaxValue++
	if res := tm.write(Effect(&other, keys, cmds)); res.Kind != KindNull {
		t.Errorf("another largest value: %s", show(res))
	}
	for name, bad := range map[string]Command{
		"a key that is not named": Effect(&l, keys, []Command{{Op: OpIncr, Args: args("c")}}),
		"a transaction inside":    Effect(&l, keys, []Command{Exec(Data(), nil, nil, cmds)}),
		"effects inside":          Effect(&l, keys, []Command{Effect(&l, keys, cmds)}),
		"a script inside":         Effect(&l, keys, []Command{{Op: OpEval, Args: args("return 1", "1", "a")}}),
		"a mark that is missing":  {Op: OpEffect, Args: args("1", "a", strings.Repeat("x", 10), "z")},
		"a script":                {Op: OpEval, Args: args("return 1", "1", "a")},
		"a script without keys":   {Op: OpEval, Args: args("return 1", "0")},
	} {
		if res := tm.write(bad); !res.IsError() {
			t.Errorf("%s: %s", name, show(res))
		}
	}
	if res := tm.do("EVAL_RO", "return 1", "0"); !res.IsError() {
		t.Errorf("a script as a read: %s", show(res))
	}
	if got := show(tm.do("GET", "a")) + show(tm.do("LLEN", "b")); got != show(Bulk([]byte("2")))+show(Int(2)) {
		t.Errorf("in the end: %s", got)
	}
}

// TestEffectOverfull: in a full group effects that grow are refused as a whole, others are applied.
func TestEffectOverfull(t *testing.T) {
	tm := overfull(t)
	l := tm.look("s", "v")
	if !l.Full {
		t.Fatal("a full group says that it is not")
	}
	shrink := Command{Op: OpDel, Args: args("v")}
	grow := Command{Op: OpAppend, Args: args("s", "x")}
	if res := tm.write(Effect(&l, args("s", "v"), []Command{shrink, grow})); res.Code != CodeOOM {
		t.Errorf("growing effects: %s", show(res))
	}
	if res := tm.write(Effect(&l, args("s", "v"), []Command{shrink})); show(res) != show(OK()) {
		t.Errorf("shrinking effects: %s", show(res))
	}
}

// TestEntry: an entry of any type comes out of its keyspace and into a trial as it was, deadline too, and one that is too
// large does not.
func TestEntry(t *testing.T) {
	tm := newOwner(t)
	tm.do("SET", "s", "value", "PX", "100000")
	tm.do("RPUSH", "l", "a", "b")
	tm.do("HSET", "h", "f", "v")
	tm.do("SADD", "m", "x", "y", "z")
	tm.do("ZADD", "z", "1.5", "a")
	for i := range 3000 {
		tm.do("RPUSH", "long", strings.Repeat("x", 400)+show(Int(int64(i))))
	}
	tr := NewTrial(Data(), testHashKey)
	for range 2 { // a trial is used again
		l := tm.look("s")
		tr.Begin(&l, 1)
		for key, ask := range map[string][]string{
			"s": {"GET", "s"}, "l": {"LRANGE", "l", "0", "-1"}, "h": {"HGETALL", "h"}, "m": {"SCARD", "m"}, "z": {"ZRANGE", "z", "0", "-1", "WITHSCORES"},
			"long": {"LRANGE", "long", "0", "-1"}, "none": {"EXISTS", "none"},
		} {
			entry := tm.do("KV.ENTRY", key, "10000000")
			if err := tr.Bring([]byte(key), &entry); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			spec, _ := Data().Lookup([]byte(ask[0]))
			if got, want := show(tr.Run(&Command{Op: spec.Op, Args: args(ask[1:]...)})), show(tm.do(ask...)); got != want {
				t.Errorf("%s: %.100s, want %.100s", key, got, want)
			}
		}
		if got, want := show(tr.Run(&Command{Op: OpPExpireTime, Args: args("s")})), show(tm.do("PEXPIRETIME", "s")); got != want {
			t.Errorf("deadline %s, want %s", got, want)
		}
		before := show(tr.Run(&Command{Op: OpWatch, Args: args("s", "none")}))
		tr.Run(&Command{Op: OpSetNX, Args: args("s", "x")})
		if show(tr.Run(&Command{Op: OpWatch, Args: args("s", "none")})) != before {
			t.Error("a command without effect changed a mark")
		}
		tr.Run(&Command{Op: OpAppend, Args: args("s", "x")})
		if show(tr.Run(&Command{Op: OpWatch, Args: args("s", "none")})) == before {
			t.Error("a command with effect changed no mark")
		}
	}
	if res := tm.do("KV.ENTRY", "long", "1000"); res.Code != CodeTooBig {
		t.Errorf("a large entry: %.100s", show(res))
	}
}

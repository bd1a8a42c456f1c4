// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"slices"
	"strings"
	"testing"
)

// listener notes what it is told.
type listener struct {
	on   bool
	told []string
}

func (l *listener) Any() bool { return l.on }

func (l *listener) Touched(key []byte, holds Pops, popped bool) {
	text := string(key) + [...]string{PopsNothing: "", PopsList: "=list", PopsZSet: "=zset"}[holds]
	if popped {
		text += "!"
	}
	l.told = append(l.told, text)
}

func (l *listener) Opened() { l.told = append(l.told, "opened") }

// TestTellsWaiters: of every key that a write named, with what can be popped from it now, by whatever command it came
// there; of reads, of refused writes' state, and while nobody waits, nothing new.
func TestTellsWaiters(t *testing.T) {
	tm := newOwner(t)
	k, ok := tm.m.State().(*Keyspace)
	if !ok {
		t.Fatal("no keyspace")
	}
	l := &listener{}
	k.waiters = l
	tm.do("RPUSH", "unheard", "x")
	l.on = true
	for _, c := range []struct{ words, told string }{
		{"RPUSH l a b c d", "l=list"},
		{"LRANGE l 0 -1", ""},
		{"SET s v", "s"},
		{"LPUSH s v", "s"},
		{"ZADD z 1 m 2 n", "z=zset"},
		{"COPY l l2", "l=list l2=list"},
		{"RENAME l2 l3", "l2 l3=list"},
		{"LMOVE l l2 LEFT LEFT", "l=list l2=list"},
		{"ZUNIONSTORE z2 1 z", "z2=zset z=zset"},
		{"BLPOP none l 0", "none! l=list!"},
		{"BLMOVE l2 l4 LEFT LEFT 0", "l2! l4=list"},
		{"BLMPOP 0 1 l4 LEFT", "l4!"},
		{"BZMPOP 0 1 z MIN", "z=zset!"},
		{"BZPOPMIN z 0", "z!"},
		{"DEL l s", "l s"},
	} {
		l.told = nil
		tm.do(strings.Fields(c.words)...)
		if got := strings.Join(l.told, " "); got != c.told {
			t.Errorf("%s: told %q, want %q", c.words, got, c.told)
		}
	}
	l.told = nil
	push, _ := tm.command("RPUSH", "in", "x")
	tx := Exec(tm.table, nil, nil, []Command{push})
	tm.must(tx)
	if !slices.Equal(l.told, []string{"in=list"}) {
		t.Errorf("a transaction told %q", l.told)
	}
}

// TestTryOf: a try asks for one key and keeps what else was asked for.
func TestTryOf(t *testing.T) {
	tm := newOwner(t)
	for _, c := range []struct {
		words, keys, second string
		millis              int64
	}{
		{"BLPOP a b c 1.5", "a b c", "BLPOP b 1.5", 1500},
		{"BZPOPMAX a b 0", "a b", "BZPOPMAX b 0", 0},
		{"BLMPOP 0.0001 2 a b RIGHT COUNT 7", "a b", "BLMPOP 0.0001 1 b RIGHT COUNT 7", 1},
		{"BZMPOP 2 3 a b c MIN", "a b c", "BZMPOP 2 1 b MIN", 2000},
		{"BLMOVE a b LEFT RIGHT 1", "a", "", 1000},
		{"BRPOPLPUSH a b 1", "a", "", 1000},
		{"LPOP a", "", "", 0},
	} {
		cmd, _ := tm.command(strings.Fields(c.words)...)
		spec := tm.table.Spec(cmd.Op)
		w, waits := spec.WaitOf(cmd.Args)
		if got := strings.Join(texts(w.Keys), " "); got != c.keys || w.Millis != c.millis || waits != (c.keys != "") {
			t.Errorf("%s: keys %q, %d ms, waits %v", c.words, got, w.Millis, waits)
		}
		if c.second == "" {
			if waits && spec.TryOf(cmd.Args, 0).Args[1] == nil {
				t.Errorf("%s: %v", c.words, spec.TryOf(cmd.Args, 0))
			}
			continue
		}
		try := spec.TryOf(cmd.Args, 1)
		if got := spec.Name + " " + strings.Join(texts(try.Args), " "); got != c.second {
			t.Errorf("%s: %q, want %q", c.words, got, c.second)
		}
		if _, ok := tm.table.Check(&try); !ok {
			t.Errorf("%s: its try is refused", c.words)
		}
	}
}

func texts(list [][]byte) (out []string) {
	for _, b := range list {
		out = append(out, string(b))
	}
	return out
}

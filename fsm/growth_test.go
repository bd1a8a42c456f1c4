// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/kvorum/kvorum/internal/host/racing"
	"pgregory.net/rapid"
)

// wide draws a write that adds much for its length.
func (g *source) wide() []string {
	n := strconv.Itoa(g.IntN(6))
	repeat := func(words []string, draw func(i int) []string) []string {
		for i := range 1 + g.IntN(300) {
			words = append(words, draw(i)...)
		}
		return words
	}
	value := func() string { return pad("", g.IntN(40)) }
	switch g.IntN(17) {
	case 16:
		from, to := g.pick("set", "zset", "list", "list")+n, g.pick("list", "set", "far")+strconv.Itoa(g.IntN(6))
		return g.pickWords([]string{"SORT", from, "ALPHA", "STORE", to}, []string{"SORT", from, "BY", "nosort", "GET", "#", "GET", "#", "STORE", to, "LIMIT", "0", "20"},
			[]string{"SORT", from, "ALPHA", "GET", "far*", "STORE", to}, []string{"RESTORE", to, "0", theDumps[g.IntN(len(theDumps))].payload, "REPLACE"})
	case 12:
		return []string{g.pick("COPY", "COPY", "RENAME"), g.pick("set", "zset", "far", "list", "hash", "wide") + n, g.pick("set", "far", "list", "hash", "a longer name") + strconv.Itoa(g.IntN(6)), "REPLACE"}[:3+g.IntN(2)]
	case 13:
		if g.chance(3) {
			return []string{"BRPOPLPUSH", "list" + n, "list" + strconv.Itoa(g.IntN(6)), "0"}
		}
		return []string{g.pick("RPOPLPUSH", "LMOVE"), "list" + n, "list" + strconv.Itoa(g.IntN(6)), "LEFT", "RIGHT"}[:3+2*g.IntN(2)]
	case 14:
		return g.pickWords([]string{"SETBIT", "far" + n, strconv.Itoa(g.IntN(800_000)), "1"}, []string{"BITFIELD", "far" + n, "SET", "u8", strconv.Itoa(g.IntN(800_000)), "1"},
			[]string{"BITOP", g.pick("OR", "XOR", "AND"), "far" + n, "far" + strconv.Itoa(g.IntN(6)), "far" + strconv.Itoa(g.IntN(6))})
	case 15:
		return g.pickWords([]string{"INCRBYFLOAT", "sum" + n, g.float()}, []string{"SET", "sum" + n, g.float()}, []string{"COPY", "sum" + n, "sum" + strconv.Itoa(g.IntN(6)), "REPLACE"},
			[]string{"HINCRBYFLOAT", "sums" + n, strconv.Itoa(g.IntN(2)), g.float()}, []string{"HSET", "sums" + n, strconv.Itoa(g.IntN(2)), g.float()})
	case 8:
		return repeat([]string{"SADD", "set" + n}, func(i int) []string { return []string{strconv.Itoa(i) + value()} })
	case 9:
		return repeat([]string{"ZADD", "zset" + n}, func(i int) []string { return []string{"1", strconv.Itoa(i) + value()} })
	case 10:
		m := strconv.Itoa(g.IntN(6))
		return []string{"SMOVE", "set" + n, "set" + m, strconv.Itoa(g.IntN(9))}
	case 11:
		keys := []string{g.pick("set", "zset", "far") + n}
		for range 1 + g.IntN(3) {
			keys = append(keys, g.pick("set", "set", "zset", "wide")+strconv.Itoa(g.IntN(6)))
		}
		if g.chance(2) {
			return append([]string{g.pick("SUNIONSTORE", "SINTERSTORE", "SDIFFSTORE")}, keys...)
		}
		if g.chance(4) {
			return []string{"ZRANGESTORE", keys[0], "zset" + n, "0", "-1"}
		}
		words := []string{g.pick("ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"), keys[0], strconv.Itoa(len(keys) - 1)}
		return append(words, keys[1:]...)
	case 0:
		return repeat([]string{g.pick("MSET", "MSETNX")}, func(i int) []string { return []string{"wide" + n + strconv.Itoa(i), value()} })
	case 1:
		return repeat([]string{"HSET", "hash" + n}, func(i int) []string { return []string{strconv.Itoa(i), value()} })
	case 2:
		return repeat([]string{g.pick("RPUSH", "LPUSH"), "list" + n}, func(int) []string { return []string{value()} })
	case 3, 4:
		return []string{"SETRANGE", "far" + n, strconv.Itoa(g.IntN(100_000)), pad("", g.IntN(2000))}
	case 5:
		return []string{"APPEND", "far" + n, pad("", g.IntN(2000))}
	case 6:
		return []string{g.pick("DEL", "GETDEL", "SETNX", "GETSET", "INCR"), "far" + n, "x"}[:2+g.IntN(2)]
	}
	return []string{"SET", "far" + n, pad("", g.IntN(2000)), "EX", "100"}
}

// drawGrowth draws the Subs of an entry.
func drawGrowth(t *rapid.T, tm *testMachine, seq *uint64) []*Sub {
	g := &source{dice: rapidDice{t}, now: tm.clock}
	subs := make([]*Sub, 1+g.IntN(3))
	for i := range subs {
		s := &Sub{}
		for range 1 + g.IntN(8) {
			words := g.wide()
			if g.chance(3) {
				words = g.command()
			}
			cmd, ok := tm.command(words...)
			if ok {
				_, ok = tm.table.Check(&cmd)
			}
			if !ok || !tm.table.Spec(cmd.Op).Write {
				continue
			}
			if cmd.Room = MaxReply; g.chance(2) {
				*seq++
				cmd.Token = Token{Client: [16]byte{byte(g.IntN(200)), 1}, Seq: *seq}
			}
			s.Body = AppendCommand(s.Body, &cmd)
			s.Writes++
		}
		subs[i] = s
	}
	return subs
}

// TestGrowthBound: no entry adds more than GrowthBound said before it, whatever is there.
func TestGrowthBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tm := newOwner(t)
		policy, _ := ParsePolicy("allkeys-lru")
		tm.must(Limit(1<<40, policy, 0))
		if rapid.Bool().Draw(t, "default ttl") {
			tm.must(DefaultTTL(50_000))
		}
		var seq uint64
		for range 1 + rapid.IntRange(0, 9).Draw(t, "entries") {
			subs := drawGrowth(t, tm, &seq)
			tm.clock += int64(rapid.IntRange(0, 20_000).Draw(t, "time"))
			before, bound := tm.used(), tm.m.GrowthBound(subs)
			tm.entry(Header{}, subs...)
			if grown := tm.used() - before; grown > bound {
				t.Fatalf("%d bytes were added, %d were the bound of %d Subs", grown, bound, len(subs))
			}
		}
	})
}

// TestHeavyGrowthBoundIsNear: writes in place are not reckoned as if they were new, wherever they write.
func TestHeavyGrowthBoundIsNear(t *testing.T) {
	racing.Heavy(t)
	t.Parallel()
	tm := newOwner(t)
	policy, _ := ParsePolicy("allkeys-lru")
	entry := func(words ...string) *Sub {
		s := &Sub{}
		for range 1000 {
			cmd, _ := tm.command(words...)
			s.Body = AppendCommand(s.Body, &cmd)
			s.Writes++
		}
		return s
	}
	far := entry("SETRANGE", "bits", "999999", "x")
	if n := tm.m.GrowthBound([]*Sub{far}); n != 0 {
		t.Errorf("%d bytes are reckoned with though nobody is evicted", n)
	}
	tm.must(Limit(1<<30, policy, 0))
	for _, c := range []struct {
		s     *Sub
		limit int64
	}{
		{far, 1_200_000}, // the key is new, once
		{far, 200_000},   // and there now
		{entry("SETRANGE", "bits", "1999999", "x"), 1_200_000},
		{entry("SETRANGE", "bits", "600000000", "x"), 200_000}, // too far: refused
		{entry("DEL", "bits"), 20_000},
		{entry("FLUSHALL"), 20_000},
	} {
		if n := tm.m.GrowthBound([]*Sub{c.s}); n > c.limit {
			t.Errorf("%d bytes are reckoned with, not %d", n, c.limit)
		}
		tm.entry(Header{}, c.s)
	}
}

// TestGrowthBeyondCeiling: for what will be refused anyhow no room is made.
func TestGrowthBeyondCeiling(t *testing.T) {
	const limit, value = 8 << 20, 1 << 20
	tm := newOwner(t)
	policy, _ := ParsePolicy("allkeys-lru")
	tm.must(Limit(limit, policy, value))
	for i := range 100 {
		tm.do("SET", fmt.Sprint("k", i), pad("", limit/110))
	}
	s := &Sub{}
	for i := range 8000 {
		c := Command{Op: OpSetRange, Args: bytesOf(fmt.Sprint("new", i), strconv.Itoa(value-1), "x")}
		s.Body = AppendCommand(s.Body, &c)
		s.Writes++
	}
	freed := int64(0)
	for _, v := range tm.m.PlanEvictions(tm.m.GrowthBound([]*Sub{s})) {
		freed += v.Bytes
	}
	if most := int64(limit/8 + value + limit/100); freed > most {
		t.Errorf("%d bytes are to go, the ceiling is %d above the limit", freed, limit/8+value)
	}
}

func BenchmarkGrowthBound(b *testing.B) {
	tm := newOwner(b)
	policy, _ := ParsePolicy("allkeys-lru")
	tm.must(Limit(1<<40, policy, 0))
	subs := []*Sub{fullEntry(0)}
	for b.Loop() {
		tm.m.GrowthBound(subs)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*subs[0].Writes), "ns/write")
}

// TestGrowthBoundOfMoves: values that are carried off and made anew, and elements that go to and fro.
func TestGrowthBoundOfMoves(t *testing.T) {
	far := []string{"SETBIT", "k", "8388607", "1"}
	var renamed, rotated, swapped [][]string
	for i := range 20 {
		renamed = append(renamed, []string{"RENAME", "k", "a" + strconv.Itoa(i)}, far)
	}
	for range 40 {
		rotated = append(rotated, []string{"RPOPLPUSH", "q1", "q1"})
		swapped = append(swapped, []string{"RPOPLPUSH", "q1", "q2"}, []string{"LMOVE", "q2", "q1", "LEFT", "LEFT"})
	}
	copied := []string{"COPY", "q1", "q3", "REPLACE"}
	for _, c := range []struct {
		name        string
		first, then [][]string
		most        int64
	}{
		{"renamed", [][]string{far}, renamed, 22 << 20},
		{"renamed in one entry", nil, append([][]string{far}, renamed...), 23 << 20},
		{"rotated", [][]string{{"RPUSH", "q1", "a", "b", "c", "d"}}, append(rotated, copied), 20_000},
		{"swapped", [][]string{{"RPUSH", "q1", "a", "b", "c", "d"}, {"RPUSH", "q2", "e"}}, append(swapped, copied), 40_000},
		{"pushed meanwhile", [][]string{{"RPUSH", "q1", "a"}}, [][]string{{"RPOPLPUSH", "q1", "q2"}, {"RPUSH", "q1", pad("", 5000)}, {"RPOPLPUSH", "q1", "q2"}, {"COPY", "q2", "q3"}, {"COPY", "q2", "q4"}}, 40_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			tm := newOwner(t)
			policy, _ := ParsePolicy("allkeys-lru")
			tm.must(Limit(1<<40, policy, 0))
			for _, words := range c.first {
				tm.do(words...)
			}
			s := &Sub{}
			for _, words := range c.then {
				cmd, ok := tm.command(words...)
				if !ok {
					t.Fatalf("%q", words)
				}
				s.Body = AppendCommand(s.Body, &cmd)
				s.Writes++
			}
			before, bound := tm.used(), tm.m.GrowthBound([]*Sub{s})
			tm.entry(Header{}, s)
			if grown := tm.used() - before; grown > bound || bound > c.most {
				t.Errorf("%d bytes were added, %d were the bound, %d the most that it may be", grown, bound, c.most)
			}
		})
	}
}

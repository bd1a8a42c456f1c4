// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/internal/host/racing"
)

// TestCountedKeys: keys are found behind the number that announces them, and a bad number announces none.
func TestCountedKeys(t *testing.T) {
	tm := newOwner(t)
	for _, c := range []struct{ words, keys string }{
		{"ZUNION 2 a b", "a b"},
		{"ZUNION 2 a b WITHSCORES", "a b"},
		{"ZUNIONSTORE d 2 a b", "d a b"},
		{"ZUNIONSTORE d 3 a b", "d"},
		{"ZMPOP 1 a MIN", "a"},
		{"SINTERCARD 0 a", ""},
		{"SINTERCARD -1 a", ""},
		{"SINTERCARD x a", ""},
		{"SINTERCARD 9223372036854775807 a", ""},
		{"SINTERCARD", ""},
		{"ZRANGESTORE d s 0 1", "d s"},
		{"SMOVE a b m", "a b"},
		{"LMPOP 2 a b LEFT", "a b"},
		{"BLMPOP 0 2 a b LEFT", "a b"},
		{"BLPOP a b 0", "a b"},
		{"BZPOPMIN a 0", "a"},
		{"BLMOVE a b LEFT RIGHT 0", "a b"},
		{"LMOVE a b LEFT RIGHT", "a b"},
		{"COPY a b REPLACE", "a b"},
		{"BITOP AND d a b", "d a b"},
		{"OBJECT ENCODING a", "a"},
		{"LCS a b IDX", "a b"},
		{"PFMERGE d a", "d a"},
		{"SUNIONSTORE d a b", "d a b"},
	} {
		cmd, _ := tm.command(strings.Fields(c.words)...)
		var keys []string
		for i, key := range tm.table.Spec(cmd.Op).Keys(cmd.Args) {
			if string(cmd.Args[i]) != string(key) {
				t.Errorf("%s: %q is not at %d", c.words, key, i)
			}
			keys = append(keys, string(key))
		}
		if got := strings.Join(keys, " "); got != c.keys {
			t.Errorf("%s: keys %q, want %q", c.words, got, c.keys)
		}
	}
	long := strings.Repeat("k", MaxKeyBytes+1)
	for _, words := range [][]string{{"ZUNION", "1", long}, {"ZDIFFSTORE", "d", "1", long}, {"ZMPOP", "2", "a", long, "MIN"}, {"ZMPOP", "9223372036854775807", "a", "MIN"}} {
		if res := tm.do(words...); !res.IsError() {
			t.Errorf("%.20q: %s", words, show(res))
		}
	}
}

// TestSPopDraws: commands of one entry draw differently, another seed draws differently, and all members are
// drawn sooner or later.
func TestSPopDraws(t *testing.T) {
	fill := func(seed uint64) (*testMachine, []string) {
		tm := newOwner(t)
		words := []string{"SADD", "m"}
		for i := range 1000 {
			words = append(words, strconv.Itoa(i))
		}
		tm.do(words...)
		s := &Sub{}
		for range 20 {
			cmd, _ := tm.command("SPOP", "m")
			s.Body = AppendCommand(s.Body, &cmd)
			s.Writes++
		}
		tm.entry(Header{Seed: seed}, s)
		var drawn []string
		for i := range s.Results {
			drawn = append(drawn, string(s.Results[i].Str))
		}
		return tm, drawn
	}
	tm, one := fill(1)
	if _, two := fill(2); slices.Equal(one, two) {
		t.Error("two seeds draw the same")
	}
	if _, again := fill(1); !slices.Equal(one, again) {
		t.Error("one seed draws two ways")
	}
	if slices.IsSorted(one) {
		t.Errorf("drawn in order: %q", one)
	}
	if got := show(tm.do("SCARD", "m")); got != "980" {
		t.Errorf("%s are left", got)
	}
	seen := map[string]bool{}
	tm.do("SADD", "few", "a", "b", "c", "d")
	d := draws{}
	tm.m.opts.Dice = d.next
	for range 200 {
		seen[show(tm.do("SRANDMEMBER", "few"))] = true
		seen[show(tm.do("ZRANDMEMBER", "none", "3"))] = true
	}
	if len(seen) != 5 {
		t.Errorf("of four members and nothing these were drawn: %v", seen)
	}
}

// TestDistinct: each place once, in order, all equally often.
func TestDistinct(t *testing.T) {
	d := draws{state: 7}
	for _, c := range []struct{ n, k int }{{1, 1}, {10, 3}, {10, 10}, {100, 2}, {100, 0}, {1000, 130}} {
		counts := make([]int, c.n)
		const rounds = 4000
		for range rounds {
			places := d.distinct(c.n, c.k)
			if len(places) != c.k || !slices.IsSorted(places) || len(slices.Compact(slices.Clone(places))) != c.k {
				t.Fatalf("%d of %d: %v", c.k, c.n, places)
			}
			for _, i := range places {
				counts[i]++
			}
		}
		want := rounds * c.k / c.n
		for i, n := range counts {
			if n < want/3 || n > want*3+30 {
				t.Errorf("%d of %d: %d was drawn %d times, about %d expected", c.k, c.n, i, n, want)
			}
		}
	}
}

// TestScansOnAnyReplica: a scan begun on one replica goes on another, restored one.
func TestScansOnAnyReplica(t *testing.T) {
	a, b := newOwner(t), newOwner(t)
	for _, tm := range []*testMachine{a, b} {
		for i := range 1000 {
			tm.do("SADD", "m", fmt.Sprint("member", i))
			tm.do("ZADD", "z", strconv.Itoa(i%7), fmt.Sprint("member", i))
		}
	}
	for _, words := range [][]string{{"SSCAN", "m", "0"}, {"ZSCAN", "z", "0", "COUNT", "37"}} {
		found := map[string]bool{}
		step := 1
		if words[0] == "ZSCAN" {
			step = 2
		}
		for i := 0; ; i++ {
			res := []*testMachine{a, b}[i%2].do(words...)
			if n := len(res.Elems[1].Elems); n > 100 {
				t.Fatalf("%q: %d at once", words, n)
			}
			for j := 0; j < len(res.Elems[1].Elems); j += step {
				found[string(res.Elems[1].Elems[j].Str)] = true
			}
			if words[2] = string(res.Elems[0].Str); words[2] == "0" {
				break
			}
		}
		if len(found) != 1000 {
			t.Errorf("%s found %d of 1000", words[0], len(found))
		}
	}
}

// TestScanOfLongMembers: a scan's reply is bounded however long the members are.
func TestScanOfLongMembers(t *testing.T) {
	tm := newOwner(t)
	for i := range 40 {
		tm.do("SADD", "m", pad(strconv.Itoa(i), 300_000))
	}
	words := []string{"SSCAN", "m", "0", "COUNT", "1000"}
	found := 0
	for {
		res := tm.do(words...)
		if size := ReplySize(&res); size > scanBytes+400_000 {
			t.Fatalf("a reply of %d bytes", size)
		}
		found += len(res.Elems[1].Elems)
		if words[2] = string(res.Elems[0].Str); words[2] == "0" {
			break
		}
	}
	if found != 40 {
		t.Errorf("found %d of 40", found)
	}
}

// TestHeavyCombinedReplyIsBounded: a union of more than MaxReply is refused, in sets and sorted sets.
func TestHeavyCombinedReplyIsBounded(t *testing.T) {
	racing.Heavy(t)
	tm := newOwner(t)
	for i := range 5 {
		for j := range 3 {
			member := pad(fmt.Sprint(i, " ", j), 5<<20)
			tm.do("SADD", fmt.Sprint("m", i), member)
		}
	}
	for words, want := range map[string]string{
		"SUNION m0 m1 m2 m3 m4":                 "-" + TextReplyTooBig,
		"ZUNION 5 m0 m1 m2 m3 m4":               "-" + TextReplyTooBig,
		"SRANDMEMBER m0 -100":                   "-" + TextReplyTooBig,
		"SRANDMEMBER m0 -9223372036854775807":   "-" + TextReplyTooBig,
		"ZRANDMEMBER m0 1":                      "-" + TextWrongType,
		"SINTER m0 m1":                          "~[]",
		"ZINTERCARD 1 m0":                       "3",
		"ZUNIONSTORE z 5 m0 m1 m2 m3 m4":        "15",
		"SDIFFSTORE d m0 m1":                    "3",
		"ZINTER 2 m0 none":                      "[]",
		"ZRANDMEMBER none -9223372036854775807": "[]",
	} {
		if got := show(tm.do(strings.Fields(words)...)); got != want {
			t.Errorf("%s: %.100s, want %s", words, got, want)
		}
	}
	if got := show(tm.do("ZRANGE", "z", "0", "-1")); got != "-"+TextReplyTooBig {
		t.Errorf("ZRANGE of 75 MiB: %.100s", got)
	}
}

// TestInPairs: RESP3 words these replies as pairs, and no others.
func TestInPairs(t *testing.T) {
	tm := newOwner(t)
	for words, want := range map[string]bool{
		"ZRANGE z 0 -1 WITHSCORES":          true,
		"ZRANGE z 0 -1":                     false,
		"ZRANGEBYSCORE z 0 9 WITHSCORES":    true,
		"ZREVRANGE z 0 0 WITHSCORES":        true,
		"ZRANDMEMBER z 1 WITHSCORES":        true,
		"ZRANDMEMBER z 2":                   false,
		"ZUNION 1 z WITHSCORES":             true,
		"ZINTER 1 z WITHSCORES":             true,
		"ZDIFF 1 z WITHSCORES":              true,
		"ZMSCORE z a b":                     false,
		"ZSCAN z 0":                         false,
		"ZMPOP 1 z MIN COUNT 5":             false,
		"ZPOPMIN z":                         false,
		"ZPOPMAX z 1":                       true,
		"ZRANGE none 0 -1 WITHSCORES":       false,
		"ZRANGESTORE z z 0 -1":              false,
		"ZREVRANGEBYSCORE z 9 0 WITHSCORES": true,
		"HRANDFIELD h 1 WITHVALUES":         true,
		"HRANDFIELD h -5 WITHVALUES":        true,
		"HRANDFIELD h 2":                    false,
		"HRANDFIELD none 2 WITHVALUES":      false,
		"HSCAN h 0":                         false,
		"HGETALL h":                         false,
	} {
		tm.do("HSET", "h", "a", "1", "b", "2")
		tm.do("ZADD", "z", "1", "a", "2", "b", "3", "c")
		cmd, _ := tm.command(strings.Fields(words)...)
		res := tm.do(strings.Fields(words)...)
		if got := tm.table.Spec(cmd.Op).InPairs(cmd.Args, &res); got != want {
			t.Errorf("%s: %v, want %v", words, got, want)
		}
	}
}

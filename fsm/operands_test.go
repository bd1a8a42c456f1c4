// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
)

// crowd fills count sets {c}s0… and sorted sets {c}z0… with members of a small range, and tells who is where.
func crowd(tm *testMachine, count int) (in []map[string]float64) {
	r := rand.New(rand.NewPCG(1, 1))
	for i := range count {
		scores := map[string]float64{}
		sadd, zadd := []string{"SADD", fmt.Sprint("{c}s", i)}, []string{"ZADD", fmt.Sprint("{c}z", i)}
		for range 1 + r.IntN(60) {
			m := strconv.Itoa(r.IntN(100))
			if _, ok := scores[m]; ok {
				continue
			}
			scores[m] = float64(r.IntN(50))
			sadd, zadd = append(sadd, m), append(zadd, fmt.Sprint(scores[m]), m)
		}
		tm.do(sadd...)
		tm.do(zadd...)
		in = append(in, scores)
	}
	return in
}

func named(prefix string, count int) (out []string) {
	for i := range count {
		out = append(out, prefix+strconv.Itoa(i))
	}
	return out
}

func sortedStrings(res Result) []string {
	out := make([]string, 0, len(res.Elems))
	for i := range res.Elems {
		out = append(out, string(res.Elems[i].Str))
	}
	slices.Sort(out)
	return out
}

// TestManyOperands: however many operands there are, in whatever way their members are found, the answer is
// that of the definition.
func TestManyOperands(t *testing.T) {
	for _, count := range []int{2, manyOperands, manyOperands + 1, 30} {
		tm := newOwner(t)
		in := crowd(tm, count)
		var union, inter, diff []string
		sums := map[string]float64{}
		for m := range 100 {
			member, have := strconv.Itoa(m), 0
			for i := range in {
				if score, ok := in[i][member]; ok {
					have++
					sums[member] += score * float64(i+1)
				}
			}
			if have > 0 {
				union = append(union, member)
			}
			if have == count {
				inter = append(inter, member)
			}
			if _, first := in[0][member]; first && have == 1 {
				diff = append(diff, member)
			}
		}
		for _, want := range [][]string{union, inter, diff} {
			slices.Sort(want)
		}
		for i, want := range [][]string{union, inter, diff} {
			verb := []string{"UNION", "INTER", "DIFF"}[i]
			sets, zsets := named("{c}s", count), append([]string{strconv.Itoa(count)}, named("{c}z", count)...)
			again := append(slices.Clone(sets), sets[1:]...)
			for _, words := range [][]string{
				append([]string{"S" + verb}, sets...), append([]string{"S" + verb}, again...), append([]string{"Z" + verb}, zsets...),
			} {
				if got := sortedStrings(tm.do(words...)); !slices.Equal(got, want) {
					t.Errorf("%d operands, %s: %q, want %q", count, words[0], got, want)
				}
			}
		}
		words := append([]string{"ZUNION", strconv.Itoa(count)}, named("{c}z", count)...)
		words = append(words, "WEIGHTS")
		for i := range count {
			words = append(words, strconv.Itoa(i+1))
		}
		res := tm.do(append(words, "WITHSCORES")...)
		for i := 0; i < len(res.Elems); i += 2 {
			if m := string(res.Elems[i].Str); res.Elems[i+1].Dbl != sums[m] {
				t.Errorf("%d operands: %s has %v, want %v", count, m, res.Elems[i+1].Dbl, sums[m])
			}
		}
	}
}

// TestOperandsNamedAgain: naming a large key again and again is no way to keep the replicas busy.
func TestOperandsNamedAgain(t *testing.T) {
	const members, times = 20_000, 20_000
	tm := newOwner(t)
	for _, words := range [][]string{{"SADD", "{c}s"}, {"ZADD", "{c}z"}} {
		for i := range members {
			if words[0] == "ZADD" {
				words = append(words, "1")
			}
			words = append(words, strconv.Itoa(i))
		}
		tm.do(words...)
	}
	repeat := func(key string, head ...string) []string {
		return append(head, slices.Repeat([]string{key}, times)...)
	}
	n := strconv.Itoa(times)
	for _, c := range []struct {
		words   []string
		refused bool
	}{
		{repeat("{c}s", "SUNIONSTORE", "{c}d"), false},
		{repeat("{c}s", "SDIFF"), false},
		{repeat("{c}s", "SINTERSTORE", "{c}d"), false},
		{repeat("{c}s", "SINTERCARD", n), false},
		{repeat("{c}z", "ZUNIONSTORE", "{c}d", n), true},
		{repeat("{c}z", "ZINTER", n), true},
		{repeat("{c}z", "ZDIFFSTORE", "{c}d", n), false},
		{repeat("{c}z", "ZINTERCARD", n), false},
	} {
		began := time.Now()
		res := tm.do(c.words...)
		if res.IsError() != c.refused {
			t.Errorf("%s: %s", c.words[0], show(res))
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%s took %v", c.words[0], d)
		}
	}
}

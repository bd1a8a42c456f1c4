// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func modelZSets() map[string]modelCommand {
	write, grows := true, true
	all := map[string]modelCommand{
		"ZADD":             {arity: -4, write: write, grows: grows, static: staticZAdd, run: (*model).zadd},
		"ZINCRBY":          {arity: 4, write: write, grows: grows, static: staticZIncrBy, run: (*model).zincrby},
		"ZREM":             {arity: -3, write: write, run: (*model).zrem},
		"ZCARD":            {arity: 2, run: (*model).zcard},
		"ZSCORE":           {arity: 3, run: (*model).zscore},
		"ZMSCORE":          {arity: -3, run: (*model).zmscore},
		"ZRANK":            {arity: 3, run: (*model).zrank},
		"ZREVRANK":         {arity: 3, run: (*model).zrank},
		"ZREMRANGEBYRANK":  {arity: 4, write: write},
		"ZREMRANGEBYSCORE": {arity: 4, write: write},
		"ZREMRANGEBYLEX":   {arity: 4, write: write},
		"ZPOPMIN":          {arity: -2, write: write, static: staticPopCount, run: (*model).zpop},
		"ZPOPMAX":          {arity: -2, write: write, static: staticPopCount, run: (*model).zpop},
		"ZMPOP":            {arity: -4, write: write, static: staticMPop("MIN", "MAX"), run: (*model).zmpop},
		"ZRANDMEMBER":      {arity: -2, static: staticDrawCount(3, "WITHSCORES"), run: (*model).zrandmember},
		"ZSCAN":            {arity: -3, static: staticMemberScan, run: (*model).zscan},
	}
	for _, name := range []string{"ZCOUNT", "ZLEXCOUNT"} {
		all[name] = modelCommand{arity: 4}
	}
	for _, name := range []string{"ZRANGE", "ZRANGEBYSCORE", "ZREVRANGEBYSCORE", "ZRANGEBYLEX", "ZREVRANGEBYLEX", "ZREVRANGE"} {
		all[name] = modelCommand{arity: -4}
	}
	all["ZRANGESTORE"] = modelCommand{arity: -5, write: write, grows: grows}
	for name, c := range all {
		if c.run == nil {
			c.run = (*model).zrange
			c.static = func(args []string) *Result {
				_, bad := modelRangeOf(name, args)
				return bad
			}
			all[name] = c
		}
	}
	for _, name := range []string{"ZUNION", "ZINTER", "ZDIFF", "ZINTERCARD"} {
		all[name] = modelCommand{arity: -3, static: staticCombine(name, 0), run: (*model).zcombine}
	}
	for _, name := range []string{"ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE"} {
		all[name] = modelCommand{arity: -4, write: write, grows: grows, static: staticCombine(name, 1), run: (*model).zcombine}
	}
	return all
}

var (
	modelDecimal = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$`)
	modelHex     = regexp.MustCompile(`^[+-]?0x([0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(p[+-]?[0-9]+)?$`)
	modelInf     = regexp.MustCompile(`^[+-]?inf(inity)?$`)
)

// double reads what C's strtod reads as a whole; exact tells whether it is in a double's range.
func double(s string) (v float64, exact, ok bool) {
	s = strings.ToLower(s)
	switch {
	case modelInf.MatchString(s):
		v, _ = strconv.ParseFloat(s, 64)
		return v, true, true
	case modelHex.MatchString(s):
		if !strings.Contains(s, "p") {
			s += "p0"
		}
	case !modelDecimal.MatchString(s):
		return 0, false, false
	}
	v, _ = strconv.ParseFloat(s, 64)
	digits, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimLeft(s, "+-"), "0x"), "p")
	if !strings.Contains(s, "x") {
		digits, _, _ = strings.Cut(digits, "e")
	}
	return v, !math.IsInf(v, 0) && (v != 0 || strings.Trim(digits, "0.") == ""), true
}

func score(s string) (float64, bool) {
	v, exact, ok := double(s)
	return v, ok && exact
}

func notFloat() *Result { return oops(CodeError, "ERR value is not a valid float") }

type modelPair struct {
	name  string
	score float64
}

// ranked lists a sorted set in its order.
func (k *modelKey) ranked() (out []modelPair) {
	if k == nil {
		return nil
	}
	for name, score := range k.scores {
		out = append(out, modelPair{name, score})
	}
	sortPairs(out)
	return out
}

func sortPairs(pairs []modelPair) {
	slices.SortFunc(pairs, func(a, b modelPair) int {
		return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.name, b.name))
	})
}

// zset finds a sorted set for reading, nil for none.
func (m *model) zset(name string) (*modelKey, *Result) {
	k := m.read(name)
	return k, k.typed("zset")
}

func pairsResult(pairs []modelPair, scores bool) Result {
	elems := []Result{}
	for _, p := range pairs {
		elems = append(elems, bulk(p.name))
		if scores {
			elems = append(elems, Double(p.score))
		}
	}
	return Array(elems)
}

// zaddWords takes the options of ZADD apart.
func zaddWords(args []string) (options map[string]bool, pairs []string) {
	options = map[string]bool{}
	i := 1
	for ; i < len(args); i++ {
		word := strings.ToUpper(args[i])
		if !slices.Contains([]string{"NX", "XX", "GT", "LT", "CH", "INCR"}, word) {
			break
		}
		options[word] = true
	}
	return options, args[i:]
}

func staticZAdd(args []string) *Result {
	o, pairs := zaddWords(args)
	switch {
	case len(pairs) == 0 || len(pairs)%2 == 1:
		return syntaxError()
	case o["NX"] && o["XX"]:
		return oops(CodeSyntax, "ERR XX and NX options at the same time are not compatible")
	case o["NX"] && (o["GT"] || o["LT"]), o["GT"] && o["LT"]:
		return oops(CodeSyntax, "ERR GT, LT, and/or NX options at the same time are not compatible")
	case o["INCR"] && len(pairs) > 2:
		return oops(CodeSyntax, "ERR INCR option supports a single increment-element pair")
	}
	for i := 0; i < len(pairs); i += 2 {
		if _, ok := score(pairs[i]); !ok {
			return notFloat()
		}
	}
	return nil
}

func staticZIncrBy(args []string) *Result {
	return staticZAdd(slices.Insert(slices.Clone(args), 1, "INCR"))
}

func (m *model) zincrby(words []string) Result {
	return m.zadd(slices.Insert(slices.Clone(words), 2, "INCR"))
}

// allowed tells whether ZADD gives a member a score.
func allowed(o map[string]bool, found bool, before, now float64) bool {
	switch {
	case !found:
		return !o["XX"]
	case o["NX"]:
		return false
	}
	return (!o["GT"] || now > before) && (!o["LT"] || now < before)
}

func (m *model) zadd(words []string) Result {
	o, pairs := zaddWords(words[1:])
	k := m.take(words[1])
	if bad := k.typed("zset"); bad != nil {
		return *bad
	}
	fresh := k == nil
	if fresh {
		k = &modelKey{kind: "zset", scores: map[string]float64{}}
	}
	added, updated := int64(0), int64(0)
	last := 0.0
	skipped := 0
	for i := 0; i < len(pairs); i += 2 {
		now, _ := score(pairs[i])
		before, found := k.scores[pairs[i+1]]
		if o["INCR"] && found && !o["NX"] {
			if now += before; math.IsNaN(now) {
				return Error(CodeError, "ERR resulting score is not a number (NaN)")
			}
		}
		last = now
		switch {
		case !allowed(o, found, before, now):
			skipped++
		case !found:
			added++
			k.scores[pairs[i+1]] = now + 0
		case now != before:
			updated++
			k.scores[pairs[i+1]] = now + 0
		}
	}
	switch {
	case o["INCR"] && skipped > 0:
		return Null()
	case fresh && o["XX"]:
		return Int(0)
	case fresh:
		made := m.make(words[1], "zset")
		made.scores, k = k.scores, made
	}
	m.versioned(words[1], k, added+updated > 0)
	switch {
	case o["INCR"]:
		return Double(last)
	case o["CH"]:
		return Int(added + updated)
	}
	return Int(added)
}

func (m *model) zrem(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("zset"); bad != nil || k == nil {
		return orZero(bad)
	}
	n := 0
	for _, w := range words[2:] {
		if _, ok := k.scores[w]; ok {
			delete(k.scores, w)
			n++
		}
	}
	m.versioned(words[1], k, n > 0)
	return Int(int64(n))
}

func (m *model) zcard(words []string) Result {
	k, bad := m.zset(words[1])
	if bad != nil {
		return *bad
	}
	return Int(int64(len(k.ranked())))
}

func (m *model) zmscore(words []string) Result {
	k, bad := m.zset(words[1])
	if bad != nil {
		return *bad
	}
	var elems []Result
	for _, w := range words[2:] {
		elem := Null()
		if k != nil {
			if v, ok := k.scores[w]; ok {
				elem = Double(v)
			}
		}
		elems = append(elems, elem)
	}
	return Array(elems)
}

func (m *model) zscore(words []string) Result {
	res := m.zmscore(words)
	if res.IsError() {
		return res
	}
	return res.Elems[0]
}

func (m *model) zrank(words []string) Result {
	k, bad := m.zset(words[1])
	if bad != nil {
		return *bad
	}
	all := k.ranked()
	if strings.EqualFold(words[0], "ZREVRANK") {
		slices.Reverse(all)
	}
	if i := slices.IndexFunc(all, func(p modelPair) bool { return p.name == words[2] }); i >= 0 {
		return Int(int64(i))
	}
	return Null()
}

func (m *model) zpop(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("zset"); bad != nil {
		return *bad
	}
	n := int64(1)
	if len(words) == 3 {
		n, _ = integer(words[2])
	}
	return pairsResult(m.popPairs(words[1], k, n, strings.EqualFold(words[0], "ZPOPMAX")), true)
}

// popPairs removes the first or last n.
func (m *model) popPairs(name string, k *modelKey, n int64, last bool) []modelPair {
	all := k.ranked()
	if last {
		slices.Reverse(all)
	}
	if all = all[:min(n, int64(len(all)))]; len(all) > 0 {
		for _, p := range all {
			delete(k.scores, p.name)
		}
		m.changed(name, k)
	}
	return all
}

// staticMPop checks ZMPOP and LMPOP, which call the ends by different names.
func staticMPop(first, last string) func([]string) *Result {
	return func(args []string) *Result {
		n, ok := integer(args[0])
		switch {
		case !ok || n < 1:
			return oops(CodeError, "ERR numkeys should be greater than 0")
		case n >= int64(len(args)-1):
			return syntaxError()
		}
		rest := args[1+n:]
		if where := strings.ToUpper(rest[0]); where != first && where != last {
			return syntaxError()
		}
		rest = rest[1:]
		if len(rest) == 0 {
			return nil
		}
		if len(rest) == 1 || !strings.EqualFold(rest[0], "COUNT") {
			return syntaxError()
		}
		if c, ok := integer(rest[1]); !ok || c < 1 {
			return oops(CodeError, "ERR count should be greater than 0")
		}
		if len(rest) > 2 {
			return syntaxError()
		}
		return nil
	}
}

func (m *model) zmpop(words []string) Result {
	return m.popFirst(words, "zset", func(name string, k *modelKey, count int64, end string) Result {
		var pairs []Result
		for _, p := range m.popPairs(name, k, count, end == "MAX") {
			pairs = append(pairs, Array([]Result{bulk(p.name), Double(p.score)}))
		}
		return Array(pairs)
	})
}

// zrandmember looks at the scores of the draw, and at its members as SRANDMEMBER does.
func (m *model) zrandmember(words []string) Result {
	k, bad := m.zset(words[1])
	if bad != nil {
		return *bad
	}
	there := func(name string) bool {
		if k == nil {
			return false
		}
		_, ok := k.scores[name]
		return ok
	}
	if len(words) < 4 {
		return m.draw(words, len(k.ranked()), there)
	}
	return m.drawPairs(words, len(k.ranked()), there, func(name string, with Result) bool {
		return there(name) && with.Kind == KindDouble && with.Dbl == k.scores[name]
	})
}

// drawPairs answers ZRANDMEMBER with scores and HRANDFIELD with values: right tells of one of them.
func (m *model) drawPairs(words []string, n int, there func(name string) bool, right func(name string, with Result) bool) Result {
	chosen := m.chosen
	defer func() { m.chosen = chosen }()
	m.chosen = Array(nil)
	for i := 0; i+1 < len(chosen.Elems); i += 2 {
		m.chosen.Elems = append(m.chosen.Elems, chosen.Elems[i])
		if !right(string(chosen.Elems[i].Str), chosen.Elems[i+1]) {
			return badChoice()
		}
	}
	if res := m.draw(words[:3], n, there); res.IsError() || chosen.Kind != KindArray {
		return badChoice()
	}
	return chosen
}

func (m *model) zscan(words []string) Result {
	return m.scanned(words, "zset", func(k *modelKey) map[string]string {
		all := map[string]string{}
		for member, v := range k.scores {
			all[member] = member + "=" + shownDouble(v)
		}
		return all
	})
}

// shownDouble words a number as printf does with %.17g.
func shownDouble(v float64) string {
	if math.IsInf(v, 0) {
		return strings.ToLower(strings.TrimPrefix(fmt.Sprint(v), "+"))
	}
	return fmt.Sprintf("%.17g", v)
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"
	"slices"
	"strings"
)

// modelRange is what a command says of a part of a sorted set.
type modelRange struct {
	by            string // RANK, SCORE or LEX
	reverse       bool
	scores        bool
	from, to      string // in ascending order, but for ranks
	offset, limit int64
}

// modelRangeOf reads the words behind a command's name.
func modelRangeOf(name string, args []string) (r modelRange, bad *Result) {
	r.by, r.limit = "RANK", -1
	switch {
	case strings.HasSuffix(name, "LEX"), name == "ZLEXCOUNT":
		r.by = "LEX"
	case strings.HasSuffix(name, "SCORE"), name == "ZCOUNT":
		r.by = "SCORE"
	}
	r.reverse = strings.HasPrefix(name, "ZREV")
	if name == "ZRANGESTORE" {
		args = args[1:]
	}
	if bad := r.words(args[3:], name == "ZRANGE" || name == "ZRANGESTORE", name != "ZRANGESTORE"); bad != nil {
		return r, bad
	}
	switch {
	case r.limit != -1 && r.by == "RANK":
		return r, oops(CodeSyntax, "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
	case r.scores && r.by == "LEX":
		return r, oops(CodeSyntax, "ERR syntax error, WITHSCORES not supported in combination with BYLEX")
	}
	r.from, r.to = args[1], args[2]
	if r.reverse && r.by != "RANK" {
		r.from, r.to = r.to, r.from
	}
	return r, r.ends()
}

func (r *modelRange) words(rest []string, free, scores bool) *Result {
	chosen, reversed := !free, !free
	for ; len(rest) > 0; rest = rest[1:] {
		switch word := strings.ToUpper(rest[0]); {
		case word == "WITHSCORES" && scores:
			r.scores = true
		case word == "LIMIT" && len(rest) > 2:
			var ok1, ok2 bool
			r.offset, ok1 = integer(rest[1])
			r.limit, ok2 = integer(rest[2])
			if !ok1 || !ok2 {
				return notInteger()
			}
			rest = rest[2:]
		case word == "REV" && !reversed:
			r.reverse, reversed = true, true
		case (word == "BYLEX" || word == "BYSCORE") && !chosen:
			r.by, chosen = word[2:], true
		default:
			return syntaxError()
		}
	}
	return nil
}

func (r *modelRange) ends() *Result {
	for _, end := range []string{r.from, r.to} {
		switch r.by {
		case "RANK":
			if _, ok := integer(end); !ok {
				return notInteger()
			}
		case "SCORE":
			if _, _, ok := scoreBound(end); !ok {
				return oops(CodeError, "ERR min or max is not a float")
			}
		case "LEX":
			if s, _, _ := strings.Cut(end, "\x00"); s != "-" && s != "+" && !strings.HasPrefix(end, "[") && !strings.HasPrefix(end, "(") {
				return oops(CodeError, "ERR min or max not valid string range item")
			}
		}
	}
	return nil
}

// scoreBound reads an end of a range of scores.
func scoreBound(s string) (v float64, open, ok bool) {
	s, _, _ = strings.Cut(s, "\x00")
	if rest, found := strings.CutPrefix(s, "("); found {
		s, open = rest, true
	}
	if s == "" {
		return 0, open, true
	}
	v, _, ok = double(strings.TrimLeft(s, " \t\n\v\f\r"))
	return v, open, ok
}

// cut gives [lo, hi) of all, without LIMIT.
func (r *modelRange) cut(all []modelPair) (lo, hi int) {
	count := func(f func(p modelPair) bool) (n int) {
		for _, p := range all {
			if f(p) {
				n++
			}
		}
		return n
	}
	switch r.by {
	case "RANK":
		lo, hi = within(r.from, r.to, len(all))
		if r.reverse {
			lo, hi = len(all)-hi, len(all)-lo
		}
	case "SCORE":
		low, lowOpen, _ := scoreBound(r.from)
		high, highOpen, _ := scoreBound(r.to)
		lo = count(func(p modelPair) bool { return p.score < low || lowOpen && p.score == low })
		hi = count(func(p modelPair) bool { return p.score < high || !highOpen && p.score == high })
	case "LEX":
		// With several scores Redis says nothing; those of the lowest score count here.
		before := func(end string, orEqual bool) int {
			switch end[0] {
			case '-':
				return 0
			case '+':
				return len(all)
			}
			return count(func(p modelPair) bool {
				return p.score == all[0].score && (p.name < end[1:] || orEqual && p.name == end[1:])
			})
		}
		lo, hi = before(r.from, r.from[0] == '('), before(r.to, r.to[0] == '[')
	}
	return lo, max(lo, hi)
}

// part gives the members in the order of the reply.
func (r *modelRange) part(all []modelPair) []modelPair {
	lo, hi := r.cut(all)
	all = slices.Clone(all[lo:hi])
	if r.reverse {
		slices.Reverse(all)
	}
	if r.by == "RANK" {
		return all
	}
	if r.offset < 0 || r.offset > int64(len(all)) {
		return nil
	}
	all = all[r.offset:]
	if r.limit >= 0 {
		all = all[:min(r.limit, int64(len(all)))]
	}
	return all
}

// zrange runs all commands with a range.
func (m *model) zrange(words []string) Result {
	name := strings.ToUpper(words[0])
	r, _ := modelRangeOf(name, words[1:])
	from := words[1]
	if name == "ZRANGESTORE" {
		from = words[2]
	}
	k := m.read(from)
	remove := strings.HasPrefix(name, "ZREMRANGE")
	if remove {
		k = m.take(from)
	}
	if bad := k.typed("zset"); bad != nil {
		return *bad
	}
	part := r.part(k.ranked())
	switch {
	case name == "ZRANGESTORE":
		return m.zstore(words[1], part)
	case remove && len(part) > 0:
		for _, p := range part {
			delete(k.scores, p.name)
		}
		m.changed(from, k)
		fallthrough
	case remove, strings.HasSuffix(name, "COUNT"):
		return Int(int64(len(part)))
	}
	return pairsResult(part, r.scores)
}

// unspecified tells whether words are about members in their order though scores differ, a sketch that is damaged, or
// what only Redis does: a large LCS, and a database other than the first.
func (m *model) unspecified(words []string) bool {
	if strings.EqualFold(words[0], "LCS") && len(words) > 2 {
		if a, b := m.keys[words[1]], m.keys[words[2]]; a != nil && b != nil && len(a.str)*len(b.str) > 4_000_000 {
			return true
		}
	}
	if m.ambiguous(words) {
		return true
	}
	for i := 3; strings.EqualFold(words[0], "COPY") && i+1 < len(words); i++ {
		if n, ok := integer(words[i+1]); ok && n > 0 && strings.EqualFold(words[i], "DB") {
			return true
		}
	}
	if strings.HasPrefix(strings.ToUpper(words[0]), "PF") && slices.ContainsFunc(words[1:], m.damaged) {
		return true
	}
	for _, w := range words {
		if strings.HasSuffix(strings.ToUpper(w), "LEX") || strings.EqualFold(w, "ZLEXCOUNT") {
			for _, name := range words[1:min(3, len(words))] {
				if k := m.keys[name]; k != nil {
					if all := k.ranked(); len(all) > 0 && all[0].score != all[len(all)-1].score {
						return true
					}
				}
			}
		}
	}
	return false
}

// zstore puts members under a name, whatever was there.
func (m *model) zstore(name string, pairs []modelPair) Result {
	delete(m.keys, name)
	if len(pairs) > 0 {
		k := m.make(name, "zset")
		k.scores = map[string]float64{}
		for _, p := range pairs {
			k.scores[p.name] = p.score + 0
		}
		m.changed(name, k)
	}
	return Int(int64(len(pairs)))
}

func staticCombine(name string, at int) func([]string) *Result {
	return func(args []string) *Result {
		n, ok := integer(args[at])
		switch {
		case !ok:
			return notInteger()
		case n < 1:
			return oops(CodeError, "ERR at least 1 input key is needed for '"+strings.ToLower(name)+"' command")
		case n > int64(len(args)-at-1):
			return syntaxError()
		}
		return nil
	}
}

// combination is a command of the ZUNION family.
type modelCombination struct {
	name      string
	from      []map[string]float64
	weights   []float64
	aggregate string
	scores    bool
	limit     int64
}

func (c *modelCombination) options(rest []string) *Result {
	weighs := !strings.HasPrefix(c.name, "ZDIFF") && c.name != "ZINTERCARD"
	for len(rest) > 0 {
		n := 2
		switch word := strings.ToUpper(rest[0]); {
		case word == "WEIGHTS" && weighs && len(rest) > len(c.from):
			for i := range c.from {
				var ok bool
				if c.weights[i], ok = score(rest[1+i]); !ok {
					return oops(CodeError, "ERR weight value is not a float")
				}
			}
			n = 1 + len(c.from)
		case word == "AGGREGATE" && weighs && len(rest) > 1:
			if c.aggregate = strings.ToUpper(rest[1]); !slices.Contains([]string{"SUM", "MIN", "MAX"}, c.aggregate) {
				return syntaxError()
			}
		case word == "WITHSCORES" && c.name != "ZINTERCARD" && !strings.HasSuffix(c.name, "STORE"):
			c.scores = true
			n = 1
		case word == "LIMIT" && c.name == "ZINTERCARD" && len(rest) > 1:
			var ok bool
			if c.limit, ok = integer(rest[1]); !ok || c.limit < 0 {
				return oops(CodeError, "ERR LIMIT can't be negative")
			}
		default:
			return syntaxError()
		}
		rest = rest[n:]
	}
	return nil
}

// number makes what is none 0.
func number(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

// score adds up a member's scores, the smallest sets first.
func (c *modelCombination) score(member string) (v float64, in int) {
	order := make([]int, len(c.from))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(c.from[a]) - len(c.from[b]) })
	for _, i := range order {
		s, ok := c.from[i][member]
		if !ok {
			continue
		}
		s *= c.weights[i]
		if in++; in == 1 || strings.HasPrefix(c.name, "ZUNION") {
			s = number(s)
		}
		switch {
		case in == 1, c.aggregate == "MIN" && s < v, c.aggregate == "MAX" && s > v:
			v = s
		case c.aggregate == "SUM":
			v = number(v + s)
		}
	}
	return v, in
}

func (c *modelCombination) members() (out []modelPair) {
	seen := map[string]bool{}
	for i, set := range c.from {
		for member := range set {
			if seen[member] {
				continue
			}
			seen[member] = true
			v, in := c.score(member)
			switch {
			case strings.HasPrefix(c.name, "ZINTER") && in < len(c.from):
			case strings.HasPrefix(c.name, "ZDIFF") && (i > 0 || in > 1):
			default:
				out = append(out, modelPair{member, v})
			}
		}
	}
	sortPairs(out)
	return out
}

func (m *model) zcombine(words []string) Result {
	c := modelCombination{name: strings.ToUpper(words[0]), aggregate: "SUM"}
	at := 1
	if strings.HasSuffix(c.name, "STORE") {
		at = 2
	}
	n, _ := integer(words[at])
	for _, name := range words[at+1 : at+1+int(n)] {
		set := map[string]float64{}
		if k := m.read(name); k != nil {
			if k.kind != "set" && k.kind != "zset" {
				return *wrongType()
			}
			for member := range k.set {
				set[member] = 1
			}
			for member, v := range k.scores {
				set[member] = v
			}
		}
		c.from, c.weights = append(c.from, set), append(c.weights, 1)
	}
	if bad := c.options(words[at+1+int(n):]); bad != nil {
		return *bad
	}
	out := c.members()
	switch {
	case at == 2:
		return m.zstore(words[1], out)
	case c.name == "ZINTERCARD":
		if c.limit > 0 {
			out = out[:min(c.limit, int64(len(out)))]
		}
		return Int(int64(len(out)))
	}
	return pairsResult(out, c.scores)
}

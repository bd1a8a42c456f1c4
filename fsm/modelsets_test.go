// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"slices"
	"strings"
)

func modelSets() map[string]modelCommand {
	write, grows := true, true
	return map[string]modelCommand{
		"SADD":        {arity: -3, write: write, grows: grows, run: (*model).sadd},
		"SREM":        {arity: -3, write: write, run: (*model).srem},
		"SMEMBERS":    {arity: 2, run: (*model).salgebra},
		"SISMEMBER":   {arity: 3, run: (*model).sismember},
		"SMISMEMBER":  {arity: -3, run: (*model).smismember},
		"SCARD":       {arity: 2, run: (*model).scard},
		"SPOP":        {arity: -2, write: write, static: staticPopCount, run: (*model).spop},
		"SRANDMEMBER": {arity: -2, static: staticDrawCount(2, ""), run: (*model).srandmember},
		"SMOVE":       {arity: 4, write: write, run: (*model).smove},
		"SINTER":      {arity: -2, run: (*model).salgebra},
		"SUNION":      {arity: -2, run: (*model).salgebra},
		"SDIFF":       {arity: -2, run: (*model).salgebra},
		"SINTERSTORE": {arity: -3, write: write, grows: grows, run: (*model).sstore},
		"SUNIONSTORE": {arity: -3, write: write, grows: grows, run: (*model).sstore},
		"SDIFFSTORE":  {arity: -3, write: write, grows: grows, run: (*model).sstore},
		"SINTERCARD":  {arity: -3, static: staticInterCard, run: (*model).sintercard},
		"SSCAN":       {arity: -3, static: staticMemberScan, run: (*model).sscan},
	}
}

// setResult is a set of strings, sorted.
func setResult(members []string) Result {
	slices.Sort(members)
	return Result{Kind: KindSet, Elems: bulks(members).Elems}
}

// membersOf are the members of the set under a name.
func (m *model) membersOf(name string) (map[string]bool, *Result) {
	k := m.read(name)
	if bad := k.typed("set"); bad != nil || k == nil {
		return nil, bad
	}
	return k.set, nil
}

func (m *model) sadd(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("set"); bad != nil {
		return *bad
	}
	if k == nil {
		k = m.make(words[1], "set")
		k.set = map[string]bool{}
	}
	n := 0
	for _, w := range words[2:] {
		if !k.set[w] {
			k.set[w] = true
			n++
		}
	}
	m.versioned(words[1], k, n > 0)
	return Int(int64(n))
}

// versioned hands out a version, which a key gets if it changed.
func (m *model) versioned(name string, k *modelKey, changed bool) {
	before := k.version
	m.changed(name, k)
	if !changed {
		k.version = before
	}
}

func (m *model) srem(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("set"); bad != nil || k == nil {
		return orZero(bad)
	}
	n := 0
	for _, w := range words[2:] {
		if k.set[w] {
			delete(k.set, w)
			n++
		}
	}
	m.versioned(words[1], k, n > 0)
	return Int(int64(n))
}

func orZero(bad *Result) Result {
	if bad != nil {
		return *bad
	}
	return Int(0)
}

func (m *model) smismember(words []string) Result {
	set, bad := m.membersOf(words[1])
	if bad != nil {
		return *bad
	}
	var elems []Result
	for _, w := range words[2:] {
		n := int64(0)
		if set[w] {
			n = 1
		}
		elems = append(elems, Int(n))
	}
	return Array(elems)
}

func (m *model) sismember(words []string) Result {
	res := m.smismember(words)
	if res.IsError() {
		return res
	}
	return res.Elems[0]
}

func (m *model) scard(words []string) Result {
	set, bad := m.membersOf(words[1])
	if bad != nil {
		return *bad
	}
	return Int(int64(len(set)))
}

func staticPopCount(args []string) *Result {
	switch {
	case len(args) > 2:
		return syntaxError()
	case len(args) == 2:
		if n, ok := integer(args[1]); !ok || n < 0 {
			return oops(CodeNotInteger, "ERR value is out of range, must be positive")
		}
	}
	return nil
}

// staticDrawCount checks SRANDMEMBER, ZRANDMEMBER and HRANDFIELD, which have at most so many arguments.
func staticDrawCount(most int, with string) func([]string) *Result {
	return func(args []string) *Result {
		if most == 2 && len(args) > 2 {
			return syntaxError()
		}
		if len(args) == 1 {
			return nil
		}
		switch n, ok := integer(args[1]); {
		case !ok:
			return notInteger()
		case n == -9223372036854775808:
			return oops(CodeError, "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
		case len(args) > most, len(args) == 3 && !strings.EqualFold(args[2], with):
			return syntaxError()
		case len(args) == 3 && (n > 9223372036854775807/2 || n < -9223372036854775807/2):
			return oops(CodeError, "ERR value is out of range")
		}
		return nil
	}
}

// badChoice is the reply when a machine's draw cannot be right.
func badChoice() Result { return Error(CodeError, "a choice that cannot be") }

// drawn checks the machine's draw: n members, each there, and each once unless the count was negative.
func drawn(picks []Result, n int, again bool, there func(name string) bool) bool {
	seen := map[string]bool{}
	for _, p := range picks {
		name := string(p.Str)
		if p.Kind != KindBulk || !there(name) || seen[name] && !again {
			return false
		}
		seen[name] = true
	}
	return len(picks) == n
}

func (m *model) spop(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("set"); bad != nil {
		return *bad
	}
	n, picks := int64(1), []Result{m.chosen}
	if len(words) == 3 {
		n, _ = integer(words[2])
		picks = m.chosen.Elems
	}
	switch {
	case k == nil && len(words) == 2:
		return Null()
	case k == nil, n == 0:
		return setResult(nil)
	}
	if !drawn(picks, int(min(n, int64(len(k.set)))), false, func(name string) bool { return k.set[name] }) {
		return badChoice()
	}
	for _, p := range picks {
		delete(k.set, string(p.Str))
	}
	m.changed(words[1], k)
	return m.chosen
}

func (m *model) srandmember(words []string) Result {
	set, bad := m.membersOf(words[1])
	if bad != nil {
		return *bad
	}
	return m.draw(words, len(set), func(name string) bool { return set[name] })
}

// draw answers SRANDMEMBER, and ZRANDMEMBER without scores, for n members.
func (m *model) draw(words []string, n int, there func(name string) bool) Result {
	if len(words) == 2 {
		switch {
		case n == 0:
			return Null()
		case !drawn([]Result{m.chosen}, 1, false, there):
			return badChoice()
		}
		return m.chosen
	}
	count, _ := integer(words[2])
	want := min(count, int64(n))
	if count < 0 && n > 0 {
		want = -count
	}
	if m.chosen.Kind != KindArray || !drawn(m.chosen.Elems, int(max(want, 0)), count < 0, there) {
		return badChoice()
	}
	return m.chosen
}

func (m *model) smove(words []string) Result {
	from, to := m.take(words[1]), m.take(words[2])
	if from == nil {
		return Int(0)
	}
	if bad := from.typed("set"); bad != nil {
		return *bad
	}
	if bad := to.typed("set"); bad != nil {
		return *bad
	}
	if !from.set[words[3]] {
		return Int(0)
	}
	if from == to {
		return Int(1)
	}
	delete(from.set, words[3])
	m.changed(words[1], from)
	if to == nil {
		to = m.make(words[2], "set")
		to.set = map[string]bool{}
	}
	added := !to.set[words[3]]
	to.set[words[3]] = true
	m.versioned(words[2], to, added)
	return Int(1)
}

// combine gives the members that a command makes of its keys, in order.
func (m *model) combine(command string, names []string) ([]string, *Result) {
	count := map[string]int{}
	first := map[string]bool{}
	for i, name := range names {
		set, bad := m.membersOf(name)
		if bad != nil {
			return nil, bad
		}
		for member := range set {
			count[member]++
			first[member] = first[member] || i == 0
		}
	}
	var out []string
	for member, n := range count {
		switch {
		case strings.HasPrefix(command, "SINTER") && n == len(names),
			strings.HasPrefix(command, "SDIFF") && first[member] && n == 1,
			command == "SMEMBERS", strings.HasPrefix(command, "SUNION"):
			out = append(out, member)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (m *model) salgebra(words []string) Result {
	members, bad := m.combine(strings.ToUpper(words[0]), words[1:])
	if bad != nil {
		return *bad
	}
	return setResult(members)
}

func (m *model) sstore(words []string) Result {
	members, bad := m.combine(strings.ToUpper(words[0]), words[2:])
	if bad != nil {
		return *bad
	}
	delete(m.keys, words[1])
	if len(members) > 0 {
		k := m.make(words[1], "set")
		k.set = map[string]bool{}
		for _, member := range members {
			k.set[member] = true
		}
		m.changed(words[1], k)
	}
	return Int(int64(len(members)))
}

func staticInterCard(args []string) *Result {
	n, ok := integer(args[0])
	switch {
	case !ok || n < 1:
		return oops(CodeError, "ERR numkeys should be greater than 0")
	case n > int64(len(args)-1):
		return oops(CodeError, "ERR Number of keys can't be greater than number of args")
	}
	for rest := args[1+n:]; len(rest) > 0; rest = rest[2:] {
		if len(rest) == 1 || !strings.EqualFold(rest[0], "LIMIT") {
			return syntaxError()
		}
		if limit, ok := integer(rest[1]); !ok || limit < 0 {
			return oops(CodeError, "ERR LIMIT can't be negative")
		}
	}
	return nil
}

func (m *model) sintercard(words []string) Result {
	n, _ := integer(words[1])
	members, bad := m.combine("SINTER", words[2:2+n])
	if bad != nil {
		return *bad
	}
	count := int64(len(members))
	if len(words) > 2+int(n) {
		if limit, _ := integer(words[len(words)-1]); limit > 0 {
			count = min(count, limit)
		}
	}
	return Int(count)
}

func staticMemberScan(args []string) *Result {
	if _, ok := unsigned(args[1], 1<<48-1); !ok {
		return oops(CodeError, "ERR invalid cursor")
	}
	return nil
}

// scanned gives all that a scan of a set or sorted set finds from its start to its end, sorted, as plainly
// makes it of the machine's replies.
func (m *model) scanned(words []string, kind string, list func(k *modelKey) map[string]string) Result {
	k := m.read(words[1])
	if bad := k.typed(kind); bad != nil {
		return *bad
	}
	if k == nil {
		return bulks(nil)
	}
	match := "*"
	for rest := words[3:]; len(rest) > 0; rest = rest[2:] {
		option := strings.ToUpper(rest[0])
		if len(rest) == 1 || option != "COUNT" && option != "MATCH" {
			return *syntaxError()
		}
		if option == "MATCH" {
			match = rest[1]
			continue
		}
		if n, ok := integer(rest[1]); !ok {
			return *notInteger()
		} else if n < 1 {
			return *syntaxError()
		}
	}
	var out []string
	for member, shown := range list(k) {
		if matches(match, member) {
			out = append(out, shown)
		}
	}
	slices.Sort(out)
	return bulks(out)
}

func (m *model) sscan(words []string) Result {
	return m.scanned(words, "set", func(k *modelKey) map[string]string {
		all := map[string]string{}
		for member := range k.set {
			all[member] = member
		}
		return all
	})
}

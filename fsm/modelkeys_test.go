// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"
	"slices"
	"strings"
)

func modelKeyspace() map[string]modelCommand {
	write := true
	return map[string]modelCommand{
		"DEL":         {arity: -2, write: write, run: (*model).del},
		"UNLINK":      {arity: -2, write: write, run: (*model).del},
		"EXISTS":      {arity: -2, run: (*model).exists},
		"TOUCH":       {arity: -2, run: (*model).exists},
		"TYPE":        {arity: 2, run: (*model).kindOf},
		"DBSIZE":      {arity: 1, run: (*model).dbsize},
		"KV.STATS":    {arity: 1, run: (*model).stats},
		"FLUSHALL":    {arity: -1, write: write, static: staticFlushAll, run: (*model).flushAll},
		"SCAN":        {arity: -2, static: staticScan, run: (*model).scan},
		"EXPIRE":      {arity: -3, write: write, static: staticExpire("expire"), run: (*model).expireKey},
		"PEXPIRE":     {arity: -3, write: write, static: staticExpire("pexpire"), run: (*model).expireKey},
		"EXPIREAT":    {arity: -3, write: write, static: staticExpire("expireat"), run: (*model).expireKey},
		"PEXPIREAT":   {arity: -3, write: write, static: staticExpire("pexpireat"), run: (*model).expireKey},
		"PERSIST":     {arity: 2, write: write, run: (*model).persist},
		"TTL":         {arity: 2, run: (*model).ttl},
		"PTTL":        {arity: 2, run: (*model).ttl},
		"EXPIRETIME":  {arity: 2, run: (*model).ttl},
		"PEXPIRETIME": {arity: 2, run: (*model).ttl},
	}
}

func (m *model) del(words []string) Result {
	n := int64(0)
	for _, name := range words[1:] {
		if m.take(name) != nil {
			delete(m.keys, name)
			n++
		}
	}
	return Int(n)
}

func (m *model) exists(words []string) Result {
	n := int64(0)
	for _, name := range words[1:] {
		if m.read(name) != nil {
			n++
		}
	}
	return Int(n)
}

func (m *model) kindOf(words []string) Result {
	if k := m.read(words[1]); k != nil {
		return Status(k.kind)
	}
	return Status("none")
}

// dbsize counts dead keys that nothing has removed yet, as Redis does.
func (m *model) dbsize([]string) Result { return Int(int64(len(m.keys))) }

func (m *model) stats([]string) Result {
	keys, keyBytes, valueBytes, logical := m.sizes()
	return Array([]Result{Int(keys), Int(keyBytes), Int(valueBytes), Int(logical)})
}

func staticFlushAll(args []string) *Result {
	if len(args) > 1 || len(args) == 1 && !strings.EqualFold(args[0], "SYNC") && !strings.EqualFold(args[0], "ASYNC") {
		return syntaxError()
	}
	return nil
}

func (m *model) flushAll([]string) Result {
	clear(m.keys)
	return OK()
}

func staticScan(args []string) *Result {
	if _, ok := unsigned(args[0], 1<<62-1); !ok {
		return oops(CodeError, "ERR invalid cursor")
	}
	for i := 1; i < len(args); i += 2 {
		if i+1 == len(args) {
			return syntaxError()
		}
		switch strings.ToUpper(args[i]) {
		case "MATCH", "TYPE":
		case "COUNT":
			if n, ok := integer(args[i+1]); !ok {
				return notInteger()
			} else if n < 1 {
				return syntaxError()
			}
		default:
			return syntaxError()
		}
	}
	return nil
}

// scan gives all keys that a scan from the start to the end finds, sorted.
func (m *model) scan(words []string) Result {
	names := []string{}
	for name := range m.keys {
		if m.read(name) != nil {
			names = append(names, name)
		}
	}
	last := make(map[string]string) // of an option that is repeated the last counts
	for i := 2; i+1 < len(words); i += 2 {
		last[strings.ToUpper(words[i])] = words[i+1]
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		pattern, match := last["MATCH"]
		kind, typed := last["TYPE"]
		return match && !matches(pattern, name) || typed && !strings.EqualFold(kind, m.keys[name].kind)
	})
	slices.Sort(names)
	return bulks(names)
}

// matches is Redis' glob by plain recursion.
func matches(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	if pattern[0] == '*' {
		return matches(pattern[1:], s) || s != "" && matches(pattern, s[1:])
	}
	if s == "" {
		return false
	}
	switch {
	case pattern[0] == '?':
		return matches(pattern[1:], s[1:])
	case pattern[0] == '[':
		in, rest := inClass(pattern[1:], s[0])
		return in && matches(rest, s[1:])
	case pattern[0] == '\\' && len(pattern) > 1:
		pattern = pattern[1:]
	}
	return pattern[0] == s[0] && matches(pattern[1:], s[1:])
}

// inClass reads a class behind its '['; one without an end runs to the end of the pattern.
func inClass(pattern string, c byte) (in bool, rest string) {
	pattern, not := strings.CutPrefix(pattern, "^")
	for pattern != "" && pattern[0] != ']' {
		if pattern[0] == '\\' && len(pattern) > 1 {
			pattern = pattern[1:]
			in = in || pattern[0] == c
			pattern = pattern[1:]
			continue
		}
		lo, hi := pattern[0], pattern[0]
		if len(pattern) > 2 && pattern[1] == '-' {
			hi, pattern = pattern[2], pattern[2:]
		}
		in = in || min(lo, hi) <= c && c <= max(lo, hi)
		pattern = pattern[1:]
	}
	return in != not, strings.TrimPrefix(pattern, "]")
}

func expireOption(words []string) (has map[string]bool, bad *Result) {
	has = make(map[string]bool)
	for _, w := range words {
		switch up := strings.ToUpper(w); up {
		case "NX", "XX", "GT", "LT":
			has[up] = true
		default:
			w, _, _ = strings.Cut(w, "\x00")
			return has, oops(CodeError, "ERR Unsupported option "+strings.NewReplacer("\r", " ", "\n", " ").Replace(w))
		}
	}
	switch {
	case has["NX"] && len(has) > 1:
		return has, oops(CodeSyntax, "ERR NX and XX, GT or LT options at the same time are not compatible")
	case has["GT"] && has["LT"]:
		return has, oops(CodeSyntax, "ERR GT and LT options at the same time are not compatible")
	}
	return has, nil
}

func staticExpire(command string) func([]string) *Result {
	return func(args []string) *Result {
		if _, bad := expireOption(args[2:]); bad != nil {
			return bad
		}
		n, ok := integer(args[1])
		if !ok {
			return notInteger()
		}
		if command[0] != 'p' && (n > math.MaxInt64/1000 || n < math.MinInt64/1000) {
			return oops(CodeError, "ERR invalid expire time in '"+command+"' command")
		}
		return nil
	}
}

// expireKey is EXPIRE, PEXPIRE, EXPIREAT and PEXPIREAT.
func (m *model) expireKey(words []string) Result {
	command := strings.ToLower(words[0])
	at, _ := integer(words[2])
	if command[0] != 'p' {
		at *= 1000
	}
	if !strings.HasSuffix(command, "at") {
		var ok bool
		if at, ok = sum(m.now, at); !ok {
			return Error(CodeError, "ERR invalid expire time in '"+command+"' command")
		}
	}
	k := m.take(words[1])
	if k == nil {
		return Int(0)
	}
	has, _ := expireOption(words[3:])
	was := k.at
	if was == 0 {
		was = math.MaxInt64 // no deadline is later than all
	}
	switch {
	case has["NX"] && k.at != 0, has["XX"] && k.at == 0, has["GT"] && at <= was, has["LT"] && at >= was && k.at != 0:
		return Int(0)
	}
	m.expire(words[1], max(at, 1))
	return Int(1)
}

func (m *model) persist(words []string) Result {
	k := m.take(words[1])
	if k == nil || k.at == 0 {
		return Int(0)
	}
	k.at = 0
	return Int(1)
}

// ttl is TTL, PTTL, EXPIRETIME and PEXPIRETIME; seconds are rounded to the nearest.
func (m *model) ttl(words []string) Result {
	k := m.read(words[1])
	switch {
	case k == nil:
		return Int(-2)
	case k.at == 0:
		return Int(-1)
	}
	n := uint64(k.at)
	command := strings.ToUpper(words[0])
	if strings.HasSuffix(command, "TTL") {
		n -= uint64(m.now)
	}
	if command[0] != 'P' {
		n = (n + 500) / 1000
	}
	return Int(int64(n))
}

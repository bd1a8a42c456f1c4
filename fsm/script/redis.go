// SPDX-License-Identifier: Apache-2.0

package script

import (
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/kvorum/kvorum/fsm"
)

// version is the Redis that scripts find.
const (
	version       = "7.0.15"
	versionNumber = 0x0007000f
)

// redis makes the table of that name.
func (r *run) redis() *lua.LTable {
	t := r.library(map[string]lua.LGFunction{
		"call":  func(l *lua.LState) int { return r.call(l, true) },
		"pcall": func(l *lua.LState) int { return r.call(l, false) },
		"error_reply": func(l *lua.LState) int {
			return r.single(l, "err", func(s string) string { return "-" + strings.TrimPrefix(s, "-") })
		},
		"status_reply": func(l *lua.LState) int { return r.single(l, "ok", func(s string) string { return s }) },
		"sha1hex": func(l *lua.LState) int {
			if l.GetTop() != 1 {
				r.refuse(l, "wrong number of arguments")
			}
			s := r.text(l.Get(1))
			r.spend(l, 2*len(s))
			l.Push(lua.LString(SHA([]byte(s))))
			return 1
		},
		"log":                r.log,
		"setresp":            r.setResp,
		"replicate_commands": func(l *lua.LState) int { l.Push(lua.LTrue); return 1 },
		"set_repl":           func(*lua.LState) int { return 0 },
		"breakpoint":         func(l *lua.LState) int { l.Push(lua.LFalse); return 1 },
		"debug":              func(*lua.LState) int { return 0 },
		"acl_check_cmd":      r.aclCheck,
	})
	for name, n := range map[string]int{
		"LOG_DEBUG": 0, "LOG_VERBOSE": 1, "LOG_NOTICE": 2, "LOG_WARNING": 3,
		"REPL_NONE": 0, "REPL_AOF": 1, "REPL_SLAVE": 2, "REPL_REPLICA": 2, "REPL_ALL": 3, "REDIS_VERSION_NUM": versionNumber,
	} {
		t.RawSetString(name, lua.LNumber(n))
	}
	t.RawSetString("REDIS_VERSION", lua.LString(version))
	return t
}

// call is redis.call, which raises errors, and redis.pcall.
func (r *run) call(l *lua.LState, raise bool) int {
	words, text := r.words(l)
	res := fsm.Result{}
	if text != "" {
		res = fsm.Error(fsm.CodeError, text)
	} else {
		res = r.command(words)
	}
	if r.resp == 3 && len(words) > 0 {
		r.pairUp(words, &res)
	}
	size := int(fsm.ReplySize(&res))
	r.meter.large(size)
	r.spend(l, size)
	r.meter.look() // whatever the command took
	v := r.value(l, &res)
	if res.IsError() && raise {
		l.Error(v, 0)
	}
	l.Push(v)
	return 1
}

// pairUp makes pairs of what RESP3 has in pairs.
func (r *run) pairUp(words [][]byte, res *fsm.Result) {
	spec, ok := r.q.Table.Lookup(words[0])
	if !ok || !spec.InPairs(words[1:], res) {
		return
	}
	var pairs []fsm.Result
	for i := 0; i+1 < len(res.Elems); i += 2 {
		pairs = append(pairs, fsm.Array(res.Elems[i:i+2]))
	}
	res.Elems = pairs
}

// single makes a table of one field of a text.
func (r *run) single(l *lua.LState, field string, word func(string) string) int {
	t := l.NewTable()
	s, ok := l.Get(1).(lua.LString)
	if l.GetTop() != 1 || !ok {
		t.RawSetString("err", lua.LString("ERR wrong number or type of arguments"))
	} else if r.spend(l, len(s)); field == "err" {
		t.RawSetString(field, lua.LString(strings.TrimPrefix(word(string(s)), "-")))
	} else {
		t.RawSetString(field, lua.LString(word(string(s))))
	}
	l.Push(t)
	return 1
}

func (r *run) log(l *lua.LState) int {
	n := l.GetTop()
	if n < 2 {
		r.refuse(l, "redis.log() requires two arguments or more.")
	}
	level, ok := l.Get(1).(lua.LNumber)
	if !ok {
		r.refuse(l, "First argument must be a number (log level).")
	}
	if level < 0 || level > 3 {
		r.refuse(l, "Invalid debug level.")
	}
	if r.logs++; r.q.Log == nil || r.logs > maxLogs {
		return 0
	}
	var text []byte
	for i := 2; i <= n && len(text) <= maxLog; i++ {
		if i > 2 {
			text = append(text, ' ')
		}
		word := r.text(l.Get(i))
		text = append(text, word[:min(len(word), maxLog)]...)
	}
	r.q.Log(Level(level), string(text[:min(len(text), maxLog)]))
	return 0
}

func (r *run) setResp(l *lua.LState) int {
	if l.GetTop() != 1 {
		r.refuse(l, "redis.setresp() requires one argument.")
	}
	n, _ := l.Get(1).(lua.LNumber)
	if n != 2 && n != 3 {
		r.refuse(l, "RESP version must be 2 or 3.")
	}
	r.resp = int(n)
	return 0
}

// aclCheck allows every command there is: a script runs with all rights of whoever called it.
func (r *run) aclCheck(l *lua.LState) int {
	words, text := r.words(l)
	if text != "" {
		r.refuse(l, "Please specify at least one argument for this redis.acl_check_cmd() call")
	}
	if _, ok := r.q.Table.Lookup(words[0]); !ok {
		r.refuse(l, "Invalid command passed to redis.acl_check_cmd()")
	}
	l.Push(lua.LTrue)
	return 1
}

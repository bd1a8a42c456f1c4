// SPDX-License-Identifier: Apache-2.0

package script

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// open readies the interpreter for a script.
func (r *run) open() {
	if r.l == nil {
		r.build()
	}
	r.l.SetContext(r.meter)
	for name, list := range map[string][][]byte{"KEYS": r.q.Keys, "ARGV": r.q.Args} {
		t := r.l.CreateTable(len(list), 0)
		for i, s := range list {
			r.meter.large(len(s))
			t.RawSetInt(i+1, lua.LString(s))
		}
		r.globals.RawSetString(name, t)
	}
}

// build makes the interpreter with all that every script finds in it.
func (r *run) build() {
	r.l = lua.NewState(lua.Options{
		SkipOpenLibs: true, CallStackSize: maxDepth, MinimizeStackMemory: true,
		RegistrySize: 1024, RegistryGrowStep: 1024, RegistryMaxSize: maxValues,
	})
	l := r.l
	l.SetContext(r.meter)
	l.Options.CallStackSize = maxThreadDepth // of coroutines
	l.Options.RegistrySize = 256
	l.Push(l.NewFunction(lua.OpenBase))
	l.Call(0, 0)
	g, _ := l.Get(lua.GlobalsIndex).(*lua.LTable)
	for _, name := range []string{
		"dofile", "loadfile", "getfenv", "setfenv", "module", "require", "newproxy", "print", "_printregs", "_GOPHER_LUA_VERSION",
	} {
		g.RawSetString(name, lua.LNil)
	}
	for _, name := range []string{"error", "assert", "tonumber"} {
		f, _ := g.RawGetString(name).(*lua.LFunction)
		g.RawSetString(name, l.NewFunction(r.safely(func(l *lua.LState) int {
			for i := 1; i <= min(l.GetTop(), 2); i++ {
				if s, ok := l.Get(i).(lua.LString); ok {
					r.spend(l, len(s)) // it is copied
				}
			}
			return f.GFunction(l)
		})))
	}
	for _, fs := range []map[string]lua.LGFunction{r.base(), r.metas()} {
		for name, f := range fs {
			g.RawSetString(name, l.NewFunction(r.safely(f)))
		}
	}
	r.null = l.NewUserData()
	r.env = r.protect(g, true)
	text := r.library(r.strings())
	for name, lib := range map[string]*lua.LTable{
		"redis": r.redis(), "string": text, "table": r.library(r.tables()), "math": r.math(), "coroutine": r.coroutines(),
		"cjson": r.cjson(), "bit": r.library(r.bits()), "struct": r.library(r.structs()), "cmsgpack": r.library(r.msgpack()),
	} {
		g.RawSetString(name, r.protect(lib, false))
	}
	g.RawSetString("_G", r.env)
	meta := l.NewTable()
	meta.RawSetString("__index", g.RawGetString("string"))
	l.SetMetatable(lua.LString(""), meta)
	r.ofStrings = r.protect(meta, false)
	r.globals = g
}

// base are the global functions that are not the interpreter's own.
func (r *run) base() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		guardConcat: r.concat,
		guardKey:    r.guardKey,
		guardFill:   r.fill,
		"collectgarbage": func(l *lua.LState) int {
			n := lua.LNumber(0)
			if l.OptString(1, "collect") == "count" {
				n = lua.LNumber(heapEvery >> 10)
			}
			l.Push(n)
			return 1
		},
		"gcinfo": func(l *lua.LState) int {
			l.Push(lua.LNumber(heapEvery >> 10))
			return 1
		},
		"tostring": func(l *lua.LState) int {
			v := l.CheckAny(1)
			if _, ok := v.(lua.LNumber); ok {
				v = lua.LString(r.text(v))
			} else {
				v = l.ToStringMeta(v)
			}
			l.Push(v)
			return 1
		},
		"next":  r.next,
		"pcall": r.protected,
		"pairs": func(l *lua.LState) int {
			t := l.CheckTable(1)
			l.Push(l.NewFunction(r.next))
			l.Push(t)
			l.Push(lua.LNil)
			return 3
		},
		"unpack":     r.unpack,
		"load":       r.load,
		"loadstring": r.loadString,
	}
}

// metas are the global functions that get at tables and metatables.
func (r *run) metas() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"rawset": func(l *lua.LState) int {
			t := l.CheckTable(1)
			r.writable(l, t)
			r.checkKey(l, t, l.CheckAny(2))
			t.RawSet(l.CheckAny(2), l.CheckAny(3))
			l.SetTop(1)
			return 1
		},
		"rawget": func(l *lua.LState) int {
			l.Push(r.behind(l.CheckTable(1)).RawGet(l.CheckAny(2)))
			return 1
		},
		"setmetatable": func(l *lua.LState) int {
			t := l.CheckTable(1)
			r.writable(l, t)
			l.CheckTypes(2, lua.LTNil, lua.LTTable)
			if l.GetMetaField(t, "__metatable") != lua.LNil {
				r.raise(l, "cannot change a protected metatable")
			}
			l.SetMetatable(t, l.Get(2))
			l.SetTop(1)
			return 1
		},
		"getmetatable": func(l *lua.LState) int {
			v := l.CheckAny(1)
			switch t := v.(type) {
			case *lua.LTable:
				if r.real[t] != nil {
					l.Push(r.ofStrings)
					return 1
				}
			case lua.LString:
				l.Push(r.ofStrings)
				return 1
			}
			l.Push(l.GetMetatable(v))
			if m := l.GetMetaField(v, "__metatable"); m != lua.LNil {
				l.Push(m)
			}
			return 1
		},
	}
}

// protected is pcall: an error with a text is that text.
func (r *run) protected(l *lua.LState) int {
	l.CheckAny(1)
	err := l.PCall(l.GetTop()-1, lua.MultRet, nil)
	if err == nil {
		l.Insert(lua.LTrue, 1)
		return l.GetTop()
	}
	var value lua.LValue = lua.LString(err.Error())
	if e, ok := err.(*lua.ApiError); ok && e.Object != nil { //nolint:errorlint // PCall returns it bare
		value = e.Object
	}
	r.defect(err)
	if s, ok := value.(lua.LString); ok {
		r.meter.charge(len(s))
	}
	if t, ok := value.(*lua.LTable); ok {
		if s, ok := t.RawGetString("err").(lua.LString); ok {
			value = s
		}
	}
	l.Push(lua.LFalse)
	l.Push(value)
	return 2
}

func (r *run) next(l *lua.LState) int {
	t := r.behind(l.CheckTable(1))
	r.work(l, nextBytes)
	k, v := t.Next(l.Get(2))
	for t == r.globals && k != lua.LNil && strings.HasPrefix(k.String(), "\x00") {
		k, v = t.Next(k)
	}
	l.Push(k)
	if k == lua.LNil {
		return 1
	}
	l.Push(v)
	return 2
}

func (r *run) unpack(l *lua.LState) int {
	t := r.behind(l.CheckTable(1))
	from, to := l.OptInt(2, 1), l.OptInt(3, t.Len())
	if to < from {
		return 0
	}
	if to-from >= maxUnpack || to-from < 0 {
		r.raise(l, "too many results to unpack")
	}
	n := to - from + 1
	r.work(l, 16*n)
	for i := range n {
		l.Push(t.RawGetInt(from + i))
	}
	return n
}

func (r *run) loadString(l *lua.LState) int {
	return r.loaded(l, l.CheckString(1), l.OptString(2, l.CheckString(1)))
}

// load is given a function that gives the text in pieces.
func (r *run) load(l *lua.LState) int {
	fn := l.CheckFunction(1)
	var source []byte
	for {
		r.work(l, lookEvery)
		l.Push(fn)
		l.Call(0, 1)
		piece, ok := l.Get(-1).(lua.LString)
		l.Pop(1)
		if !ok || piece == "" {
			break
		}
		if source = append(source, piece...); len(source) > MaxSource {
			break
		}
	}
	return r.loaded(l, string(source), l.OptString(2, "=(load)"))
}

func (r *run) loaded(l *lua.LState, source, name string) int {
	if len(source) > MaxSource {
		l.Push(lua.LNil)
		l.Push(lua.LString("text is too long"))
		return 2
	}
	r.spend(l, 64*len(source))
	if s, ok := strings.CutPrefix(name, "@"); ok {
		name = s
	} else if s, ok := strings.CutPrefix(name, "="); ok {
		name = s
	} else {
		line, _, _ := strings.Cut(name, "\n")
		name = `[string "` + line[:min(len(line), 40)] + `"]`
	}
	proto, err := compile(source, name)
	r.meter.look()
	r.stopped(l)
	if err != nil {
		l.Push(lua.LNil)
		l.Push(lua.LString(err.Error()))
		return 2
	}
	fn := l.NewFunctionFromProto(proto)
	fn.Env = r.env
	l.Push(fn)
	return 1
}

// checkKey charges for an index that a table, nil for an unknown one, is about to get. What is only appended costs nothing
// more than the step.
func (r *run) checkKey(l *lua.LState, t *lua.LTable, key lua.LValue) {
	n, ok := key.(lua.LNumber)
	if !ok || n <= smallKey || n > maxArray {
		return
	}
	if n == maxArray {
		r.raise(l, "table overflow: more than %d elements", maxArray-1)
	}
	r.meter.large(16 * int(n))
	there := 0
	if t != nil {
		if t.RawGetInt(int(n)) != lua.LNil || t.RawGetInt(int(n)-1) != lua.LNil {
			return
		}
		there = t.Len()
	}
	r.spend(l, 16*max(0, int(n)-there))
}

// guardKey is around each index of an assignment; the table comes behind it where it is known.
func (r *run) guardKey(l *lua.LState) int {
	t, _ := l.Get(2).(*lua.LTable)
	r.checkKey(l, t, l.Get(1))
	l.SetTop(1)
	return 1
}

// fill puts values behind the first elements of a new table.
func (r *run) fill(l *lua.LState) int {
	t, there, n := l.CheckTable(1), l.CheckInt(2), l.GetTop()-2
	r.meter.large(16 * (there + n))
	r.spend(l, stepBytes+32*n)
	for i := 1; i <= n; i++ {
		t.RawSetInt(there+i, l.Get(2+i))
	}
	l.SetTop(1)
	return 1
}

// concat is the operator of two or more operands; it binds to the right.
func (r *run) concat(l *lua.LState) int {
	n := l.GetTop()
	size, plain := 0, true
	for i := 1; i <= n; i++ {
		switch v := l.Get(i).(type) {
		case lua.LString:
			size += len(v)
		case lua.LNumber:
			size += 24
		default:
			plain = false
		}
	}
	if plain {
		r.room(l, size)
		var b strings.Builder
		b.Grow(size)
		for i := 1; i <= n; i++ {
			b.WriteString(r.text(l.Get(i)))
		}
		l.Push(lua.LString(b.String()))
		return 1
	}
	right := l.Get(n)
	for i := n - 1; i >= 1; i-- {
		right = r.concatTwo(l, l.Get(i), right)
	}
	l.Push(right)
	return 1
}

func (r *run) concatTwo(l *lua.LState, a, b lua.LValue) lua.LValue {
	if lua.LVCanConvToString(a) && lua.LVCanConvToString(b) {
		left, right := r.text(a), r.text(b)
		r.room(l, len(left)+len(right))
		return lua.LString(left + right)
	}
	op := l.GetMetaField(a, "__concat")
	if op == lua.LNil {
		op = l.GetMetaField(b, "__concat")
	}
	if op == lua.LNil {
		bad := a
		if lua.LVCanConvToString(a) {
			bad = b
		}
		r.raise(l, "attempt to concatenate a %s value", bad.Type())
	}
	l.Push(op)
	l.Push(a)
	l.Push(b)
	l.Call(2, 1)
	v := l.Get(-1)
	l.Pop(1)
	return v
}

// coroutines are the interpreter's, metered and counted.
func (r *run) coroutines() *lua.LTable {
	l := r.l
	l.Push(l.NewFunction(lua.OpenCoroutine))
	l.Call(0, 1)
	t, _ := l.Get(-1).(*lua.LTable)
	l.Pop(1)
	for _, name := range []string{"create", "wrap"} {
		build, _ := t.RawGetString(name).(*lua.LFunction)
		t.RawSetString(name, l.NewFunction(func(l *lua.LState) int {
			if r.threads++; r.threads > maxThreads {
				r.raise(l, "too many coroutines")
			}
			r.spend(l, int(r.meter.weight)<<17) // its stack, or the text of its error
			n := build.GFunction(l)
			switch v := l.Get(-1).(type) {
			case *lua.LState:
				v.SetContext(r.meter)
			case *lua.LFunction:
				if th, ok := v.Upvalues[0].Value().(*lua.LState); ok {
					th.SetContext(r.meter)
				}
			}
			return n
		}))
	}
	return t
}

// SPDX-License-Identifier: Apache-2.0

package script

import (
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// tables is the library table. The interpreter's own parts of it are bounded by the size of a table.
func (r *run) tables() map[string]lua.LGFunction {
	fs := map[string]lua.LGFunction{
		"concat": r.join,
		"sort":   r.sort,
		"insert": r.insert,
		"setn": func(l *lua.LState) int {
			r.raise(l, "'setn' is obsolete")
			return 0
		},
		"foreach":  func(l *lua.LState) int { return r.foreach(l, r.behind(l.CheckTable(1)).Next) },
		"foreachi": r.foreachi,
	}
	for name, f := range r.stock(lua.OpenTable) {
		if fs[name] == nil {
			fs[name] = func(l *lua.LState) int {
				t := l.CheckTable(1)
				r.writable(l, t)
				if at, ok := l.Get(2).(lua.LNumber); ok && at >= 1 {
					r.work(l, max(0, 16*(t.Len()-int(at)))) // remove moves what is behind
				}
				return f.GFunction(l)
			}
		}
	}
	return fs
}

// stock gives the functions of one of the interpreter's libraries.
func (r *run) stock(open lua.LGFunction) map[string]*lua.LFunction {
	l := r.l
	l.Push(l.NewFunction(open))
	l.Call(0, 1)
	t, _ := l.Get(-1).(*lua.LTable)
	l.Pop(1)
	fs := make(map[string]*lua.LFunction)
	t.ForEach(func(k, v lua.LValue) {
		if f, ok := v.(*lua.LFunction); ok {
			fs[k.String()] = f
		}
	})
	return fs
}

func (r *run) join(l *lua.LState) int {
	t := r.behind(l.CheckTable(1))
	sep := ""
	if l.GetTop() > 1 && l.Get(2) != lua.LNil {
		sep = r.str(l, 2)
	}
	from, to := l.OptInt(3, 1), l.OptInt(4, t.Len())
	var b strings.Builder
	for i := from; i <= to; i++ {
		v := t.RawGetInt(i)
		switch v.(type) {
		case lua.LString, lua.LNumber:
		default:
			r.raise(l, "invalid value (%s) at index %d in table for 'concat'", v.Type(), i)
		}
		s := r.text(v)
		r.spend(l, 16+len(s)+len(sep))
		if b.Len()+len(s)+len(sep) > maxString {
			r.tooBig(l)
		}
		b.WriteString(s)
		if i < to {
			b.WriteString(sep)
		}
	}
	r.meter.large(b.Len())
	l.Push(lua.LString(b.String()))
	return 1
}

func (r *run) insert(l *lua.LState) int {
	t := l.CheckTable(1)
	r.writable(l, t)
	n := t.Len()
	if n >= maxArray-1 {
		r.checkKey(l, t, lua.LNumber(maxArray))
	}
	r.meter.large(16 * n)
	r.spend(l, stepBytes)
	switch l.GetTop() {
	case 2:
		t.RawSetInt(n+1, l.Get(2))
	case 3:
		at := l.CheckInt(2)
		if at < 1 || at > n {
			r.checkKey(l, t, lua.LNumber(at))
			t.RawSet(lua.LNumber(at), l.Get(3))
			return 0
		}
		r.work(l, 16*(n-at))
		t.Insert(at, l.Get(3))
	default:
		r.raise(l, "wrong number of arguments to 'insert'")
	}
	return 0
}

func (r *run) foreach(l *lua.LState, next func(lua.LValue) (lua.LValue, lua.LValue)) int {
	fn := l.CheckFunction(2)
	for k, v := next(lua.LNil); k != lua.LNil; k, v = next(k) {
		if r.called(l, fn, k, v) {
			return 1
		}
	}
	return 0
}

func (r *run) foreachi(l *lua.LState) int {
	t, fn := r.behind(l.CheckTable(1)), l.CheckFunction(2)
	for i := 1; i <= t.Len(); i++ {
		if r.called(l, fn, lua.LNumber(i), t.RawGetInt(i)) {
			return 1
		}
	}
	return 0
}

// called calls fn; true when it gave something, which is left on the stack.
func (r *run) called(l *lua.LState, fn *lua.LFunction, k, v lua.LValue) bool {
	r.work(l, lookEvery)
	l.Push(fn)
	l.Push(k)
	l.Push(v)
	l.Call(2, 1)
	if l.Get(-1) != lua.LNil {
		return true
	}
	l.Pop(1)
	return false
}

// SPDX-License-Identifier: Apache-2.0

package script

import lua "github.com/yuin/gopher-lua"

// textReadonly is Redis' text.
const textReadonly = "Attempt to modify a readonly table"

// protect gives a table in whose place scripts see: it reads as t does and refuses writes. What is not in t is nil, or with
// strict an error.
func (r *run) protect(t *lua.LTable, strict bool) *lua.LTable {
	l := r.l
	if strict {
		missing := l.NewTable()
		missing.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
			name := r.text(l.Get(2))
			r.raise(l, "Script attempted to access nonexistent global variable '%s'", name[:min(len(name), maxLog)])
			return 0
		}))
		t.Metatable = missing
	}
	meta := l.NewTable()
	meta.RawSetString("__index", t)
	meta.RawSetString("__newindex", l.NewFunction(func(l *lua.LState) int {
		r.raise(l, textReadonly)
		return 0
	}))
	p := l.NewTable()
	p.Metatable = meta
	r.real[p] = t
	return p
}

// behind is the table that p reads as.
func (r *run) behind(p *lua.LTable) *lua.LTable {
	if t := r.real[p]; t != nil {
		return t
	}
	return p
}

// writable refuses protected tables.
func (r *run) writable(l *lua.LState, t *lua.LTable) {
	if r.real[t] != nil {
		r.refuse(l, textReadonly)
	}
}

// library makes a table of functions.
func (r *run) library(fs map[string]lua.LGFunction) *lua.LTable {
	t := r.l.NewTable()
	for name, f := range fs {
		t.RawSetString(name, r.l.NewFunction(r.safely(f)))
	}
	return t
}

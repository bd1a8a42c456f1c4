// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// strings is the library of that name. What it builds is metered.
func (r *run) strings() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"len": func(l *lua.LState) int {
			l.Push(lua.LNumber(len(r.str(l, 1))))
			return 1
		},
		"sub": func(l *lua.LState) int {
			s := r.str(l, 1)
			from, to := span(len(s), l.CheckInt(2), l.OptInt(3, -1))
			l.Push(lua.LString(s[from:to]))
			return 1
		},
		"upper":   func(l *lua.LState) int { return r.mapped(l, 'a', 'z') },
		"lower":   func(l *lua.LState) int { return r.mapped(l, 'A', 'Z') },
		"reverse": r.reverse,
		"rep":     r.rep,
		"byte":    r.byte,
		"char":    r.char,
		"format":  r.format,
		"find":    func(l *lua.LState) int { return r.find(l, true) },
		"match":   func(l *lua.LState) int { return r.find(l, false) },
		"gmatch":  r.gmatch,
		"gfind":   r.gmatch,
		"gsub":    r.gsub,
		"dump": func(l *lua.LState) int {
			r.raise(l, "unable to dump given function")
			return 0
		},
	}
}

// str is a string argument; a number is one as well.
func (r *run) str(l *lua.LState, n int) string {
	switch v := l.Get(n).(type) {
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return r.text(v)
	}
	return l.CheckString(n) // which refuses
}

// span makes a half-open range of Lua's places.
func span(n, from, to int) (int, int) {
	if from < 0 {
		from = max(n+from+1, 1)
	}
	if to < 0 {
		to = n + to + 1
	}
	from, to = max(from, 1), min(to, n)
	if from > to {
		return 0, 0
	}
	return from - 1, to
}

// mapped turns letters of one case into the other.
func (r *run) mapped(l *lua.LState, from, to byte) int {
	s := r.str(l, 1)
	r.room(l, len(s))
	b := []byte(s)
	for i, c := range b {
		if from <= c && c <= to {
			b[i] = c ^ 0x20
		}
	}
	l.Push(lua.LString(b))
	return 1
}

func (r *run) reverse(l *lua.LState) int {
	s := r.str(l, 1)
	r.room(l, len(s))
	b := make([]byte, len(s))
	for i := range len(s) {
		b[len(s)-1-i] = s[i]
	}
	l.Push(lua.LString(b))
	return 1
}

func (r *run) rep(l *lua.LState) int {
	s, n := r.str(l, 1), l.CheckInt(2)
	if n <= 0 || s == "" {
		l.Push(lua.LString(""))
		return 1
	}
	if n > maxString/len(s) {
		r.tooBig(l)
	}
	r.room(l, n*len(s))
	l.Push(lua.LString(strings.Repeat(s, n)))
	return 1
}

func (r *run) byte(l *lua.LState) int {
	s := r.str(l, 1)
	first := l.OptInt(2, 1)
	from, to := span(len(s), first, l.OptInt(3, first))
	if to-from > maxUnpack {
		r.raise(l, "string slice too long")
	}
	r.work(l, 16*(to-from))
	for i := from; i < to; i++ {
		l.Push(lua.LNumber(s[i]))
	}
	return to - from
}

func (r *run) char(l *lua.LState) int {
	n := l.GetTop()
	r.spend(l, 16*n)
	b := make([]byte, n)
	for i := range b {
		c := l.CheckInt(i + 1)
		if c < 0 || c > 255 {
			l.ArgError(i+1, "invalid value")
		}
		b[i] = byte(c)
	}
	l.Push(lua.LString(b))
	return 1
}

// search runs a matcher and raises its errors.
func (r *run) search(l *lua.LState, m *matcher, from int) (start, end int) {
	m.meter, m.steps, m.due = r.meter, 0, matchesEvery
	start, end, err := m.find(from)
	if r.work(l, 64*m.steps); err != nil {
		r.raise(l, "%s", err)
	}
	return start, end
}

// find is string.find, and string.match without places.
func (r *run) find(l *lua.LState, places bool) int {
	s, p := r.str(l, 1), r.str(l, 2)
	from := l.OptInt(3, 1)
	switch {
	case from < 0:
		from = max(len(s)+from, 0)
	case from > 0:
		from--
	}
	if from > len(s) {
		from = len(s) // as Lua 5.1
	}
	if places && (l.ToBool(4) || !strings.ContainsAny(p, "^$*+?.([%-")) {
		r.work(l, len(s)-from+len(p))
		i := strings.Index(s[from:], p)
		if i < 0 {
			l.Push(lua.LNil)
			return 1
		}
		l.Push(lua.LNumber(from + i + 1))
		l.Push(lua.LNumber(from + i + len(p)))
		return 2
	}
	m := &matcher{src: s, pat: p}
	start, end := r.search(l, m, from)
	if end < 0 {
		l.Push(lua.LNil)
		return 1
	}
	if !places {
		return r.captures(l, m, start, end, true)
	}
	l.Push(lua.LNumber(start + 1))
	l.Push(lua.LNumber(end))
	return 2 + r.captures(l, m, start, end, false)
}

// captured is the i-th capture of a match; the whole of it when there are none.
func (r *run) captured(l *lua.LState, m *matcher, i, start, end int) lua.LValue {
	if i >= m.level {
		if i != 0 {
			r.raise(l, "invalid capture index")
		}
		return lua.LString(m.src[start:end])
	}
	c := m.captures[i]
	switch c.size {
	case capturePosition:
		return lua.LNumber(c.at + 1)
	case captureOpen:
		r.raise(l, "unfinished capture")
	}
	return lua.LString(m.src[c.at : c.at+c.size])
}

// captures pushes all captures; whole: the match itself when there are none.
func (r *run) captures(l *lua.LState, m *matcher, start, end int, whole bool) int {
	n := m.level
	if n == 0 && whole {
		n = 1
	}
	r.spend(l, 32*n)
	for i := range n {
		l.Push(r.captured(l, m, i, start, end))
	}
	return n
}

func (r *run) gmatch(l *lua.LState) int {
	s, p := r.str(l, 1), r.str(l, 2)
	m := &matcher{src: s, pat: p}
	if len(p) > 0 && p[0] == '^' { // no anchor here
		r.spend(l, len(p))
		m.pat = "%" + p
	}
	at := 0
	l.Push(l.NewFunction(func(l *lua.LState) int {
		if at > len(m.src) {
			return 0
		}
		start, end := r.search(l, m, at)
		if end < 0 {
			at = len(m.src) + 1
			return 0
		}
		if at = end; end == start {
			at++
		}
		return r.captures(l, m, start, end, true)
	}))
	return 1
}

func (r *run) gsub(l *lua.LState) int {
	s, p := r.str(l, 1), r.str(l, 2)
	with := l.Get(3)
	switch with.(type) {
	case lua.LString, lua.LNumber, *lua.LTable, *lua.LFunction:
	default:
		l.ArgError(3, "string/function/table expected")
	}
	most := l.OptInt(4, len(s)+1)
	anchored := strings.HasPrefix(p, "^")
	m := &matcher{src: s, pat: p}
	if !anchored {
		m.pat = "^" + p // tried at each place
	}
	r.spend(l, len(s)+len(p))
	var out bytes.Buffer
	at, n := 0, 0
	for n < most {
		start, end := r.search(l, m, at)
		if end >= 0 {
			n++
			before := out.Len()
			r.substitute(l, &out, m, with, start, end)
			r.meter.large(out.Len())
			r.spend(l, max(0, out.Len()-before))
			if out.Len() > maxString {
				r.tooBig(l)
			}
		}
		switch {
		case end > at:
			at = end
		case at < len(s):
			out.WriteByte(s[at])
			at++
		default:
			at++
		}
		if at > len(s) || anchored {
			break
		}
	}
	if at < len(s) {
		out.WriteString(s[at:])
	}
	l.Push(lua.LString(out.String()))
	l.Push(lua.LNumber(n))
	return 2
}

// substitute appends what stands for a match.
func (r *run) substitute(l *lua.LState, out *bytes.Buffer, m *matcher, with lua.LValue, start, end int) {
	var v lua.LValue
	switch w := with.(type) {
	case *lua.LTable:
		v = l.GetTable(w, r.captured(l, m, 0, start, end))
	case *lua.LFunction:
		l.Push(w)
		n := r.captures(l, m, start, end, true)
		level, caps := m.level, m.captures
		l.Call(n, 1)
		m.level, m.captures = level, caps
		v = l.Get(-1)
		l.Pop(1)
	default:
		r.template(l, out, m, r.text(with), start, end)
		return
	}
	switch v.(type) {
	case lua.LString, lua.LNumber:
		out.WriteString(r.text(v))
	default:
		if lua.LVAsBool(v) {
			r.raise(l, "invalid replacement value (a %s)", v.Type())
		}
		out.WriteString(m.src[start:end])
	}
}

// template appends a text with %0 to %9 in it.
func (r *run) template(l *lua.LState, out *bytes.Buffer, m *matcher, text string, start, end int) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '%' || i+1 == len(text) {
			out.WriteByte(c)
			continue
		}
		i++
		switch c = text[i]; {
		case c == '0':
			out.WriteString(m.src[start:end])
		case '1' <= c && c <= '9':
			out.WriteString(r.text(r.captured(l, m, int(c-'1'), start, end)))
		default:
			out.WriteByte(c)
		}
		if out.Len() > maxString {
			r.tooBig(l)
		}
	}
}

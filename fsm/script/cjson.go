// SPDX-License-Identifier: Apache-2.0

package script

import (
	"math"
	"strconv"

	lua "github.com/yuin/gopher-lua"
)

// The defaults of the library cjson as Redis builds it.
const (
	jsonDepth = 1000
	// jsonSparse and jsonSafe: a table is no array when its highest index is above jsonSafe and more than jsonSparse
	// times the number of its elements.
	jsonSparse, jsonSafe = 2, 10
	jsonDigits           = 14
)

// cjson is the library of that name.
func (r *run) cjson() *lua.LTable {
	t := r.library(map[string]lua.LGFunction{
		"encode": func(l *lua.LState) int {
			if l.GetTop() != 1 {
				l.ArgError(1, "expected 1 argument")
			}
			e := jsonWriter{r: r, l: l}
			e.value(l.Get(1), 0)
			l.Push(lua.LString(e.buf))
			return 1
		},
		"decode": func(l *lua.LState) int {
			if l.GetTop() != 1 {
				l.ArgError(1, "expected 1 argument")
			}
			d := jsonReader{r: r, l: l, src: r.str(l, 1)}
			l.Push(d.document())
			return 1
		},
	})
	for _, name := range []string{
		"encode_sparse_array", "encode_max_depth", "decode_max_depth", "encode_number_precision", "encode_keep_buffer",
		"encode_invalid_numbers", "decode_invalid_numbers",
	} {
		t.RawSetString(name, r.l.NewFunction(func(*lua.LState) int { return 0 }))
	}
	t.RawSetString("null", r.null)
	t.RawSetString("_NAME", lua.LString("cjson"))
	t.RawSetString("_VERSION", lua.LString("2.1.0"))
	return t
}

// jsonWriter makes a document. Every byte is asked for before it is there.
type jsonWriter struct {
	r   *run
	l   *lua.LState
	buf []byte
}

func (e *jsonWriter) fail(v lua.LValue, why string) {
	e.r.raise(e.l, "Cannot serialise %s: %s", v.Type(), why)
}

func (e *jsonWriter) room(n int) {
	if len(e.buf)+n > maxString {
		e.r.tooBig(e.l)
	}
	e.r.meter.large(len(e.buf) + n)
	e.r.spend(e.l, n)
}

func (e *jsonWriter) value(v lua.LValue, depth int) {
	e.room(32)
	switch v := v.(type) {
	case lua.LString:
		e.text(string(v))
	case lua.LNumber:
		e.number(v)
	case lua.LBool:
		e.buf = strconv.AppendBool(e.buf, bool(v))
	case *lua.LNilType:
		e.buf = append(e.buf, "null"...)
	case *lua.LUserData:
		if v != e.r.null {
			e.fail(v, "type not supported")
		}
		e.buf = append(e.buf, "null"...)
	case *lua.LTable:
		e.table(e.r.behind(v), depth+1)
	default:
		e.fail(v, "type not supported")
	}
}

func (e *jsonWriter) number(n lua.LNumber) {
	if f := float64(n); math.IsInf(f, 0) || math.IsNaN(f) {
		e.fail(n, "must not be NaN or Inf")
	}
	e.buf = appendNumber(e.buf, float64(n), jsonDigits)
}

const hexDigits = "0123456789abcdef"

func (e *jsonWriter) text(s string) {
	n := len(s) + 2
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c == 127:
			n += 5
		case c == '"' || c == '\\' || c == '/':
			n++
		}
	}
	e.room(n)
	e.buf = append(e.buf, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\' || c == '/':
			e.buf = append(e.buf, '\\', c)
		case c == '\b':
			e.buf = append(e.buf, `\b`...)
		case c == '\t':
			e.buf = append(e.buf, `\t`...)
		case c == '\n':
			e.buf = append(e.buf, `\n`...)
		case c == '\f':
			e.buf = append(e.buf, `\f`...)
		case c == '\r':
			e.buf = append(e.buf, `\r`...)
		case c < ' ' || c == 127:
			e.buf = append(e.buf, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			e.buf = append(e.buf, c)
		}
	}
	e.buf = append(e.buf, '"')
}

// array tells the highest index of a table that is an array, 0 for one that is not, or is empty.
func (e *jsonWriter) array(t *lua.LTable) int {
	highest, items, ok := 0.0, 0, true
	t.ForEach(func(k, _ lua.LValue) {
		n, number := k.(lua.LNumber)
		if !number || n <= 0 || float64(n) != math.Floor(float64(n)) {
			ok = false
			return
		}
		highest = max(highest, float64(n))
		items++
	})
	switch {
	case !ok || items == 0:
		return 0
	case highest > jsonSafe && highest > float64(items)*jsonSparse:
		e.r.raise(e.l, "Cannot serialise table: excessively sparse array")
	}
	return int(highest)
}

func (e *jsonWriter) table(t *lua.LTable, depth int) {
	if depth > jsonDepth {
		e.r.raise(e.l, "Cannot serialise, excessive nesting (%d)", depth)
	}
	if n := e.array(t); n > 0 {
		e.buf = append(e.buf, '[')
		for i := 1; i <= n; i++ {
			if i > 1 {
				e.buf = append(e.buf, ',')
			}
			e.value(t.RawGet(lua.LNumber(i)), depth)
		}
		e.buf = append(e.buf, ']')
		return
	}
	e.buf = append(e.buf, '{')
	first := true
	t.ForEach(func(k, v lua.LValue) {
		if !first {
			e.buf = append(e.buf, ',')
		}
		first = false
		switch k := k.(type) {
		case lua.LString:
			e.text(string(k))
		case lua.LNumber:
			e.buf = append(e.buf, '"')
			e.number(k)
			e.buf = append(e.buf, '"')
		default:
			e.fail(k, "table key must be a number or string")
		}
		e.buf = append(e.buf, ':')
		e.value(v, depth)
	})
	e.buf = append(e.buf, '}')
}

// SPDX-License-Identifier: Apache-2.0

package script

import (
	"math"
	"strconv"

	lua "github.com/yuin/gopher-lua"

	"github.com/kvorum/kvorum/fsm"
)

// appendNumber words a number as C's %.<digits>g does.
func appendNumber(dst []byte, f float64, digits int) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	case math.IsNaN(f) && math.Signbit(f):
		return append(dst, "-nan"...)
	case math.IsNaN(f):
		return append(dst, "nan"...)
	}
	return strconv.AppendFloat(dst, f, 'g', digits, 64)
}

// text words a value as tostring does, numbers as Lua 5.1.
func (r *run) text(v lua.LValue) string {
	if n, ok := v.(lua.LNumber); ok {
		return string(appendNumber(nil, float64(n), 14))
	}
	return v.String()
}

// integer cuts a number off as C does on the processors that Redis runs on.
func integer(f float64) int64 {
	if f >= -math.MaxInt64-1 && f < math.MaxInt64 {
		return int64(f)
	}
	return math.MinInt64
}

// answer words what a script returns.
func (r *run) answer(v lua.LValue) fsm.Result {
	a := answerer{r: r}
	res := a.reply(v, 0)
	if a.size > fsm.MaxReply {
		return fsm.Error(fsm.CodeTooBig, fsm.TextReplyTooBig)
	}
	return res
}

// answerer words replies; size is that of all so far.
type answerer struct {
	r    *run
	size int64
}

// room is asked before a reply gets a part of n bytes more; false at the end of all parts.
func (a *answerer) room(n int) bool {
	a.size += fsm.ReplyOverhead + int64(n)
	a.r.meter.charge(fsm.ReplyOverhead + n)
	return a.size <= fsm.MaxReply && a.r.meter.end == nil
}

// bytes are those of a string, none when there is no room for them.
func (a *answerer) bytes(s lua.LString) []byte {
	if !a.room(len(s)) {
		return nil
	}
	return []byte(s)
}

func (a *answerer) reply(v lua.LValue, depth int) fsm.Result {
	r := a.r
	if !a.room(0) {
		return fsm.Null()
	}
	if depth > maxReplyDepth {
		return fsm.Error(fsm.CodeError, "ERR reached lua stack limit")
	}
	switch v := v.(type) {
	case lua.LString:
		return fsm.Bulk(a.bytes(v))
	case lua.LNumber:
		return fsm.Int(integer(float64(v)))
	case lua.LBool:
		switch {
		case r.resp == 3 && bool(v):
			return fsm.Result{Kind: fsm.KindBool, Int: 1}
		case r.resp == 3:
			return fsm.Result{Kind: fsm.KindBool}
		case bool(v):
			return fsm.Int(1)
		}
	case *lua.LTable:
		return a.tableReply(r.behind(v), depth)
	}
	return fsm.Null()
}

// line makes one line of a text.
func (a *answerer) line(s lua.LString) []byte {
	b := a.bytes(s)
	for i, c := range b {
		if c == '\r' || c == '\n' {
			b[i] = ' '
		}
	}
	return b
}

func (a *answerer) tableReply(t *lua.LTable, depth int) fsm.Result {
	if s, ok := t.RawGetString("err").(lua.LString); ok {
		return fsm.Result{Kind: fsm.KindError, Code: fsm.CodeError, Str: a.line(s)}
	}
	if s, ok := t.RawGetString("ok").(lua.LString); ok {
		return fsm.Result{Kind: fsm.KindStatus, Str: a.line(s)}
	}
	if n, ok := t.RawGetString("double").(lua.LNumber); ok {
		return fsm.Result{Kind: fsm.KindDouble, Dbl: float64(n)}
	}
	if m, ok := t.RawGetString("map").(*lua.LTable); ok {
		res := fsm.Map([]fsm.Result{})
		m.ForEach(func(k, v lua.LValue) {
			if a.room(0) {
				res.Elems = append(res.Elems, a.reply(k, depth+1), a.reply(v, depth+1))
			}
		})
		return res
	}
	if m, ok := t.RawGetString("set").(*lua.LTable); ok {
		res := fsm.Result{Kind: fsm.KindSet, Elems: []fsm.Result{}}
		m.ForEach(func(k, _ lua.LValue) {
			if a.room(0) {
				res.Elems = append(res.Elems, a.reply(k, depth+1))
			}
		})
		return res
	}
	if s, ok := t.RawGetString("big_number").(lua.LString); ok {
		return fsm.Result{Kind: fsm.KindBigNumber, Str: a.line(s)}
	}
	if m, ok := t.RawGetString("verbatim_string").(*lua.LTable); ok {
		s, ok1 := m.RawGetString("string").(lua.LString)
		format, ok2 := m.RawGetString("format").(lua.LString)
		if ok1 && ok2 {
			return fsm.Result{Kind: fsm.KindVerbatim, Str: append([]byte((string(format[:min(len(format), 3)]) + "   ")[:3]+":"), a.bytes(s)...)}
		}
	}
	res := fsm.Array([]fsm.Result{})
	for i := 1; ; i++ {
		v := t.RawGet(lua.LNumber(i))
		if v == lua.LNil {
			return res
		}
		if !a.room(0) {
			return res
		}
		res.Elems = append(res.Elems, a.reply(v, depth+1))
	}
}

// value makes a value of what a command answered.
func (r *run) value(l *lua.LState, res *fsm.Result) lua.LValue {
	three := r.resp == 3
	switch res.Kind {
	case fsm.KindInt:
		return lua.LNumber(res.Int)
	case fsm.KindBulk:
		return lua.LString(res.Str)
	case fsm.KindStatus:
		return r.field(l, "ok", lua.LString(res.Str))
	case fsm.KindError:
		t := r.field(l, "err", lua.LString(res.Str))
		t.RawSetString("ignore_error_stats_update", lua.LTrue)
		return t
	case fsm.KindDouble:
		if three {
			return r.field(l, "double", lua.LNumber(res.Dbl))
		}
		return lua.LString(appendNumber(nil, res.Dbl, 17))
	case fsm.KindBool:
		if three {
			return lua.LBool(res.Int != 0)
		}
		return lua.LNumber(res.Int)
	case fsm.KindBigNumber:
		if three {
			return r.field(l, "big_number", lua.LString(res.Str))
		}
		return lua.LString(res.Str)
	case fsm.KindVerbatim:
		head := min(len(res.Str), len("txt:"))
		if three {
			t := r.field(l, "string", lua.LString(res.Str[head:]))
			t.RawSetString("format", lua.LString(res.Str[:min(head, 3)]))
			return r.field(l, "verbatim_string", t)
		}
		return lua.LString(res.Str[head:])
	case fsm.KindMap, fsm.KindSet, fsm.KindArray, fsm.KindPush:
		return r.list(l, res)
	}
	if three {
		return lua.LNil
	}
	return lua.LFalse
}

func (r *run) field(l *lua.LState, name string, v lua.LValue) *lua.LTable {
	t := l.NewTable()
	t.RawSetString(name, v)
	return t
}

func (r *run) list(l *lua.LState, res *fsm.Result) lua.LValue {
	if len(res.Elems) >= maxArray {
		r.raise(l, "the reply has more than %d elements", maxArray-1)
	}
	switch {
	case r.resp == 3 && res.Kind == fsm.KindMap:
		t := l.NewTable()
		for i := 0; i+1 < len(res.Elems); i += 2 {
			key := r.value(l, &res.Elems[i])
			r.checkKey(l, t, key)
			t.RawSet(key, r.value(l, &res.Elems[i+1]))
		}
		return r.field(l, "map", t)
	case r.resp == 3 && res.Kind == fsm.KindSet:
		t := l.NewTable()
		for i := range res.Elems {
			key := r.value(l, &res.Elems[i])
			r.checkKey(l, t, key)
			t.RawSet(key, lua.LTrue)
		}
		return r.field(l, "set", t)
	}
	t := l.CreateTable(len(res.Elems), 0)
	for i := range res.Elems {
		t.RawSetInt(i+1, r.value(l, &res.Elems[i]))
	}
	return t
}

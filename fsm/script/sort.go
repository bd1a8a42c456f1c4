// SPDX-License-Identifier: Apache-2.0

package script

import (
	"sort"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// sorter sorts the values of a table, by less or, without it, as the operator < does.
type sorter struct {
	r      *run
	l      *lua.LState
	less   *lua.LFunction
	values []lua.LValue
}

// sort is table.sort. A script that ends meanwhile leaves the table as it was.
func (r *run) sort(l *lua.LState) int {
	t := l.CheckTable(1)
	r.writable(l, t)
	s := &sorter{r: r, l: l}
	if l.Get(2) != lua.LNil {
		s.less = l.CheckFunction(2)
	}
	n := t.Len()
	r.spend(l, 16*n)
	s.values = make([]lua.LValue, n)
	for i := range s.values {
		s.values[i] = t.RawGetInt(i + 1)
	}
	sort.Sort(s)
	for i, v := range s.values {
		t.RawSetInt(i+1, v)
	}
	return 0
}

// Len implements sort.Interface.
func (s *sorter) Len() int { return len(s.values) }

// Swap implements sort.Interface.
func (s *sorter) Swap(i, j int) { s.values[i], s.values[j] = s.values[j], s.values[i] }

// Less implements sort.Interface.
func (s *sorter) Less(i, j int) bool {
	a, b := s.values[i], s.values[j]
	if s.less != nil {
		s.r.work(s.l, stepBytes)
		s.l.Push(s.less)
		s.l.Push(a)
		s.l.Push(b)
		s.l.Call(2, 1)
		v := s.l.Get(-1)
		s.l.Pop(1)
		return lua.LVAsBool(v)
	}
	left, ok1 := a.(lua.LString)
	right, ok2 := b.(lua.LString)
	if ok1 && ok2 {
		s.r.work(s.l, min(len(left), len(right)))
		return strings.Compare(string(left), string(right)) < 0
	}
	s.r.work(s.l, 0)
	return s.l.LessThan(a, b)
}

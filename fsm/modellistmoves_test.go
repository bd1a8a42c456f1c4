// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"
	"slices"
	"strings"
)

func modelListMoves() map[string]modelCommand {
	write, grows := true, true
	return map[string]modelCommand{
		"LPUSHX":    {arity: -3, write: write, grows: grows, run: (*model).pushx},
		"RPUSHX":    {arity: -3, write: write, grows: grows, run: (*model).pushx},
		"LINSERT":   {arity: 5, write: write, grows: grows, static: staticLInsert, run: (*model).linsert},
		"LPOS":      {arity: -3, static: staticLPos, run: (*model).lpos},
		"LMOVE":     {arity: 5, write: write, grows: grows, static: staticLMove, run: (*model).lmove},
		"RPOPLPUSH": {arity: 3, write: write, grows: grows, run: (*model).lmove},
		"LMPOP":     {arity: -4, write: write, static: staticMPop("LEFT", "RIGHT"), run: (*model).lmpop},
	}
}

func (m *model) pushx(words []string) Result {
	if k := m.take(words[1]); k == nil {
		return Int(0)
	}
	return m.push(append([]string{words[0][:5]}, words[1:]...))
}

func staticLInsert(args []string) *Result {
	if where := strings.ToUpper(args[1]); where != "BEFORE" && where != "AFTER" {
		return syntaxError()
	}
	return nil
}

func (m *model) linsert(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("list"); bad != nil || k == nil {
		return orZero(bad)
	}
	at := slices.Index(k.list, words[3])
	if at < 0 {
		return Int(-1)
	}
	if strings.EqualFold(words[2], "AFTER") {
		at++
	}
	k.list = slices.Insert(k.list, at, words[4])
	m.changed(words[1], k)
	return Int(int64(len(k.list)))
}

func staticLPos(args []string) *Result {
	_, bad := lposWords(args[2:])
	return bad
}

// lposWords gives the numbers behind RANK, COUNT and MAXLEN; COUNT only when it is there.
func lposWords(words []string) (map[string]int64, *Result) {
	o := map[string]int64{"RANK": 1}
	for ; len(words) > 0; words = words[2:] {
		option := strings.ToUpper(words[0])
		if len(words) == 1 || option != "RANK" && option != "COUNT" && option != "MAXLEN" {
			return nil, syntaxError()
		}
		n, ok := integer(words[1])
		switch {
		case option != "RANK" && (!ok || n < 0):
			return nil, oops(CodeError, "ERR "+option+" can't be negative")
		case !ok:
			return nil, notInteger()
		case option == "RANK" && n == math.MinInt64:
			return nil, oops(CodeError, "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807")
		case option == "RANK" && n == 0:
			return nil, oops(CodeError, "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list")
		}
		o[option] = n
	}
	return o, nil
}

func (m *model) lpos(words []string) Result {
	o, _ := lposWords(words[3:])
	list, bad := m.listOf(words[1])
	if bad != nil {
		return *bad
	}
	var order []int
	for i := range list {
		order = append(order, i)
	}
	if o["RANK"] < 0 {
		slices.Reverse(order)
		o["RANK"] = -o["RANK"]
	}
	if most := o["MAXLEN"]; most > 0 {
		order = order[:min(int64(len(order)), most)]
	}
	order = slices.DeleteFunc(order, func(i int) bool { return list[i] != words[2] })
	order = order[min(int64(len(order)), o["RANK"]-1):]
	count, many := o["COUNT"]
	switch {
	case !many && len(order) == 0:
		return Null()
	case !many:
		return Int(int64(order[0]))
	case count > 0:
		order = order[:min(int64(len(order)), count)]
	}
	elems := []Result{}
	for _, i := range order {
		elems = append(elems, Int(int64(i)))
	}
	return Array(elems)
}

func staticLMove(args []string) *Result {
	for _, w := range args[2:] {
		if w = strings.ToUpper(w); w != "LEFT" && w != "RIGHT" {
			return syntaxError()
		}
	}
	return nil
}

func (m *model) lmove(words []string) Result {
	from, to := m.take(words[1]), m.take(words[2])
	if from == nil {
		return Null()
	}
	if bad := from.typed("list"); bad != nil {
		return *bad
	}
	if bad := to.typed("list"); bad != nil {
		return *bad
	}
	pop, push := "RIGHT", "LEFT"
	if len(words) == 5 {
		pop, push = strings.ToUpper(words[3]), strings.ToUpper(words[4])
	}
	at := 0
	if pop == "RIGHT" {
		at = len(from.list) - 1
	}
	moved := from.list[at]
	from.list = slices.Delete(from.list, at, at+1)
	if from != to {
		m.changed(words[1], from)
	}
	if to == nil {
		to = m.make(words[2], "list")
	}
	at = 0
	if push == "RIGHT" {
		at = len(to.list)
	}
	to.list = slices.Insert(to.list, at, moved)
	m.changed(words[2], to)
	return bulk(moved)
}

func (m *model) lmpop(words []string) Result {
	return m.popFirst(words, "list", func(name string, k *modelKey, count int64, end string) Result {
		out := slices.Clone(k.list)
		taken := min(count, int64(len(out)))
		if end == "LEFT" {
			k.list = slices.Clone(k.list[taken:])
		} else {
			k.list = k.list[:int64(len(out))-taken]
			slices.Reverse(out)
		}
		m.changed(name, k)
		return bulks(out[:taken])
	})
}

// popFirst is LMPOP and ZMPOP: pop takes from an end of the first key that is there.
func (m *model) popFirst(words []string, kind string, pop func(name string, k *modelKey, count int64, end string) Result) Result {
	n, _ := integer(words[1])
	count := int64(1)
	if len(words) > int(n)+3 {
		count, _ = integer(words[len(words)-1])
	}
	for _, name := range words[2 : 2+n] {
		k := m.take(name)
		if bad := k.typed(kind); bad != nil {
			return *bad
		}
		if k != nil {
			return Array([]Result{bulk(name), pop(name, k, count, strings.ToUpper(words[2+n]))})
		}
	}
	return Null()
}

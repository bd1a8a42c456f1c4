// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"
	"strconv"
	"strings"
)

func modelBlocking() map[string]modelCommand {
	write, grows := true, true
	rows := map[string]modelCommand{
		"BLMOVE":     {arity: 6, write: write, grows: grows, static: staticBLMove, run: func(m *model, w []string) Result { return m.lmove(w[:5]) }},
		"BRPOPLPUSH": {arity: 4, write: write, grows: grows, static: staticTimeout, run: func(m *model, w []string) Result { return m.lmove(w[:3]) }},
		"BLMPOP":     {arity: -5, write: write, static: staticBMPop("LEFT", "RIGHT"), run: func(m *model, w []string) Result { return m.lmpop(w[1:]) }},
		"BZMPOP":     {arity: -5, write: write, static: staticBMPop("MIN", "MAX"), run: func(m *model, w []string) Result { return m.zmpop(w[1:]) }},
	}
	for name, end := range map[string]string{"BLPOP": "LEFT", "BRPOP": "RIGHT", "BZPOPMIN": "MIN", "BZPOPMAX": "MAX"} {
		rows[name] = modelCommand{arity: -3, write: write, static: staticTimeout, run: func(m *model, w []string) Result { return m.popOne(w, end) }}
	}
	return rows
}

// popOne is LMPOP or ZMPOP of one element, with a flat reply.
func (m *model) popOne(words []string, end string) Result {
	keys := words[1 : len(words)-1]
	words = append(append([]string{"", strconv.Itoa(len(keys))}, keys...), end)
	run := m.lmpop
	if end[0] == 'M' {
		run = m.zmpop
	}
	res := run(words)
	if res.Kind != KindArray {
		return res
	}
	first := res.Elems[1].Elems[0]
	if end[0] == 'M' {
		return Array([]Result{res.Elems[0], first.Elems[0], first.Elems[1]})
	}
	return Array([]Result{res.Elems[0], first})
}

// badTimeout judges a timeout; the tests' own are never so large that digits get lost.
func badTimeout(word string) *Result {
	seconds, err := strconv.ParseFloat(word, 64)
	switch {
	case strings.Contains(word, "_"), err != nil && !math.IsInf(seconds, 0), math.IsNaN(seconds):
		return oops(CodeError, "ERR timeout is not a float or out of range")
	case math.Ceil(seconds*1000) < 0, seconds*1000 >= math.MaxInt64: // the latter wraps around
		return oops(CodeError, "ERR timeout is negative")
	}
	return nil
}

func staticTimeout(args []string) *Result { return badTimeout(args[len(args)-1]) }

func staticBLMove(args []string) *Result {
	if bad := staticLMove(args[:4]); bad != nil {
		return bad
	}
	return badTimeout(args[4])
}

func staticBMPop(first, last string) func([]string) *Result {
	rest := staticMPop(first, last)
	return func(args []string) *Result {
		if bad := rest(args[1:]); bad != nil {
			return bad
		}
		return badTimeout(args[0])
	}
}

// timeout draws seconds: never so few, nor so many, that a server would wait for long.
func (g *source) timeout() string {
	if g.chance(8) {
		return g.pick("-1", "-0.5", "x", "", "nan", "inf", "-inf", "1e300", "9223372036854775807", "1e16", "1e", " 1", "0x", "-1e300")
	}
	return g.pick("0.001", "0.0005", "1e-3", "0x.01p-2", "+0.001", ".001")
}

// blockingCommand draws a command that waits, if only for a moment.
func (g *source) blockingCommand() []string {
	list := func() string { return g.keyOf(listKeys) }
	zset := func() string { return g.keyOf(zsetKeys) }
	popped := func(name string, key func() string, ends ...string) []string {
		words := append(g.numbered([]string{name, g.timeout()}, key), g.pick(ends...))
		for g.chance(3) {
			words = append(words, g.pick("COUNT", "count", "bogus"), g.popCount())
		}
		return words
	}
	end := func() string { return g.pick("LEFT", "RIGHT", "left", "RIGHT", "LEFT", "MID") }
	switch g.IntN(7) {
	case 0, 1:
		return append(g.several([]string{g.pick("BLPOP", "BRPOP")}, func() []string { return []string{list()} }), g.timeout())
	case 2, 3:
		return append(g.several([]string{g.pick("BZPOPMIN", "BZPOPMAX")}, func() []string { return []string{zset()} }), g.timeout())
	case 4:
		return popped("BLMPOP", list, "LEFT", "RIGHT", "right", "MIN")
	case 5:
		return popped("BZMPOP", zset, "MIN", "MAX", "max", "LEFT")
	}
	return g.pickWords([]string{"BLMOVE", list(), list(), end(), end(), g.timeout()}, []string{"BRPOPLPUSH", list(), list(), g.timeout()})
}

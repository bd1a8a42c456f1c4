// SPDX-License-Identifier: Apache-2.0

package script

import (
	"math"

	lua "github.com/yuin/gopher-lua"
)

// dice is the generator that Redis gives its scripts (the 48 bits of drand48), so that a script draws the same numbers in
// each run, and the same as there.
type dice struct {
	state  uint64
	seeded bool
}

// firstDice is where a generator begins that nobody seeded.
const firstDice = 0x1234abcd330e

func (d *dice) seed(n int32) { d.state, d.seeded = uint64(uint32(n))<<16|0x330e, true }

// next draws from [0, 2^31).
func (d *dice) next() int32 {
	if !d.seeded {
		d.state, d.seeded = firstDice, true
	}
	d.state = (d.state*0x5deece66d + 0xb) & (1<<48 - 1)
	return int32(d.state >> 17)
}

// math is the library of that name, with Redis' dice.
func (r *run) math() *lua.LTable {
	fs := make(map[string]lua.LGFunction)
	for name, f := range r.stock(lua.OpenMath) {
		fs[name] = f.GFunction
	}
	fs["random"] = r.random
	fs["randomseed"] = func(l *lua.LState) int {
		r.dice.seed(int32(integer(float64(l.CheckNumber(1)))))
		return 0
	}
	t := r.library(fs)
	t.RawSetString("pi", lua.LNumber(math.Pi))
	t.RawSetString("huge", lua.LNumber(math.Inf(1)))
	return t
}

func (r *run) random(l *lua.LState) int {
	const most = math.MaxInt32
	f := float64(r.dice.next()%most) / most
	switch l.GetTop() {
	case 0:
		l.Push(lua.LNumber(f))
	case 1:
		to := l.CheckInt(1)
		if to < 1 {
			l.ArgError(1, "interval is empty")
		}
		l.Push(lua.LNumber(math.Floor(f*float64(to)) + 1))
	case 2:
		from, to := l.CheckInt(1), l.CheckInt(2)
		if from > to {
			l.ArgError(2, "interval is empty")
		}
		l.Push(lua.LNumber(math.Floor(f*float64(to-from+1)) + float64(from)))
	default:
		r.raise(l, "wrong number of arguments")
	}
	return 1
}

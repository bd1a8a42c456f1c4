// SPDX-License-Identifier: Apache-2.0

package script

import (
	"math"
	"math/bits"

	lua "github.com/yuin/gopher-lua"
)

// bits is the library bit: operations on 32 bits, with signed results.
func (r *run) bits() map[string]lua.LGFunction {
	arg := func(l *lua.LState, n int) uint32 {
		return uint32(int64(math.RoundToEven(wrap(float64(l.CheckNumber(n))))))
	}
	push := func(l *lua.LState, v uint32) int {
		l.Push(lua.LNumber(int32(v)))
		return 1
	}
	fold := func(op func(a, b uint32) uint32) lua.LGFunction {
		return func(l *lua.LState) int {
			v := arg(l, 1)
			for i := 2; i <= l.GetTop(); i++ {
				v = op(v, arg(l, i))
			}
			return push(l, v)
		}
	}
	shift := func(op func(v uint32, n int) uint32) lua.LGFunction {
		return func(l *lua.LState) int { return push(l, op(arg(l, 1), int(arg(l, 2)&31))) }
	}
	return map[string]lua.LGFunction{
		"tobit":   fold(func(a, _ uint32) uint32 { return a }),
		"band":    fold(func(a, b uint32) uint32 { return a & b }),
		"bor":     fold(func(a, b uint32) uint32 { return a | b }),
		"bxor":    fold(func(a, b uint32) uint32 { return a ^ b }),
		"bnot":    func(l *lua.LState) int { return push(l, ^arg(l, 1)) },
		"bswap":   func(l *lua.LState) int { return push(l, bits.ReverseBytes32(arg(l, 1))) },
		"lshift":  shift(func(v uint32, n int) uint32 { return v << n }),
		"rshift":  shift(func(v uint32, n int) uint32 { return v >> n }),
		"arshift": shift(func(v uint32, n int) uint32 { return uint32(int32(v) >> n) }),
		"rol":     shift(bits.RotateLeft32),
		"ror":     shift(func(v uint32, n int) uint32 { return bits.RotateLeft32(v, -n) }),
		"tohex": func(l *lua.LState) int {
			v, n, digits := arg(l, 1), int32(8), hexDigits
			if l.GetTop() > 1 {
				n = int32(arg(l, 2))
			}
			if n < 0 {
				n, digits = -max(n, -8), "0123456789ABCDEF"
			}
			out := make([]byte, min(n, 8))
			for i := len(out) - 1; i >= 0; i-- {
				out[i] = digits[v&15]
				v >>= 4
			}
			l.Push(lua.LString(out))
			return 1
		},
	}
}

// wrap brings a number into the range of 64 bits as the library does, by its low bits.
func wrap(f float64) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	if math.Abs(f) < 1<<51 {
		return f
	}
	return math.Mod(f, 1<<32)
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"math/big"
	"strings"

	"github.com/kvorum/kvorum/store"
)

// INCRBYFLOAT and HINCRBYFLOAT reckon with the long doubles of Redis on x86: a mantissa of 64 bits, an exponent of
// 15. Whatever is not a result in this range is an error, and the fractions of the smallest never show, so that a
// big.Float, which has no bounds, does the same.
const (
	floatBits = 64
	// floatTop is the exponent, of a mantissa in [½, 1), from which on numbers are infinite.
	floatTop = 16384
	// floatBottom is the exponent of the largest number that rounds to 0.
	floatBottom = -16445
	// floatPlaces bounds the decimal exponents of numbers in range, which are from -4951 to 4932.
	floatPlaces = 5000
	// floatDecimals is how many digits behind the point a result has at most.
	floatDecimals = 17
	// maxFloatText bounds the length of a number, in bytes.
	maxFloatText = 5*1024 - 1
	// floatExponents bounds the decimal exponents that are looked at, beyond those of any number in range with as
	// many digits as maxFloatText allows.
	floatExponents = 32_768
)

// parseFloat reads what C's strtold reads as a whole, but space before it, NaN, and what is out of range.
func parseFloat(b []byte) (*big.Float, bool) {
	if len(b) == 0 || len(b) > maxFloatText {
		return nil, false
	}
	digits := b
	neg := b[0] == '-'
	if neg || b[0] == '+' {
		digits = b[1:]
	}
	if EqualFold(digits, "INF") || EqualFold(digits, "INFINITY") {
		return new(big.Float).SetInf(neg), true
	}
	base, letter := 10, byte('e')
	if len(digits) > 1 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		base, letter = 16, 'p'
		digits = digits[2:]
	}
	n, length, zero := mantissa(digits, base == 16)
	if n == 0 || length+exponentLength(digits[length:], letter) != len(digits) {
		return nil, false
	}
	if zero {
		return new(big.Float).SetPrec(floatBits), true
	}
	v := exactly(digits[:length], digits[length:], base)
	if v == nil {
		return nil, false
	}
	if neg {
		v.Neg(v)
	}
	return v, true
}

// exactly rounds a positive number, its exponent with the letter in front, if there is one; nil when it is out of
// range.
func exactly(digits, exponent []byte, base int) *big.Float {
	whole, fraction, _ := bytes.Cut(digits, []byte("."))
	m, _ := new(big.Int).SetString(string(whole)+string(fraction), base)
	e := smallExponent(exponent)
	if base == 10 {
		// The place of the first digit that counts, before numbers as long as the exponent are made.
		digits := len(bytes.TrimLeft(append(bytes.Clone(whole), fraction...), "0"))
		if first := digits - len(fraction) + e; first > floatPlaces || first < -floatPlaces {
			return nil
		}
	}
	v := new(big.Float).SetPrec(floatBits)
	var least *big.Float
	switch {
	case base == 16:
		exact := new(big.Float).SetInt(m)
		exact.SetMantExp(exact, e-4*len(fraction))
		v.Set(exact)
		least = exact
	case e >= len(fraction):
		exact := new(big.Float).SetInt(m.Mul(m, power10(e-len(fraction))))
		v.Set(exact)
		least = exact
	default:
		down := power10(len(fraction) - e)
		v.Quo(new(big.Float).SetInt(m), new(big.Float).SetInt(down))
		least = v
	}
	if v.MantExp(nil) > floatTop || tooSmall(least) {
		return nil
	}
	return v
}

// tooSmall tells whether a number rounds to 0.
func tooSmall(v *big.Float) bool {
	m := new(big.Float)
	e := v.MantExp(m)
	return e < floatBottom || e == floatBottom && m.Cmp(big.NewFloat(0.5)) == 0
}

func power10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// smallExponent reads an exponent with the letter in front; one that no number in range has stays such a one.
func smallExponent(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	neg := b[1] == '-'
	n := 0
	for _, c := range bytes.TrimLeft(b[1:], "+-") {
		n = min(n*10+int(c-'0'), floatExponents)
	}
	if neg {
		return -n
	}
	return n
}

// addFloats adds and words the sum as Redis does; false when there is none.
func addFloats(a, b *big.Float) ([]byte, bool) {
	if a.IsInf() || b.IsInf() {
		return nil, false
	}
	sum := new(big.Float).SetPrec(floatBits).Add(a, b)
	if sum.MantExp(nil) > floatTop {
		return nil, false
	}
	text := sum.Text('f', floatDecimals)
	text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	if text == "-0" {
		text = "0"
	}
	return []byte(text), true
}

// runIncrByFloat looks at the increment only when it knows the key's type, as Redis does.
func runIncrByFloat(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeString)
	if bad != nil {
		return *bad
	}
	m := store.Meta{ExpireAt: x.fresh()}
	n, ok := new(big.Float), true
	if found {
		m = ref.Meta()
		n, ok = parseFloat(ref.Bytes())
	}
	by, valid := parseFloat(args[1])
	if !ok || !valid {
		return Error(CodeError, TextNotFloat)
	}
	return x.keepSum(n, by, func(text []byte) {
		m.Version = x.ctx.NextVersion()
		x.k.st.SetString(x.slot, args[0], text, m)
	})
}

// keepSum answers with a sum, which keep stores if there is one.
func (x *execution) keepSum(a, b *big.Float, keep func(text []byte)) Result {
	text, ok := addFloats(a, b)
	if !ok {
		return Error(CodeError, TextFloatNaN)
	}
	res := x.bulk(text)
	if res.Kind == KindBulk {
		keep(text)
	}
	return res
}

func verifyHIncrByFloat(args [][]byte, _ *Limits) (Result, bool) {
	switch by, ok := parseFloat(args[2]); {
	case !ok:
		return fail(TextNotFloat)
	case by.IsInf():
		return fail(TextFloatInf)
	}
	return Result{}, true
}

func runHIncrByFloat(x *execution, args [][]byte) Result {
	by, _ := parseFloat(args[2])
	ref, found, bad := x.takeTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	n := new(big.Float)
	if found {
		if v, has := ref.Field(args[1]); has {
			var ok bool
			if n, ok = parseFloat(v); !ok {
				return Error(CodeError, TextHashNotFloat)
			}
		}
	}
	return x.keepSum(n, by, func(text []byte) {
		x.editHash(args[0], func(h *store.HashEdit) { h.Set(args[1], text) })
		x.settle(args[0], found)
	})
}

// longFloat tells whether a sum with the number may have more digits before the point than the number has bytes.
func longFloat(b []byte) bool {
	at := bytes.IndexAny(b, "eExXpPiI")
	return at >= 0 && (b[at]|0x20 != 'e' || at+1 == len(b) || b[at+1] != '-')
}

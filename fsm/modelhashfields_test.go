// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math/big"
	"strings"
	"testing"
)

func modelHashFields() map[string]modelCommand {
	write, grows := true, true
	return map[string]modelCommand{
		"HSETNX":       {arity: 4, write: write, grows: grows, run: (*model).hsetnx},
		"HSTRLEN":      {arity: 3, run: (*model).hstrlen},
		"HINCRBYFLOAT": {arity: 4, write: write, grows: grows, static: staticHIncrByFloat, run: (*model).hincrByFloat},
		"HRANDFIELD":   {arity: -2, static: staticDrawCount(3, "WITHVALUES"), run: (*model).hrandfield},
		"HSCAN":        {arity: -3, static: staticMemberScan, run: (*model).hscan},
		"HMSET":        {arity: -4, write: write, grows: grows, static: staticFields("hmset"), run: (*model).hmset},
	}
}

func (m *model) hsetnx(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("hash"); bad != nil {
		return *bad
	}
	if k != nil && k.field(words[2]) != nil {
		return Int(0)
	}
	return m.hset(words)
}

func (m *model) hmset(words []string) Result {
	if res := m.hset(words); res.IsError() {
		return res
	}
	return OK()
}

func (m *model) hstrlen(words []string) Result {
	res := m.hget(words)
	if res.IsError() {
		return res
	}
	return Int(int64(len(res.Str)))
}

// decimal reads a number that strtold reads, exactly; infinite ones are nil.
func decimal(s string) (v *big.Rat, ok bool) {
	low := strings.ToLower(s)
	if modelInf.MatchString(low) {
		return nil, len(s) <= 5119
	}
	if len(s) > 5119 || !modelDecimal.MatchString(low) && !modelHex.MatchString(low) {
		return nil, false
	}
	neg := strings.HasPrefix(low, "-")
	low = strings.TrimLeft(low, "+-")
	ten, per, letter := int64(10), int64(10), "e"
	if strings.HasPrefix(low, "0x") {
		low, ten, per, letter = low[2:], 16, 2, "p"
	}
	digits, exponent, _ := strings.Cut(low, letter)
	whole, fraction, _ := strings.Cut(digits, ".")
	n, _ := new(big.Int).SetString(whole+fraction, int(ten))
	if n.Sign() == 0 {
		return new(big.Rat), true
	}
	e, _ := new(big.Int).SetString("0"+strings.TrimLeft(exponent, "+-"), 10)
	if e.Cmp(big.NewInt(60_000)) > 0 {
		return nil, false
	}
	v = new(big.Rat).SetInt(n)
	scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(per), e, nil))
	if strings.HasPrefix(exponent, "-") {
		scale.Inv(scale)
	}
	v.Mul(v, scale)
	v.Quo(v, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(ten), big.NewInt(int64(len(fraction))), nil)))
	power := func(e uint) *big.Rat { return new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), e)) }
	if v.Cmp(new(big.Rat).Inv(power(16446))) <= 0 || longDouble(v).Cmp(power(16384)) >= 0 {
		return nil, false
	}
	if neg {
		v.Neg(v)
	}
	return v, true
}

// longDouble rounds to 64 bits, half to even.
func longDouble(v *big.Rat) *big.Rat {
	out, _ := new(big.Float).SetPrec(64).SetRat(v).Rat(nil)
	return out
}

// sumText words the sum of two long doubles; "" when it is infinite or no number.
func sumText(a, b *big.Rat) string {
	if a == nil || b == nil {
		return ""
	}
	c := longDouble(new(big.Rat).Add(longDouble(a), longDouble(b)))
	if new(big.Rat).Abs(c).Cmp(new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), 16384))) >= 0 {
		return ""
	}
	// FloatString rounds half away from 0; here half goes to even.
	scaled := new(big.Rat).Mul(c, new(big.Rat).SetInt64(100_000_000_000_000_000))
	twice := new(big.Int).Lsh(scaled.Num(), 1)
	q, rest := new(big.Int).DivMod(twice.Add(twice, scaled.Denom()), new(big.Int).Lsh(scaled.Denom(), 1), new(big.Int))
	if rest.Sign() == 0 && q.Bit(0) == 1 {
		q.Sub(q, big.NewInt(1))
	}
	text := new(big.Rat).SetFrac(q, big.NewInt(100_000_000_000_000_000)).FloatString(17)
	text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	if text == "-0" {
		return "0"
	}
	return text
}

func staticHIncrByFloat(args []string) *Result {
	switch by, ok := decimal(args[2]); {
	case !ok:
		return notFloat()
	case by == nil:
		return oops(CodeError, "ERR value is NaN or Infinity")
	}
	return nil
}

func (m *model) hincrByFloat(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("hash"); bad != nil {
		return *bad
	}
	n := new(big.Rat)
	if k != nil {
		if f := k.field(words[2]); f != nil {
			var ok bool
			if n, ok = decimal(f.value); !ok {
				return Error(CodeError, "ERR hash value is not a float")
			}
		}
	}
	by, _ := decimal(words[3])
	text := sumText(n, by)
	if text == "" {
		return Error(CodeError, "ERR increment would produce NaN or Infinity")
	}
	if k == nil {
		k = m.make(words[1], "hash")
	}
	k.setField(words[2], text)
	m.changed(words[1], k)
	return bulk(text)
}

// hrandfield looks at the values of the draw, and at its fields as SRANDMEMBER does.
func (m *model) hrandfield(words []string) Result {
	k, bad := m.hash(words[1])
	if bad != nil {
		return *bad
	}
	there := func(name string) bool { return k.field(name) != nil }
	if len(words) < 4 {
		return m.draw(words, len(k.fields), there)
	}
	return m.drawPairs(words, len(k.fields), there, func(name string, with Result) bool {
		f := k.field(name)
		return f != nil && with.Kind == KindBulk && string(with.Str) == f.value
	})
}

func (m *model) hscan(words []string) Result {
	return m.scanned(words, "hash", func(k *modelKey) map[string]string {
		all := map[string]string{}
		for _, f := range k.fields {
			all[f.name] = f.name + "=" + f.value
		}
		return all
	})
}

// TestSumsAgainstRedis adds numbers of all sizes, of which many lie near the ends of what a long double holds, or
// halfway between two of them.
func TestSumsAgainstRedis(t *testing.T) {
	redis, tm := startRedis(t), newOwner(t)
	g := &source{dice: seeded(11, 39)}
	digits := func(n int) string {
		var b strings.Builder
		for range 1 + g.IntN(n) {
			b.WriteByte(byte('0' + g.IntN(10)))
		}
		return b.String()
	}
	number := func() string {
		sign := g.pick("", "-", "+")
		switch g.IntN(5) {
		case 0:
			return g.float()
		case 1:
			return sign + digits(25) + "." + digits(25)
		case 2:
			return sign + digits(20) + "e" + g.pick("", "-") + digits(3)
		case 3:
			return sign + "0x" + digits(17) + "." + digits(4) + "p" + g.pick("-", "") + digits(2)
		}
		return sign + digits(3) + "." + digits(19)
	}
	for range 20_000 {
		a, b := number(), number()
		tm.do("SET", "s", a)
		redis.do(t, "SET", "s", a)
		if ours, theirs := tm.do("INCRBYFLOAT", "s", b), redis.do(t, "INCRBYFLOAT", "s", b); show(ours) != show(theirs) {
			t.Fatalf("%s + %s\n ours %s\nredis %s", a, b, show(ours), show(theirs))
		}
	}
}

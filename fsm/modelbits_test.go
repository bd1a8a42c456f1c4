// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
)

func modelBits() map[string]modelCommand {
	write, grows := true, true
	return map[string]modelCommand{
		"SUBSTR":      {arity: 4, static: integers(1, 2), run: (*model).getRange},
		"INCRBYFLOAT": {arity: 3, write: write, grows: grows, run: (*model).incrByFloat},
		"LCS":         {arity: -3, run: (*model).lcs},
		"SETBIT":      {arity: 4, write: write, grows: grows, static: staticSetBit, run: (*model).setBit},
		"GETBIT":      {arity: 3, static: staticGetBit, run: (*model).getBit},
		"BITCOUNT":    {arity: -2, run: (*model).bitCount},
		"BITPOS":      {arity: -3, static: staticBitPos, run: (*model).bitPos},
		"BITOP":       {arity: -4, write: write, grows: grows, static: staticBitOp, run: (*model).bitOp},
		"BITFIELD":    {arity: -2, write: write, grows: grows, static: staticBitField(false), run: (*model).bitField},
		"BITFIELD_RO": {arity: -2, static: staticBitField(true), run: (*model).bitField},
	}
}

func (m *model) incrByFloat(words []string) Result {
	k := m.take(words[1])
	if bad := k.typed("string"); bad != nil {
		return *bad
	}
	n, ok := new(big.Rat), true
	if k != nil {
		n, ok = decimal(k.str)
	}
	by, valid := decimal(words[2])
	if !ok || !valid {
		return *notFloat()
	}
	text := sumText(n, by)
	if text == "" {
		return Error(CodeError, "ERR increment would produce NaN or Infinity")
	}
	if k == nil {
		k = m.make(words[1], "string")
	}
	k.str, k.version = text, m.next()
	return bulk(text)
}

// bitDigits words a string as the digits of its bits.
func bitDigits(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteString(strconv.FormatUint(uint64(s[i])|0x100, 2)[1:])
	}
	return b.String()
}

// fromDigits is the reverse of bitDigits; the last byte is filled with zeros.
func fromDigits(digits string) string {
	digits += strings.Repeat("0", (8-len(digits)%8)%8)
	b := make([]byte, len(digits)/8)
	for i := range b {
		v, _ := strconv.ParseUint(digits[8*i:8*i+8], 2, 8)
		b[i] = byte(v)
	}
	return string(b)
}

func bitPlace(word string, limit int64) (int64, *Result) {
	n, ok := integer(word)
	if !ok || n < 0 || n/8 >= limit {
		return 0, oops(CodeError, "ERR bit offset is not an integer or out of range")
	}
	return n, nil
}

func staticSetBit(args []string) *Result {
	if _, bad := bitPlace(args[1], 512<<20); bad != nil {
		return bad
	}
	if args[2] != "0" && args[2] != "1" {
		return oops(CodeError, "ERR bit is not an integer or out of range")
	}
	return nil
}

func staticGetBit(args []string) *Result {
	_, bad := bitPlace(args[1], 512<<20)
	return bad
}

func (m *model) setBit(words []string) Result {
	at, bad := bitPlace(words[2], int64(m.maxValue))
	if bad != nil {
		bad.Code = CodeTooBig
		return *bad
	}
	k := m.take(words[1])
	if bad := k.typed("string"); bad != nil {
		return *bad
	}
	was := ""
	if k != nil {
		was = k.str
	}
	b := []byte(was + strings.Repeat("\x00", max(0, int(at/8)+1-len(was))))
	held := b[at/8] >> (7 - at%8) & 1
	if b[at/8] &^= 1 << (7 - at%8); words[3] == "1" {
		b[at/8] |= 1 << (7 - at%8)
	}
	if k == nil {
		k = m.make(words[1], "string")
	}
	if string(b) != was {
		k.str, k.version = string(b), m.next()
	}
	return Int(int64(held))
}

func (m *model) getBit(words []string) Result {
	res := m.get(words)
	if res.IsError() {
		return res
	}
	at, _ := bitPlace(words[2], 512<<20)
	if at/8 >= int64(len(res.Str)) {
		return Int(0)
	}
	return Int(int64(bitDigits(string(res.Str[at/8:]))[at%8] - '0'))
}

func bitUnitOf(word string) (int, *Result) {
	switch strings.ToUpper(word) {
	case "BIT":
		return 1, nil
	case "BYTE":
		return 8, nil
	}
	return 0, syntaxError()
}

func (m *model) bitCount(words []string) Result {
	res := m.get(words)
	switch {
	case res.IsError():
		return res
	case res.Kind == KindNull:
		return Int(0)
	case len(words) == 3 || len(words) > 5:
		return *syntaxError()
	case len(words) == 2:
		return Int(int64(strings.Count(bitDigits(string(res.Str)), "1")))
	}
	start, ok := integer(words[2])
	end, ok2 := integer(words[3])
	if !ok || !ok2 {
		return *notInteger()
	}
	if start < 0 && end < 0 && start > end {
		return Int(0)
	}
	unit := 8
	if len(words) == 5 {
		var bad *Result
		if unit, bad = bitUnitOf(words[4]); bad != nil {
			return *bad
		}
	}
	digits := bitDigits(string(res.Str))
	lo, hi := inclusive(start, end, len(digits)/unit)
	return Int(int64(strings.Count(digits[lo*unit:hi*unit], "1")))
}

// inclusive is within, where an end before the first element means the first.
func inclusive(start, end int64, n int) (lo, hi int) {
	if end < 0 {
		end = max(end+int64(n), 0)
	}
	return within(strconv.FormatInt(start, 10), strconv.FormatInt(end, 10), n)
}

func staticBitPos(args []string) *Result {
	if n, ok := integer(args[1]); !ok {
		return notInteger()
	} else if n != 0 && n != 1 {
		return oops(CodeError, "ERR The bit argument must be 1 or 0.")
	}
	return nil
}

func (m *model) bitPos(words []string) Result {
	res := m.get(words)
	switch {
	case res.IsError():
		return res
	case res.Kind == KindNull:
		n, _ := integer(words[2])
		return Int(-n)
	case len(words) > 6:
		return *syntaxError()
	}
	digits, unit := bitDigits(string(res.Str)), 8
	start, end := int64(0), int64(len(digits)/8-1)
	if len(words) > 3 {
		var ok bool
		if start, ok = integer(words[3]); !ok {
			return *notInteger()
		}
	}
	if len(words) == 6 {
		var bad *Result
		if unit, bad = bitUnitOf(words[5]); bad != nil {
			return *bad
		}
	}
	if len(words) > 4 {
		var ok bool
		if end, ok = integer(words[4]); !ok {
			return *notInteger()
		}
	}
	lo, hi := inclusive(start, end, len(digits)/unit)
	if len(digits) == 0 || lo >= hi {
		return Int(-1)
	}
	at := strings.Index(digits[lo*unit:hi*unit], words[2])
	switch {
	case at >= 0:
		return Int(int64(at + lo*unit))
	case words[2] == "0" && len(words) <= 4:
		return Int(int64(len(digits)))
	}
	return Int(-1)
}

func staticBitOp(args []string) *Result {
	switch op := strings.ToUpper(args[0]); {
	case op == "NOT" && len(args) > 3:
		return oops(CodeError, "ERR BITOP NOT must be called with a single source key.")
	case !slices.Contains([]string{"AND", "OR", "XOR", "NOT"}, op):
		return syntaxError()
	}
	return nil
}

func (m *model) bitOp(words []string) Result {
	var from []string
	longest := 0
	for _, name := range words[3:] {
		res := m.get([]string{"GET", name})
		if res.IsError() {
			return res
		}
		from = append(from, string(res.Str))
		longest = max(longest, len(res.Str))
	}
	delete(m.keys, words[2])
	if longest == 0 {
		return Int(0)
	}
	out := make([]byte, longest)
	for i := range out {
		for j, s := range from {
			c := byte(0)
			if i < len(s) {
				c = s[i]
			}
			switch op := strings.ToUpper(words[1]); {
			case op == "NOT":
				out[i] = ^c
			case j == 0:
				out[i] = c
			case op == "AND":
				out[i] &= c
			case op == "OR":
				out[i] |= c
			case op == "XOR":
				out[i] ^= c
			}
		}
	}
	m.put(words[2], string(out))
	return Int(int64(longest))
}

// modelFieldStep is one step of BITFIELD.
type modelFieldStep struct {
	what, over string
	signed     bool
	width, at  int64
	value      int64
}

// fieldSteps reads the steps. only is BITFIELD_RO.
func fieldSteps(words []string, only bool) (steps []modelFieldStep, bad *Result) {
	over := "WRAP"
	for len(words) > 0 {
		s := modelFieldStep{what: strings.ToUpper(words[0]), over: over}
		n, ok := map[string]int{"GET": 3, "SET": 4, "INCRBY": 4, "OVERFLOW": 2}[s.what]
		if !ok || len(words) < n {
			return nil, syntaxError()
		}
		if s.what == "OVERFLOW" {
			over = strings.ToUpper(words[1])
			if over != "WRAP" && over != "SAT" && over != "FAIL" {
				return nil, oops(CodeError, "ERR Invalid OVERFLOW type specified")
			}
			words = words[2:]
			continue
		}
		kind, _, _ := strings.Cut(words[1], "\x00")
		if kind == "" || kind[0] != 'i' && kind[0] != 'u' {
			return nil, badFieldType()
		}
		s.signed = kind[0] == 'i'
		if s.width, ok = integer(kind[1:]); !ok || s.width < 1 || s.width > 64 || s.width == 64 && !s.signed {
			return nil, badFieldType()
		}
		place, times := words[2], int64(1)
		if strings.HasPrefix(place, "#") {
			place, times = place[1:], s.width
		}
		i, ok := integer(place)
		if s.at = i * times; !ok || s.at < 0 || s.at/8 >= 512<<20 {
			return nil, oops(CodeError, "ERR bit offset is not an integer or out of range")
		}
		if s.what != "GET" {
			if s.value, ok = integer(words[3]); !ok {
				return nil, notInteger()
			}
		}
		steps = append(steps, s)
		words = words[n:]
	}
	for _, s := range steps {
		if s.what != "GET" && only {
			return nil, oops(CodeError, "ERR BITFIELD_RO only supports the GET subcommand")
		}
	}
	return steps, nil
}

func badFieldType() *Result {
	return oops(CodeError, "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.")
}

func staticBitField(only bool) func(args []string) *Result {
	return func(args []string) *Result {
		_, bad := fieldSteps(args[1:], only)
		return bad
	}
}

func (m *model) bitField(words []string) Result {
	only := strings.EqualFold(words[0], "BITFIELD_RO")
	steps, bad := fieldSteps(words[2:], only)
	if bad != nil {
		return *bad
	}
	for _, s := range steps {
		if s.what != "GET" && (s.at+s.width+7)/8 > int64(m.maxValue) {
			return Error(CodeTooBig, "ERR bit offset is not an integer or out of range")
		}
	}
	k := m.read(words[1])
	if !only {
		k = m.take(words[1])
	}
	if bad := k.typed("string"); bad != nil {
		return *bad
	}
	digits := ""
	if k != nil {
		digits = bitDigits(k.str)
	}
	before := digits
	for _, s := range steps {
		if end := (s.at + s.width + 7) / 8 * 8; s.what != "GET" {
			digits += strings.Repeat("0", max(0, int(end)-len(digits)))
		}
	}
	elems := []Result{}
	wrote := digits != before
	for _, s := range steps {
		held := digits
		var res Result
		digits, res = s.work(held)
		wrote = wrote || digits != held // also when a later step puts it back
		elems = append(elems, res)
	}
	if wrote {
		if k == nil {
			k = m.make(words[1], "string")
		}
		k.str, k.version = fromDigits(digits), m.next()
	}
	return Array(elems)
}

// work does a step on the digits of a string.
func (s *modelFieldStep) work(digits string) (string, Result) {
	padded := digits + strings.Repeat("0", max(0, int(s.at+s.width)-len(digits)))
	field := padded[s.at : s.at+s.width]
	held, _ := new(big.Int).SetString(field, 2)
	span := new(big.Int).Lsh(big.NewInt(1), uint(s.width))
	low, high := new(big.Int), new(big.Int).Sub(span, big.NewInt(1))
	if s.signed {
		low.Neg(new(big.Int).Rsh(span, 1))
		high.Rsh(high, 1)
		if held.Cmp(high) > 0 {
			held.Sub(held, span)
		}
	}
	if s.what == "GET" {
		return digits, Int(held.Int64())
	}
	now := big.NewInt(s.value)
	if s.what == "INCRBY" {
		now.Add(now, held)
	} else if !s.signed && s.value < 0 { // taken for 2^64 more
		now.Add(now, new(big.Int).Lsh(big.NewInt(1), 64))
	}
	below, above := now.Cmp(low) < 0, now.Cmp(high) > 0
	if far := new(big.Int).Sub(high, now); s.what == "SET" && s.width < 64 && far.BitLen() > 63 {
		below, above = false, true // a slip of Redis
	}
	if below || above {
		switch {
		case s.over == "FAIL":
			return digits, Null()
		case s.over == "SAT" && below:
			now = low
		case s.over == "SAT":
			now = high
		default:
			now.Mod(now, span)
			if now.Cmp(high) > 0 {
				now.Sub(now, span)
			}
		}
	}
	bits := new(big.Int).Mod(now, span).Text(2)
	bits = strings.Repeat("0", int(s.width)-len(bits)) + bits
	res := Int(now.Int64())
	if s.what == "SET" {
		res = Int(held.Int64())
	}
	return digits[:s.at] + bits + digits[s.at+s.width:], res
}

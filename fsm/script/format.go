// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"math"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// format is string.format, with the conversions of C.
func (r *run) format(l *lua.LState) int {
	f := r.str(l, 1)
	var out strings.Builder
	arg := 1
	for i := 0; i < len(f); i++ {
		if f[i] != '%' {
			out.WriteByte(f[i])
			continue
		}
		if i++; i < len(f) && f[i] == '%' {
			out.WriteByte('%')
			continue
		}
		from := i
		for i < len(f) && strings.IndexByte("-+ #0", f[i]) >= 0 {
			i++
		}
		digits := i
		i = digitsOf(f, i)
		if i < len(f) && f[i] == '.' {
			i = digitsOf(f, i+1)
		}
		whole, fraction, _ := strings.Cut(f[digits:i], ".")
		if len(whole) > 2 || len(fraction) > 2 || digits-from > 5 {
			r.raise(l, "invalid format (width or precision too long)")
		}
		if i == len(f) {
			r.raise(l, "invalid option '%%' to 'format'")
		}
		arg++
		piece := r.conversion(l, f[from:i], f[i], arg)
		r.meter.large(out.Len() + len(piece))
		r.spend(l, 64+len(piece))
		if out.WriteString(piece); out.Len() > maxString {
			r.tooBig(l)
		}
	}
	l.Push(lua.LString(out.String()))
	return 1
}

// conversion words one argument.
func (r *run) conversion(l *lua.LState, flags string, verb byte, arg int) string {
	switch verb {
	case 'c':
		return fmt.Sprintf("%"+strings.ReplaceAll(flags, "0", "")+"s", string([]byte{byte(integer(float64(l.CheckNumber(arg))))}))
	case 'd', 'i':
		return fmt.Sprintf("%"+flags+"d", integer(float64(l.CheckNumber(arg))))
	case 'u':
		return fmt.Sprintf("%"+flags+"d", uint64(integer(float64(l.CheckNumber(arg)))))
	case 'o', 'x', 'X':
		return fmt.Sprintf("%"+flags+string(verb), uint64(integer(float64(l.CheckNumber(arg)))))
	case 'e', 'E', 'f', 'g', 'G':
		return float(flags, verb, float64(l.CheckNumber(arg)))
	case 'q':
		return r.quoted(l, r.str(l, arg))
	case 's':
		if l.GetTop() < arg {
			l.ArgError(arg, "string expected, got no value")
		}
		s := ""
		switch v := l.Get(arg).(type) {
		case lua.LString, lua.LNumber:
			s = r.text(v)
		default:
			l.ArgError(arg, "string expected, got "+v.Type().String())
		}
		if flags == "" {
			return s
		}
		return bytesFormat(flags, s)
	}
	r.raise(l, "invalid option '%%%c' to 'format'", verb)
	return ""
}

// bytesFormat is %s of C: width and precision count bytes.
func bytesFormat(flags, s string) string {
	left := strings.Contains(flags, "-")
	width, precision, cut := strings.Cut(strings.TrimLeft(flags, "-+ #0"), ".")
	if cut {
		s = s[:min(len(s), number(precision))]
	}
	pad := strings.Repeat(" ", max(0, number(width)-len(s)))
	if left {
		return s + pad
	}
	return pad + s
}

func number(s string) (n int) {
	for i := range len(s) {
		n = 10*n + int(s[i]-'0')
	}
	return n
}

// float words a number as C does: infinities in lower case, %g with six digits.
func float(flags string, verb byte, f float64) string {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		word := string(appendNumber(nil, f, 6))
		if verb < 'a' {
			word = strings.ToUpper(word)
		}
		if f > 0 && strings.Contains(flags, "+") {
			word = "+" + word
		}
		width, _, _ := strings.Cut(flags, ".")
		return bytesFormat(width, word)
	}
	if verb|0x20 == 'g' && !strings.Contains(flags, ".") {
		flags += ".6"
	}
	return fmt.Sprintf("%"+flags+string(verb), f)
}

// quoted words a string as Lua reads it.
func (r *run) quoted(l *lua.LState, s string) string {
	size := len(s) + 2 + 3*strings.Count(s, "\x00")
	for _, c := range []string{`"`, `\`, "\n", "\r"} {
		size += strings.Count(s, c)
	}
	r.room(l, size)
	var b strings.Builder
	b.Grow(size)
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\', '\n':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\r':
			b.WriteString(`\r`)
		case 0:
			b.WriteString(`\000`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// SPDX-License-Identifier: Apache-2.0

package script

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

// jsonToken names a token as the library's errors do.
type jsonToken string

// The tokens.
const (
	jsonObject    jsonToken = "T_OBJ_BEGIN"
	jsonObjectEnd jsonToken = "T_OBJ_END"
	jsonArray     jsonToken = "T_ARR_BEGIN"
	jsonArrayEnd  jsonToken = "T_ARR_END"
	jsonString    jsonToken = "T_STRING"
	jsonNumber    jsonToken = "T_NUMBER"
	jsonBoolean   jsonToken = "T_BOOLEAN"
	jsonNull      jsonToken = "T_NULL"
	jsonColon     jsonToken = "T_COLON"
	jsonComma     jsonToken = "T_COMMA"
	jsonEnd       jsonToken = "T_END"
	jsonInvalid   jsonToken = "invalid token"
	jsonCut       jsonToken = "unexpected end of string"
	jsonEscape    jsonToken = "invalid escape code"
	jsonUnicode   jsonToken = "invalid unicode escape code"
)

// jsonReader reads a document. A token begins at start, and val is its value.
type jsonReader struct {
	r     *run
	l     *lua.LState
	src   string
	at    int
	start int
	depth int
	token jsonToken
	val   lua.LValue
}

func (d *jsonReader) fail(want string) {
	d.r.raise(d.l, "Expected %s but found %s at character %d", want, d.token, d.start+1)
}

func (d *jsonReader) document() lua.LValue {
	if len(d.src) > 1 && (d.src[0] == 0 || d.src[1] == 0) {
		d.r.raise(d.l, "JSON parser does not support UTF-16 or UTF-32")
	}
	d.next()
	v := d.value()
	if d.next(); d.token != jsonEnd {
		d.fail("the end")
	}
	return v
}

// value makes the value that the present token begins.
func (d *jsonReader) value() lua.LValue {
	d.r.spend(d.l, 64)
	switch d.token {
	case jsonString, jsonNumber, jsonBoolean, jsonNull:
		return d.val
	case jsonObject:
		return d.object()
	case jsonArray:
		return d.array()
	}
	d.fail("value")
	return lua.LNil
}

func (d *jsonReader) descend() {
	if d.depth++; d.depth > jsonDepth {
		d.r.raise(d.l, "Found too many nested data structures (%d) at character %d", d.depth, d.at)
	}
	d.r.spend(d.l, 2*stepBytes)
}

func (d *jsonReader) object() lua.LValue {
	d.descend()
	t := d.l.NewTable()
	if d.next(); d.token == jsonObjectEnd {
		d.depth--
		return t
	}
	for {
		if d.token != jsonString {
			d.fail("object key string")
		}
		key, _ := d.val.(lua.LString)
		if d.next(); d.token != jsonColon {
			d.fail("colon")
		}
		d.next()
		t.RawSetString(string(key), d.value())
		if d.next(); d.token == jsonObjectEnd {
			d.depth--
			return t
		}
		if d.token != jsonComma {
			d.fail("comma or object end")
		}
		d.next()
	}
}

func (d *jsonReader) array() lua.LValue {
	d.descend()
	t := d.l.NewTable()
	if d.next(); d.token == jsonArrayEnd {
		d.depth--
		return t
	}
	for i := 1; ; i++ {
		if i >= maxArray-1 {
			d.r.checkKey(d.l, t, lua.LNumber(maxArray))
		}
		d.r.meter.large(16 * i)
		t.RawSetInt(i, d.value())
		if d.next(); d.token == jsonArrayEnd {
			d.depth--
			return t
		}
		if d.token != jsonComma {
			d.fail("comma or array end")
		}
		d.next()
	}
}

// next finds the next token.
func (d *jsonReader) next() {
	for d.at < len(d.src) && strings.IndexByte(" \t\n\r", d.src[d.at]) >= 0 {
		d.at++
	}
	if d.start = d.at; d.at == len(d.src) {
		d.token = jsonEnd
		return
	}
	single := map[byte]jsonToken{'{': jsonObject, '}': jsonObjectEnd, '[': jsonArray, ']': jsonArrayEnd, ':': jsonColon, ',': jsonComma}
	c := d.src[d.at]
	if t, ok := single[c]; ok {
		d.token = t
		d.at++
		return
	}
	rest := d.src[d.at:]
	switch {
	case c == '"':
		d.at++
		d.text()
	case strings.HasPrefix(rest, "true"):
		d.word(jsonBoolean, lua.LTrue, 4)
	case strings.HasPrefix(rest, "false"):
		d.word(jsonBoolean, lua.LFalse, 5)
	case strings.HasPrefix(rest, "null"):
		d.word(jsonNull, d.r.null, 4)
	default:
		d.number()
	}
}

func (d *jsonReader) word(t jsonToken, v lua.LValue, n int) {
	d.token, d.val = t, v
	d.at += n
}

// number reads what strtod reads: hexadecimal numbers, infinities and no number, too.
func (d *jsonReader) number() {
	plain, sign := d.src[d.at:], 1.0
	if plain[0] == '-' {
		plain, sign = plain[1:], -1
	}
	f, n := parseNumber(plain)
	d.r.work(d.l, 16*n)
	if n == 0 {
		d.token = jsonInvalid
		return
	}
	d.token, d.val = jsonNumber, lua.LNumber(sign*f)
	d.at = len(d.src) - len(plain) + n
}

// parseNumber reads the longest number that s begins with; n is 0 when there is none.
func parseNumber(s string) (f float64, n int) {
	for _, word := range []string{"infinity", "inf", "nan"} {
		if len(s) >= len(word) && strings.EqualFold(s[:len(word)], word) {
			if word == "nan" {
				return math.NaN(), len(word)
			}
			return math.Inf(1), len(word)
		}
	}
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' && inClass(s[2], 'x') {
		for n = 2; n < len(s) && inClass(s[n], 'x'); n++ {
			digit, _ := strconv.ParseUint(s[n:n+1], 16, 8)
			f = 16*f + float64(digit)
		}
		return f, n
	}
	n = digitsOf(s, 0)
	some := n > 0
	if n < len(s) && s[n] == '.' {
		end := digitsOf(s, n+1)
		some = some || end > n+1
		n = end
	}
	if !some {
		return 0, 0
	}
	if n < len(s) && s[n]|0x20 == 'e' {
		from := n + 1
		if from < len(s) && (s[from] == '+' || s[from] == '-') {
			from++
		}
		if end := digitsOf(s, from); end > from {
			n = end
		}
	}
	f, _ = strconv.ParseFloat(s[:n], 64) // an infinity when it is out of range
	return f, n
}

// digitsOf gives the end of the digits at a place.
func digitsOf(s string, at int) int {
	for at < len(s) && '0' <= s[at] && s[at] <= '9' {
		at++
	}
	return at
}

// text reads a string behind its first quote.
func (d *jsonReader) text() {
	var b []byte
	for {
		end := strings.IndexAny(d.src[d.at:], "\"\\\x00")
		if end < 0 {
			d.start, d.token = len(d.src), jsonCut
			return
		}
		d.r.room(d.l, end)
		b = append(b, d.src[d.at:d.at+end]...)
		d.at += end
		switch d.src[d.at] {
		case '"':
			d.at++
			d.token, d.val = jsonString, lua.LString(b)
			return
		case 0:
			d.start, d.token = d.at, jsonInvalid
			return
		}
		code, n, bad := unescape(d.src[d.at:])
		if bad != "" {
			d.start, d.token = d.at, bad
			return
		}
		d.r.work(d.l, 0)
		b = append(b, code...)
		d.at += n
	}
}

// unescape reads one escape.
func unescape(s string) (text []byte, n int, bad jsonToken) {
	if len(s) < 2 {
		return nil, 0, jsonEscape
	}
	const plain, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if i := strings.IndexByte(plain, s[1]); i >= 0 {
		return []byte{meant[i]}, 2, ""
	}
	if s[1] != 'u' {
		return nil, 0, jsonEscape
	}
	first, ok := hexCode(s)
	if !ok {
		return nil, 0, jsonUnicode
	}
	if !utf16.IsSurrogate(first) {
		return utf8.AppendRune(nil, first), 6, ""
	}
	second, ok := hexCode(s[6:])
	whole := utf16.DecodeRune(first, second)
	if !ok || whole == utf8.RuneError {
		return nil, 0, jsonUnicode
	}
	return utf8.AppendRune(nil, whole), 12, ""
}

func hexCode(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:6], 16, 32)
	return rune(n), err == nil
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"
	"strconv"
)

// The texts of errors of lists, sets and sorted sets, and of floating-point numbers.
const (
	TextNotFloat        = "ERR value is not a valid float"
	TextHashNotFloat    = "ERR hash value is not a float"
	TextFloatInf        = "ERR value is NaN or Infinity"
	TextFloatNaN        = "ERR increment would produce NaN or Infinity"
	TextScoreNaN        = "ERR resulting score is not a number (NaN)"
	TextWeight          = "ERR weight value is not a float"
	TextZAddNXXX        = "ERR XX and NX options at the same time are not compatible"
	TextZAddGTLTNX      = "ERR GT, LT, and/or NX options at the same time are not compatible"
	TextZAddIncr        = "ERR INCR option supports a single increment-element pair"
	TextRangeNotFloat   = "ERR min or max is not a float"
	TextRangeNotLex     = "ERR min or max not valid string range item"
	TextRangeLimit      = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
	TextRangeLexScores  = "ERR syntax error, WITHSCORES not supported in combination with BYLEX"
	TextNumKeys         = "ERR numkeys should be greater than 0"
	TextManyKeys        = "ERR Number of keys can't be greater than number of args"
	TextLimit           = "ERR LIMIT can't be negative"
	TextZeroRank        = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list"
	TextNegativeCount   = "ERR COUNT can't be negative"
	TextNegativeMaxLen  = "ERR MAXLEN can't be negative"
	TextPopCount        = "ERR count should be greater than 0"
	TextTimeoutFloat    = "ERR timeout is not a float or out of range"
	TextTimeoutNegative = "ERR timeout is negative"
	TextOutOfRange      = "ERR value is out of range"
	TextDrawRange       = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
)

// AppendDouble appends a double as RESP words it: printf's "%.17g", "inf" and "-inf".
func AppendDouble(dst []byte, v float64) []byte {
	switch {
	case math.IsInf(v, 1):
		return append(dst, "inf"...)
	case math.IsInf(v, -1):
		return append(dst, "-inf"...)
	case math.IsNaN(v):
		return append(dst, "nan"...)
	}
	const digits = 17
	return strconv.AppendFloat(dst, v, 'g', digits, 64)
}

// Double is a reply with a floating-point number.
func Double(v float64) Result { return Result{Kind: KindDouble, Dbl: v} }

// parseDouble reads a score, a weight or an increment, as Redis does: all that C's strtod takes but space
// before it, NaN, and what is beyond a double's range.
func parseDouble(b []byte) (float64, bool) {
	const exact = 15 // digits that a double holds for sure
	if len(b) <= exact {
		if n, ok := parseInt(b); ok {
			return float64(n), true
		}
	}
	if len(b) == 0 || isSpace(b[0]) {
		return 0, false
	}
	v, n, ranged := strtod(b)
	return v, n == len(b) && ranged && !math.IsNaN(v)
}

// parseBound reads an end of a range of scores, to which strtod's word is law: space before it and nothing at
// all are fine, it ends at a zero byte, and what is too large is infinite.
func parseBound(b []byte) (v float64, open, ok bool) {
	if len(b) > 0 && b[0] == '(' {
		open = true
		b = b[1:]
	}
	v, _, ok = looseDouble(b)
	return v, open, ok
}

// looseDouble reads what strtod reads. ranged is as there.
func looseDouble(b []byte) (v float64, ranged, ok bool) {
	start := 0
	for start < len(b) && isSpace(b[start]) {
		start++
	}
	v, n, ranged := strtod(b[start:])
	end := start + n
	if n == 0 {
		end = 0
	}
	return v, ranged, (end == len(b) || b[end] == 0) && !math.IsNaN(v)
}

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// strtod reads the longest number at the front of b, which has no space before it, and tells how long that
// is: 0 for none. ranged is false when a finite number became infinite or 0.
func strtod(b []byte) (v float64, n int, ranged bool) {
	at := 0
	if at < len(b) && (b[at] == '-' || b[at] == '+') {
		at++
	}
	for _, word := range []string{"INFINITY", "INF", "NAN"} {
		if len(b) >= at+len(word) && EqualFold(b[at:at+len(word)], word) {
			v, _ = strconv.ParseFloat(string(b[:at+len(word)]), 64)
			if word == "NAN" {
				v = math.NaN()
			}
			return v, at + len(word), true
		}
	}
	hex := at+1 < len(b) && b[at] == '0' && b[at+1]|0x20 == 'x'
	if hex {
		if digits, _, _ := mantissa(b[at+2:], true); digits == 0 {
			hex = false // the number is the 0 before the x
		}
	}
	exponent := byte('e')
	if hex {
		at += 2
		exponent = 'p'
	}
	digits, length, zero := mantissa(b[at:], hex)
	if digits == 0 {
		return 0, 0, true
	}
	at += length
	end := at + exponentLength(b[at:], exponent)
	text := string(b[:end])
	if hex && end == at {
		text += "p0"
	}
	v, _ = strconv.ParseFloat(text, 64)
	return v, end, !math.IsInf(v, 0) && (v != 0 || zero)
}

// mantissa tells how many digits and how many bytes the front of b has of a number without exponent, and
// whether all digits are 0.
func mantissa(b []byte, hex bool) (digits, length int, zero bool) {
	zero = true
	point := false
	for _, c := range b {
		switch {
		case c == '.' && !point:
			point = true
		case '0' <= c && c <= '9', hex && 'a' <= c|0x20 && c|0x20 <= 'f':
			digits++
			zero = zero && c == '0'
		default:
			return digits, length, zero
		}
		length++
	}
	return digits, length, zero
}

// exponentLength is the length of the exponent at the front of b, 0 for none.
func exponentLength(b []byte, letter byte) int {
	if len(b) == 0 || b[0]|0x20 != letter {
		return 0
	}
	at := 1
	if at < len(b) && (b[at] == '-' || b[at] == '+') {
		at++
	}
	start := at
	for at < len(b) && '0' <= b[at] && b[at] <= '9' {
		at++
	}
	if at == start {
		return 0
	}
	return at
}

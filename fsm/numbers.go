// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"
	"strconv"
)

// parseInt reads a signed 64-bit decimal in its one canonical form, as Redis does: no sign but a leading
// minus, no leading zero, no space.
func parseInt(b []byte) (int64, bool) {
	neg := len(b) > 1 && b[0] == '-'
	digits := b
	if neg {
		digits = b[1:]
	}
	if len(digits) == 1 && digits[0] == '0' && !neg {
		return 0, true
	}
	const maxDigits = 19
	if len(digits) == 0 || len(digits) > maxDigits || digits[0] < '1' || digits[0] > '9' {
		return 0, false
	}
	var v uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	switch {
	case neg && v <= 1<<63:
		return -int64(v), true
	case !neg && v <= math.MaxInt64:
		return int64(v), true
	}
	return 0, false
}

// parseUint reads an unsigned decimal up to limit, in the same strict form.
func parseUint(b []byte, limit uint64) (uint64, bool) {
	if len(b) == 1 && b[0] == '0' {
		return 0, true
	}
	if len(b) == 0 || b[0] == '0' {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		d := uint64(c - '0')
		if c < '0' || c > '9' || v > (math.MaxUint64-d)/10 {
			return 0, false
		}
		v = v*10 + d
	}
	return v, v <= limit
}

func formatInt(v int64) []byte { return strconv.AppendInt(nil, v, 10) }

func formatUint(v uint64) []byte { return strconv.AppendUint(nil, v, 10) }

// EqualFold tells whether a word of a command is word, which is upper-case ASCII, in any case.
func EqualFold(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import "strings"

// lcs walks the table as Redis' source does.
func (m *model) lcs(words []string) Result {
	var s [2]string
	for i := range s {
		k := m.read(words[1+i])
		if k != nil && k.kind != "string" {
			return Error(CodeError, "ERR The specified keys must contain string values")
		}
		if k != nil {
			s[i] = k.str
		}
	}
	has, least := map[string]bool{}, int64(0)
	for rest := words[3:]; len(rest) > 0; rest = rest[1:] {
		option := strings.ToUpper(rest[0])
		switch {
		case option == "IDX" || option == "LEN" || option == "WITHMATCHLEN":
			has[option] = true
		case option == "MINMATCHLEN" && len(rest) > 1:
			var ok bool
			if least, ok = integer(rest[1]); !ok {
				return *notInteger()
			}
			rest = rest[1:]
		default:
			return *syntaxError()
		}
	}
	a, b := s[0], s[1]
	switch {
	case has["IDX"] && has["LEN"]:
		return Error(CodeError, "ERR If you want both the length and indexes, please just use IDX.")
	case 4*(len(a)+1)*(len(b)+1) > 16<<20:
		return Error(CodeTooBig, "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
	}
	table := make([][]int, len(a)+1)
	for i := range table {
		table[i] = make([]int, len(b)+1)
		for j := range table[i] {
			switch {
			case i == 0 || j == 0:
			case a[i-1] == b[j-1]:
				table[i][j] = table[i-1][j-1] + 1
			default:
				table[i][j] = max(table[i-1][j], table[i][j-1])
			}
		}
	}
	text, found := lcsWalk(table, a, b, least, has["WITHMATCHLEN"])
	switch {
	case has["IDX"]:
		return Map([]Result{bulk("matches"), Array(found), bulk("len"), Int(int64(len(text)))})
	case has["LEN"]:
		return Int(int64(len(text)))
	}
	return bulk(text)
}

func lcsWalk(table [][]int, a, b string, least int64, lengths bool) (text string, found []Result) {
	found = []Result{}
	aStart, aEnd, bStart, bEnd := len(a), 0, 0, 0
	for i, j := len(a), len(b); i > 0 && j > 0; {
		emit := false
		if a[i-1] == b[j-1] {
			text = a[i-1:i] + text
			switch {
			case aStart == len(a):
				aStart, aEnd, bStart, bEnd = i-1, i-1, j-1, j-1
			case aStart == i && bStart == j:
				aStart--
				bStart--
			default:
				emit = true
			}
			emit = emit || aStart == 0 || bStart == 0
			i--
			j--
		} else {
			if table[i-1][j] > table[i][j-1] {
				i--
			} else {
				j--
			}
			emit = aStart != len(a)
		}
		if !emit {
			continue
		}
		if n := int64(aEnd - aStart + 1); n >= least {
			one := []Result{Array([]Result{Int(int64(aStart)), Int(int64(aEnd))}), Array([]Result{Int(int64(bStart)), Int(int64(bEnd))})}
			if lengths {
				one = append(one, Int(n))
			}
			found = append(found, Array(one))
		}
		aStart = len(a)
	}
	return text, found
}

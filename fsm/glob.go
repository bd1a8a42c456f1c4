// SPDX-License-Identifier: Apache-2.0

package fsm

// equalFoldLower compares b with a lower-case ASCII word.
func equalFoldLower(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// globSteps bounds the bytes of a pattern that are looked at for one name. Sensible ones take some hundreds.
const globSteps = 1 << 20

// GlobMatch is the match of patterns for names that are no keys. It takes what it needs of steps, globSteps at most,
// and tells that nothing matches once they are used up.
func GlobMatch(pattern, s []byte, steps *int) bool {
	least := max(*steps-globSteps, 0)
	*steps -= least
	ok := globWithin(pattern, s, steps)
	*steps += least
	return ok
}

// globMatch tells whether s matches a pattern of Redis: '*', '?', '[a-c]', '[^a]', '\x'. A match that takes more than
// globSteps is none.
func globMatch(pattern, s []byte) bool {
	steps := globSteps
	return globWithin(pattern, s, &steps)
}

// globWithin takes time of the product of the lengths at most: after a mismatch only the last '*' is tried again.
func globWithin(pattern, s []byte, steps *int) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		if *steps--; *steps < 0 {
			return false
		}
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if p < len(pattern) {
			n, ok := globOne(pattern[p:], s[i])
			*steps -= n - 1
			if ok {
				p += n
				i++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// globOne matches one byte against the front of a non-empty pattern and tells how much of it was used.
func globOne(pattern []byte, c byte) (n int, ok bool) {
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		return globClass(pattern, c)
	case '\\':
		if len(pattern) > 1 {
			return 2, pattern[1] == c
		}
	}
	return 1, pattern[0] == c
}

// globClass matches a byte against '[…]'; a class without an end runs to the end of the pattern.
func globClass(pattern []byte, c byte) (n int, ok bool) {
	p := 1
	not := p < len(pattern) && pattern[p] == '^'
	if not {
		p++
	}
	match := false
	for {
		switch {
		case p >= len(pattern):
			return len(pattern), match != not
		case pattern[p] == '\\' && p+1 < len(pattern):
			p++
			match = match || pattern[p] == c
		case pattern[p] == ']':
			return p + 1, match != not
		case p+2 < len(pattern) && pattern[p+1] == '-':
			lo, hi := min(pattern[p], pattern[p+2]), max(pattern[p], pattern[p+2])
			match = match || lo <= c && c <= hi
			p += 2
		default:
			match = match || pattern[p] == c
		}
		p++
	}
}

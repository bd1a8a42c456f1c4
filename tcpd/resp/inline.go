// SPDX-License-Identifier: Apache-2.0

package resp

// splitLine appends the words of a line to words, by the rules of Redis: words are parted by spaces;
// "…" knows \n \r \t \b \a \xHH and \ before any other byte, '…' only \'; a closing quote ends its word
// and must be followed by a space or the end. A zero byte ends the line. Words without quotes alias
// line. ok is false when quotes do not match.
func splitLine(words [][]byte, line []byte) (_ [][]byte, ok bool) {
	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) || line[i] == 0 {
			return words, true
		}
		start := i
		for i < len(line) && !endsWord(line[i]) && line[i] != '"' && line[i] != '\'' {
			i++
		}
		if i == len(line) || endsWord(line[i]) {
			words = append(words, line[start:i:i])
			continue
		}
		word, next, ok := quotedWord(append([]byte{}, line[start:i]...), line, i)
		if !ok {
			return words, false
		}
		words, i = append(words, word), next
	}
}

// quotedWord goes on with a word at a quote.
func quotedWord(word, line []byte, i int) (_ []byte, next int, ok bool) {
	for i < len(line) && !endsWord(line[i]) {
		c := line[i]
		if c != '"' && c != '\'' {
			word = append(word, c)
			i++
			continue
		}
		if word, i, ok = quoted(word, line, i+1, c); !ok {
			return nil, 0, false
		}
		if i < len(line) && !isSpace(line[i]) && line[i] != 0 {
			return nil, 0, false
		}
		return word, i, true
	}
	return word, i, true
}

// quoted takes what is between quotes; i is behind the first one.
func quoted(word, line []byte, i int, quote byte) (_ []byte, next int, ok bool) {
	for ; i < len(line) && line[i] != 0; i++ {
		c := line[i]
		switch {
		case c == quote:
			return word, i + 1, true
		case c != '\\':
			word = append(word, c)
		case quote == '\'':
			if i+1 < len(line) && line[i+1] == '\'' {
				i++
			}
			word = append(word, line[i])
		case i+3 < len(line) && line[i+1] == 'x' && isHex(line[i+2]) && isHex(line[i+3]):
			word = append(word, hexDigit(line[i+2])<<4|hexDigit(line[i+3]))
			i += 3
		case i+1 < len(line) && line[i+1] != 0:
			i++
			word = append(word, unescape(line[i]))
		default:
			return nil, 0, false // the line ends behind the backslash
		}
	}
	return nil, 0, false
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

// endsWord: vertical tabs and form feeds are skipped before a word and kept within one.
func endsWord(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == 0 }

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func hexDigit(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// SPDX-License-Identifier: Apache-2.0

package script

import (
	"errors"
	"strings"
)

// maxCaptures bounds the captures of a pattern, as in Lua.
const maxCaptures = 32

// The lengths of captures that are not strings.
const (
	captureOpen     = -1
	capturePosition = -2
)

var (
	errPatternPercent  = errors.New("malformed pattern (ends with '%')")
	errPatternBracket  = errors.New("malformed pattern (missing ']')")
	errPatternBalance  = errors.New("unbalanced pattern")
	errPatternFrontier = errors.New("missing '[' after '%f' in pattern")
	errPatternCapture  = errors.New("invalid capture index")
	errPatternClose    = errors.New("invalid pattern capture")
	errPatternMany     = errors.New("too many captures")
	errPatternSteps    = errors.New("pattern takes too many steps")
	errPatternDeep     = errors.New("pattern too complex")
)

type capture struct{ at, size int }

// matcher matches one pattern of Lua 5.1 against one text. It counts its steps.
type matcher struct {
	src, pat string
	level    int
	captures [maxCaptures]capture
	// steps counts, due is when the meter is looked at again.
	steps, due int
	depth      int
	meter      *meter
}

// fail ends a match with an error.
func (m *matcher) fail(err error) { panic(patternError{err}) }

type patternError struct{ error }

// find looks for the pattern from a place on. end is -1 when there is none.
func (m *matcher) find(from int) (start, end int, err error) {
	defer func() {
		if p := recover(); p != nil {
			e, ok := p.(patternError)
			if !ok {
				panic(p)
			}
			start, end, err = 0, -1, e.error
		}
	}()
	pat, anchored := m.pat, false
	if len(pat) > 0 && pat[0] == '^' {
		pat, anchored = pat[1:], true
	}
	for s := from; s <= len(m.src); s++ {
		m.level, m.depth = 0, 0
		if e := m.match(s, pat); e >= 0 {
			return s, e, nil
		}
		if anchored {
			break
		}
	}
	return 0, -1, nil
}

// step counts n steps.
func (m *matcher) step(n int) {
	if m.steps += n; m.steps > maxMatches {
		m.fail(errPatternSteps)
	}
	if m.steps < m.due {
		return
	}
	m.due = m.steps + matchesEvery
	if m.meter.look(); m.meter.end != nil {
		m.fail(m.meter.end)
	}
}

// match gives the end of what p matches at s, -1 when it does not.
func (m *matcher) match(s int, p string) int {
	if m.depth++; m.depth > maxMatchDepth {
		m.fail(errPatternDeep)
	}
	defer func() { m.depth-- }()
	for {
		m.step(1)
		if len(p) == 0 {
			return s
		}
		switch {
		case p[0] == '(' && len(p) > 1 && p[1] == ')':
			return m.open(s, p[2:], capturePosition)
		case p[0] == '(':
			return m.open(s, p[1:], captureOpen)
		case p[0] == ')':
			return m.shut(s, p[1:])
		case p[0] == '$' && len(p) == 1:
			if s == len(m.src) {
				return s
			}
			return -1
		case p[0] == '%' && len(p) > 1 && p[1] == 'b':
			if s, p = m.balance(s, p[2:]); s < 0 {
				return -1
			}
			continue
		case p[0] == '%' && len(p) > 1 && p[1] == 'f':
			rest, ok := m.frontier(s, p[2:])
			if !ok {
				return -1
			}
			p = rest
			continue
		case p[0] == '%' && len(p) > 1 && '0' <= p[1] && p[1] <= '9':
			if s = m.back(s, p[1]); s < 0 {
				return -1
			}
			p = p[2:]
			continue
		}
		n := m.class(p)
		one, rest := p[:n], p[n:]
		hit := s < len(m.src) && m.single(m.src[s], one)
		switch {
		case len(rest) > 0 && rest[0] == '?':
			if hit {
				if e := m.match(s+1, rest[1:]); e >= 0 {
					return e
				}
			}
			p = rest[1:]
		case len(rest) > 0 && rest[0] == '*':
			return m.most(s, one, rest[1:])
		case len(rest) > 0 && rest[0] == '+':
			if !hit {
				return -1
			}
			return m.most(s+1, one, rest[1:])
		case len(rest) > 0 && rest[0] == '-':
			return m.least(s, one, rest[1:])
		case !hit:
			return -1
		default:
			s, p = s+1, rest
		}
	}
}

// class is the length of the single item that p begins with.
func (m *matcher) class(p string) int {
	switch p[0] {
	case '%':
		if len(p) < 2 {
			m.fail(errPatternPercent)
		}
		return 2
	case '[':
		i := 1
		if i < len(p) && p[i] == '^' {
			i++
		}
		for first := true; ; first = false {
			switch {
			case i >= len(p):
				m.fail(errPatternBracket)
			case p[i] == ']' && !first:
				m.step(i / 8)
				return i + 1
			case p[i] == '%':
				if i++; i >= len(p) {
					m.fail(errPatternBracket)
				}
			}
			i++
		}
	}
	return 1
}

func (m *matcher) single(c byte, p string) bool {
	switch p[0] {
	case '.':
		return true
	case '%':
		return inClass(c, p[1])
	case '[':
		return m.inSet(c, p)
	}
	return p[0] == c
}

// inSet matches against p, which is a whole set.
func (m *matcher) inSet(c byte, p string) bool {
	p = p[1 : len(p)-1]
	want := true
	if len(p) > 0 && p[0] == '^' {
		want, p = false, p[1:]
	}
	for len(p) > 0 {
		m.step(1)
		switch {
		case p[0] == '%' && len(p) > 1:
			if inClass(c, p[1]) {
				return want
			}
			p = p[2:]
		case len(p) > 2 && p[1] == '-':
			if p[0] <= c && c <= p[2] {
				return want
			}
			p = p[3:]
		default:
			if p[0] == c {
				return want
			}
			p = p[1:]
		}
	}
	return !want
}

// inClass matches against %class.
func inClass(c, class byte) bool {
	lower := class | 0x20
	letter := 'a' <= c|0x20 && c|0x20 <= 'z'
	digit := '0' <= c && c <= '9'
	var in bool
	switch lower {
	case 'a':
		in = letter
	case 'c':
		in = c < ' ' || c == 127
	case 'd':
		in = digit
	case 'l':
		in = 'a' <= c && c <= 'z'
	case 'p':
		in = c > ' ' && c < 127 && !letter && !digit
	case 's':
		in = c == ' ' || '\t' <= c && c <= '\r'
	case 'u':
		in = 'A' <= c && c <= 'Z'
	case 'w':
		in = letter || digit
	case 'x':
		in = digit || 'a' <= c|0x20 && c|0x20 <= 'f'
	case 'z':
		in = c == 0
	default:
		return class == c
	}
	if class != lower {
		return !in
	}
	return in
}

// most matches as many of one as there are, then fewer.
func (m *matcher) most(s int, one, rest string) int {
	n := 0
	for s+n < len(m.src) && m.single(m.src[s+n], one) {
		m.step(1)
		n++
	}
	for ; n >= 0; n-- {
		if e := m.match(s+n, rest); e >= 0 {
			return e
		}
	}
	return -1
}

func (m *matcher) least(s int, one, rest string) int {
	for {
		if e := m.match(s, rest); e >= 0 {
			return e
		}
		if s >= len(m.src) || !m.single(m.src[s], one) {
			return -1
		}
		m.step(1)
		s++
	}
}

func (m *matcher) open(s int, p string, size int) int {
	if m.level >= maxCaptures {
		m.fail(errPatternMany)
	}
	m.captures[m.level] = capture{s, size}
	m.level++
	e := m.match(s, p)
	if e < 0 {
		m.level--
	}
	return e
}

func (m *matcher) shut(s int, p string) int {
	i := m.level - 1
	for ; i >= 0 && m.captures[i].size != captureOpen; i-- {
	}
	if i < 0 {
		m.fail(errPatternClose)
	}
	m.captures[i].size = s - m.captures[i].at
	e := m.match(s, p)
	if e < 0 {
		m.captures[i].size = captureOpen
	}
	return e
}

func (m *matcher) balance(s int, p string) (int, string) {
	if len(p) < 2 {
		m.fail(errPatternBalance)
	}
	if s >= len(m.src) || m.src[s] != p[0] {
		return -1, ""
	}
	depth := 1
	for i := s + 1; i < len(m.src); i++ {
		m.step(1)
		switch m.src[i] {
		case p[1]:
			if depth--; depth == 0 {
				return i + 1, p[2:]
			}
		case p[0]:
			depth++
		}
	}
	return -1, ""
}

func (m *matcher) frontier(s int, p string) (string, bool) {
	if len(p) == 0 || p[0] != '[' {
		m.fail(errPatternFrontier)
	}
	n := m.class(p)
	before, after := byte(0), byte(0)
	if s > 0 {
		before = m.src[s-1]
	}
	if s < len(m.src) {
		after = m.src[s]
	}
	if !m.inSet(before, p[:n]) && m.inSet(after, p[:n]) {
		return p[n:], true
	}
	return "", false
}

// back matches what a capture did.
func (m *matcher) back(s int, digit byte) int {
	i := int(digit) - '1'
	if i < 0 || i >= m.level || m.captures[i].size == captureOpen {
		m.fail(errPatternCapture)
	}
	c := m.captures[i]
	if c.size < 0 {
		return -1
	}
	m.step(c.size / 64)
	if !strings.HasPrefix(m.src[s:], m.src[c.at:c.at+c.size]) {
		return -1
	}
	return s + c.size
}

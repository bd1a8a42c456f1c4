// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// memberScan is a SSCAN or ZSCAN: key, cursor, options.
type memberScan struct {
	cursor uint64
	count  int
	match  []byte // nil: all
	// found has the members that fit, size their part of the reply; they alias the store.
	found []scored
	size  int64
}

// memberStep is how many members are looked at between two looks at their size.
const memberStep = 64

// verifyMemberScan checks the cursor. Redis looks at the options only after it found the key.
func verifyMemberScan(args [][]byte, _ *Limits) (Result, bool) {
	if _, ok := parseUint(args[1], positionLimit); !ok {
		return fail(TextInvalidCursor)
	}
	return Result{}, true
}

func parseMemberScan(args [][]byte) (s memberScan, bad *Result) {
	s.cursor, _ = parseUint(args[1], positionLimit)
	s.count = defaultScanCount
	text := ""
	for rest := args[2:]; len(rest) > 0 && text == ""; rest = rest[min(2, len(rest)):] {
		switch {
		case len(rest) > 1 && EqualFold(rest[0], "COUNT"):
			n, ok := parseInt(rest[1])
			switch {
			case !ok:
				text = TextNotInteger
			case n < 1:
				text = TextSyntax
			}
			s.count = int(min(n, maxScanCount))
		case len(rest) > 1 && EqualFold(rest[0], "MATCH"):
			s.match = rest[1]
		default:
			text = TextSyntax
		}
	}
	if text != "" {
		res, _ := fail(text)
		bad = &res
	}
	return s, bad
}

// walk looks at about count members, and fewer when they are long. scan visits about n members from a
// position on and gives the next position.
func (s *memberScan) walk(scan func(position uint64, n int, f func(m scored)) uint64) (next uint64) {
	next = s.cursor
	for left := s.count; ; {
		n, before, size := min(left, memberStep), len(s.found), s.size
		looked := 0
		position := scan(next, n, func(m scored) {
			looked++
			if s.match == nil || globMatch(s.match, m.member) {
				s.found = append(s.found, m)
				s.size += 2*ReplyOverhead + int64(len(m.member))
			}
		})
		if s.size > scanBytes && n > 1 { // once more, one by one
			s.found, s.size, left = s.found[:before], size, 1
			continue
		}
		next = position
		if left -= looked; next == 0 || left <= 0 || s.size > scanBytes {
			return next
		}
	}
}

func (x *execution) scanReply(s *memberScan, next uint64, scores bool) Result {
	if bad := x.fits(s.size + ReplyOverhead); bad != nil {
		return *bad
	}
	elems := []Result{}
	for i := range s.found {
		elems = append(elems, Bulk(clone(s.found[i].member)))
		if scores {
			elems = append(elems, Bulk(AppendDouble(nil, s.found[i].score)))
		}
	}
	return Array([]Result{Bulk(formatUint(next)), Array(elems)})
}

func runSScan(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeSet)
	if bad != nil {
		return *bad
	}
	if !found {
		return x.scanReply(&memberScan{}, 0, false)
	}
	s, bad := parseMemberScan(args)
	if bad != nil {
		return *bad
	}
	next := s.walk(func(position uint64, n int, f func(m scored)) uint64 {
		return ref.Set().Scan(position, n, func(member []byte) { f(scored{member: member}) })
	})
	return x.scanReply(&s, next, false)
}

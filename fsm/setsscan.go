// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// scannedMember is a member of a set or sorted set, or a field of a hash. It aliases the store.
type scannedMember struct {
	name, value []byte
	score       float64
}

// scanned says what a scan tells of a member beside its name.
type scanned uint8

const (
	scanNames scanned = iota
	scanScores
	scanValues
)

// memberScan is a SSCAN, ZSCAN or HSCAN: key, cursor, options.
type memberScan struct {
	cursor uint64
	count  int
	match  []byte // nil: all
	// found has the members that fit, size their part of the reply.
	found []scannedMember
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
func (s *memberScan) walk(scan func(position uint64, n int, f func(m scannedMember)) uint64) (next uint64) {
	next = s.cursor
	for left := s.count; ; {
		n, before, size := min(left, memberStep), len(s.found), s.size
		looked := 0
		position := scan(next, n, func(m scannedMember) {
			looked++
			if s.match == nil || globMatch(s.match, m.name) {
				s.found = append(s.found, m)
				s.size += 2*ReplyOverhead + int64(len(m.name)+len(m.value))
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

func (x *execution) scanReply(s *memberScan, next uint64, with scanned) Result {
	if bad := x.fits(s.size + ReplyOverhead); bad != nil {
		return *bad
	}
	elems := []Result{}
	for i := range s.found {
		m := &s.found[i]
		elems = append(elems, Bulk(clone(m.name)))
		switch with {
		case scanNames:
		case scanScores:
			elems = append(elems, Bulk(AppendDouble(nil, m.score)))
		case scanValues:
			elems = append(elems, Bulk(clone(m.value)))
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
		return x.scanReply(&memberScan{}, 0, scanNames)
	}
	s, bad := parseMemberScan(args)
	if bad != nil {
		return *bad
	}
	next := s.walk(func(position uint64, n int, f func(m scannedMember)) uint64 {
		return ref.Set().Scan(position, n, func(member []byte) { f(scannedMember{name: member}) })
	})
	return x.scanReply(&s, next, scanNames)
}

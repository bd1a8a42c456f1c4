// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// A SCAN cursor has 62 bits: the slot in the high 14, a position in the slot's keyed-hash order in the
// low 48. 0 is both the start and the end.
const (
	cursorBits    = 14 + store.PositionBits
	cursorLimit   = 1<<cursorBits - 1
	positionLimit = 1<<store.PositionBits - 1
)

// defaultScanCount is SCAN's COUNT when none is given.
const defaultScanCount = 10

const (
	// scanBytes is the size of the keys found at which SCAN stops, whatever COUNT says.
	scanBytes = 512 << 10
	// scanStep is how many keys it looks at between two looks at that size.
	scanStep = 8
)

// maxScanCount bounds the keys that one call looks at, whatever COUNT says.
const maxScanCount = 10_000

// ScanSlot gives the slot that SCAN with these arguments begins at; its owner answers. A result whose
// cursor is not 0 goes on at the slot of that cursor.
func ScanSlot(args [][]byte) (slot uint16, ok bool) {
	if len(args) == 0 {
		return 0, false
	}
	cursor, ok := parseUint(args[0], cursorLimit)
	return uint16(cursor >> store.PositionBits), ok
}

type scanOptions struct {
	cursor uint64
	count  int
	match  []byte // nil: all
	typ    []byte // nil: all
}

func parseScan(args [][]byte) (o scanOptions, text string) {
	var ok bool
	if o.cursor, ok = parseUint(args[0], cursorLimit); !ok {
		return o, TextInvalidCursor
	}
	o.count = defaultScanCount
	for i := 1; i < len(args); i += 2 {
		if i+1 == len(args) {
			return o, TextSyntax
		}
		switch word, arg := args[i], args[i+1]; {
		case EqualFold(word, "COUNT"):
			n, ok := parseInt(arg)
			if !ok {
				return o, TextNotInteger
			}
			if n < 1 {
				return o, TextSyntax
			}
			o.count = int(min(n, maxScanCount))
		case EqualFold(word, "MATCH"):
			o.match = arg
		case EqualFold(word, "TYPE"):
			o.typ = arg
		default:
			return o, TextSyntax
		}
	}
	return o, ""
}

func verifyScan(args [][]byte, _ *Limits) (Result, bool) {
	if _, text := parseScan(args); text != "" {
		return fail(text)
	}
	return Result{}, true
}

// runScan looks at about COUNT keys, from the cursor's slot on and through the owned slots behind it. It
// stops at the first slot that is not owned: its owner goes on there.
func runScan(x *execution, args [][]byte) Result {
	o, _ := parseScan(args)
	if bad := x.fits(min(int64(o.count)*(MaxKeyBytes+ReplyOverhead), scanBytes+scanStep*MaxKeyBytes)); bad != nil {
		return *bad
	}
	s := scan{x: x, o: &o, left: o.count}
	slot, position := int(o.cursor>>store.PositionBits), o.cursor&positionLimit
	for first := true; slot < Slots && s.left > 0 && s.size < scanBytes; first = false {
		next, bad := s.slot(uint16(slot), position)
		if bad != nil && first {
			return *bad
		}
		if bad != nil {
			break
		}
		if position = next; position == 0 {
			slot++
		}
	}
	if slot == Slots {
		slot, position = 0, 0
	}
	cursor := uint64(slot)<<store.PositionBits | position
	return Array([]Result{Bulk(formatUint(cursor)), Array(append([]Result{}, s.keys...))})
}

// scan is one SCAN on its way through slots.
type scan struct {
	x    *execution
	o    *scanOptions
	left int
	size int // of keys
	keys []Result
}

// slot takes keys of one slot and gives the position to go on from, 0 at its end.
func (s *scan) slot(slot uint16, position uint64) (next uint64, bad *Result) {
	st := s.x.k.st
	st.RLock(slot)
	defer st.RUnlock(slot)
	s.x.locks = append(s.x.locks[:0], slot)
	if res, ok := s.x.served(); !ok {
		return 0, &res
	}
	now := s.x.ctx.Now()
	for {
		position = st.Scan(slot, position, min(s.left, scanStep), func(key []byte, r store.Ref) {
			s.left--
			if !r.Dead(now) && s.o.accepts(key, r) {
				s.x.ctx.NoteDue(r.ExpireAt())
				s.keys = append(s.keys, Bulk(clone(key)))
				s.size += ReplyOverhead + len(key)
			}
		})
		if position == 0 || s.left <= 0 || s.size >= scanBytes {
			return position, nil
		}
	}
}

func (o *scanOptions) accepts(key []byte, r store.Ref) bool {
	if o.typ != nil && !equalFoldLower(o.typ, r.Type().String()) {
		return false
	}
	return o.match == nil || globMatch(o.match, key)
}

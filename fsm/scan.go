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
		case equalFold(word, "COUNT"):
			n, ok := parseInt(arg)
			if !ok {
				return o, TextNotInteger
			}
			if n < 1 {
				return o, TextSyntax
			}
			o.count = int(min(n, maxScanCount))
		case equalFold(word, "MATCH"):
			o.match = arg
		case equalFold(word, "TYPE"):
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
	st := x.k.st
	var keys []Result
	left := o.count
	slot, position := int(o.cursor>>store.PositionBits), o.cursor&positionLimit
	for first := true; slot < Slots && left > 0; first = false {
		at := uint16(slot)
		st.RLock(at)
		if s := &x.k.slots[at]; !s.owned || s.frozen {
			owned := s.owned
			st.RUnlock(at)
			switch {
			case !first:
				return scanReply(slot, position, keys)
			case owned:
				return Error(CodeSlotFrozen, TextSlotFrozen)
			}
			return Error(CodeSlotMoved, TextSlotMoved)
		}
		now := x.ctx.Now()
		position = st.Scan(at, position, left, func(key []byte, r store.Ref) {
			left--
			if !r.Dead(now) && o.accepts(key, r) {
				x.ctx.NoteDue(r.ExpireAt())
				keys = append(keys, Bulk(clone(key)))
			}
		})
		st.RUnlock(at)
		if position == 0 {
			slot++
		}
	}
	if slot == Slots {
		slot, position = 0, 0
	}
	return scanReply(slot, position, keys)
}

func (o *scanOptions) accepts(key []byte, r store.Ref) bool {
	if o.typ != nil && !equalFoldLower(o.typ, r.Type().String()) {
		return false
	}
	return o.match == nil || globMatch(o.match, key)
}

func scanReply(slot int, position uint64, keys []Result) Result {
	cursor := uint64(slot)<<store.PositionBits | position
	if keys == nil {
		keys = []Result{}
	}
	return Array([]Result{Bulk(formatUint(cursor)), Array(keys)})
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"math/bits"

	"github.com/kvorum/kvorum/store"
)

// bitRows are the rows of commands that see a string as bits. Bit 0 is the highest of the first byte.
func bitRows() []Spec {
	bitOp := many(OpBitOp, "BITOP", -4, 1, CatString|CatSlow, runBitOp).grows().verified(verifyBitOp)
	bitOp.FirstKey = 2
	return []Spec{
		one(OpSetBit, "SETBIT", 4, CatString|CatSlow, runSetBit).grows().verified(verifySetBit),
		one(OpGetBit, "GETBIT", 3, CatString|CatFast, runGetBit).read().verified(verifyGetBit),
		one(OpBitCount, "BITCOUNT", -2, CatString|CatSlow, runBitCount).read(),
		one(OpBitPos, "BITPOS", -3, CatString|CatSlow, runBitPos).read().verified(verifyBitPos),
		bitOp,
		one(OpBitField, "BITFIELD", -2, CatString|CatSlow, runBitField).grows().replies().verified(verifyBitField),
		one(OpBitFieldRO, "BITFIELD_RO", -2, CatString|CatFast, runBitFieldRO).read().verified(verifyBitFieldRO),
	}
}

// longestBits bounds offsets, in bytes: Redis' longest string. Writes are bounded by the longest value, too.
const longestBits = 512 << 20

// bitOffset reads the offset of a bit in a string of at most limit bytes. '#' before it counts fields of so many
// bits, unless that is 0.
func bitOffset(arg []byte, width, limit int64) (int64, bool) {
	if len(arg) > 0 && arg[0] == '#' && width > 0 {
		arg = arg[1:]
	} else {
		width = 1
	}
	n, ok := parseInt(arg)
	n *= width
	return n, ok && n >= 0 && n/8 < limit
}

func verifySetBit(args [][]byte, _ *Limits) (Result, bool) {
	if _, ok := bitOffset(args[1], 0, longestBits); !ok {
		return fail(TextBitOffset)
	}
	if on, ok := parseInt(args[2]); !ok || on != 0 && on != 1 {
		return fail(TextBit)
	}
	return Result{}, true
}

func runSetBit(x *execution, args [][]byte) Result {
	offset, ok := bitOffset(args[1], 0, int64(x.set.limits.MaxValue))
	if !ok {
		return Error(CodeTooBig, TextBitOffset)
	}
	ref, found, bad := x.takeTyped(args[0], store.TypeString)
	if bad != nil {
		return *bad
	}
	at, mask := int(offset/8), byte(0x80)>>(offset%8)
	was, there := byte(0), false
	if found {
		if b := ref.Bytes(); at < len(b) {
			was, there = b[at], true
		}
	}
	now := was &^ mask
	if args[2][0] == '1' {
		now |= mask
	}
	if !there || now != was {
		x.k.st.WriteString(x.slot, args[0], at, []byte{now}, x.ctx.NextVersion())
		x.settle(args[0], found)
	}
	return truth(was&mask != 0)
}

// stringOf is the string at a key for reading; an absent one is empty.
func (x *execution) stringOf(key []byte) (b []byte, found bool, bad *Result) {
	ref, found, bad := x.getTyped(key, store.TypeString)
	if found && bad == nil {
		b = ref.Bytes()
	}
	return b, found, bad
}

func verifyGetBit(args [][]byte, _ *Limits) (Result, bool) {
	if _, ok := bitOffset(args[1], 0, longestBits); !ok {
		return fail(TextBitOffset)
	}
	return Result{}, true
}

func runGetBit(x *execution, args [][]byte) Result {
	offset, _ := bitOffset(args[1], 0, longestBits)
	b, _, bad := x.stringOf(args[0])
	if bad != nil {
		return *bad
	}
	return truth(offset/8 < int64(len(b)) && b[offset/8]&(0x80>>(offset%8)) != 0)
}

// bitSpan is a range of the bits of a string.
type bitSpan struct {
	lo, hi int64 // [lo, hi); empty when lo >= hi
	given  bool  // the end was named
}

// parseBitSpan reads what may be behind a key, and behind the bit of BITPOS: start, end, BYTE or BIT. Redis looks
// at it only after it found the key; where it looks for the unit is its own choice in each command.
func parseBitSpan(rest [][]byte, n int64, counts bool) (s bitSpan, text string) {
	least := 1 // BITPOS does with a start
	if counts {
		least = 2
	}
	switch {
	case len(rest) == 0:
		return bitSpan{hi: n * 8}, ""
	case len(rest) < least || len(rest) > 3:
		return s, TextSyntax
	}
	start, ok := parseInt(rest[0])
	if !ok {
		return s, TextNotInteger
	}
	unit := int64(8)
	if len(rest) == 3 && !counts {
		if unit, ok = bitUnit(rest[2]); !ok {
			return s, TextSyntax
		}
	}
	end := n*8/unit - 1
	if s.given = len(rest) > 1; s.given {
		if end, ok = parseInt(rest[1]); !ok {
			return s, TextNotInteger
		}
	}
	if counts && start < 0 && end < 0 && start > end {
		return s, ""
	}
	if len(rest) == 3 && counts {
		if unit, ok = bitUnit(rest[2]); !ok {
			return s, TextSyntax
		}
	}
	total := n * 8 / unit
	start, end = clampRange(start, total), min(clampRange(end, total), total-1)
	if start <= end {
		s.lo, s.hi = start*unit, (end+1)*unit
	}
	return s, ""
}

func bitUnit(word []byte) (unit int64, ok bool) {
	if EqualFold(word, "BIT") {
		return 1, true
	}
	return 8, EqualFold(word, "BYTE")
}

func runBitCount(x *execution, args [][]byte) Result {
	b, found, bad := x.stringOf(args[0])
	if bad != nil {
		return *bad
	}
	if !found {
		return Int(0)
	}
	s, text := parseBitSpan(args[1:], int64(len(b)), true)
	if text != "" {
		res, _ := fail(text)
		return res
	}
	if s.lo >= s.hi {
		return Int(0)
	}
	b = b[s.lo/8 : (s.hi+7)/8]
	n := onesIn(b) - bits.OnesCount8(b[0]&^(0xff>>(s.lo%8)))
	if cut := s.hi % 8; cut != 0 {
		n -= bits.OnesCount8(b[len(b)-1] & (0xff >> cut))
	}
	return Int(int64(n))
}

func onesIn(b []byte) (n int) {
	for ; len(b) >= 8; b = b[8:] {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(b))
	}
	for _, c := range b {
		n += bits.OnesCount8(c)
	}
	return n
}

func verifyBitPos(args [][]byte, _ *Limits) (Result, bool) {
	switch bit, ok := parseInt(args[1]); {
	case !ok:
		return fail(TextNotInteger)
	case bit != 0 && bit != 1:
		return fail(TextBitArgument)
	}
	return Result{}, true
}

func runBitPos(x *execution, args [][]byte) Result {
	bit := args[1][0] - '0'
	b, found, bad := x.stringOf(args[0])
	switch {
	case bad != nil:
		return *bad
	case !found && bit == 0:
		return Int(0)
	case !found:
		return Int(-1)
	}
	s, text := parseBitSpan(args[2:], int64(len(b)), false)
	switch {
	case text != "":
		res, _ := fail(text)
		return res
	case s.lo >= s.hi:
		return Int(-1)
	}
	at := firstBit(b, s.lo, s.hi, bit)
	if at < 0 && bit == 0 && !s.given {
		at = s.hi // the zeros behind the string
	}
	return Int(at)
}

// firstBit finds a bit in [lo, hi), -1 when there is none.
func firstBit(b []byte, lo, hi int64, bit byte) int64 {
	skip := byte(0xff) * (1 - bit) // bytes that have none
	for at := lo / 8; at*8 < hi; at++ {
		c := b[at]
		if c == skip {
			continue
		}
		if bit == 0 {
			c = ^c
		}
		if at == lo/8 {
			c &= 0xff >> (lo % 8)
		}
		if place := at*8 + int64(bits.LeadingZeros8(c)); c != 0 {
			if place < hi {
				return place
			}
			return -1
		}
	}
	return -1
}

func verifyBitOp(args [][]byte, _ *Limits) (Result, bool) {
	switch op := args[0]; {
	case EqualFold(op, "NOT") && len(args) != 3:
		return fail(TextBitOpNot)
	case !EqualFold(op, "NOT") && !EqualFold(op, "AND") && !EqualFold(op, "OR") && !EqualFold(op, "XOR"):
		return fail(TextSyntax)
	}
	return Result{}, true
}

// runBitOp looks at each key once: one that is named again changes nothing, but that it goes out of an exclusive or.
func runBitOp(x *execution, args [][]byte) Result {
	times := make(map[string]int, min(len(args)-2, manyOperands))
	for _, key := range args[2:] {
		times[string(key)]++
	}
	xor := EqualFold(args[0], "XOR")
	var from [][]byte
	longest := 0
	for i, key := range args[2:] {
		n := times[string(key)]
		if times[string(key)] = 0; n == 0 {
			continue
		}
		x.slot = x.keySlots[1+i]
		b, _, bad := x.stringOf(key)
		if bad != nil {
			return *bad
		}
		if longest = max(longest, len(b)); !xor || n%2 == 1 {
			from = append(from, b)
		}
	}
	out := make([]byte, longest)
	for i, b := range from {
		combineBits(out, b, args[0], i == 0)
	}
	x.slot = x.keySlots[0]
	if longest > 0 {
		x.put(args[1], out)
	} else if _, found := x.take(args[1]); found {
		x.k.st.Delete(x.slot, args[1])
	}
	return Int(int64(longest))
}

// combineBits makes out op b of out, of which b has zeros behind its end; the first b is taken as it is.
func combineBits(out, b []byte, op []byte, first bool) {
	switch {
	case EqualFold(op, "NOT"):
		for i := range b {
			out[i] = ^b[i]
		}
	case first:
		copy(out, b)
	case EqualFold(op, "AND"):
		for i := range b {
			out[i] &= b[i]
		}
		clear(out[len(b):])
	case EqualFold(op, "OR"):
		for i := range b {
			out[i] |= b[i]
		}
	default:
		for i := range b {
			out[i] ^= b[i]
		}
	}
}

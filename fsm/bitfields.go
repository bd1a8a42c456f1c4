// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"math"

	"github.com/kvorum/kvorum/store"
)

// overflow says what becomes of a number that its field has no room for.
type overflow uint8

const (
	overflowWrap overflow = iota
	overflowSat
	overflowFail
)

// fieldOp is one step of BITFIELD.
type fieldOp struct {
	what   byte  // 'g' for GET, 's' for SET, 'i' for INCRBY
	signed bool  // the field is one of two's complement
	width  int64 // of the field, in bits, up to 64
	offset int64 // in bits
	value  int64 // to set, or to add
	over   overflow
}

type fieldOps []fieldOp

// end is how many bytes the string has when the steps are done, at least; 0 when none of them writes.
func (ops fieldOps) end() (n int64) {
	for i := range ops {
		if o := &ops[i]; o.what != 'g' {
			n = max(n, (o.offset+o.width-1)/8+1)
		}
	}
	return n
}

// parseBitField reads the steps behind the key, whose offsets are below limit bytes.
func parseBitField(args [][]byte, limit int64) (ops fieldOps, text string) {
	over := overflowWrap
	for rest := args[1:]; len(rest) > 0; {
		n := 4
		o := fieldOp{over: over}
		switch {
		case len(rest) > 2 && EqualFold(rest[0], "GET"):
			o.what, n = 'g', 3
		case len(rest) > 3 && EqualFold(rest[0], "SET"):
			o.what = 's'
		case len(rest) > 3 && EqualFold(rest[0], "INCRBY"):
			o.what = 'i'
		case len(rest) > 1 && EqualFold(rest[0], "OVERFLOW"):
			switch {
			case EqualFold(rest[1], "WRAP"):
				over = overflowWrap
			case EqualFold(rest[1], "SAT"):
				over = overflowSat
			case EqualFold(rest[1], "FAIL"):
				over = overflowFail
			default:
				return nil, TextOverflowType
			}
			rest = rest[2:]
			continue
		default:
			return nil, TextSyntax
		}
		if text = o.parse(rest[1:n], limit); text != "" {
			return nil, text
		}
		ops = append(ops, o)
		rest = rest[n:]
	}
	return ops, ""
}

// parse reads type, offset and value.
func (o *fieldOp) parse(args [][]byte, limit int64) (text string) {
	name, _, _ := bytes.Cut(args[0], []byte{0})
	if len(name) == 0 || name[0] != 'i' && name[0] != 'u' {
		return TextBitFieldType
	}
	o.signed = name[0] == 'i'
	most := int64(63)
	if o.signed {
		most = 64
	}
	var ok bool
	if o.width, ok = parseInt(name[1:]); !ok || o.width < 1 || o.width > most {
		return TextBitFieldType
	}
	if o.offset, ok = bitOffset(args[1], o.width, limit); !ok {
		return TextBitOffset
	}
	if o.what == 'g' {
		return ""
	}
	if o.value, ok = parseInt(args[2]); !ok {
		return TextNotInteger
	}
	return ""
}

func verifyBitField(args [][]byte, _ *Limits) (Result, bool) {
	if _, text := parseBitField(args, longestBits); text != "" {
		return fail(text)
	}
	return Result{}, true
}

func verifyBitFieldRO(args [][]byte, _ *Limits) (Result, bool) {
	ops, text := parseBitField(args, longestBits)
	switch {
	case text != "":
		return fail(text)
	case ops.end() > 0:
		return fail(TextBitFieldRO)
	}
	return Result{}, true
}

// field is the bits of a field; what is behind the string is 0.
func (o *fieldOp) field(b []byte) uint64 {
	v := uint64(0)
	for bit := o.offset; bit < o.offset+o.width; {
		c, left := byte(0), 8-bit%8
		if bit/8 < int64(len(b)) {
			c = b[bit/8] & (0xff >> (bit % 8))
		}
		n := min(left, o.offset+o.width-bit)
		v = v<<n | uint64(c>>(left-n))
		bit += n
	}
	return v
}

// number is what the bits of a field mean.
func (o *fieldOp) number(v uint64) int64 {
	if o.signed {
		return int64(v<<(64-o.width)) >> (64 - o.width)
	}
	return int64(v)
}

// put gives the bytes of b that the field touches, changed; b reaches beyond it.
func (o *fieldOp) put(b []byte, v uint64) (at int, changed []byte) {
	at = int(o.offset / 8)
	changed = clone(b[at : (o.offset+o.width-1)/8+1])
	for i := range o.width {
		bit := o.offset + i - int64(at)*8
		mask := byte(0x80) >> (bit % 8)
		if changed[bit/8] &^= mask; v>>(o.width-1-i)&1 != 0 {
			changed[bit/8] |= mask
		}
	}
	return at, changed
}

// limits are the numbers that a field has room for.
func (o *fieldOp) limits() (least, most int64) {
	if o.signed {
		most = math.MaxInt64 >> (64 - o.width)
		return -most - 1, most
	}
	return 0, math.MaxInt64 >> (63 - o.width)
}

// work says what a field holds then; fits is false when the number is beyond its limits. The sum of what it holds
// and value may be beyond 64 bits. SET takes its value for an unsigned one where the field is.
func (o *fieldOp) work(held int64) (v int64, fits bool) {
	least, most := o.limits()
	v = o.value
	low, high := v < least, v > most
	if o.signed && o.width < 64 && most-v < 0 { // Redis reckons so, and takes the lowest numbers for high ones
		high = true
	}
	if !o.signed && o.what == 's' {
		low, high = false, low || high
	}
	if o.what == 'i' {
		v = held + o.value
		high = o.value > 0 && (v < held || v > most)
		low = o.value < 0 && (v > held || v < least)
	}
	switch {
	case !low && !high:
		return v, true
	case o.over == overflowSat && high:
		return most, false
	case o.over == overflowSat:
		return least, false
	}
	return o.number(uint64(v) & (math.MaxUint64 >> (64 - o.width))), false
}

func runBitField(x *execution, args [][]byte) Result {
	ops, _ := parseBitField(args, longestBits)
	if ops.end() > int64(x.set.limits.MaxValue) {
		return Error(CodeTooBig, TextBitOffset)
	}
	ref, found, bad := x.takeTyped(args[0], store.TypeString)
	if bad != nil {
		return *bad
	}
	if bad := x.fits(int64(len(ops)) * ReplyOverhead); bad != nil {
		return *bad
	}
	b := []byte(nil)
	if found {
		b = ref.Bytes()
	}
	w := fieldWriter{x: x, key: args[0]}
	grows := ops.end() > int64(len(b))
	if grows {
		w.write(int(ops.end())-1, []byte{0})
		x.settle(args[0], found)
		b = w.bytes()
	}
	elems := make([]Result, 0, len(ops))
	for i := range ops {
		o := &ops[i]
		held := o.number(o.field(b))
		if o.what == 'g' {
			elems = append(elems, Int(held))
			continue
		}
		v, fits := o.work(held)
		if !fits && o.over == overflowFail {
			elems = append(elems, Null())
			continue
		}
		if v != held {
			w.write(o.put(b, uint64(v)))
			b = w.bytes()
		}
		if o.what == 's' {
			v = held
		}
		elems = append(elems, Int(v))
	}
	return Array(elems)
}

// fieldWriter writes into a string. All that one command writes has one version.
type fieldWriter struct {
	x       *execution
	key     []byte
	version uint64
}

func (w *fieldWriter) write(at int, b []byte) {
	if w.version == 0 {
		w.version = w.x.ctx.NextVersion()
	}
	w.x.k.st.WriteString(w.x.slot, w.key, at, b, w.version)
}

// bytes is the string as it is now, until the next write.
func (w *fieldWriter) bytes() []byte {
	ref, _ := w.x.k.st.Lookup(w.x.slot, w.key)
	return ref.Bytes()
}

func runBitFieldRO(x *execution, args [][]byte) Result {
	ops, _ := parseBitField(args, longestBits)
	b, _, bad := x.stringOf(args[0])
	if bad != nil {
		return *bad
	}
	if bad := x.fits(int64(len(ops)) * ReplyOverhead); bad != nil {
		return *bad
	}
	elems := make([]Result, 0, len(ops))
	for i := range ops {
		elems = append(elems, Int(ops[i].number(ops[i].field(b))))
	}
	return Array(elems)
}

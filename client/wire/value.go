// SPDX-License-Identifier: Apache-2.0

package wire

import "math"

// ValueKind is the shape of a Value. The numbers are those of the server's results.
type ValueKind uint8

// The kinds and the field of Value that carries each.
const (
	KindNone      ValueKind = 0  // never sent
	KindNull      ValueKind = 1  // –
	KindInt       ValueKind = 2  // Int
	KindDouble    ValueKind = 3  // Dbl
	KindBool      ValueKind = 4  // Int: 0 or 1
	KindBigNumber ValueKind = 5  // Str: decimal digits
	KindBulk      ValueKind = 6  // Str
	KindVerbatim  ValueKind = 7  // Str: three bytes of format, ':', text
	KindStatus    ValueKind = 8  // Str: one line
	KindError     ValueKind = 9  // Code, and Str: the error text with its prefix
	KindArray     ValueKind = 10 // Elems
	KindMap       ValueKind = 11 // Elems: key, value, key, value …
	KindSet       ValueKind = 12 // Elems
	KindPush      ValueKind = 13 // Elems
)

// Code is the outcome of a command that ran: a KindError carries one other than CodeOK. The
// numbers are those of the server.
type Code uint8

// The outcomes.
const (
	CodeOK           Code = 0
	CodeError        Code = 1  // any other error; the text says which
	CodeWrongType    Code = 2  // the key holds another type
	CodeSyntax       Code = 3  // options that do not fit together
	CodeNotInteger   Code = 4  // value is not an integer or out of range
	CodeOverflow     Code = 5  // the increment would overflow
	CodeNoSuchKey    Code = 6  // the key must exist and does not
	CodeOutOfRange   Code = 7  // index or offset out of range
	CodeTooBig       Code = 8  // key, value or argument over its limit
	CodeVersion      Code = 9  // the version asked for did not match
	CodeOOM          Code = 10 // memory limit reached under a policy that refuses
	CodeSlotMoved    Code = 11 // the slot moved while the command travelled: retry
	CodeSlotFrozen   Code = 12 // the slot is being moved: retry shortly
	CodeArity        Code = 13 // wrong number of arguments
	CodeUnknown      Code = 14 // no such command
	CodeCrossSlot    Code = 15 // keys of one command in several slots
	CodeTokenExpired Code = 16 // the token is older than what the server remembers: outcome unknown
	CodeReplyDropped Code = 17 // applied, but the reply is no longer known
)

// Value is a command's result. Which fields count is said at the kinds.
type Value struct {
	Kind  ValueKind
	Code  Code
	Int   int64
	Dbl   float64
	Str   []byte
	Elems []Value
}

// IsNull tells whether v stands for "nothing there".
func (v *Value) IsNull() bool { return v.Kind == KindNull || v.Kind == KindNone }

// AppendValue appends v. A KindNone is written as KindNull.
func AppendValue(dst []byte, v *Value) []byte {
	switch v.Kind {
	case KindNone, KindNull:
		return AppendNull(dst)
	case KindInt:
		return AppendInt(dst, v.Int)
	case KindDouble:
		return AppendDouble(dst, v.Dbl)
	case KindBool:
		return AppendBool(dst, v.Int != 0)
	case KindError:
		return AppendErrorValue(dst, v.Code, v.Str)
	case KindArray, KindMap, KindSet, KindPush:
		dst = AppendListHead(dst, v.Kind, len(v.Elems))
		for i := range v.Elems {
			dst = AppendValue(dst, &v.Elems[i])
		}
		return dst
	default:
		return AppendBytes(dst, v.Kind, v.Str)
	}
}

// AppendNull appends a null.
func AppendNull(dst []byte) []byte { return append(dst, byte(KindNull)) }

// AppendInt appends an integer.
func AppendInt(dst []byte, n int64) []byte {
	return appendU64(append(dst, byte(KindInt)), uint64(n))
}

// AppendDouble appends a floating point number.
func AppendDouble(dst []byte, f float64) []byte {
	return appendU64(append(dst, byte(KindDouble)), math.Float64bits(f))
}

// AppendBool appends a truth value.
func AppendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, byte(KindBool), 1)
	}
	return append(dst, byte(KindBool), 0)
}

// AppendErrorValue appends an outcome that is an error.
func AppendErrorValue(dst []byte, code Code, text []byte) []byte {
	return appendLong(append(dst, byte(KindError), byte(code)), text)
}

// AppendBytes appends a value whose kind carries bytes: KindBulk, KindStatus, KindVerbatim or
// KindBigNumber.
func AppendBytes(dst []byte, kind ValueKind, b []byte) []byte {
	return appendLong(append(dst, byte(kind)), b)
}

// AppendBytesHead is AppendBytes without the bytes: n of them must follow.
func AppendBytesHead(dst []byte, kind ValueKind, n int) []byte {
	return appendU32(append(dst, byte(kind)), uint32(n))
}

// AppendListHead appends the head of a value whose kind carries elements; n values must follow
// (for a KindMap: n counts keys and values).
func AppendListHead(dst []byte, kind ValueKind, n int) []byte {
	return appendU32(append(dst, byte(kind)), uint32(n))
}

// ParseValue reads one value off the front of src. All of src must be present: a value that does
// not end within it is malformed. Str and the elements' Str alias src.
func ParseValue(src []byte) (v Value, n int, err error) {
	r := reader{src: src}
	v, err = r.value(MaxDepth)
	if err != nil {
		return Value{}, 0, err
	}
	return v, len(src) - len(r.src), nil
}

func (r *reader) value(depth int) (v Value, err error) {
	v.Kind = ValueKind(r.u8())
	switch v.Kind {
	case KindNull:
	case KindInt:
		v.Int = int64(r.u64())
	case KindDouble:
		v.Dbl = math.Float64frombits(r.u64())
	case KindBool:
		v.Int = int64(r.u8())
		r.bad = r.bad || v.Int > 1
	case KindError:
		v.Code = Code(r.u8())
		v.Str = r.long()
		r.bad = r.bad || v.Code == CodeOK
	case KindBigNumber, KindBulk, KindVerbatim, KindStatus:
		v.Str = r.long()
	case KindArray, KindMap, KindSet, KindPush:
		return r.list(v, depth)
	default:
		r.bad = true
	}
	if r.bad {
		return v, ErrMalformed
	}
	return v, nil
}

// list reads the elements of v. Every element takes a byte at least, and memory is made as
// elements are met, so a false count costs nothing.
func (r *reader) list(v Value, depth int) (Value, error) {
	count := r.u32()
	if r.bad || depth == 0 || uint64(count) > uint64(len(r.src)) || v.Kind == KindMap && count%2 != 0 {
		return v, ErrMalformed
	}
	v.Elems = make([]Value, 0, min(count, 64))
	for range count {
		e, err := r.value(depth - 1)
		if err != nil {
			return v, err
		}
		v.Elems = append(v.Elems, e)
	}
	return v, nil
}

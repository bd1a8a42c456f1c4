// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"math"
)

// maxResultDepth bounds arrays within arrays.
const maxResultDepth = 8

// AppendResult appends r in the binary form of forwarding, native v2 and the session cache. Arrays
// nested deeper than 8 are written as KindNone: no command makes them.
func AppendResult(dst []byte, r *Result) []byte { return appendResult(dst, r, 0) }

func appendResult(dst []byte, r *Result, depth int) []byte {
	if depth >= maxResultDepth && r.Kind >= KindArray {
		return append(dst, byte(KindNone))
	}
	dst = append(dst, byte(r.Kind))
	switch r.Kind {
	case KindInt:
		return appendVarint(dst, r.Int)
	case KindBool:
		return append(dst, byte(r.Int&1))
	case KindDouble:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(r.Dbl))
	case KindBigNumber, KindBulk, KindVerbatim, KindStatus:
		return appendBytes(dst, r.Str)
	case KindError:
		dst = append(dst, byte(r.Code))
		return appendBytes(dst, r.Str)
	case KindArray, KindMap, KindSet, KindPush:
		dst = binary.AppendUvarint(dst, uint64(len(r.Elems)))
		for i := range r.Elems {
			dst = appendResult(dst, &r.Elems[i], depth+1)
		}
	}
	return dst
}

// leastEncoded is a bound from below on what AppendResult appends for r.
func leastEncoded(r *Result) int {
	n := 1 + len(r.Str)
	for i := range r.Elems {
		n += leastEncoded(&r.Elems[i])
	}
	return n
}

// ParseResult reads one result from the front of src and tells how many bytes it took. The result
// aliases src: whoever hands it on must own src, or Clone it.
func ParseResult(src []byte) (res Result, n int, err error) {
	r := reader{src: src}
	r.result(&res, 0)
	return res, r.off, r.err
}

func (r *reader) result(res *Result, depth int) {
	res.Kind = Kind(r.byte("result kind"))
	switch res.Kind {
	case KindNone, KindNull:
	case KindInt:
		res.Int = r.varint("integer")
	case KindBool:
		res.Int = int64(r.byte("bool"))
		if res.Int > 1 {
			r.fail(ErrMalformed, "bool")
		}
	case KindDouble:
		res.Dbl = r.float("double")
	case KindBigNumber, KindBulk, KindVerbatim, KindStatus:
		res.Str = r.bytes("string")
	case KindError:
		res.Code = Code(r.byte("code"))
		if r.err == nil && res.Code == CodeOK {
			r.fail(ErrMalformed, "code")
		}
		res.Str = r.bytes("error text")
	case KindArray, KindMap, KindSet, KindPush:
		r.elements(res, depth)
	default:
		r.fail(ErrUnknown, "result kind")
	}
}

// Room is made at once for few elements, and for more when there are many bytes left: elemPrealloc and
// one for every elemPreallocBytes.
const (
	elemPrealloc      = 16
	elemPreallocBytes = 64
)

func (r *reader) elements(res *Result, depth int) {
	n := r.count("element count")
	if r.err == nil && (res.Kind == KindMap && n%2 == 1 || depth >= maxResultDepth) {
		r.fail(ErrMalformed, "elements")
	}
	if r.err != nil {
		return
	}
	res.Elems = make([]Result, 0, min(n, elemPrealloc+r.rest()/elemPreallocBytes))
	for i := 0; i < n && r.err == nil; i++ {
		res.Elems = append(res.Elems, Result{})
		r.result(&res.Elems[i], depth+1)
	}
}

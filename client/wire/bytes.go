// SPDX-License-Identifier: Apache-2.0

package wire

import "encoding/binary"

// reader takes fields off the front of a whole frame. After the first field that does not fit,
// bad is set and every later field is zero, so callers check once at the end.
type reader struct {
	src []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.src) {
		r.bad = true
		return nil
	}
	b := r.src[:n:n]
	r.src = r.src[n:]
	return b
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// name reads a byte of length and that many bytes, as a copy.
func (r *reader) name() string { return string(r.take(int(r.u8()))) }

// long reads four bytes of length and that many bytes, aliasing the frame.
func (r *reader) long() []byte {
	n := r.u32()
	if uint64(n) > uint64(len(r.src)) {
		r.bad = true
		return nil
	}
	return r.take(int(n))
}

// text reads two bytes of length and that many bytes, as a copy.
func (r *reader) text() string { return string(r.take(int(r.u16()))) }

// done tells whether every field was there and nothing is left.
func (r *reader) done() bool { return !r.bad && len(r.src) == 0 }

func appendU16(dst []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(dst, v) }
func appendU32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }
func appendU64(dst []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(dst, v) }

func appendName(dst []byte, s string) []byte {
	s = s[:min(len(s), MaxName)]
	return append(append(dst, byte(len(s))), s...)
}

func appendText(dst []byte, s string) []byte {
	s = s[:min(len(s), MaxErrorText)]
	return append(appendU16(dst, uint16(len(s))), s...)
}

func appendLong(dst, b []byte) []byte {
	return append(appendU32(dst, uint32(len(b))), b...)
}

// SPDX-License-Identifier: Apache-2.0

package rdb

// lzfMost is the most that one compressed byte can stand for: three bytes stand for 264 at most.
const lzfMost = 88

// unlzf appends to dst[:0] the n bytes that src is compressed from; false when it is not. n is at most len(src)*lzfMost.
func unlzf(dst, src []byte, n int) ([]byte, bool) {
	if cap(dst) < n {
		dst = make([]byte, 0, n)
	}
	dst = dst[:0]
	for len(src) > 0 {
		head := int(src[0])
		src = src[1:]
		if head < 32 { // head+1 bytes as they are
			if head++; head > len(src) || head > n-len(dst) {
				return dst, false
			}
			dst = append(dst, src[:head]...)
			src = src[head:]
			continue
		}
		length, back := head>>5, head&31<<8
		if length == 7 {
			if len(src) == 0 {
				return dst, false
			}
			length += int(src[0])
			src = src[1:]
		}
		if len(src) == 0 {
			return dst, false
		}
		back += int(src[0]) + 1
		src = src[1:]
		if length += 2; back > len(dst) || length > n-len(dst) {
			return dst, false
		}
		for from := len(dst) - back; length > 0; length-- { // what is repeated may overlap what it becomes
			dst = append(dst, dst[from])
			from++
		}
	}
	return dst, len(dst) == n
}

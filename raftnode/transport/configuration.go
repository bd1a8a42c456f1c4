// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"encoding/binary"

	"github.com/hashicorp/raft"
)

// maxNesting bounds the depth of an encoded configuration: a map of an array of maps.
const maxNesting = 4

// readableConfiguration tells whether raft can decode data, and does it cheaply: raft's decoder
// panics at what it cannot read, and allocates on the word of a length field.
func readableConfiguration(data []byte) (ok bool) {
	if rest, good := skipMsgpack(data, maxNesting); !good || len(rest) > 0 {
		return false
	}
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return len(raft.DecodeConfiguration(data).Servers) > 0
}

// skipMsgpack skips one value in the MessagePack encoding, whose lengths must fit into src. Floats
// and extensions have no place in a configuration.
func skipMsgpack(src []byte, depth int) (rest []byte, ok bool) {
	if len(src) == 0 || depth < 0 {
		return nil, false
	}
	b := src[0]
	src = src[1:]
	switch {
	case b <= 0x7f, b >= 0xe0, b == 0xc0, b == 0xc2, b == 0xc3: // small number, nil, bool
		return src, true
	case b <= 0x8f:
		return skipElements(src, 2*uint64(b&0x0f), depth)
	case b <= 0x9f:
		return skipElements(src, uint64(b&0x0f), depth)
	case b <= 0xbf:
		return skipBytes(src, uint64(b&0x1f))
	}
	switch b {
	case 0xcc, 0xd0:
		return skipBytes(src, 1)
	case 0xcd, 0xd1:
		return skipBytes(src, 2)
	case 0xce, 0xd2:
		return skipBytes(src, 4)
	case 0xcf, 0xd3:
		return skipBytes(src, 8)
	}
	width, wide := map[byte]int{
		0xc4: 1, 0xd9: 1, 0xc5: 2, 0xda: 2, 0xdc: 2, 0xde: 2, 0xc6: 4, 0xdb: 4, 0xdd: 4, 0xdf: 4,
	}[b]
	if !wide || len(src) < width {
		return nil, false
	}
	var n [8]byte
	copy(n[8-width:], src[:width])
	length := binary.BigEndian.Uint64(n[:])
	src = src[width:]
	switch b {
	case 0xdc, 0xdd:
		return skipElements(src, length, depth)
	case 0xde, 0xdf:
		return skipElements(src, 2*length, depth)
	}
	return skipBytes(src, length)
}

func skipBytes(src []byte, n uint64) ([]byte, bool) {
	if n > uint64(len(src)) {
		return nil, false
	}
	return src[n:], true
}

func skipElements(src []byte, n uint64, depth int) ([]byte, bool) {
	ok := n <= uint64(len(src)) // each takes a byte at least
	for ; ok && n > 0; n-- {
		src, ok = skipMsgpack(src, depth-1)
	}
	return src, ok
}

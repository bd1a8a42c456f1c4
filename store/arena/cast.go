// SPDX-License-Identifier: Apache-2.0

package arena

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// Uint64s is a block seen as numbers in the machine's own byte order, one for every 8 bytes. Blocks
// are aligned to 8 bytes, so the numbers may be used with package atomic.
func Uint64s(block []byte) []uint64 {
	if len(block) < 8 {
		return nil
	}
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(block))), len(block)/8)
}

// Int64s is Uint64s for signed numbers.
func Int64s(block []byte) []int64 {
	if len(block) < 8 {
		return nil
	}
	return unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(block))), len(block)/8)
}

// Counter is the number at p[0:4], where p begins at a multiple of 4 within a block.
func Counter(p []byte) *atomic.Uint32 {
	p = p[:4]
	return (*atomic.Uint32)(unsafe.Pointer(unsafe.SliceData(p)))
}

// Block is where a block begins, in one word: for who looks at a block more than once. It is found as Bytes is and
// valid as long, but knows no length: the caller keeps within the block. The zero Block is none.
type Block struct{ p *byte }

// Block is the block of r.
func (a *Arena) Block(r Ref) Block { return Block{unsafe.SliceData(a.Bytes(r))} }

// Slice is the bytes [lo, hi) of the block; lo is at most hi.
func (b Block) Slice(lo, hi int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(b.p), lo)), hi-lo)
}

// Uint32 is the little-endian number at off.
func (b Block) Uint32(off int) uint32 {
	return binary.LittleEndian.Uint32((*[4]byte)(unsafe.Add(unsafe.Pointer(b.p), off))[:])
}

// Uint64 is the little-endian number at off.
func (b Block) Uint64(off int) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(unsafe.Pointer(b.p), off))[:])
}

// Counter is the number at off, a multiple of 4.
func (b Block) Counter(off int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Add(unsafe.Pointer(b.p), off))
}

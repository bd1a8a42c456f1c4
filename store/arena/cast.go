// SPDX-License-Identifier: Apache-2.0

package arena

import (
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

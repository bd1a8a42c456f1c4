// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"math/bits"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// HugePiece is the size of pieces that Mapped takes from regions of huge pages.
	HugePiece = 2 << 20
	// regionPieces is how many of them are asked of the system at once.
	regionPieces = 32
)

// MappedMemory hands out big pieces of memory that the garbage collector does not know of. Its
// methods may be called from any goroutine.
//
// What is freed goes back to the system at once, its addresses are kept for the next piece of about
// that size: unmapping would split a mapping at every hole, and a process may have no more than
// some ten thousands of those.
type MappedMemory struct {
	mu struct {
		sync.Mutex
		free   map[int][][]byte // by span; without memory behind them
		region []byte           // not handed out yet, in whole huge pieces
		taken  int64            // bytes handed out, whole spans
	}
}

// Mapped returns memory from anonymous mappings. (Elsewhere than on Linux it is the Go heap.)
func Mapped() *MappedMemory {
	m := &MappedMemory{}
	m.mu.free = map[int][][]byte{}
	return m
}

// Alloc returns size bytes, which is more than 0. They start at a multiple of 4 KiB, and a piece of
// HugePiece at a multiple of itself; their content is undefined. A process that the system has no
// memory for stops.
func (m *MappedMemory) Alloc(size int) []byte {
	if size <= 0 {
		panic("host: a mapping of no bytes")
	}
	span := mappedSpan(size)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.taken += int64(span)
	if free := m.mu.free[span]; len(free) > 0 {
		p := free[len(free)-1]
		free[len(free)-1] = nil
		m.mu.free[span] = free[:len(free)-1]
		return p[:size]
	}
	if span != HugePiece {
		return mapBytes(span, unix.MADV_NOHUGEPAGE)[:size]
	}
	if len(m.mu.region) == 0 {
		m.mu.region = mapRegion()
	}
	p := m.mu.region[:size:HugePiece]
	m.mu.region = m.mu.region[HugePiece:]
	return p
}

// Free takes back what Alloc returned. Its bytes must not be touched any more.
func (m *MappedMemory) Free(p []byte) {
	p = p[:cap(p)]
	// An error leaves the bytes resident until the piece is used again: there is nothing to mend.
	_ = retryEINTR(func() error { return unix.Madvise(p, unix.MADV_DONTNEED) })
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.taken -= int64(len(p))
	m.mu.free[len(p)] = append(m.mu.free[len(p)], p)
}

// Taken is how many bytes are handed out.
func (m *MappedMemory) Taken() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.taken
}

// mapRegion asks for huge pages, and mapBytes for none elsewhere. Figures for 20 million blocks of
// 136 bytes (2,593 MiB) filled one after the other, in a virtual machine with two cores:
//
//	                                      4 KiB pages       huge pages
//	resident after 0.1 / 13 / 130 MiB     0 / 13 / 132      2 / 14 / 134 MiB
//	resident at the end                   2,635             2,637 MiB
//	first write to memory                 360               180 µs/MiB
//	read of a random block                395               291 ns
//	longest fault                         0.3               1.4 ms (mean 0.35)
//	after 94 % were freed, compacted      198               197 MiB for 162 live
//
// Huge pages cost at most the one that is being filled, because a piece is one whole huge page: it
// is never given back in part, so the kernel has no half-empty ones to fill up again by itself,
// which is how they inflate other programs. Other pieces take more addresses than bytes and lie
// across such pages: they have small ones.
func mapRegion() []byte {
	p := mapBytes((regionPieces+1)*HugePiece, unix.MADV_HUGEPAGE)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(p))) & (HugePiece - 1))
	return p[off : off+regionPieces*HugePiece]
}

func mapBytes(n, advice int) []byte {
	p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		panic(fmt.Sprintf("host: no memory: a mapping of %d bytes: %v", n, err))
	}
	_ = unix.Madvise(p, advice) // a kernel without huge pages knows neither advice
	return p
}

// mappedSpan is how many addresses a piece takes: whole pages, at eight sizes a doubling, so that
// freed spans find a use. There is memory only where bytes were written.
func mappedSpan(size int) int {
	step := max(4<<10, 1<<max(0, bits.Len(uint(size-1))-4))
	return (size + step - 1) &^ (step - 1)
}

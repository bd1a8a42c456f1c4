// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package host

// MappedMemory is the Go heap where it is not Linux's mappings.
type MappedMemory struct{}

// Mapped returns memory for big pieces.
func Mapped() *MappedMemory { return &MappedMemory{} }

// Alloc returns size bytes.
func (*MappedMemory) Alloc(size int) []byte { return make([]byte, size) }

// Free takes back what Alloc returned.
func (*MappedMemory) Free([]byte) {}

// Taken is 0: the garbage collector knows of all of it.
func (*MappedMemory) Taken() int64 { return 0 }

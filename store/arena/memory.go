// SPDX-License-Identifier: Apache-2.0

package arena

// Memory hands out and takes back big pieces. Its methods may be called from any goroutine.
type Memory interface {
	// Alloc returns size bytes, a multiple of the page size, that start at a multiple of 8. Their
	// content is undefined. It does not fail: a process without memory stops, as under the Go
	// runtime.
	Alloc(size int) []byte
	// Free takes back exactly what Alloc returned.
	Free(p []byte)
}

// Heap is Memory from the Go heap, for tests and small stores.
func Heap() Memory { return heap{} }

type heap struct{}

func (heap) Alloc(size int) []byte { return make([]byte, size) }

func (heap) Free([]byte) {}

// SPDX-License-Identifier: Apache-2.0

package arena

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// counting is Memory that knows how much of it is lent.
type counting struct{ out atomic.Int64 }

func (c *counting) Alloc(size int) []byte {
	c.out.Add(int64(size))
	return make([]byte, size)
}

func (c *counting) Free(p []byte) { c.out.Add(-int64(len(p))) }

// Goal: an arena that is dropped without Release gives its memory back, as the store of a replica that
// was stopped does. Method: collect garbage until the memory is back.
func TestDroppedArena(t *testing.T) {
	m := new(counting)
	func() {
		a := New(m)
		a.Alloc(100)
		a.Alloc(10 << 20)
	}()
	if m.out.Load() < 10<<20 {
		t.Fatal("nothing is lent")
	}
	for end := time.Now().Add(10 * time.Second); m.out.Load() != 0; runtime.GC() {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are still lent", m.out.Load())
		}
	}
}

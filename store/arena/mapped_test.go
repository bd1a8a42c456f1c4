// SPDX-License-Identifier: Apache-2.0

package arena_test

import (
	"testing"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/store/arena"
)

var _ arena.Memory = (*host.MappedMemory)(nil)

// TestMapped runs an arena over the memory it is made for, with blocks of every kind.
func TestMapped(t *testing.T) {
	a := arena.New(host.Mapped())
	for round := range 3 {
		var refs []arena.Ref
		for n := 1; n < 3*arena.ChunkBytes; n += 1 + n/20 {
			r, p := a.Alloc(n)
			p[0], p[n-1] = byte(n), byte(n)
			if b := a.Bytes(r); b[0] != byte(n) || b[n-1] != byte(n) || len(b) < n {
				t.Fatalf("round %d: block of %d bytes is elsewhere", round, n)
			}
			refs = append(refs, r)
		}
		for _, r := range refs {
			a.Free(r)
		}
	}
	a.Settle()
	if s := a.Stats(); s.Memory > arena.KeepChunks*arena.ChunkBytes || s.Blocks != 0 {
		t.Errorf("%+v", s)
	}
	a.Release()
}

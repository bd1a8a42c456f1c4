// SPDX-License-Identifier: Apache-2.0

package snapshots

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// sections makes what 16 slots of small entries look like.
func sections() (out []part, size int64) {
	for i := range uint32(16) {
		var p []byte
		for j := range 600 {
			p = fmt.Appendf(p, "key:%012d", j*7919)
			p = append(p, noise(100, uint64(j))...)
		}
		out = append(out, part{2, i, p})
		size += int64(len(p))
	}
	return out, size
}

func BenchmarkWrite(b *testing.B) {
	parts, size := sections()
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		w, err := NewWriter(io.Discard, Header{})
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range parts {
			if err := w.Section(p.kind, p.id, p.data); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	parts, size := sections()
	data := stream(b, Header{}, parts)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Inspect(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

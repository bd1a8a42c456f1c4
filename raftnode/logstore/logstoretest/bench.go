// SPDX-License-Identifier: Apache-2.0

package logstoretest

import (
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
)

// Benchmark measures appends, which cost a sync each, and reads of the newest and of old entries.
func Benchmark(b *testing.B, fresh Fresh) {
	for _, size := range []struct{ n, bytes int }{{1, 128}, {1, 16 << 10}, {8, 16 << 10}, {1, 256 << 10}} {
		b.Run(fmt.Sprintf("StoreLogs/entries=%d/bytes=%d", size.n, size.bytes), func(b *testing.B) {
			t := newBench(b, fresh)
			logs := t.m.batch(size.n, size.bytes, 1)
			b.SetBytes(int64(size.n * size.bytes))
			b.ReportAllocs()
			for b.Loop() {
				if err := t.s.StoreLogs(logs); err != nil {
					b.Fatal(err)
				}
				for _, l := range logs {
					l.Index += uint64(size.n)
				}
			}
			t.close(b)
		})
	}
	for _, reopened := range []bool{false, true} {
		b.Run(fmt.Sprintf("GetLog/reopened=%v", reopened), func(b *testing.B) {
			t := newBench(b, fresh)
			t.append(b, 1000, 1024, 1)
			if reopened {
				t.close(b)
				t.open(b)
			}
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				var l raft.Log
				if err := t.s.GetLog(1+i%1000, &l); err != nil {
					b.Fatal(err)
				}
			}
			t.close(b)
		})
	}
}

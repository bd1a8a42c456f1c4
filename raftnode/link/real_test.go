// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
)

// realPair is two links on real loopback; b echoes on control and sums streams on bulk.
func realPair(tb testing.TB) (a, b *Link) {
	tb.Helper()
	addrs := make(map[string]string)
	var links []*Link
	for _, name := range []string{"a", "b"} {
		l, err := New(Config{Host: host.Real(), Node: name, Logger: quiet})
		if err != nil {
			tb.Fatal(err)
		}
		l.SetCluster(testCluster)
		l.SetDirectory(func(node string) (string, bool) { addr, ok := addrs[node]; return addr, ok })
		if err := l.Listen("127.0.0.1:0"); err != nil {
			tb.Fatal(err)
		}
		addrs[name] = l.Addr()
		tb.Cleanup(func() { _ = l.Close() })
		links = append(links, l)
	}
	a, b = links[0], links[1]
	b.Handle(ClassControl, func(_ context.Context, _ string, req []byte) ([]byte, error) { return req, nil })
	b.HandleStream(ClassBulk, sum)
	return a, b
}

func TestRealLoopback(t *testing.T) {
	a, _ := realPair(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			req := bytes.Repeat(fmt.Appendf(nil, "%d.", i), 1+i*i)
			got, err := a.Call(t.Context(), "b", ClassControl, bytes.Clone(req))
			if err != nil || !bytes.Equal(got, req) {
				t.Errorf("call %d: %d of %d bytes, %v", i, len(got), len(req), err)
			}
		})
	}
	wg.Go(func() {
		data := bytes.Repeat([]byte("snapshot"), 1<<20)
		s, err := a.OpenStream(t.Context(), "b", ClassBulk, nil)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.Copy(struct{ io.Writer }{s}, bytes.NewReader(data)); err != nil {
			t.Error(err)
		}
		want, _ := sum(nil, "", nil, bytes.NewReader(data))
		if got, err := s.Finish(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("stream = %q, %v", got, err)
		}
	})
	wg.Wait()
}

// The read fence makes many small calls: their cost is a feature.
func TestCallAllocations(t *testing.T) {
	a, _ := realPair(t)
	req := make([]byte, 64)
	call := func() {
		if _, err := a.Call(context.Background(), "b", ClassControl, req); err != nil {
			t.Fatal(err)
		}
	}
	call()
	// Both sides together: the request, the reply, the request's state and its goroutine.
	if n := testing.AllocsPerRun(2000, call); n > 7 {
		t.Errorf("a round trip allocates %v times", n)
	}
}

func BenchmarkCall(b *testing.B) {
	for _, size := range []int{64, 4 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("size=%dB", size), func(b *testing.B) {
			l, _ := realPair(b)
			req := make([]byte, size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := l.Call(context.Background(), "b", ClassControl, req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("size=64B/parallel=64", func(b *testing.B) {
		l, _ := realPair(b)
		req := make([]byte, 64)
		b.ReportAllocs()
		b.SetParallelism(64)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := l.Call(context.Background(), "b", ClassControl, req); err != nil {
					b.Error(err)
					return
				}
			}
		})
		s := l.Stats()
		b.ReportMetric(float64(s.FramesOut)/float64(s.Writes), "frames/write")
	})
}

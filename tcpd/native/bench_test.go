// SPDX-License-Identifier: Apache-2.0

package native_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
	"github.com/kvorum/kvorum/tcpd/native"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

// nothing answers at once: what is left is the edge.
type nothing struct {
	*tcpdtest.Router
	value []byte
}

func (n *nothing) Stream(
	_ context.Context, _ *shard.Caller, cmds []fsm.Command, out []shard.Reply, hand func([]shard.Reply) error,
) error {
	for i := range cmds {
		out[i] = shard.Reply{Result: fsm.Result{Kind: fsm.KindBulk, Str: n.value}}
	}
	return hand(out)
}

func serve(b *testing.B) (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr = ln.Addr().String()
	r := &nothing{Router: tcpdtest.New("n"), value: make([]byte, 100)}
	m := tcpdtest.NewMap(2, "n")
	m.Nodes["n"] = shard.NodePlace{Name: "n", Addrs: map[string]string{"native": addr}}
	r.SetMap(m)
	h, err := native.New(native.Config{Router: r, Table: r.Table(), NodeID: "n"})
	if err != nil {
		b.Fatal(err)
	}
	srv, err := tcpd.New(tcpd.Config{Open: h.Open, MaxCommand: h.MaxCommand()})
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ln) })
	b.Cleanup(func() { _ = srv.Close(); wg.Wait(); h.Close() })
	return addr
}

// BenchmarkEdge measures client and edge over loopback, both in this process, with a router that
// answers at once.
func BenchmarkEdge(b *testing.B) {
	for _, conns := range []int{1, 50} {
		b.Run(fmt.Sprintf("bare/conns=%d", conns), func(b *testing.B) { benchBare(b, conns) })
	}
	for _, pipeline := range []int{1, 16} {
		for _, conns := range []int{1, 50} {
			b.Run(fmt.Sprintf("conn/conns=%d/pipeline=%d", conns, pipeline), func(b *testing.B) { benchConns(b, conns, pipeline) })
		}
	}
	for _, exclusive := range []int{0, 50} {
		for _, callers := range []int{1, 50} {
			b.Run(fmt.Sprintf("client/callers=%d/exclusive=%d", callers, exclusive), func(b *testing.B) { benchClient(b, callers, exclusive) })
		}
	}
	b.Run("futures", benchFutures)
}

// benchBare is the mark: sockets and goroutines alone, the same number of bytes, nothing looked at.
func benchBare(b *testing.B, n int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				in, out := make([]byte, 4096), make([]byte, 119)
				for {
					if _, err := nc.Read(in); err != nil {
						_ = nc.Close()
						return
					}
					_, _ = nc.Write(out)
				}
			})
		}
	})
	conns := make([]net.Conn, n)
	for i := range conns {
		if conns[i], err = net.Dial("tcp", ln.Addr().String()); err != nil {
			b.Fatal(err)
		}
	}
	in, out := make([]byte, 4096), make([]byte, 39)
	spread(b, n, 1, func(w int) {
		_, _ = conns[w].Write(out)
		_, _ = conns[w].Read(in)
	})
	b.StopTimer()
	for _, nc := range conns {
		_ = nc.Close()
	}
	_ = ln.Close()
	wg.Wait()
}

// spread runs b.N times f over workers.
func spread(b *testing.B, workers, step int, f func(worker int)) {
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	for w := range workers {
		wg.Go(func() {
			for left.Add(-int64(step)) > -int64(step) {
				f(w)
			}
		})
	}
	wg.Wait()
}

func benchConns(b *testing.B, n, pipeline int) {
	addr, ctx := serve(b), context.Background()
	conns := make([]*client.Conn, n)
	for i := range conns {
		c, err := client.DialConn(ctx, addr)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	cmd := client.Get("some-key-of-16-b")
	spread(b, n, pipeline, func(w int) {
		for range pipeline {
			_ = conns[w].Send(cmd)
		}
		if err := conns[w].Flush(ctx); err != nil {
			b.Error(err)
		}
		for range pipeline {
			if _, err := conns[w].Receive(ctx); err != nil {
				b.Error(err)
			}
		}
	})
}

func benchClient(b *testing.B, callers, exclusive int) {
	c, err := client.Dial(context.Background(), []string{serve(b)}, client.WithExclusiveConns(exclusive))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	cmd := client.Get("some-key-of-16-b")
	spread(b, callers, 1, func(int) {
		if _, err := c.Do(context.Background(), cmd); err != nil {
			b.Error(err)
		}
	})
}

func benchFutures(b *testing.B) {
	c, err := client.Dial(context.Background(), []string{serve(b)})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	cmd := client.Get("some-key-of-16-b")
	ctx := context.Background()
	const batch = 64
	spread(b, 4, batch, func(int) {
		var fs [batch]*client.Future
		for i := range fs {
			fs[i] = c.Go(ctx, cmd)
		}
		for _, f := range fs {
			if err := f.Err(ctx); err != nil {
				b.Error(err)
			}
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package tcpd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/kvorum/kvorum/internal/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is the protocol of these tests: u32 length and body, answered with the same. A body "bye"
// ends the connection behind its reply; a body "wait" is answered when release is closed.
type echo struct {
	c       *Conn
	calls   *atomic.Int64
	release chan struct{}
	drained atomic.Int64
	closed  atomic.Int64
	out     []byte
}

func (e *echo) Serve(ctx context.Context, in []byte) (n, need int, err error) {
	if e.calls != nil {
		e.calls.Add(1)
	}
	e.out = e.out[:0]
	for err == nil {
		if len(in)-n < 4 {
			break
		}
		size := 4 + int(binary.BigEndian.Uint32(in[n:]))
		if len(in)-n < size {
			need = size
			break
		}
		body := in[n+4 : n+size]
		if string(body) == "wait" {
			select {
			case <-e.release:
			case <-ctx.Done():
				return n, 0, ctx.Err()
			}
		}
		if string(body) == "bye" {
			err = ErrEnd
		}
		e.out = append(e.out, in[n:n+size]...)
		n += size
	}
	if len(e.out) > 0 {
		if werr := e.c.Write(e.out); werr != nil {
			return n, 0, werr
		}
	}
	return n, need, err
}

func (e *echo) Drain() { e.drained.Add(1) }
func (e *echo) Close() { e.closed.Add(1) }

// bench is a Server on an in-memory network.
type bench struct {
	t        testing.TB
	world    *host.World
	srv      *Server
	calls    atomic.Int64
	release  chan struct{}
	served   chan error
	mu       sync.Mutex
	sessions []*echo
}

func newBench(t testing.TB, edit func(*Config)) *bench {
	b := &bench{t: t, world: host.NewWorld(1), release: make(chan struct{}), served: make(chan error, 1)}
	cfg := Config{Protocol: "echo", MaxCommand: 1 << 20, Open: func(c *Conn) Session {
		e := &echo{c: c, calls: &b.calls, release: b.release}
		b.mu.Lock()
		b.sessions = append(b.sessions, e)
		b.mu.Unlock()
		return e
	}}
	if edit != nil {
		edit(&cfg)
	}
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.srv = srv
	ln, err := b.world.Host("server").Net.Listen(":7402")
	if err != nil {
		t.Fatal(err)
	}
	go func() { b.served <- srv.Serve(ln) }()
	return b
}

func (b *bench) close() {
	_ = b.srv.Close()
	if err := <-b.served; !errors.Is(err, ErrClosed) {
		b.t.Errorf("Serve returned %v", err)
	}
	for _, e := range b.sessions {
		if e.closed.Load() != 1 || e.drained.Load() > 1 {
			b.t.Errorf("session closed %d times, drained %d times", e.closed.Load(), e.drained.Load())
		}
	}
	b.world.Close()
}

func (b *bench) dial() net.Conn {
	b.t.Helper()
	nc, err := b.world.Host("client").Net.Dial(context.Background(), "server:7402")
	if err != nil {
		b.t.Fatal(err)
	}
	return nc
}

func frame(body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func (b *bench) send(nc net.Conn, p []byte) {
	b.t.Helper()
	if _, err := nc.Write(p); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) expect(nc net.Conn, want []byte) {
	b.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
		b.t.Fatalf("got %d bytes, err %v, want %d bytes", len(got), err, len(want))
	}
}

func (b *bench) expectEnd(nc net.Conn) {
	b.t.Helper()
	if n, err := nc.Read(make([]byte, 1)); n != 0 || err == nil {
		b.t.Fatalf("connection goes on: %d bytes, err %v", n, err)
	}
	_ = nc.Close()
}

// Goal: commands sent together are served together. Method: count the calls.
func TestPipelinedCommandsAreOneCall(t *testing.T) {
	b := newBench(t, nil)
	defer b.close()
	nc := b.dial()
	defer nc.Close()
	all := bytes.Repeat(frame("hello"), 100)
	b.send(nc, all)
	b.expect(nc, all)
	if got := b.calls.Load(); got != 1 {
		t.Errorf("%d calls for one packet of 100 commands", got)
	}
}

// Goal: where a stream is cut into packets changes nothing. Method: cut it at every offset.
func TestEverySplit(t *testing.T) {
	b := newBench(t, nil)
	defer b.close()
	nc := b.dial()
	defer nc.Close()
	all := append(frame("one"), append(frame(""), frame("three")...)...)
	for cut := 1; cut < len(all); cut++ {
		b.send(nc, all[:cut])
		b.send(nc, all[cut:])
		b.expect(nc, all)
	}
	for i := range all {
		b.send(nc, all[i:i+1])
	}
	b.expect(nc, all)
}

// Goal: a command of any size up to the limit is served, one past it ends the connection, and the
// budget is whole again afterwards.
func TestCommandLimit(t *testing.T) {
	budget := NewBudget(2 << 20)
	b := newBench(t, func(c *Config) { c.Budget = budget })
	defer b.close()
	nc := b.dial()
	for _, n := range []int{0, 1, MinBuffer, BaseBuffer - 4, BaseBuffer - 3, 300_000, 1<<20 - 4, 10} {
		f := frame(string(bytes.Repeat([]byte("x"), n)))
		go func() { _, _ = nc.Write(f) }()
		b.expect(nc, f)
	}
	if got := budget.Free(); got != 2<<20 {
		t.Errorf("%d bytes of the budget are missing", 2<<20-got)
	}
	b.send(nc, binary.BigEndian.AppendUint32(nil, 1<<20-3))
	b.expectEnd(nc)
}

// Goal: more large commands than the budget holds are served one behind the other, none is lost.
func TestBudgetIsShared(t *testing.T) {
	budget := NewBudget(1 << 20)
	b := newBench(t, func(c *Config) { c.Budget = budget })
	defer b.close()
	f := frame(string(bytes.Repeat([]byte("x"), 700_000)))
	var wg sync.WaitGroup
	for range 4 {
		nc := b.dial()
		wg.Go(func() {
			defer nc.Close()
			go func() { _, _ = nc.Write(f) }()
			b.expect(nc, f)
		})
	}
	wg.Wait()
	nc := b.dial()
	defer nc.Close()
	b.send(nc, frame("still here"))
	b.expect(nc, frame("still here"))
}

// Goal: a connection over the limit is told so and closed; the others, and one that comes after one
// left, are served.
func TestMaxConns(t *testing.T) {
	b := newBench(t, func(c *Config) { c.MaxConns, c.Refusal = 2, []byte("full") })
	defer b.close()
	first, second := b.dial(), b.dial()
	defer second.Close()
	for _, nc := range []net.Conn{first, second} {
		b.send(nc, frame("x"))
		b.expect(nc, frame("x"))
	}
	third := b.dial()
	b.expect(third, []byte("full"))
	b.expectEnd(third)
	if s := b.srv.Stats(); s.Open != 2 || s.Accepted != 2 || s.Refused != 1 || s.BytesIn != 10 || s.BytesOut != 10 {
		t.Errorf("stats: %+v", s)
	}
	_ = first.Close()
	for { // until the server noticed
		nc := b.dial()
		_, _ = nc.Write(frame("x"))
		got := make([]byte, 5)
		_, err := io.ReadFull(nc, got)
		_ = nc.Close()
		if err == nil && bytes.Equal(got, frame("x")) {
			break
		}
	}
	b.send(second, frame("y"))
	b.expect(second, frame("y"))
}

// Goal: the reply in front of an orderly end arrives although input behind it was never read.
// Method: real TCP, where closing with unread input destroys replies.
func TestLastReplyArrives(t *testing.T) {
	var sess *echo
	srv, err := New(Config{Open: func(c *Conn) Session { sess = &echo{c: c}; return sess }})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write(append(frame("bye"), make([]byte, 200_000)...)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(nc)
	if err != nil || !bytes.Equal(got, frame("bye")) {
		t.Errorf("got %q, err %v", got, err)
	}
	_ = nc.Close()
	_ = srv.Close()
	if err := <-served; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := srv.Serve(ln); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	if _, err := New(Config{MaxConns: -1, MaxCommand: -1, IdleTimeout: -1}); err == nil {
		t.Fatal("accepted")
	} else if n := len(bytes.Split([]byte(err.Error()), []byte("\n"))); n != 4 {
		t.Errorf("%d faults reported, want 4: %v", n, err)
	}
}

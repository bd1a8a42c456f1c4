// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
	"github.com/kvorum/kvorum/tcpd/native"
)

func (cl *cluster) conn(opts ...client.Option) *client.Conn {
	cl.t.Helper()
	c, err := client.DialConn(context.Background(), "n0:7402", append([]client.Option{cl.dialer()}, opts...)...)
	if err != nil {
		cl.t.Fatal(err)
	}
	return c
}

func TestConn(t *testing.T) {
	cl := newCluster(t, 1)
	defer cl.close()
	c := cl.conn()
	ctx := context.Background()
	if c.NodeID() != "n0" {
		t.Errorf("node id %q", c.NodeID())
	}
	if _, err := c.Do(ctx, client.Set("k", []byte("v"))); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := c.Send(client.IncrBy("n", int64(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for i := range int64(100) {
		sum += i
		if v, err := c.Receive(ctx); err != nil || v.Int != sum {
			t.Fatalf("answer %d: %+v, err %v", i, v, err)
		}
	}
	if _, err := c.Receive(ctx); !errors.Is(err, client.ErrProtocol) {
		t.Errorf("an answer too many: %v", err)
	}
	if _, err := c.Do(ctx, client.Command("incr", "k")); !errors.Is(err, client.ErrNotInteger) {
		t.Errorf("outcome: %v", err)
	}
	cl.nodes[0].times(1, fsm.OpGet, fail(shard.KindNoQuorum), false)
	if _, err := c.Do(ctx, client.Get("k")); !errors.Is(err, client.ErrNotApplied) {
		t.Errorf("failure: %v", err)
	}
	if v, err := c.Do(ctx, client.Get("k").Stale()); err != nil || string(v.Str) != "v" || !cl.router.LastCaller().Stale {
		t.Errorf("%+v, err %v", v, err)
	}
	_ = c.Send(client.Get("k"))
	if _, err := c.Do(ctx, client.Get("k")); !errors.Is(err, client.ErrProtocol) || !errors.Is(err, client.ErrNotApplied) {
		t.Errorf("a call between: %v", err)
	}
	_ = c.Close()
	if _, err := c.Do(ctx, client.Get("k")); err == nil {
		t.Error("a call after Close")
	}
}

// Goal: a connection that may hold half an answer is never used again.
func TestConnBreaksOnTimeout(t *testing.T) {
	cl := newCluster(t, 1)
	defer cl.close()
	release := make(chan struct{})
	cl.router.Before = func(context.Context, *shard.Caller, *fsm.Command) error { <-release; return nil }
	defer close(release)
	c := cl.conn(client.WithTimeout(20 * time.Millisecond))
	defer c.Close()
	if _, err := c.Do(context.Background(), client.Set("k", nil)); !errors.Is(err, client.ErrTimeout) || !errors.Is(err, client.ErrUnknown) {
		t.Errorf("err %v", err)
	}
	if _, err := c.Do(context.Background(), client.Set("k", nil)); !errors.Is(err, client.ErrTimeout) || !errors.Is(err, client.ErrNotApplied) {
		t.Errorf("again: %v", err)
	}
}

// counted counts what a connection asks of the system.
type counted struct {
	net.Conn
	reads, writes, others *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error)    { c.reads.Add(1); return c.Conn.Read(p) }
func (c *counted) Write(p []byte) (int, error)   { c.writes.Add(1); return c.Conn.Write(p) }
func (c *counted) SetDeadline(t time.Time) error { c.others.Add(1); return c.Conn.SetDeadline(t) }
func (c *counted) SetReadDeadline(t time.Time) error {
	c.others.Add(1)
	return c.Conn.SetReadDeadline(t)
}

func (c *counted) SetWriteDeadline(t time.Time) error {
	c.others.Add(1)
	return c.Conn.SetWriteDeadline(t)
}

// Goal: a call on a Conn, or on an exclusive connection of a Client, is one write and one read, and a
// Conn makes no memory for a plain answer.
func TestCallCosts(t *testing.T) {
	cl := newCluster(t, 1)
	defer cl.close()
	var reads, writes, others atomic.Int64
	dial := client.WithDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := cl.world.Host("client").Net.Dial(ctx, addr)
		return &counted{nc, &reads, &writes, &others}, err
	})
	ctx := context.Background()
	conn := cl.conn(dial)
	defer conn.Close()
	c := cl.dial(dial, client.WithExclusiveConns(1), client.WithConns(1))
	defer c.Close()
	get := client.Get("k")
	if _, _, err := c.Get(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"conn":   func() error { _, err := conn.Do(ctx, get); return err },
		"client": func() error { _, err := c.Do(ctx, get); return err },
	} {
		reads.Store(0)
		writes.Store(0)
		others.Store(0)
		for range 200 {
			if err := call(); err != nil {
				t.Fatal(err)
			}
		}
		// The client may ask for the topology meanwhile.
		if reads.Load() > 202 || writes.Load() > 202 || others.Load() > 4 {
			t.Errorf("%s: %d reads, %d writes and %d others for 200 calls", name, reads.Load(), writes.Load(), others.Load())
		}
	}
}

// garbage is a server that answers the first bytes of each connection with a fixed text and then
// everything with another.
func garbage(t *testing.T, cl *cluster, hello, answer []byte) (addr string) {
	t.Helper()
	ln, err := cl.world.Host("evil").Net.Listen(":1")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 4096)
			if _, err := nc.Read(buf); err == nil {
				_, _ = nc.Write(hello)
			}
			if _, err := nc.Read(buf); err == nil {
				_, _ = nc.Write(answer)
			}
			_, _ = nc.Read(buf)
			_ = nc.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-done; cl.close() })
	return "evil:1"
}

func TestGarbageFromServer(t *testing.T) {
	welcome := wire.AppendWelcome(nil, &wire.Welcome{Version: 2, MaxFrame: 1000, MaxInFlight: 10})
	tests := []struct {
		name          string
		hello, answer []byte
		want          error
	}{
		{"no welcome", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), nil, client.ErrProtocol},
		{"refused", wire.AppendWelcome(nil, &wire.Welcome{Kind: wire.FailDenied, Text: "no"}), nil, client.ErrRefused},
		{"too many connections", native.Refusal(), nil, client.ErrRefused},
		{"broken refusal", []byte{1, 9}, nil, client.ErrProtocol},
		{"frame too long", welcome, []byte{0xff, 0xff, 0xff, 0xff}, client.ErrProtocol},
		{"answer to nothing", welcome, wire.AppendBare(nil, wire.FramePong, 77), client.ErrProtocol},
		{"broken value", welcome, wire.EndResult(append(wire.BeginResult(nil, 1, ""), 99), 0), client.ErrProtocol},
		{"another frame", welcome, wire.AppendBare(nil, wire.FramePong, 1), client.ErrProtocol},
		{"the last word", welcome, wire.AppendFailure(nil, 0, &wire.Failure{Kind: wire.FailProtocol, Text: "x"}), client.ErrProtocol},
		{"an end", welcome, nil, client.ErrConnLost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cl := newCluster(t, 0)
			addr := garbage(t, cl, tt.hello, tt.answer)
			ctx := context.Background()
			patience := 30 * time.Second
			if tt.answer == nil {
				patience = 50 * time.Millisecond
			}
			c, err := client.DialConn(ctx, addr, cl.dialer(), client.WithMaxReply(1<<20), client.WithTimeout(patience))
			if err == nil {
				_, err = c.Do(ctx, client.Get("k"))
				if tt.answer == nil && errors.Is(err, client.ErrTimeout) {
					err = client.ErrConnLost
				}
				_ = c.Close()
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("conn: %v, want %v", err, tt.want)
			}
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			if many, err := client.Dial(short, []string{addr}, cl.dialer()); err == nil {
				_ = many.Close()
				t.Error("a client without a cluster")
			}
		})
	}
}

func TestDialErrors(t *testing.T) {
	ctx := context.Background()
	cl := newCluster(t, 1)
	defer cl.close()
	if _, err := client.Dial(ctx, nil); err == nil {
		t.Error("no address")
	}
	_, err := client.Dial(ctx, []string{"n0:1", "n0:2"}, cl.dialer())
	if !errors.Is(err, client.ErrNoNode) || !errors.Is(err, client.ErrNotApplied) {
		t.Errorf("nobody there: %v", err)
	}
	c, err := client.Dial(ctx, []string{"n0:1", "n0:7402"}, cl.dialer())
	if err != nil {
		t.Fatalf("one of two there: %v", err)
	}
	_ = c.Close()
	for i, o := range []client.Option{
		client.WithConns(0), client.WithExclusiveConns(-1), client.WithTimeout(0), client.WithAttemptTimeout(-1),
		client.WithDialTimeout(0), client.WithMaxReply(0), client.WithMaxReply(wire.MaxReply + 1),
		client.WithPassword("u", string(make([]byte, client.MaxCredential+1))),
	} {
		if _, err := client.Dial(ctx, []string{"n0:7402"}, cl.dialer(), o); err == nil {
			t.Errorf("option %d was accepted", i)
		}
		if _, err := client.DialConn(ctx, "n0:7402", cl.dialer(), o); err == nil {
			t.Errorf("option %d was accepted for a Conn", i)
		}
	}
}

func TestCredentials(t *testing.T) {
	cl := newCluster(t, 1)
	defer cl.close()
	h, err := native.New(native.Config{
		Router: cl.router, Table: cl.router.Table(),
		Authenticate: func(_ context.Context, m wire.Method, user, secret string) (string, error) {
			if s := fmt.Sprintf("%d %s %s", m, user, secret); s == "1 ann pw" || s == "2  bearer" {
				return "x", nil
			}
			return "", errors.New("no")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	srv, err := tcpd.New(tcpd.Config{Open: h.Open, MaxCommand: h.MaxCommand()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := cl.world.Host("auth").Net.Listen(":7402")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	defer func() { _ = srv.Close(); <-served }()
	for _, tt := range []struct {
		opt client.Option
		ok  bool
	}{
		{client.WithPassword("ann", "pw"), true},
		{client.WithToken("bearer"), true},
		{client.WithPassword("ann", "x"), false},
		{client.WithName("nobody"), false},
	} {
		c, err := client.DialConn(context.Background(), "auth:7402", cl.dialer(), tt.opt)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, client.ErrRefused) {
			t.Errorf("err %v", err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

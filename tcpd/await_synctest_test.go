// SPDX-License-Identifier: Apache-2.0

package tcpd_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/tcpd"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

// sleeper answers each line with itself; it waits first at the line "wait".
type sleeper struct {
	c     *tcpd.Conn
	until time.Duration // 0 for ever
	gone  chan error    // what Await ended with
}

func (s *sleeper) Serve(_ context.Context, in []byte) (n, need int, err error) {
	for {
		end := bytes.IndexByte(in[n:], '\n')
		if end < 0 {
			return n, 0, nil
		}
		line := in[n : n+end+1]
		if string(line) == "wait\n" {
			s.c.After(s.wait)
			return n + end + 1, 0, nil
		}
		if err := s.c.Write(line); err != nil {
			return n, 0, err
		}
		n += end + 1
	}
}

func (s *sleeper) wait(context.Context) error {
	var until time.Time
	if s.until > 0 {
		until = time.Now().Add(s.until)
	}
	err := s.c.Await(until)
	if s.gone <- err; err != nil {
		return err
	}
	return s.c.Write([]byte("wait\n"))
}

func (s *sleeper) Drain() { s.c.Interrupt() }
func (s *sleeper) Close() {}

type sleepers struct {
	*tcpdtest.Server
	s *sleeper
}

func (b *sleepers) dial(t *testing.T) net.Conn {
	nc := b.Dial(t)
	synctest.Wait()
	return nc
}

func serveSleepers(t *testing.T, until time.Duration) *sleepers {
	b := &sleepers{}
	b.Server = tcpdtest.Serve(t, ":1", tcpd.Config{IdleTimeout: time.Minute, MaxCommand: 1 << 20, Open: func(c *tcpd.Conn) tcpd.Session {
		b.s = &sleeper{c: c, until: until, gone: make(chan error, 8)}
		return b.s
	}})
	return b
}

func (b *sleepers) stop(t *testing.T) {
	b.Stop(t)
	b.World.Close()
}

// TestAwaitInterrupted: what waits is woken, what was sent behind it is served in its order, once, and the
// connection's idle time begins anew.
func TestAwaitInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := serveSleepers(t, 0)
		defer b.stop(t)
		nc := b.dial(t)
		defer nc.Close()
		for many, wait := range map[int]time.Duration{
			0: 2 * time.Minute, 1: 2 * time.Minute, // longer than IdleTimeout
			100_000: 20 * time.Second, // more than is kept, for less than StallTimeout
		} {
			behind := strings.Repeat("x\n", many)
			go func() { _, _ = io.WriteString(nc, "a\nwait\nb\n"+behind) }()
			got := make([]byte, 2)
			if _, err := io.ReadFull(nc, got); err != nil || string(got) != "a\n" {
				t.Fatalf("%q %v", got, err)
			}
			time.Sleep(wait)
			synctest.Wait()
			b.s.c.Interrupt()
			want := "wait\nb\n" + behind
			got = make([]byte, len(want))
			if _, err := io.ReadFull(nc, got); err != nil || string(got) != want {
				t.Fatalf("%.20q %v", got, err)
			}
			if err := <-b.s.gone; err != nil {
				t.Error(err)
			}
			time.Sleep(30 * time.Second)
		}
		if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("an idle connection: %v", err)
		}
	})
}

// TestAwaitFull: a peer that sent more than is kept, so that nobody sees it go, has stalled in the end.
func TestAwaitFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := serveSleepers(t, 0)
		defer b.stop(t)
		nc := b.dial(t)
		go func() { _, _ = io.WriteString(nc, "wait\n"+strings.Repeat("x\n", 100_000)) }()
		synctest.Wait()
		_ = nc.Close()
		start := time.Now()
		if err := <-b.s.gone; !errors.Is(err, tcpd.ErrStalled) || time.Since(start) > tcpd.DefaultStallTimeout {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// TestAwaitEnds: by its time, by the peer's going away, by a shutdown; an Interrupt ahead of it counts.
func TestAwaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := serveSleepers(t, 10*time.Second)
		nc := b.dial(t)
		start := time.Now()
		_, _ = io.WriteString(nc, "wait\n")
		if err := <-b.s.gone; err != nil || time.Since(start) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		_, _ = io.ReadFull(nc, make([]byte, 5))
		b.s.c.Interrupt()
		start = time.Now()
		_, _ = io.WriteString(nc, "wait\n")
		if err := <-b.s.gone; err != nil || time.Since(start) != 0 {
			t.Errorf("an Interrupt ahead: after %v: %v", time.Since(start), err)
		}
		_, _ = io.ReadFull(nc, make([]byte, 5))
		_, _ = io.WriteString(nc, "wait\n")
		synctest.Wait()
		_ = nc.Close()
		if err := <-b.s.gone; err == nil {
			t.Error("the peer is gone, and nobody noticed")
		}
		nc = b.dial(t)
		_, _ = io.WriteString(nc, "wait\n")
		synctest.Wait()
		start = time.Now()
		go func() { _, _ = io.Copy(io.Discard, nc) }()
		b.stop(t)
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("shutdown took %v", d)
		}
		_ = nc.Close()
	})
}

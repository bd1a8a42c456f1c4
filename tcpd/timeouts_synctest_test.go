// SPDX-License-Identifier: Apache-2.0

package tcpd

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// Goal: silence ends a connection after IdleTimeout and not before, and a stop inside a command
// after StallTimeout. Method: virtual time, so "when" is exact.
func TestIdleAndStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.IdleTimeout, c.StallTimeout = time.Minute, 10*time.Second })
		defer b.close()
		nc := b.dial()
		for range 3 {
			time.Sleep(59 * time.Second)
			b.send(nc, frame("awake"))
			b.expect(nc, frame("awake"))
		}
		start := time.Now()
		b.expectEnd(nc)
		if d := time.Since(start); d < time.Minute || d > time.Minute+time.Second {
			t.Errorf("idle for %v", d)
		}
		nc = b.dial()
		b.send(nc, frame("half")[:6])
		start = time.Now()
		b.expectEnd(nc)
		if d := time.Since(start); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("stalled for %v", d)
		}
	})
}

// Goal: a peer that does not read its replies is cut and meanwhile holds nobody up.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.StallTimeout = 10 * time.Second })
		defer b.close()
		slow, other := b.dial(), b.dial()
		defer other.Close()
		big := frame(string(bytes.Repeat([]byte("x"), 500_000)))
		b.send(slow, big)
		synctest.Wait()
		b.send(other, frame("x"))
		b.expect(other, frame("x"))
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if got := b.srv.Stats().Open; got != 2 {
			t.Errorf("%d connections before the time", got)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := b.srv.Stats().Open; got != 1 {
			t.Errorf("%d connections after the time", got)
		}
		_ = slow.Close()
	})
}

// Goal: a command that the budget has no room for waits no longer than a peer may stall, and a
// promise that is not kept gives its share back.
func TestBudgetWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(1 << 20)
		b := newBench(t, func(c *Config) { c.Budget, c.StallTimeout = budget, 10*time.Second })
		defer b.close()
		holder := b.dial()
		b.send(holder, frame(string(bytes.Repeat([]byte("x"), 700_000)))[:BaseBuffer+10])
		synctest.Wait()
		if got := budget.Free(); got != 1<<20-700_004 {
			t.Errorf("free: %d", got)
		}
		waiter := b.dial()
		b.send(waiter, frame(string(bytes.Repeat([]byte("x"), 600_000)))[:BaseBuffer])
		b.expectEnd(holder)
		b.expectEnd(waiter)
		synctest.Wait()
		if got := budget.Free(); got != 1<<20 {
			t.Errorf("free at the end: %d", got)
		}
	})
}

// Goal: who sends what it promised byte by byte has its share of the budget for a bounded time.
func TestDripIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(1 << 20)
		b := newBench(t, func(c *Config) { c.Budget, c.StallTimeout = budget, 10*time.Second })
		defer b.close()
		drip := b.dial()
		b.send(drip, frame(string(bytes.Repeat([]byte("x"), 700_000)))[:BaseBuffer+10])
		start := time.Now()
		for budget.Free() < 1<<20 && time.Since(start) < time.Hour {
			time.Sleep(9 * time.Second)
			_, _ = drip.Write([]byte("x"))
			synctest.Wait()
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("held for %v", took)
		}
		_ = drip.Close()
	})
}

// Goal: Shutdown tells every session, serves what comes during the grace, waits for commands that
// run and then ends every connection, silent ones too.
func TestShutdownDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.IdleTimeout = time.Minute })
		defer b.close()
		silent, busy := b.dial(), b.dial()
		b.send(busy, frame("wait"))
		b.send(silent, frame("x"))
		b.expect(silent, frame("x"))
		synctest.Wait()
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- b.srv.Shutdown(context.Background()) }()
		time.Sleep(DefaultDrainGrace / 2)
		b.send(silent, frame("late"))
		b.expect(silent, frame("late"))
		b.expectEnd(silent)
		if d := time.Since(start); d < DefaultDrainGrace || d > 2*DefaultDrainGrace {
			t.Errorf("a silent connection ended after %v", d)
		}
		time.Sleep(time.Second)
		select {
		case err := <-done:
			t.Fatalf("did not wait: %v", err)
		default:
		}
		close(b.release)
		b.expect(busy, frame("wait"))
		b.expectEnd(busy)
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, e := range b.sessions {
			if e.drained.Load() != 1 {
				t.Errorf("a session was told %d times", e.drained.Load())
			}
		}
		if _, err := b.world.Host("client").Net.Dial(t.Context(), "server:7402"); err == nil {
			t.Error("still accepting")
		}
	})
}

// Goal: when the time for an orderly end is over, commands that still run are cut.
func TestShutdownGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		defer b.close()
		nc := b.dial()
		b.send(nc, frame("wait"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if err := b.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err %v", err)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("took %v", d)
		}
		b.expectEnd(nc)
	})
}

// failing is a listener whose first Accepts fail.
type failing struct {
	net.Listener
	left int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left > 0 {
		f.left--
		return nil, errors.New("too many open files")
	}
	return f.Listener.Accept()
}

// Goal: a failing Accept is tried again, ever more slowly, and the server lives on.
func TestAcceptRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		defer b.close()
		ln, err := b.world.Host("server").Net.Listen(":7502")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		start := time.Now()
		go func() { served <- b.srv.Serve(&failing{Listener: ln, left: 4}) }()
		nc, err := b.world.Host("client").Net.Dial(t.Context(), "server:7502")
		if err != nil {
			t.Fatal(err)
		}
		b.send(nc, frame("x"))
		b.expect(nc, frame("x"))
		if d := time.Since(start); d != (5+10+20+40)*time.Millisecond {
			t.Errorf("accepted after %v", d)
		}
		_ = nc.Close()
		_ = b.srv.Close()
		if err := <-served; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

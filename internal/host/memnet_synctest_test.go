// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

// connPair dials from n1 to a listener of n2.
func connPair(t *testing.T, w *host.World) (dialled, accepted net.Conn) {
	t.Helper()
	ln, err := w.Host("n2").Net.Listen(":7400")
	if err != nil {
		t.Fatal(err)
	}
	dialled, err = w.Host("n1").Net.Dial(t.Context(), "n2:7400")
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return dialled, accepted
}

func readN(t *testing.T, c net.Conn, n int) string {
	t.Helper()
	buf := make([]byte, n)
	if _, err := io.ReadFull(c, buf); err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(buf)
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); err != nil || n != len(s) {
		t.Fatalf("write = %d, %v", n, err)
	}
}

func TestNetDelayKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		w.SetDelay("n1", "n2", 10*time.Millisecond, 5*time.Millisecond)
		start := time.Now()
		a, b := connPair(t, w)
		if d := time.Since(start); d < 10*time.Millisecond || d > 15*time.Millisecond {
			t.Errorf("dial took %v, want one way there delayed by 10..15ms", d)
		}
		start = time.Now()
		for _, s := range []string{"one ", "two ", "three"} {
			write(t, a, s)
		}
		if got := readN(t, b, 13); got != "one two three" {
			t.Errorf("read %q", got)
		}
		if d := time.Since(start); d < 10*time.Millisecond || d > 15*time.Millisecond {
			t.Errorf("bytes took %v", d)
		}
	})
}

func TestNetCutHoldsBytesUntilHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		a, b := connPair(t, w)
		w.Cut("n1", "n2")
		write(t, a, "held")
		write(t, b, "back") // the other direction still works
		if got := readN(t, a, 4); got != "back" {
			t.Errorf("read %q over the open direction", got)
		}
		_ = a.Close() // the end of the stream is held too
		_ = b.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read over a cut link: %v", err)
		}
		var ne net.Error
		if _, err := b.Read(make([]byte, 1)); !errors.As(err, &ne) || !ne.Timeout() {
			t.Fatalf("deadline error is no timeout: %v", err)
		}
		_ = b.SetReadDeadline(time.Time{})
		healed := make(chan struct{})
		go func() {
			defer close(healed)
			time.Sleep(3 * time.Second)
			w.HealAll()
		}()
		start := time.Now()
		if got := readN(t, b, 4); got != "held" {
			t.Errorf("read %q after heal", got)
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("bytes came after %v, want at the heal", d)
		}
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("end of stream: %v", err)
		}
		<-healed
	})
}

func TestNetDialOverCutWaits(t *testing.T) {
	for _, dir := range [][2]string{{"n1", "n2"}, {"n2", "n1"}} {
		synctest.Test(t, func(t *testing.T) {
			w := host.NewWorld(1)
			defer w.Close()
			ln, err := w.Host("n2").Net.Listen("n2:7400")
			if err != nil {
				t.Fatal(err)
			}
			w.Cut(dir[0], dir[1])
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := w.Host("n1").Net.Dial(ctx, "n2:7400"); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("dial over a cut: %v", err)
			}
			time.AfterFunc(time.Minute, func() { w.Heal(dir[0], dir[1]) })
			start := time.Now()
			c, err := w.Host("n1").Net.Dial(t.Context(), "n2:7400")
			if err != nil || time.Since(start) != time.Minute {
				t.Fatalf("dial: %v after %v", err, time.Since(start))
			}
			if _, err := ln.Accept(); err != nil {
				t.Fatal(err)
			}
			_ = c.Close()
		})
	}
}

func TestNetStallAcceptsAndStaysMute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		w.Stall("n2", "n1")
		a, b := connPair(t, w)
		write(t, a, "ping")
		readN(t, b, 4)
		write(t, b, "pong")
		_ = a.SetDeadline(time.Now().Add(time.Second))
		if _, err := a.Read(make([]byte, 4)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read: %v", err)
		}
	})
}

func TestNetWindowAndWriteDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		a, b := connPair(t, w)
		_ = a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, 100<<10))
		if n != 64<<10 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("write = %d, %v; want the window and a timeout", n, err)
		}
		_ = a.SetWriteDeadline(time.Time{})
		var wg sync.WaitGroup
		wg.Go(func() { write(t, a, string(make([]byte, 1<<20))) })
		total, buf := 0, make([]byte, 9999)
		for total < 64<<10+1<<20 {
			n, err := b.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			total += n
		}
		wg.Wait()
	})
}

func TestNetCloseSemantics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		a, b := connPair(t, w)
		write(t, a, "last words")
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write on a closed end: %v", err)
		}
		if _, err := a.Read([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read on a closed end: %v", err)
		}
		if got := readN(t, b, 10); got != "last words" {
			t.Errorf("read %q", got)
		}
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read at the end: %v", err)
		}
		// The first write to a closed far end is lost without a word, later ones fail.
		write(t, b, "lost")
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("second write: %v", err)
		}
	})
}

func TestNetCloseWithUnreadBytesResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		a, b := connPair(t, w)
		write(t, a, "never read")
		synctest.Wait()
		_ = b.Close()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestNetCloseUnblocksWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		a, _ := connPair(t, w)
		ln, err := w.Host("n3").Net.Listen(":1")
		if err != nil {
			t.Fatal(err)
		}
		w.Cut("n1", "n3")
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := a.Read(make([]byte, 1)); err == nil {
				t.Error("read returned without error")
			}
		})
		wg.Go(func() {
			if _, err := a.Write(make([]byte, 1<<20)); err == nil {
				t.Error("write returned without error")
			}
		})
		wg.Go(func() {
			if _, err := ln.Accept(); err == nil {
				t.Error("accept returned without error")
			}
		})
		wg.Go(func() {
			if _, err := w.Host("n1").Net.Dial(context.Background(), "n3:1"); err == nil {
				t.Error("dial returned without error")
			}
		})
		synctest.Wait()
		w.Close()
		wg.Wait()
	})
}

func TestNetResetConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		a, b := connPair(t, w)
		w.ResetConns("n2", "n1") // nobody dialled that way
		write(t, a, "x")
		readN(t, b, 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("read: %v", err)
			}
		})
		synctest.Wait()
		w.ResetConns("n1", "n2")
		wg.Wait()
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v", err)
		}
	})
}

func TestNetCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		a, b := connPair(t, w)
		old := w.Host("n2")
		write(t, b, "sent before")
		w.Crash("n2")
		if _, err := b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write by the dead: %v", err)
		}
		if got := readN(t, a, 11); got != "sent before" {
			t.Errorf("read %q", got)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read from the dead: %v", err)
		}
		if _, err := w.Host("n1").Net.Dial(t.Context(), "n2:7400"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial to the dead: %v", err)
		}
		if _, err := old.Net.Listen(":7400"); !errors.Is(err, host.ErrCrashed) {
			t.Errorf("listen by the dead: %v", err)
		}
		if _, err := old.Net.Dial(t.Context(), "n1:1"); !errors.Is(err, host.ErrCrashed) {
			t.Errorf("dial by the dead: %v", err)
		}
		if _, err := w.Host("n2").Net.Listen(":7400"); err != nil {
			t.Errorf("listen after the restart: %v", err)
		}
	})
}

func TestNetSilentCrashLeavesHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		a, _ := connPair(t, w)
		w.Crash("n2", host.CrashPolicy{Silent: true})
		write(t, a, "into the void")
		_ = a.SetReadDeadline(time.Now().Add(time.Hour))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		_ = a.SetReadDeadline(time.Time{})
		w.Host("n2") // power is back
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after the restart: %v", err)
		}
	})
}

func TestNetDeadlineMovedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		a, _ := connPair(t, w)
		time.AfterFunc(time.Second, func() { _ = a.SetReadDeadline(time.Now().Add(time.Second)) })
		start := time.Now()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("read ended after %v", d)
		}
	})
}

func TestNetAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		n1 := w.Host("n1").Net
		ln, err := n1.Listen("127.0.0.1:7400")
		if err != nil || ln.Addr().String() != "n1:7400" {
			t.Fatalf("listen: %v, %v", ln, err)
		}
		if _, err := n1.Listen(":7400"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second listen: %v", err)
		}
		if _, err := n1.Listen("n2:7400"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("listen on another node: %v", err)
		}
		any1, err1 := n1.Listen(":0")
		any2, err2 := n1.Listen(":0")
		if err1 != nil || err2 != nil || any1.Addr().String() == any2.Addr().String() {
			t.Errorf("free ports: %v %v", err1, err2)
		}
		c, err := n1.Dial(t.Context(), "localhost:7400")
		if err != nil {
			t.Fatal(err)
		}
		s, err := ln.Accept()
		if err != nil || s.RemoteAddr().String() != c.LocalAddr().String() || c.RemoteAddr().String() != "n1:7400" {
			t.Errorf("addresses: %v, %v and %v", err, s.RemoteAddr(), c.LocalAddr())
		}
		for _, bad := range []string{"n1", "n1:http", "n1:-1", "n1:70000"} {
			if _, err := n1.Dial(t.Context(), bad); err == nil {
				t.Errorf("dial %q succeeded", bad)
			}
		}
	})
}

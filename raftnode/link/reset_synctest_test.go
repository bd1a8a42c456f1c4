// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

// budgetNet is a network whose first connection dies after so many bytes were written or read;
// a negative budget is endless.
type budgetNet struct {
	host.Net
	once        sync.Once
	write, read int
}

func (n *budgetNet) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := n.Net.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	n.once.Do(func() { c = &budgetConn{Conn: c, write: n.write, read: n.read} })
	return c, nil
}

// budgetConn has one reader and one writer.
type budgetConn struct {
	net.Conn
	write, read int
}

func (c *budgetConn) Write(p []byte) (int, error) {
	if c.write < 0 || len(p) <= c.write {
		n, err := c.Conn.Write(p)
		if c.write >= 0 {
			c.write -= n
		}
		return n, err
	}
	n, _ := c.Conn.Write(p[:c.write])
	c.write -= n
	_ = c.Conn.Close()
	return n, syscall.ECONNRESET
}

func (c *budgetConn) Read(p []byte) (int, error) {
	if c.read == 0 {
		_ = c.Conn.Close()
		return 0, syscall.ECONNRESET
	}
	if c.read > 0 {
		p = p[:min(len(p), c.read)]
	}
	n, err := c.Conn.Read(p)
	if c.read > 0 {
		c.read -= n
	}
	return n, err
}

// exchange makes three concurrent calls over a connection with the given budgets and returns what
// became of each, and which the other side executed.
func exchange(t *testing.T, write, read int) (outcomes [3]string, executed map[string]int) {
	t.Helper()
	executed = make(map[string]int)
	synctest.Test(t, func(t *testing.T) {
		w := host.NewWorld(1)
		defer w.Close()
		bn := &budgetNet{Net: w.Host("a").Net, write: write, read: read}
		h := *w.Host("a")
		h.Net = bn
		a := start(t, w, "a", func(c *Config) { c.Host = &h })
		b := start(t, w, "b")
		var mu sync.Mutex
		b.Handle(ClassControl, func(_ context.Context, _ string, req []byte) ([]byte, error) {
			mu.Lock()
			executed[string(req)]++
			mu.Unlock()
			if strings.HasSuffix(string(req), "1") {
				return nil, fmt.Errorf("refused %s", req)
			}
			return append([]byte("done "), req...), nil
		})
		var wg sync.WaitGroup
		for i := range outcomes {
			wg.Go(func() {
				outcomes[i] = outcome(a.Call(t.Context(), "b", ClassControl, fmt.Appendf(nil, "call %d", i)))
			})
		}
		wg.Wait()
		// Nothing may be executed later either.
		time.Sleep(time.Minute)
		synctest.Wait()
		_ = a.Close()
		_ = b.Close()
	})
	return outcomes, executed
}

// honest checks every outcome against what the other side did.
func honest(t *testing.T, what string, outcomes [3]string, executed map[string]int) (answered int) {
	t.Helper()
	for i, got := range outcomes {
		req := fmt.Sprintf("call %d", i)
		want := "answer done " + req
		if i == 1 {
			want = "remote refused " + req
		}
		switch {
		case executed[req] > 1:
			t.Errorf("%s: %q was executed %d times", what, req, executed[req])
		case got == want:
			answered++
			if executed[req] != 1 {
				t.Errorf("%s: %q has an answer but was not executed", what, req)
			}
		case got == "not sent":
			if executed[req] != 0 {
				t.Errorf("%s: %q is said not to be sent but was executed", what, req)
			}
		case got == "lost": // true either way
		default:
			t.Errorf("%s: %q ended as %q", what, req, got)
		}
	}
	return answered
}

// The connection is reset at every byte of an exchange, in either direction: no call may claim
// another outcome than the one it had, and no answer may reach another caller.
func TestResetAtEveryByte(t *testing.T) {
	greeting := len(appendHello(nil, &hello{Cluster: "c1", Sender: "a", Receiver: "b"}))
	first := frameHeader + timeLeft + len("call 0")
	for _, dir := range []string{"write", "read"} {
		answered := 0
		for at := 0; answered < 3; at++ {
			if at > 2000 {
				t.Fatalf("%s: the exchange never completes", dir)
			}
			write, read := at, -1
			if dir == "read" {
				write, read = -1, at
			}
			outcomes, executed := exchange(t, write, read)
			what := fmt.Sprintf("%s reset after %d bytes", dir, at)
			answered = honest(t, what, outcomes, executed)
			// Part of a frame is no request: it is known that nothing was sent.
			if dir == "write" && at < greeting+first && outcomes != [3]string{"not sent", "not sent", "not sent"} {
				t.Errorf("%s: %q", what, outcomes)
			}
		}
	}
}

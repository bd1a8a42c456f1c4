// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
	"github.com/kvorum/kvorum/tcpd/tcpdtest"
)

// Goal: a peer that sends commands and never reads replies takes bounded memory, holds nobody up, and is
// cut after StallTimeout.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, func(c *tcpd.Config) { c.StallTimeout = 10 * time.Second })
		defer b.close()
		b.router.Run(fsm.Command{Op: fsm.OpSet, Args: [][]byte{[]byte("k"), []byte(strings.Repeat("x", 1<<20))}})
		slow, quick := b.dial(), b.dial()
		defer quick.close()
		go func() { _, _ = slow.nc.Write([]byte(strings.Repeat("GET k\r\n", 20_000))) }()
		synctest.Wait()
		calls := b.router.Commands.Load()
		if calls > maxBatch {
			t.Errorf("%d commands ran for a peer that does not read", calls)
		}
		quick.do("GET absent", "$-1\r\n")
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if n := b.srv.Stats().Open; n != 1 {
			t.Errorf("%d connections after the time", n)
		}
		if n := b.router.Commands.Load(); n != calls+1 {
			t.Errorf("%d commands after %d", n, calls)
		}
		_ = slow.nc.Close()
		quick.do("PING", "+PONG\r\n")
	})
}

// Goal: pushes that nobody reads end the connection, and not the memory.
func TestUnreadPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *session
		b := newBench(t, nil, nil)
		open := b.h.Open
		srv := tcpdtest.Serve(t, ":7404", tcpd.Config{MaxCommand: b.h.MaxCommand(), Open: func(c *tcpd.Conn) tcpd.Session {
			s = open(c).(*session)
			return s
		}})
		nc := srv.Dial(t)
		synctest.Wait()
		frame := []byte(strings.Repeat("x", 1<<20))
		n := 0
		for n < 1000 && s.w.push(frame) == nil {
			n++
		}
		if n != maxPushes>>20 {
			t.Errorf("%d MiB of pushes were taken", n)
		}
		synctest.Wait()
		if srv.Stats().Open != 0 {
			t.Error("the connection goes on")
		}
		_ = nc.Close()
		srv.Stop(t)
		srv.World.Close()
		b.close()
	})
}

// Goal: half a command is waited for as long as StallTimeout, whatever it announced.
func TestHalfFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, func(c *tcpd.Config) { c.StallTimeout = 10 * time.Second })
		defer b.close()
		for _, half := range []string{"*1048576\r\n", "*2\r\n$3\r\nGET\r\n$16777216\r\nabc", "GET", "*1\r\n$4\r\nPI"} {
			p := b.dial()
			p.send(half)
			start := time.Now()
			p.ended("")
			if d := time.Since(start); d < 10*time.Second || d > 11*time.Second {
				t.Errorf("%q: ended after %v", half, d)
			}
			p.close()
		}
	})
}

// Goal: CLIENT PAUSE holds commands back for its time, WRITE lets reads go on, UNPAUSE ends it, and a
// shutdown does not wait for it.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		defer b.close()
		one, two := b.dial(), b.dial()
		defer one.close()
		defer two.close()
		one.do("CLIENT PAUSE 5000 WRITE", "+OK\r\n")
		start := time.Now()
		two.do("GET k", "$-1\r\n")
		if d := time.Since(start); d > time.Second {
			t.Errorf("a read waited %v", d)
		}
		two.do("SET k v", "+OK\r\n")
		if d := time.Since(start); d < 5*time.Second || d > 6*time.Second {
			t.Errorf("a write waited %v", d)
		}
		one.do("CLIENT PAUSE 60000 ALL", "+OK\r\n")
		two.send("GET k\r\n")
		synctest.Wait()
		start = time.Now()
		one.do("CLIENT UNPAUSE", "+OK\r\n")
		two.want("$1\r\nv\r\n")
		if d := time.Since(start); d > time.Second {
			t.Errorf("a read waited %v behind UNPAUSE", d)
		}
		one.do("CLIENT PAUSE 60000", "+OK\r\n")
		two.send("GET k\r\n")
		synctest.Wait()
		if err := b.srv.Shutdown(context.Background()); err != nil || time.Since(start) > 5*time.Second {
			t.Errorf("Shutdown: %v after %v", err, time.Since(start))
		}
	})
}

// Goal: DEBUG SLEEP holds up its own connection alone, and a command that took long is in the slow log
// and in the latency samples.
func TestSlowLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Debug = true }, nil)
		defer b.close()
		p := b.dial()
		defer p.close()
		p.do("CONFIG SET slowlog-max-len 2 slowlog-log-slower-than 10000 latency-monitor-threshold 100", "+OK\r\n")
		for range 3 {
			p.do("DEBUG SLEEP 0.5", "+OK\r\n")
		}
		b.router.Before = func(_ context.Context, _ *shard.Caller, cmd *fsm.Command) error {
			if cmd.Op == fsm.OpSet {
				time.Sleep(20 * time.Millisecond)
			}
			return nil
		}
		p.do("SLOWLOG LEN", ":2\r\n")
		p.do("SET k "+strings.Repeat("x", 200), "+OK\r\n")
		got := p.text("SLOWLOG GET 1")
		if !strings.HasPrefix(got, "*1\r\n*6\r\n:3\r\n:") || !strings.Contains(got, ":20000\r\n*3\r\n$3\r\nset\r\n$1\r\nk\r\n$147\r\n"+strings.Repeat("x", 128)+"... (72 more bytes)\r\n") {
			t.Errorf("SLOWLOG GET: %q", got)
		}
		if got := p.text("LATENCY LATEST"); !strings.HasPrefix(got, "*1\r\n*4\r\n$7\r\ncommand\r\n:") || !strings.HasSuffix(got, ":500\r\n:500\r\n") {
			t.Errorf("LATENCY LATEST: %q", got)
		}
		p.do("SLOWLOG RESET", "+OK\r\n")
		p.do("SLOWLOG GET", "*0\r\n")
		p.do("LATENCY RESET", ":1\r\n")
		p.do("LATENCY HISTORY command", "*0\r\n")
	})
}

// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

const nullArray = "*-1\r\n"

// TestBlockingReplies: what is there is popped at once, what is not is a null array when the time is over, and in a
// transaction nobody waits. Texts and shapes are those of Redis 7.0.15.
func TestBlockingReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		defer b.close()
		p := b.dial()
		defer p.close()
		for _, c := range [][2]string{
			{"RPUSH {t}l a b c d e f", ":6\r\n"},
			{"ZADD {t}z 1 x 2 y 3 w 4 v", ":4\r\n"},
			{"BLPOP {t}none {t}l 0", "*2\r\n$4\r\n{t}l\r\n$1\r\na\r\n"},
			{"BRPOP {t}l 0.1", "*2\r\n$4\r\n{t}l\r\n$1\r\nf\r\n"},
			{"BLMPOP 0 2 {t}none {t}l LEFT COUNT 2", "*2\r\n$4\r\n{t}l\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\n"},
			{"BLMOVE {t}l {t}m LEFT RIGHT 0", "$1\r\nd\r\n"},
			{"BRPOPLPUSH {t}m {t}m 0", "$1\r\nd\r\n"},
			{"BZPOPMIN {t}none {t}z 0", "*3\r\n$4\r\n{t}z\r\n$1\r\nx\r\n$1\r\n1\r\n"},
			{"BZPOPMAX {t}z 0", "*3\r\n$4\r\n{t}z\r\n$1\r\nv\r\n$1\r\n4\r\n"},
			{"BZMPOP 0 1 {t}z MAX", "*2\r\n$4\r\n{t}z\r\n*1\r\n*2\r\n$1\r\nw\r\n$1\r\n3\r\n"},
			{"BLPOP {t}z 0", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"},
			{"BLPOP {t}z x", "-ERR timeout is not a float or out of range\r\n"},
			{"BLPOP {t}z -1", "-ERR timeout is negative\r\n"},
			{"BLPOP {t}z", "-ERR wrong number of arguments for 'blpop' command\r\n"},
			{"MULTI", "+OK\r\n"},
			{"BLPOP {t}none 0", "+QUEUED\r\n"},
			{"BLMOVE {t}none {t}m LEFT LEFT 0", "+QUEUED\r\n"},
			{"EXEC", "*2\r\n*-1\r\n$-1\r\n"},
		} {
			p.do(c[0], c[1])
		}
		for _, line := range []string{
			"BLPOP {t}none 1.5", "BZPOPMAX {t}none {t}none2 1.5", "BLMOVE {t}none {t}l LEFT RIGHT 1.5", "BRPOPLPUSH {t}none {t}l 1.5",
			"BLMPOP 1.5 1 {t}none LEFT", "BZMPOP 1.5 1 {t}none MIN",
		} {
			start := time.Now()
			p.do(line, nullArray)
			if d := time.Since(start); d < 1500*time.Millisecond || d > 1600*time.Millisecond {
				t.Errorf("%s took %v", line, d)
			}
		}
		p.send("HELLO 3\r\n")
		p.text("PING")
		p.do("BLPOP {t}none 0.1", "_\r\n")
	})
}

// blockedAt sends a command that waits and lets it begin to.
func (p *peer) blockedAt(line string) {
	p.t.Helper()
	p.send(line + "\r\n")
	synctest.Wait()
	_ = p.nc.SetReadDeadline(time.Now())
	var one [1]byte
	if n, _ := p.nc.Read(one[:]); n > 0 {
		p.t.Errorf("%s is answered", line)
	}
	_ = p.nc.SetReadDeadline(time.Time{})
}

// TestBlockedClient is served by what comes, with what it sent meanwhile behind it.
func TestBlockedClient(t *testing.T) {
	withPeers(t, func(t *testing.T, b *bench, p, q *peer) {
		p.blockedAt("BLPOP {t}other {t}l 0\r\nECHO behind")
		p.send("ECHO later\r\n")
		if s := q.text("INFO clients"); !strings.Contains(s, "blocked_clients:1\r\n") {
			t.Error(s)
		}
		if s := q.text("CLIENT LIST"); strings.Count(s, "flags=b ") != 1 || !strings.Contains(s, "cmd=blpop") {
			t.Error(s)
		}
		time.Sleep(time.Hour)
		q.do("SET {t}other string", "+OK\r\n")
		q.do("RPUSH {t}l x y", ":2\r\n")
		p.want("*2\r\n$4\r\n{t}l\r\n$1\r\nx\r\n$6\r\nbehind\r\n$5\r\nlater\r\n")
		q.do("LRANGE {t}l 0 -1", "*1\r\n$1\r\ny\r\n")
		if s := q.text("INFO clients"); !strings.Contains(s, "blocked_clients:0\r\n") || b.router.Waiting() != 0 {
			t.Error(s)
		}
		p.blockedAt("BLMOVE {t}none {t}other LEFT RIGHT 0")
		q.do("RPUSH {t}none x", ":1\r\n")
		p.want("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n")
		q.do("LLEN {t}none", ":1\r\n")
	})
}

// TestBlockedClientGoes: nothing is popped for a client that went, whichever way.
func TestBlockedClientGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		q := b.dial()
		q.do("PING", "+PONG\r\n")
		p := b.dial()
		p.blockedAt("BLPOP l 0")
		p.close()
		synctest.Wait()
		if n := b.router.Waiting(); n != 0 {
			t.Errorf("%d wait", n)
		}
		q.do("RPUSH l x", ":1\r\n")
		q.do("LLEN l", ":1\r\n")
		p = b.dial()
		p.blockedAt("BLPOP m 0")
		q.do("CLIENT KILL ID 3", ":1\r\n")
		p.ended("")
		p = b.dial()
		p.blockedAt("BLPOP m 0")
		ended := make(chan struct{})
		go func() {
			p.ended("")
			close(ended)
		}()
		q.close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := b.srv.Shutdown(ctx); err != nil || time.Since(start) > 10*time.Second {
			t.Errorf("shutdown: %v after %v", err, time.Since(start))
		}
		<-ended
		b.close()
	})
}

// TestClientUnblock and CLIENT PAUSE.
func TestClientUnblock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		defer b.close()
		p := b.dial()
		defer p.close()
		p.do("CLIENT ID", ":1\r\n")
		q := b.dial()
		defer q.close()
		q.do("CLIENT UNBLOCK 1", ":0\r\n")
		for _, c := range [][2]string{{"", nullArray}, {" timeout", nullArray}, {" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"}} {
			p.blockedAt("BLPOP l 0")
			q.do("CLIENT UNBLOCK 1"+c[0], ":1\r\n")
			p.want(c[1])
		}
		q.do("CLIENT UNBLOCK 1 x", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n")
		q.do("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range\r\n")
		p.blockedAt("BLPOP l 5")
		q.do("CLIENT PAUSE 60000 WRITE", "+OK\r\n")
		p.want(nullArray) // its time runs on
		q.do("CLIENT UNPAUSE", "+OK\r\n")
		for _, unpause := range []bool{true, false} {
			p.blockedAt("BLPOP l 0")
			q.do("CLIENT PAUSE 60000 WRITE", "+OK\r\n")
			b.router.Run(fsm.Command{Op: fsm.OpRPush, Args: [][]byte{[]byte("l"), []byte("x")}})
			time.Sleep(10 * time.Second)
			q.do("LLEN l", ":1\r\n")
			if unpause {
				q.do("CLIENT UNPAUSE", "+OK\r\n")
				synctest.Wait()
			}
			p.want("*2\r\n$1\r\nl\r\n$1\r\nx\r\n")
		}
	})
}

// TestBlockedDelivery: a try that was not applied is made again; of an unknown one the client is told; before it
// waits, a client is told of either.
func TestBlockedDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, nil)
		defer b.close()
		var kinds []shard.Kind
		b.router.Before = func(_ context.Context, _ *shard.Caller, cmd *fsm.Command) error {
			if cmd.Op != fsm.OpBLPop || len(kinds) == 0 {
				return nil
			}
			k := kinds[0]
			if kinds = kinds[1:]; k == 0 {
				return nil
			}
			return &shard.Error{Kind: k, Op: "write"}
		}
		p, q := b.dial(), b.dial()
		defer p.close()
		defer q.close()
		kinds = []shard.Kind{shard.KindNoQuorum}
		p.do("BLPOP l 0", "-CLUSTERDOWN not applied: write: no quorum\r\n")
		kinds = []shard.Kind{0, shard.KindNoQuorum, shard.KindTimeout}
		p.blockedAt("BLPOP l 0")
		q.do("RPUSH l x", ":1\r\n")
		p.want("*2\r\n$1\r\nl\r\n$1\r\nx\r\n")
		kinds = []shard.Kind{0, shard.KindUnknown}
		p.blockedAt("BLPOP l 0")
		q.do("RPUSH l x", ":1\r\n")
		p.want("-UNKNOWN outcome: write: outcome unknown\r\n")
	})
}

// TestBlockedClientKeepsNoBudget: neither for its own command nor for one that came with it. Too many keys are refused.
func TestBlockedClientKeepsNoBudget(t *testing.T) {
	big := strings.Repeat("x", 200<<10)
	long := []string{"BLPOP"}
	for i := range 8 {
		long = append(long, fmt.Sprint("{t}", i, strings.Repeat("k", 20_000)))
	}
	for name, send := range map[string]string{
		"large keys":           words(append(long, "0")...),
		"behind a large value": words("RPUSH", "other", big, "y") + words("BLPOP", "q", "0"),
		"with much behind it":  words("SET", "k", big, "EX", "100") + words("BLPOP", "q", "0") + strings.Repeat("PING\r\n", 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const total = 1 << 20
				budget := tcpd.NewBudget(total)
				b := newBench(t, nil, func(c *tcpd.Config) { c.Budget = budget })
				defer b.close()
				p := b.dial()
				defer p.close()
				go func() { _, _ = p.nc.Write([]byte(send)) }()
				synctest.Wait()
				if b.router.Waiting() != 1 || budget.Free() < total-int64(len(send)) {
					t.Errorf("%d wait, %d of %d bytes are free", b.router.Waiting(), budget.Free(), total)
				}
				time.Sleep(2 * tcpd.DefaultStallTimeout)
				synctest.Wait()
				if budget.Free() != total {
					t.Errorf("in the end %d of %d bytes are free", budget.Free(), total)
				}
			})
		})
	}
}

// TestBudgetOfUnfinishedCommands: commands that are longer than could be known when they were begun all come to their
// end, although together they have taken all there is.
func TestBudgetOfUnfinishedCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := tcpd.NewBudget(1 << 20)
		b := newBench(t, nil, func(c *tcpd.Config) { c.Budget = budget })
		defer b.close()
		start := time.Now()
		var all sync.WaitGroup
		for i := range 20 {
			p := b.dial()
			defer p.close()
			go func() {
				_, _ = p.nc.Write([]byte(words("SET", fmt.Sprint("k", i), strings.Repeat("x", 200_000), "EX", "100")))
			}()
			all.Go(func() { p.want("+OK\r\n") })
		}
		all.Wait()
		synctest.Wait() // a command's bytes are given back after its reply
		if time.Since(start) > time.Second || budget.Free() != 1<<20 {
			t.Errorf("after %v, %d bytes are free", time.Since(start), budget.Free())
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

const queuedLine = "+QUEUED\r\n"

// TestMulti: commands wait for EXEC, and each reply has the shape of its command, in either protocol.
func TestMulti(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	p.send("MULTI\r\nSET {t}k 1\r\nINCR {t}k\r\nHSET {t}h f v\r\nHGETALL {t}h\r\nPING\r\nLPOP {t}none 2\r\nGET {t}none\r\nLPUSH {t}k x\r\nSET {t}k v NOSUCH\r\nDBSIZE\r\nEXEC\r\nGET {t}k\r\n")
	p.want("+OK\r\n" + strings.Repeat(queuedLine, 10) + "*10\r\n+OK\r\n:2\r\n:1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n+PONG\r\n*-1\r\n$-1\r\n" +
		"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n-ERR syntax error\r\n:2\r\n$1\r\n2\r\n")
	p.text("HELLO 3")
	p.send("MULTI\r\nHGETALL {t}h\r\nLPOP {t}none 2\r\nZADD {t}z 1 a 2 b\r\nZRANGE {t}z 0 -1 WITHSCORES\r\nEXEC\r\n")
	p.want("+OK\r\n" + strings.Repeat(queuedLine, 4) + "*4\r\n%1\r\n$1\r\nf\r\n$1\r\nv\r\n_\r\n:2\r\n*2\r\n*2\r\n$1\r\na\r\n,1\r\n*2\r\n$1\r\nb\r\n,2\r\n")
}

// TestMultiWords: what Redis answers where a transaction is not used as it is meant.
func TestMultiWords(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	for _, c := range [][2]string{
		{"EXEC", "-ERR EXEC without MULTI\r\n"},
		{"DISCARD", "-ERR DISCARD without MULTI\r\n"},
		{"UNWATCH", "+OK\r\n"},
		{"WATCH", "-ERR wrong number of arguments for 'watch' command\r\n"},
		{"MULTI", "+OK\r\n"},
		{"MULTI", "-ERR MULTI calls can not be nested\r\n"},
		{"WATCH a", "-ERR WATCH inside MULTI is not allowed\r\n"},
		{"EXEC", "*0\r\n"},
		{"MULTI", "+OK\r\n"},
		{"SET a 1", queuedLine},
		{"DISCARD", "+OK\r\n"},
		{"GET a", "$-1\r\n"},
		{"MULTI", "+OK\r\n"},
		{"SET a 1", queuedLine},
		{"SET a", "-ERR wrong number of arguments for 'set' command\r\n"},
		{"EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"},
		{"MULTI", "+OK\r\n"},
		{"NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: \r\n"},
		{"EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"},
		{"MULTI", "+OK\r\n"},
		{"FLUSHALL", "-ERR Command not allowed inside a transaction\r\n"},
		{"EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"},
		{"NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: \r\n"},
		{"MULTI", "+OK\r\n"},
		{"ZUNION x a", queuedLine},
		{"SET a 1", queuedLine},
		{"EXEC", "*2\r\n-ERR value is not an integer or out of range\r\n+OK\r\n"},
		{"MULTI", "+OK\r\n"},
		{"RESET", "+RESET\r\n"},
		{"EXEC", "-ERR EXEC without MULTI\r\n"},
	} {
		p.do(c[0], c[1])
	}
	p.send("MULTI\r\nSET a 2\r\nQUIT\r\n")
	p.ended("+OK\r\n" + queuedLine + "+OK\r\n")
	q := b.dial()
	defer q.close()
	q.do("GET a", "$1\r\n1\r\n")
}

// TestMultiWatch: EXEC answers null when a watched key was touched, and forgets them either way.
func TestMultiWatch(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p, other := b.dial(), b.dial()
	defer p.close()
	defer other.close()
	p.do("SET {t}k 1", "+OK\r\n")
	for _, c := range []struct{ meanwhile, want string }{
		{"GET {t}k", "*1\r\n+OK\r\n"},
		{"SET {t}other 1", "*1\r\n+OK\r\n"},
		{"SET {t}k 2", "*-1\r\n"},
		{"EXPIRE {t}k 100", "*-1\r\n"},
		{"SET {t}absent 1", "*-1\r\n"},
	} {
		p.do("WATCH {t}k {t}absent", "+OK\r\n")
		other.text(c.meanwhile)
		p.do("MULTI", "+OK\r\n")
		p.do("SET {t}done 1", queuedLine)
		p.do("EXEC", c.want)
	}
	p.do("WATCH {t}k", "+OK\r\n")
	other.do("SET {t}k 3", "+OK\r\n")
	p.do("UNWATCH", "+OK\r\n")
	p.send("MULTI\r\nGET {t}k\r\nEXEC\r\n")
	p.want("+OK\r\n" + queuedLine + "*1\r\n$1\r\n3\r\n")
	p.do("WATCH {t}k", "+OK\r\n")
	other.do("SET {t}k 4", "+OK\r\n")
	p.do("MULTI", "+OK\r\n")
	p.do("DISCARD", "+OK\r\n") // forgets them too
	p.send("MULTI\r\nGET {t}k\r\nEXEC\r\n")
	p.want("+OK\r\n" + queuedLine + "*1\r\n$1\r\n4\r\n")
}

// TestMultiLimits: what is queued is bounded as a command is.
func TestMultiLimits(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	p.do("MULTI", "+OK\r\n")
	set := words("SET", "{t}a", strings.Repeat("x", 9<<20))
	p.send(set)
	p.want(queuedLine)
	p.send(set)
	p.want("-" + textMuchQueued + "\r\n")
	p.do("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n")
	p.do("EXISTS {t}a", ":0\r\n")
}

// TestMultiMemory: what transactions hold is bounded over all connections, and given back however they end.
func TestMultiMemory(t *testing.T) {
	const room = 10_000
	b := newBench(t, nil, nil)
	defer b.close()
	b.h.held = tcpd.NewBudget(room)
	value := strings.Repeat("v", 3000)
	set := words("SET", "{t}a", value)
	for _, end := range []string{"EXEC", "DISCARD", "RESET", "QUIT", "gone"} {
		p, other := b.dial(), b.dial()
		p.do("WATCH {t}a {t}b {t}a", "+OK\r\n")
		p.do("MULTI", "+OK\r\n")
		other.do("MULTI", "+OK\r\n")
		for range 2 {
			p.send(set)
			p.want(queuedLine)
		}
		other.send(set)
		other.want("-" + textMuchHeld + "\r\n")
		other.do("EXEC", "-"+textExecAbort+"\r\n")
		other.do("WATCH {t}"+value, "-"+textMuchHeld+"\r\n")
		other.do("WATCH {t}c", "+OK\r\n")
		other.do("UNWATCH", "+OK\r\n")
		if end != "gone" {
			p.send(end + "\r\n")
		}
		if end == "QUIT" || end == "gone" {
			p.close()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		n, err := b.h.held.Take(ctx, room)
		if cancel(); err != nil {
			t.Fatalf("%s gives nothing back: %v", end, err)
		}
		b.h.held.Give(n)
		p.close()
		other.close()
	}
}

// TestMultiSubcommands: those that are about a key run in their places, with the others.
func TestMultiSubcommands(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	p.send("MULTI\r\nSET {t}k v\r\nOBJECT ENCODING {t}k\r\nobject refcount {t}k\r\nDEL {t}k\r\nEXEC\r\n")
	p.want("+OK\r\n" + strings.Repeat(queuedLine, 4) + "*4\r\n+OK\r\n$6\r\nembstr\r\n:1\r\n:1\r\n")
	p.do("MULTI", "+OK\r\n")
	p.do("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command\r\n")
	p.do("EXEC", "-"+textExecAbort+"\r\n")
}

// TestFailedWatch: a key that could not be watched holds nothing.
func TestFailedWatch(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	down := true
	b.router.Before = func(context.Context, *shard.Caller, *fsm.Command) error {
		if down {
			return &shard.Error{Kind: shard.KindNoQuorum, Op: "read"}
		}
		return nil
	}
	p := b.dial()
	defer p.close()
	before := b.h.held.Free()
	p.do("WATCH {t}a {t}b", "-CLUSTERDOWN not applied: read: no quorum\r\n")
	if n := b.h.held.Free(); n != before {
		t.Errorf("%d bytes are held", before-n)
	}
	down = false
	p.do("WATCH {t}a {t}b", "+OK\r\n")
	p.do("UNWATCH", "+OK\r\n")
	if n := b.h.held.Free(); n != before {
		t.Errorf("%d bytes are held in the end", before-n)
	}
}

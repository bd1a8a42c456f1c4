// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	wireRounds = flag.Int("wire-rounds", 15, "rounds of TestRESPAgainstRedis in either protocol")
	wireSeed   = flag.Uint64("wire-seed", 1, "what its commands are drawn from; 0 for something new")
)

const (
	// wireCommands are played in a round, drawn from a corpus of commands.
	wireCommands = 60
	// wirePatience is how much later one server may read its clock than the other, in seconds; deadlines of a
	// round are farther apart, and farther away.
	wirePatience = 900
)

// wireReply is a reply as it came.
type wireReply struct {
	raw   []byte
	kind  byte
	elems []wireReply
}

// wireConn is a connection that speaks bytes.
type wireConn struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func dialWire(t *testing.T, network, addr string) *wireConn {
	t.Helper()
	nc, err := net.DialTimeout(network, addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &wireConn{t: t, nc: nc, r: bufio.NewReader(nc)}
}

func (c *wireConn) do(words ...string) wireReply {
	c.t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if err := c.nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.nc.Write(b.Bytes()); err != nil {
		c.t.Fatalf("%.200q: %v", words, err)
	}
	reply, err := c.read()
	if err != nil {
		c.t.Fatalf("%.200q: %v", words, err)
	}
	return reply
}

// read reads one reply of RESP2 or RESP3.
func (c *wireConn) read() (w wireReply, err error) {
	head, err := c.r.ReadBytes('\n')
	if err != nil || len(head) < 3 {
		return w, fmt.Errorf("head %q: %w", head, err)
	}
	w.kind, w.raw = head[0], head
	n, _ := strconv.Atoi(string(bytes.TrimSpace(head[1:])))
	switch w.kind {
	case '$', '=':
		if n < 0 {
			return w, nil
		}
		body := make([]byte, n+2)
		_, err = io.ReadFull(c.r, body)
		w.raw = append(w.raw, body...)
	case '%':
		n *= 2
		fallthrough
	case '*', '~', '>':
		for range n {
			elem, err := c.read()
			if err != nil {
				return w, err
			}
			w.raw = append(w.raw, elem.raw...)
			w.elems = append(w.elems, elem)
		}
	}
	return w, err
}

// wireListings are the commands whose reply has no order, with how many elements belong together.
var wireListings = map[string]int{"HGETALL": 2, "HKEYS": 1, "HVALS": 1, "SMEMBERS": 1, "SINTER": 1, "SUNION": 1, "SDIFF": 1, "KEYS": 1}

// settled is what is compared of a reply: its bytes, where they have no order those of its parts in one.
func (w *wireReply) settled(name string) string {
	n := wireListings[name]
	if n == 0 || len(w.elems)%max(n, 1) != 0 {
		if name != "" && name[0] == 'Z' { // Redis keeps -0 in a large sorted set and not in a small one
			return strings.ReplaceAll(strings.ReplaceAll(string(w.raw), ",-0\r\n", ",0\r\n"), "$2\r\n-0\r\n", "$1\r\n0\r\n")
		}
		return string(w.raw)
	}
	head, _, _ := bytes.Cut(w.raw, []byte("\n"))
	parts := []string{}
	for group := range slices.Chunk(w.elems, n) {
		part := ""
		for i := range group {
			part += string(group[i].raw)
		}
		parts = append(parts, part)
	}
	slices.Sort(parts)
	return string(head) + strings.Join(parts, "")
}

// agrees compares our reply with that of Redis.
func (w *wireReply) agrees(name string, other *wireReply) bool {
	if unit := map[string]int64{"TTL": 1, "EXPIRETIME": 1, "PTTL": 1000, "PEXPIRETIME": 1000}[name]; unit > 0 && w.kind == ':' && other.kind == ':' {
		a, _ := strconv.ParseInt(string(bytes.TrimSpace(w.raw[1:])), 10, 64)
		b, _ := strconv.ParseInt(string(bytes.TrimSpace(other.raw[1:])), 10, 64)
		d := a - b
		return (a < 0) == (b < 0) && d <= unit*wirePatience && d >= -unit*wirePatience
	}
	return w.settled(name) == other.settled(name)
}

// redisOnSocket starts a redis-server of its own and returns its socket.
func redisOnSocket(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("KVORUM_REQUIRE_REDIS") != "" {
			t.Fatal("redis-server is not in PATH, and this run requires it")
		}
		t.Skip("redis-server is not in PATH")
	}
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // names of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "")
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if nc, err := net.Dial("unix", socket); err == nil {
			nc.Close()
			return socket
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("redis-server does not answer")
		}
	}
}

// readCorpus reads the commands of testdata/commands.txt, which `go test ./fsm -run TestWriteCorpus -corpus FILE`
// writes.
func readCorpus(t *testing.T) (corpus [][]string) {
	t.Helper()
	f, err := os.Open("testdata/commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := []string{}
		for rest := lines.Text(); rest != ""; rest = strings.TrimPrefix(rest, " ") {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatalf("%q: %v", rest, err)
			}
			w, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%q: %v", quoted, err)
			}
			words = append(words, w)
			rest = rest[len(quoted):]
		}
		corpus = append(corpus, words)
	}
	if len(corpus) < 1000 {
		t.Fatalf("%d commands", len(corpus))
	}
	return corpus
}

// timed replaces the corpus' words for deadlines far ahead by those of the n-th command.
func timed(words []string, n int, now time.Time) []string {
	after := 10_000 + 1000*int64(n)
	for i, w := range words {
		at := map[string]int64{"@s": after, "@ms": after * 1000, "@as": now.Unix() + 1000*after, "@ams": (now.Unix() + 1000*after) * 1000}[w]
		if at > 0 {
			words = slices.Clone(words)
			words[i] = strconv.FormatInt(at, 10)
		}
	}
	return words
}

// TestRESPAgainstRedis plays random commands, sensible and odd ones, on a cluster and on a real Redis, in both
// protocols, and compares the replies byte for byte. Intended differences are listed in fsm/testdata; commands with
// one are not in the corpus.
func TestRESPAgainstRedis(t *testing.T) {
	socket, corpus := redisOnSocket(t), readCorpus(t)
	c := startCluster(t, 3, "--groups", "1")
	seed := *wireSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for _, proto := range []string{"2", "3"} {
		t.Run("RESP"+proto, func(t *testing.T) {
			dice := rand.New(rand.NewPCG(seed, 0))
			theirs := dialWire(t, "unix", socket)
			theirs.do("HELLO", proto)
			var ours []*wireConn
			for _, n := range c.Nodes() {
				conn := dialWire(t, "tcp", n.RESP())
				conn.do("HELLO", proto)
				ours = append(ours, conn)
			}
			now := time.Now()
			for round := range *wireRounds {
				ours[0].do("FLUSHALL")
				theirs.do("FLUSHALL")
				var history []string
				for n := range wireCommands {
					words := timed(corpus[dice.IntN(len(corpus))], n, now)
					history = append(history, fmt.Sprintf("%.300q", words))
					name := strings.ToUpper(words[0])
					if strings.HasPrefix(name, "SORT") {
						theirs.do("ZADD", "no such key", "XX", "1", "a") // or a number out of range that it read before makes all of SORT's so
					}
					got, want := ours[dice.IntN(len(ours))].do(words...), theirs.do(words...)
					if !got.agrees(name, &want) {
						t.Fatalf("seed %d, round %d: %.300q\n ours %.300q\nredis %.300q\nbefore:\n%s", seed, round, words, got.settled(name), want.settled(name), strings.Join(history, "\n"))
					}
				}
			}
		})
	}
}

// TestWireReplies: what is compared of replies, and what is not.
func TestWireReplies(t *testing.T) {
	read := func(s string) *wireReply {
		c := wireConn{t: t, r: bufio.NewReader(strings.NewReader(s))}
		w, err := c.read()
		if err != nil || string(w.raw) != s {
			t.Fatalf("%q is read as %q, %v", s, w.raw, err)
		}
		return &w
	}
	for _, c := range []struct {
		name, a, b string
		same       bool
	}{
		{"GET", "$1\r\na\r\n", "$1\r\na\r\n", true},
		{"GET", "$1\r\na\r\n", "$1\r\nb\r\n", false},
		{"GET", "$-1\r\n", "_\r\n", false},
		{"LRANGE", "*2\r\n+a\r\n+b\r\n", "*2\r\n+b\r\n+a\r\n", false},
		{"SMEMBERS", "~2\r\n+a\r\n+b\r\n", "~2\r\n+b\r\n+a\r\n", true},
		{"SMEMBERS", "~2\r\n+a\r\n+b\r\n", "*2\r\n+a\r\n+b\r\n", false},
		{"HGETALL", "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", "%2\r\n+b\r\n:2\r\n+a\r\n:1\r\n", true},
		{"HGETALL", "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", "%2\r\n+b\r\n:1\r\n+a\r\n:2\r\n", false},
		{"TTL", ":100\r\n", ":101\r\n", true},
		{"TTL", ":100\r\n", ":-1\r\n", false},
		{"PTTL", ":100000\r\n", ":9000000\r\n", false},
		{"ZSCORE", ",-0\r\n", ",0\r\n", true},
		{"INCRBYFLOAT", "$2\r\n-0\r\n", "$1\r\n0\r\n", false},
	} {
		if got := read(c.a).agrees(c.name, read(c.b)); got != c.same {
			t.Errorf("%s: %q and %q: %t", c.name, c.a, c.b, got)
		}
	}
}

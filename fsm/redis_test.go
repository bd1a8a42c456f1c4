// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bufio"
	"context"
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

// respClient speaks RESP2 to the real Redis.
type respClient struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
}

func (c *respClient) do(words ...string) Result {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	if _, err := io.WriteString(c.c, b.String()); err != nil {
		c.t.Fatalf("redis: write: %v", err)
	}
	return c.reply()
}

func (c *respClient) reply() Result {
	line, err := c.r.ReadString('\n')
	if err != nil || len(line) < 3 {
		c.t.Fatalf("redis: read: %q %v", line, err)
	}
	kind, text := line[0], line[1:len(line)-2]
	n, _ := strconv.ParseInt(text, 10, 64)
	switch kind {
	case '+':
		return Status(text)
	case '-':
		return Error(CodeError, text)
	case ':':
		return Int(n)
	case '$':
		if n < 0 {
			return Null()
		}
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			c.t.Fatalf("redis: read: %v", err)
		}
		return Bulk(b[:n])
	case '*':
		if n < 0 {
			return Null()
		}
		elems := make([]Result, n)
		for i := range elems {
			elems[i] = c.reply()
		}
		return Array(elems)
	}
	c.t.Fatalf("redis: reply %q", line)
	return Result{}
}

// startRedis runs a real Redis on a unix socket for the life of the test.
func startRedis(t *testing.T) *respClient {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("KVORUM_REQUIRE_REDIS") == "1" {
			t.Fatal("redis-server is not in PATH and KVORUM_REQUIRE_REDIS=1")
		}
		t.Skip("redis-server is not in PATH")
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "redis.sock")
	cmd := exec.CommandContext(context.Background(), path, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--daemonize", "no")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "ready to accept connections") || strings.Contains(lines.Text(), "now ready to accept") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatalf("redis: dial: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &respClient{t: t, c: conn, r: bufio.NewReader(conn)}
}

// wordSource draws commands that are mostly sensible and sometimes odd.
type wordSource struct {
	rng *rand.Rand
	now int64
}

func (g *wordSource) pick(words ...string) string { return words[g.rng.IntN(len(words))] }

func (g *wordSource) key() string { return g.pick("a", "b", "c", "d", "e", "", "k{a}") }

func (g *wordSource) field() string { return g.pick("f1", "f2", "f3", "", "f4") }

func (g *wordSource) value() string {
	return g.pick("", "0", "1", "-1", "10", "abc", "hello world", "9223372036854775807", "-9223372036854775808", "9223372036854775806",
		" 1", "+1", "01", "-0", "1.5", "x\x00y\r\n", "99999999999999999999", strings.Repeat("v", 70))
}

func (g *wordSource) number() string {
	if g.rng.IntN(8) == 0 {
		return g.pick("", "abc", " 1", "+1", "1.0", "9223372036854775808", "-9223372036854775809", "01", "-0", "1 ")
	}
	return g.pick("0", "1", "-1", "2", "-2", "3", "5", "-5", "100", "-100", "9223372036854775807", "-9223372036854775808")
}

func (g *wordSource) seconds() string {
	return g.pick("1000", "2000", "100", "0", "-1", "9223372036854775807", "9223372036854775", "9223372036854776", "abc", "-9223372036854775808", "300")
}

func (g *wordSource) millis() string {
	return g.pick("1000000", "2000000", "0", "-1", "9223372036854775807", "abc", "-9223372036854775808", "300000")
}

func (g *wordSource) atSeconds() string {
	return g.pick(strconv.FormatInt(g.now/1000+5000, 10), strconv.FormatInt(g.now/1000+700, 10), "1", "0", "-1", "x", "9223372036854775807")
}

func (g *wordSource) atMillis() string {
	return g.pick(strconv.FormatInt(g.now+5_000_000, 10), strconv.FormatInt(g.now+700_000, 10), "1", "0", "-1", "x", "9223372036854775807")
}

func (g *wordSource) ttl() []string {
	switch g.rng.IntN(4) {
	case 0:
		return []string{g.pick("EX", "ex"), g.seconds()}
	case 1:
		return []string{g.pick("PX", "px"), g.millis()}
	case 2:
		return []string{g.pick("EXAT", "exat"), g.atSeconds()}
	}
	return []string{g.pick("PXAT", "pxat"), g.atMillis()}
}

func (g *wordSource) setOptions(words []string) []string {
	for g.rng.IntN(2) == 0 {
		if g.rng.IntN(2) == 0 {
			words = append(words, g.ttl()...)
		} else {
			words = append(words, g.pick("NX", "xx", "GET", "KEEPTTL", "keepttl", "PERSIST", "EX", "bogus"))
		}
	}
	return words
}

// plain has the commands that are a name and arguments of fixed kinds.
var plain = map[string]string{
	"GET": "k", "GETDEL": "k", "STRLEN": "k", "INCR": "k", "DECR": "k", "INCRBY": "kn", "DECRBY": "kn", "APPEND": "kv", "GETRANGE": "knn",
	"SETEX": "ksv", "PSETEX": "kmv", "SETNX": "kv", "GETSET": "kv", "TYPE": "k", "TTL": "k", "PTTL": "k", "EXPIRETIME": "k", "PEXPIRETIME": "k",
	"PERSIST": "k", "LLEN": "k", "LRANGE": "knn", "LINDEX": "kn", "LSET": "knv", "LREM": "knv", "LTRIM": "knn", "HGET": "kf", "HGETALL": "k",
	"HEXISTS": "kf", "HLEN": "k", "HKEYS": "k", "HVALS": "k", "HINCRBY": "kfn", "LPOP": "k", "RPOP": "k",
}

func (g *wordSource) command() []string {
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range plain {
			if !yield(name) {
				return
			}
		}
	})
	if g.rng.IntN(2) == 0 {
		words := []string{names[g.rng.IntN(len(names))]}
		for _, kind := range plain[words[0]] {
			words = append(words, g.argument(kind))
		}
		return words
	}
	return g.varied()
}

func (g *wordSource) argument(kind rune) string {
	switch kind {
	case 'k':
		return g.key()
	case 'n':
		return g.number()
	case 's':
		return g.seconds()
	case 'm':
		return g.millis()
	case 'f':
		return g.field()
	}
	return g.value()
}

func (g *wordSource) several(words []string, kinds string) []string {
	for range 1 + g.rng.IntN(4) {
		for _, kind := range kinds {
			words = append(words, g.argument(kind))
		}
	}
	return words
}

func (g *wordSource) varied() []string {
	k := g.key()
	switch g.rng.IntN(16) {
	case 0, 1, 2:
		return g.setOptions([]string{g.pick("SET", "set"), k, g.value()})
	case 3:
		return g.setOptions([]string{"GETEX", k})
	case 4:
		return g.several([]string{g.pick("MSET", "MSETNX")}, "kv")
	case 5:
		return g.several([]string{g.pick("MGET", "DEL", "UNLINK", "EXISTS", "TOUCH")}, "k")
	case 6, 7, 8:
		return g.several([]string{g.pick("LPUSH", "RPUSH", "RPUSH"), k}, "v")
	case 9, 10, 11:
		return g.several([]string{"HSET", k}, "fv")
	case 12:
		return g.several([]string{g.pick("HMGET", "HDEL"), k}, "f")
	case 13:
		name := g.pick("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")
		number := map[string]func() string{"EXPIRE": g.seconds, "PEXPIRE": g.millis, "EXPIREAT": g.atSeconds, "PEXPIREAT": g.atMillis}[name]
		words := []string{name, k, number()}
		for g.rng.IntN(2) == 0 {
			words = append(words, g.pick("NX", "XX", "gt", "LT", "zz"))
		}
		return words
	case 14:
		return []string{"SETRANGE", k, g.pick("0", "1", "5", "-1", "abc", "600000000"), g.value()}
	}
	return []string{g.pick("LPOP", "RPOP"), k, g.pick("0", "1", "2", "100", "-1", "abc", "9223372036854775807")}
}

// mangle now and then drops, doubles or adds an argument.
func (g *wordSource) mangle(words []string) []string {
	switch g.rng.IntN(40) {
	case 0:
		return words[:1+g.rng.IntN(len(words))]
	case 1:
		return append(words, g.value())
	case 2:
		return append(words, words[len(words)-1])
	case 3:
		return append([]string{g.pick("NOSUCH", "get2")}, words[1:]...)
	}
	return words
}

// loose tells of which commands a reply may differ by the time between the two servers, in ms.
var loose = map[string]int64{"PTTL": 5000, "PEXPIRETIME": 5000, "TTL": 5, "EXPIRETIME": 5}

// unordered are the commands whose reply has no order in Redis, with how many elements belong together.
var unordered = map[string]int{"HGETALL": 2, "HKEYS": 1, "HVALS": 1}

// comparable words a reply so that equal ones are equal.
func comparable(name string, r Result) string {
	if r.Kind == KindMap {
		r.Kind = KindArray
	}
	if n := unordered[name]; n > 0 && r.Kind == KindArray {
		var groups []string
		for i := 0; i+n <= len(r.Elems); i += n {
			groups = append(groups, show(Array(r.Elems[i:i+n])))
		}
		slices.Sort(groups)
		return strings.Join(groups, " ")
	}
	return show(r)
}

func repliesAgree(name string, ours, theirs Result) bool {
	if within := loose[name]; within > 0 && ours.Kind == KindInt && theirs.Kind == KindInt {
		d := ours.Int - theirs.Int
		return d <= within && d >= -within && (ours.Int < 0) == (theirs.Int < 0)
	}
	return comparable(name, ours) == comparable(name, theirs)
}

// TestAgainstRedis runs random commands on a real Redis and on a machine, and compares every reply, and
// at the end of each round all that is left.
func TestAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	// KVORUM_REDIS_SEED is the first round's seed, KVORUM_REDIS_ROUNDS the number of rounds.
	rounds, steps := environment("KVORUM_REDIS_ROUNDS", 30), uint64(400)
	first := environment("KVORUM_REDIS_SEED", 1)
	for seed := first; seed < first+rounds; seed++ {
		g := &wordSource{rng: rand.New(rand.NewPCG(seed, 2))}
		tm := newOwner(t)
		redis.do("FLUSHALL")
		var history []string
		for range steps {
			g.now = time.Now().UnixMilli()
			tm.clock = g.now
			words := g.mangle(g.command())
			history = append(history, fmt.Sprintf("%q", words))
			theirs, ours := redis.do(words...), tm.do(words...)
			if !repliesAgree(strings.ToUpper(words[0]), ours, theirs) {
				t.Errorf("seed %d: %q\n ours %s\nredis %s\nbefore:\n%s", seed, words, show(ours), show(theirs), strings.Join(history[max(0, len(history)-12):], "\n"))
				break
			}
		}
		compareKeyspaces(t, redis, tm)
		if t.Failed() {
			return
		}
	}
}

func environment(name string, otherwise uint64) uint64 {
	if v, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
		return v
	}
	return otherwise
}

func compareKeyspaces(t *testing.T, redis *respClient, tm *testMachine) {
	t.Helper()
	theirs := redis.scanAll(func(c *respClient, cursor string) Result { return c.do("SCAN", cursor, "COUNT", "3") })
	for _, k := range theirs {
		redis.do("EXISTS", k) // removes what is past its deadline
	}
	theirs = redis.scanAll(func(c *respClient, cursor string) Result { return c.do("SCAN", cursor) })
	ours := redis.scanAll(func(_ *respClient, cursor string) Result { return tm.do("SCAN", cursor, "COUNT", "2") })
	slices.Sort(theirs)
	slices.Sort(ours)
	if theirs, ours = slices.Compact(theirs), slices.Compact(ours); !slices.Equal(theirs, ours) {
		t.Errorf("keys: ours %q, redis %q", ours, theirs)
	}
	if want := redis.do("DBSIZE").Int; sizeOf(t, tm) != want {
		t.Errorf("DBSIZE: ours %d, redis %d", sizeOf(t, tm), want)
	}
	for _, k := range theirs {
		for _, words := range [][]string{{"TYPE", k}, {"GET", k}, {"LRANGE", k, "0", "-1"}, {"HGETALL", k}, {"PTTL", k}} {
			if a, b := tm.do(words...), redis.do(words...); !repliesAgree(words[0], a, b) {
				t.Errorf("at the end %q: ours %s, redis %s", words, show(a), show(b))
			}
		}
	}
}

func (c *respClient) scanAll(scan func(c *respClient, cursor string) Result) (keys []string) {
	cursor := "0"
	for {
		res := scan(c, cursor)
		if len(res.Elems) != 2 {
			c.t.Fatalf("SCAN %s: %s", cursor, show(res))
		}
		for _, e := range res.Elems[1].Elems {
			keys = append(keys, string(e.Str))
		}
		if cursor = string(res.Elems[0].Str); cursor == "0" {
			return keys
		}
	}
}

func sizeOf(t *testing.T, tm *testMachine) int64 {
	t.Helper()
	res := tm.do("DBSIZE")
	w, ok := ParseWhole(&res)
	if !ok {
		t.Fatalf("DBSIZE: %s", show(res))
	}
	return w.Value.Int
}

// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

// redisTool runs a program of Redis' own against a node and returns what it printed. Without the program the test is
// skipped.
func redisTool(t *testing.T, n *proc.Node, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, port, _ := strings.Cut(n.RESP(), ":")
	out, err := exec.CommandContext(ctx, path, append([]string{"-p", port}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

func plainRedis(t *testing.T, n *proc.Node, protocol int) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: n.RESP(), Protocol: protocol, ContextTimeoutEnabled: true})
	t.Cleanup(func() { c.Close() })
	return c
}

// useRedis runs the everyday commands of a client.
func useRedis(t *testing.T, c redis.UniversalClient, prefix string) {
	t.Helper()
	ctx := t.Context()
	key := func(name string) string { return "{" + prefix + "}" + name }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Set(ctx, key("s"), "v", time.Minute).Err())
	if v, err := c.Get(ctx, key("s")).Result(); v != "v" || err != nil {
		t.Fatalf("GET: %q %v", v, err)
	}
	if err := c.Get(ctx, key("absent")).Err(); !errors.Is(err, redis.Nil) {
		t.Fatalf("GET of what is not there: %v", err)
	}
	if d, err := c.TTL(ctx, key("s")).Result(); d <= 0 || err != nil {
		t.Fatalf("TTL: %v %v", d, err)
	}
	must(c.HSet(ctx, key("h"), "a", "1", "b", "2").Err())
	if m, err := c.HGetAll(ctx, key("h")).Result(); len(m) != 2 || m["b"] != "2" || err != nil {
		t.Fatalf("HGETALL: %v %v", m, err)
	}
	must(c.RPush(ctx, key("l"), "x", "y").Err())
	if l, err := c.LRange(ctx, key("l"), 0, -1).Result(); strings.Join(l, "") != "xy" || err != nil {
		t.Fatalf("LRANGE: %v %v", l, err)
	}
	if err := c.LPush(ctx, key("s"), "x").Err(); err == nil || !strings.HasPrefix(err.Error(), "WRONGTYPE ") {
		t.Fatalf("LPUSH to a string: %v", err)
	}
	cmds, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for range 100 {
			p.Incr(ctx, key("n"))
		}
		return nil
	})
	must(err)
	if n := cmds[99].(*redis.IntCmd).Val(); n != 100 {
		t.Fatalf("the hundredth INCR: %d", n)
	}
}

// TestRESPGoRedis: a plain client in both protocols, with any node, and a cluster client that learns the nodes by
// itself, in both modes.
func TestRESPGoRedis(t *testing.T) {
	for _, redirect := range []bool{false, true} {
		t.Run("redirect="+strconv.FormatBool(redirect), func(t *testing.T) {
			c := startRESP(t, redirect)
			if !redirect {
				for i, n := range c.Nodes() {
					for _, protocol := range []int{2, 3} {
						useRedis(t, plainRedis(t, n, protocol), fmt.Sprint("plain", i, protocol))
					}
				}
			}
			cc := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Nodes()[1].RESP()}, ContextTimeoutEnabled: true})
			defer cc.Close()
			for i := range 20 {
				useRedis(t, cc, fmt.Sprint("cluster", i))
			}
			shards, err := cc.ClusterShards(t.Context()).Result()
			if err != nil || len(shards) == 0 || len(shards[0].Nodes) != 3 {
				t.Fatalf("CLUSTER SHARDS: %v %v", shards, err)
			}
		})
	}
}

func startRESP(t *testing.T, redirect bool) *proc.Cluster {
	t.Helper()
	if redirect {
		t.Setenv("KVORUM_REDIS_REDIRECT", "true")
	}
	c := startCluster(t, 3)
	waitStatus(t, c, "leaders on every node", proc.LeadersSpread)
	return c
}

// TestRESPRueidis: the client that pipelines by itself and asks for RESP3 and CLUSTER SHARDS.
func TestRESPRueidis(t *testing.T) {
	c := startRESP(t, false)
	for _, single := range []bool{true, false} {
		cl, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{c.Nodes()[2].RESP()}, ForceSingleClient: single, DisableCache: true})
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := cl.Do(t.Context(), cl.B().Incr().Key("r"+strconv.FormatBool(single)).Build()).Error(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n, err := cl.Do(t.Context(), cl.B().Get().Key("r"+strconv.FormatBool(single)).Build()).AsInt64(); n != 50 || err != nil {
			t.Fatalf("single %t: %d %v", single, n, err)
		}
		if m, err := cl.Do(t.Context(), cl.B().Hgetall().Key("nothing").Build()).AsStrMap(); len(m) != 0 || err != nil {
			t.Fatalf("HGETALL: %v %v", m, err)
		}
	}
}

// TestRESPTools: redis-cli and redis-benchmark as they are.
func TestRESPTools(t *testing.T) {
	c := startRESP(t, false)
	n := c.Nodes()[0]
	for _, step := range [][2]string{
		{"set k v", "OK"},
		{"get k", "v"},
		{"-3 get k", "v"},
		{"-c get k", "v"},
		{"dbsize", "1"},
		{"ping", "PONG"},
		{"cluster myid", ""},
		{"info server", "redis_version:7.0.15"},
		{"command count", ""},
		{"command docs get", "summary"},
		{"client list", "cmd=client|list"},
		{"--bigkeys", "Biggest string"},
		{"--scan", "k"},
		{"config get save", "save"},
	} {
		if out := redisTool(t, n, "redis-cli", strings.Fields(step[0])...); !strings.Contains(out, step[1]) {
			t.Errorf("redis-cli %s: %s", step[0], out)
		}
	}
	for _, args := range []string{"-t set,get,incr,lpush,lpop,lrange_100,mset,ping -n 500 -c 10 -q", "-t set,get -n 2000 -c 10 -P 16 -q", "-t set,get -n 500 -c 6 -q --cluster", "-t set,get -n 500 -c 6 -q -3"} {
		out := redisTool(t, n, "redis-benchmark", strings.Fields(args)...)
		if !strings.Contains(out, "requests per second") || strings.Contains(strings.ToLower(out), "error") {
			t.Errorf("redis-benchmark %s: %s", args, out)
		}
	}
}

// TestRESPLeaderKilled: while the leader of a key is killed, clients of other nodes see retriable errors at most; their connections
// stay, and no acknowledged write is lost.
func TestRESPLeaderKilled(t *testing.T) {
	c := startRESP(t, false)
	redisTool(t, c.Nodes()[0], "redis-cli", "set", "counter", "0")
	s := waitStatus(t, c, "a counted key", func(s *shard.Status) bool { return proc.Healthy(3)(s) && totalKeys(s) > 0 })
	victim := c.ByID(s, leaderOfData(t, s))
	var others []*proc.Node
	for _, n := range c.Nodes() {
		if n != victim {
			others = append(others, n)
		}
	}
	var before [2]int
	for i, o := range others {
		before[i] = connectionsOf(t, o)
	}
	var acked, unknown atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 4 {
		cl := redis.NewClient(&redis.Options{Addr: others[i%2].RESP(), MaxRetries: -1, PoolSize: 1, ReadTimeout: 30 * time.Second})
		defer cl.Close()
		wg.Go(func() {
			for j := 0; ctx.Err() == nil; j++ {
				switch err := cl.Incr(context.Background(), "counter").Err(); {
				case err == nil:
					acked.Add(1)
				case strings.HasPrefix(err.Error(), "UNKNOWN "):
					unknown.Add(1)
				case strings.HasPrefix(err.Error(), "TRYAGAIN "), strings.HasPrefix(err.Error(), "CLUSTERDOWN "):
				default:
					t.Errorf("INCR: %v", err)
					return
				}
			}
		})
	}
	eventually(t, "writes", func() bool { return acked.Load() > 100 })
	if err := c.Signal(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	sofar := acked.Load()
	eventually(t, "writes after the kill", func() bool { return acked.Load() > sofar+100 })
	cancel()
	wg.Wait()
	n, err := plainRedis(t, others[0], 3).Get(t.Context(), "counter").Int64()
	if err != nil || n < acked.Load() || n > acked.Load()+unknown.Load() {
		t.Fatalf("%d acknowledged, %d unknown, and the counter stands at %d (%v)", acked.Load(), unknown.Load(), n, err)
	}
	// Two writers each, who asks now, and on the first who read the counter: nobody had to connect again.
	for i, o := range others {
		if n := connectionsOf(t, o) - before[i]; n != 4-i {
			t.Errorf("node %d: %d connections instead of %d", i, n, 4-i)
		}
	}
}

// connectionsOf is how many clients of Redis ever connected to a node, this one included.
func connectionsOf(t *testing.T, n *proc.Node) int {
	t.Helper()
	for line := range strings.SplitSeq(redisTool(t, n, "redis-cli", "info", "stats"), "\r\n") {
		if text, ok := strings.CutPrefix(line, "total_connections_received:"); ok {
			v, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatal("INFO stats does not count connections")
	return 0
}

// TestRESPHostile: bad frames end their own connection alone, thousands of idle connections are held, and the node goes on.
func TestRESPHostile(t *testing.T) {
	c := startCluster(t, 1)
	n := c.Nodes()[0]
	good := plainRedis(t, n, 2)
	if err := good.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	idle := holdIdle(t, n.RESP(), 2000)
	for _, frame := range []string{
		"*-2147483648\r\n*99999999999999\r\n", "*1048576\r\n$16777216\r\n", "*1\r\n$-1\r\n", "*1\r\n$9223372036854775807\r\n", "$5\r\nhello\r\n", "\x00\x01\x02\r\n", "GET \"\r\n", "*3\r\n$3\r\nSET\r\n:1\r\n",
		strings.Repeat("A", 70_000), strings.Repeat("*1\r\n", 20_000),
	} {
		poke(t, n.RESP(), frame)
		if v, err := good.Get(t.Context(), "k").Result(); v != "v" || err != nil {
			t.Fatalf("behind %.30q: %q %v", frame, v, err)
		}
	}
	if out := redisTool(t, n, "redis-cli", "info", "clients"); !strings.Contains(out, "connected_clients:20") {
		t.Errorf("with %d idle connections: %s", idle, out)
	}
	waitStatus(t, c, "the node", func(s *shard.Status) bool { return s.Cluster.Health == shard.HealthOK })
}

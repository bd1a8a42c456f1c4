// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// scriptCorpus are scripts whose replies, in their order, are compared with those of Redis. Each has the keys {s}a and {s}b.
var scriptCorpus = []string{
	`return {1, "two", {3, nil, 4}, true, false, 3.99, {ok="fine"}}`,
	`return {err="bad"}`, `return {double=3.5}`, `return {map={a=1}}`, `return {set={a=true}}`, `return {big_number="12345678901234567890"}`,
	`return {verbatim_string={string="hi",format="txt"}}`, `return true`, `redis.setresp(3) return true`, `redis.setresp(3) return false`,
	`return {KEYS[1], KEYS[2], ARGV[1], ARGV[2], #ARGV}`,
	`return redis.call("set", KEYS[1], ARGV[1])`, `return redis.call("get", KEYS[1])`, `return redis.call("lpush", KEYS[1], 1)`,
	`return redis.pcall("lpush", KEYS[1], 1)`, `local r = redis.pcall("lpush", KEYS[1], 1) return {r.err, type(r)}`,
	`local ok, r = pcall(redis.call, "lpush", KEYS[1], 1) return {ok, r}`,
	`redis.call("del", KEYS[1], KEYS[2]) return redis.call("rpush", KEYS[1], "a", "b", 3, 4.5, -0.1, 1e20)`,
	`return redis.call("lrange", KEYS[1], 0, -1)`, `return {redis.call("lpop", KEYS[1]), redis.call("rpop", KEYS[1], 2), redis.call("llen", KEYS[1])}`,
	`return redis.call("rpoplpush", KEYS[1], KEYS[2])`, `return redis.call("lpop", KEYS[2], 0)`, `return redis.call("lpop", "{s}b")`,
	`redis.call("del", KEYS[1], KEYS[2]) return redis.call("zadd", KEYS[1], 1, "a", 2.5, "b", "inf", "c")`,
	`return redis.call("zrange", KEYS[1], 0, -1, "withscores")`, `redis.setresp(3) return redis.call("zrange", KEYS[1], 0, -1, "withscores")`,
	`return redis.call("zscore", KEYS[1], "b")`, `redis.setresp(3) return redis.call("zscore", KEYS[1], "b")`,
	`redis.setresp(3) return cjson.encode(redis.call("zrange", KEYS[1], 0, -1, "withscores"))`,
	`local j = redis.call("zrangebyscore", KEYS[1], "-inf", 2, "limit", 0, 1) redis.call("zrem", KEYS[1], j[1]) return j`,
	`return redis.call("hset", KEYS[2], "f", 1, "g", 2)`, `return redis.call("hgetall", KEYS[2])`, `redis.setresp(3) return redis.call("hget", KEYS[2], "f")`,
	`return redis.call("hincrby", KEYS[2], "f", 41)`, `return redis.call("hget", KEYS[2], "none")`, `redis.setresp(3) return {redis.call("hget", KEYS[2], "none")}`,
	`return redis.call("hincrbyfloat", KEYS[2], "f", 0.5)`, `return redis.call("type", KEYS[2])`, `return redis.call("exists", KEYS[1], KEYS[2])`,
	`redis.call("del", KEYS[1]) for i = 1, 5 do redis.call("incr", KEYS[1]) end return redis.call("incrbyfloat", KEYS[1], "0.25")`,
	`redis.call("set", KEYS[1], "v", "PX", 100000) return redis.call("pttl", KEYS[1]) > 90000`, `redis.call("persist", KEYS[1]) return redis.call("ttl", KEYS[1])`,
	`redis.call("set", KEYS[1], "kept") error("no")`, `return redis.call("get", KEYS[1])`, `redis.call("append", KEYS[1], "!") return redis.call("nosuch")`,
	`return redis.call("getrange", KEYS[1], 0, -1)`, `return redis.call("set", KEYS[1], "v", "PX", "abc")`, `return redis.call("rename", KEYS[1], KEYS[2])`,
	`return redis.call("rename", "{s}a", "{s}b")`, `return redis.call("sadd", KEYS[1], "m")`, `return {redis.call("spop", KEYS[1]), redis.call("exists", KEYS[1])}`,
	`return redis.call("setbit", KEYS[1], 7, 1)`, `return redis.call("bitcount", KEYS[1])`, `return redis.call("eval", "return 1", 0)`, `return redis.call("multi")`,
	`return redis.call("ping")`, `return redis.call("echo", "x")`, `return redis.call("select", 0)`, `return redis.call("publish", "nobody", "x")`,
	`return redis.call()`, `return redis.call({})`, `x = 1`, `return x`, `error({err="E mine"})`, `return redis.error_reply("E mine")`, `return redis.status_reply("S")`,
	"#!lua\nreturn 5", "#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 1)", "#!lua bogus=1\nreturn 5", "#!perl\nreturn 5",
	`local t = {} for i = 1, 100 do t[i] = i * i end return t`, `return cjson.encode({1, {a = "x"}, cjson.null})`, `return cmsgpack.pack({1, "a", {b = 2}})`,
	`return struct.pack(">I2", 258)`, `return {bit.band(255, 15), bit.tohex(255)}`, `return redis.sha1hex("x")`,
	"local a = nil\nlocal b = 1\nerror('third line')",
}

// TestScriptsAgainstRedis: scripts answer byte for byte what a real Redis answers, in both protocols.
func TestScriptsAgainstRedis(t *testing.T) {
	socket := redisOnSocket(t)
	c := startCluster(t, 3, "--groups", "1")
	for _, proto := range []string{"2", "3"} {
		theirs := dialWire(t, "unix", socket)
		theirs.do("HELLO", proto)
		theirs.do("FLUSHALL")
		var ours []*wireConn
		for _, n := range c.Nodes() {
			conn := dialWire(t, "tcp", n.RESP())
			conn.do("HELLO", proto)
			ours = append(ours, conn)
		}
		ours[0].do("FLUSHALL")
		play := func(i int, words ...string) {
			got, want := ours[i%3].do(words...), theirs.do(words...)
			if string(got.raw) != string(want.raw) {
				t.Errorf("RESP%s: %.300q\n ours %.300q\nredis %.300q", proto, words, got.raw, want.raw)
			}
		}
		for i, source := range scriptCorpus {
			play(i, "EVAL", source, "2", "{s}a", "{s}b", "arg1", "arg2")
			if i%5 == 0 {
				play(i, "EVAL_RO", source, "2", "{s}a", "{s}b", "arg1", "arg2")
			}
		}
		for i, words := range [][]string{
			{"EVAL", "return 1", "-1"},
			{"EVAL", "return 1", "3", "a"},
			{"EVAL", "return 1", "x"},
			{"EVAL", "return 1"},
			{"EVALSHA", "abc", "0"},
			{"SCRIPT", "LOAD", "return 8"},
			{"SCRIPT", "EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "abc"},
			{"SCRIPT", "EXISTS"},
			{"SCRIPT", "FLUSH", "foo"},
			{"SCRIPT", "FLUSH", "SYNC"},
			{"SCRIPT", "KILL"},
			{"SCRIPT", "foo"},
			{"SCRIPT"},
		} {
			play(i, words...)
		}
	}
}

// Scripts as they are in use.
const (
	redlockRelease = `if redis.call("get",KEYS[1]) == ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end`
	redlockExtend  = `if redis.call("get",KEYS[1]) == ARGV[1] then return redis.call("pexpire",KEYS[1],ARGV[2]) else return 0 end`
	// sidekiqPop is what Sidekiq's scheduler takes a due job with.
	sidekiqPop = `
		local key, now = KEYS[1], ARGV[1]
		local jobs = redis.call("zrange", key, "-inf", now, "byscore", "limit", 0, 1)
		if jobs[1] then
		  redis.call("zrem", key, jobs[1])
		  return jobs[1]
		end`
	// tokenBucket takes n tokens of a bucket that fills with time.
	tokenBucket = `
		local rate, burst, n = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
		local t = redis.call("TIME")
		local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
		local b = redis.call("HMGET", KEYS[1], "tokens", "at")
		local tokens = math.min(burst, (tonumber(b[1]) or burst) + math.max(0, now - (tonumber(b[2]) or now)) * rate)
		local allowed = tokens >= n
		if allowed then tokens = tokens - n end
		redis.call("HSET", KEYS[1], "tokens", tostring(tokens), "at", string.format("%.6f", now))
		redis.call("EXPIRE", KEYS[1], math.ceil(burst / rate) * 2)
		return { allowed and 1 or 0, math.floor(tokens) }`
	counter = `local n = tonumber(redis.call("GET", KEYS[1]) or "0") redis.call("SET", KEYS[1], n + 1) redis.call("RPUSH", KEYS[2], n + 1) return n + 1`
)

// TestScriptsInUse: locks, schedulers, limiters and counters of many clients of go-redis, through any node and in both modes.
func TestScriptsInUse(t *testing.T) {
	const clients, adds = 4, 25
	for _, redirect := range []bool{false, true} {
		t.Run("redirect="+strconv.FormatBool(redirect), func(t *testing.T) {
			c := startRESP(t, redirect)
			client := func(w int) redis.UniversalClient {
				if !redirect {
					return plainRedis(t, c.Nodes()[w%3], 2+w%2)
				}
				cc := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{c.Nodes()[w%3].RESP()}, ContextTimeoutEnabled: true})
				t.Cleanup(func() { cc.Close() })
				return cc
			}
			ctx := t.Context()
			rc := client(0)
			release, extend := redis.NewScript(redlockRelease), redis.NewScript(redlockExtend)
			if ok, err := rc.SetNX(ctx, "lock", "me", time.Minute).Result(); !ok || err != nil {
				t.Fatal(ok, err)
			}
			for _, step := range []struct {
				s    *redis.Script
				who  string
				want int
			}{{release, "you", 0}, {extend, "you", 0}, {extend, "me", 1}, {release, "me", 1}, {release, "me", 0}} {
				if n, err := step.s.Run(ctx, rc, []string{"lock"}, step.who, 60000).Int(); n != step.want || err != nil {
					t.Errorf("%s: %d %v, want %d", step.who, n, err, step.want)
				}
			}
			rc.ZAdd(ctx, "schedule", redis.Z{Score: 1, Member: "due"}, redis.Z{Score: 1e12, Member: "later"})
			pop := redis.NewScript(sidekiqPop)
			if job, err := pop.Run(ctx, rc, []string{"schedule"}, "100").Text(); job != "due" || err != nil {
				t.Errorf("popped %q %v", job, err)
			}
			if _, err := pop.Run(ctx, rc, []string{"schedule"}, "100").Text(); !errors.Is(err, redis.Nil) {
				t.Errorf("popped from nothing: %v", err)
			}
			allowed := 0
			for range 20 {
				res, err := redis.NewScript(tokenBucket).Run(ctx, rc, []string{"bucket"}, "0.001", 7, 1).Int64Slice()
				if err != nil {
					t.Fatal(err)
				}
				allowed += int(res[0])
			}
			if allowed != 7 {
				t.Errorf("%d of 7 were let through", allowed)
			}
			var workers sync.WaitGroup
			for w := range clients {
				rc := client(w)
				workers.Go(func() {
					add := redis.NewScript(counter)
					for range adds {
						if err := add.Run(ctx, rc, []string{"{n}count", "{n}log"}).Err(); err != nil {
							t.Errorf("client %d: %v", w, err)
							return
						}
					}
				})
			}
			workers.Wait()
			log, err := rc.LRange(ctx, "{n}log", 0, -1).Result()
			if n, err2 := rc.Get(ctx, "{n}count").Int(); n != clients*adds || len(log) != n || err != nil || err2 != nil {
				t.Errorf("counted %d with a log of %d: %v %v", n, len(log), err, err2)
			}
			for i := range log {
				if log[i] != strconv.Itoa(i+1) {
					t.Fatalf("entry %d of the log is %s", i, log[i])
				}
			}
			big := fmt.Sprintf("return #%q", strings.Repeat("x", 100_000))
			if n, err := rc.Eval(ctx, big, nil).Int(); n != 100_000 || err != nil {
				t.Errorf("a long script: %d %v", n, err)
			}
		})
	}
}

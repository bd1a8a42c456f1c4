// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// evictionLimit is maxmemory in these tests, in logical bytes.
const evictionLimit = 60_000

// crush makes a log under which memory is always short.
type crush struct {
	source
	n        int
	volatile bool
	held     []Victim // planned for an entry that comes later
	evicted  int
}

// grow draws writes that make new keys of all types. Under a volatile policy each of them has a deadline,
// and those without are always the same few. Under the others any other write joins them.
func (c *crush) grow() *Sub {
	s := &Sub{}
	add := func(op Op, words ...string) {
		cmd := Command{Op: op, Args: bytesOf(words...), Room: MaxReply}
		s.Body = AppendCommand(s.Body, &cmd)
		s.Writes++
	}
	for range 1 + c.IntN(5) {
		key := "new" + strconv.Itoa(c.n)
		c.n++
		value := pad("v", c.IntN(600))
		switch c.IntN(4) {
		case 0:
			add(OpRPush, key, value, value, "x")
		case 1:
			add(OpHSet, key, "f", value, "g", "1")
		case 2:
			add(OpMSet, key, value, "other"+strconv.Itoa(c.IntN(30)), "v")
		default:
			add(OpAppend, key, value)
		}
		if c.volatile || c.IntN(3) > 0 {
			add(OpExpire, key, strconv.Itoa(1_000_000+c.IntN(1000)))
		}
	}
	if words := c.command(); !c.volatile && c.IntN(3) == 0 {
		if spec, ok := Data().Lookup([]byte(words[0])); ok && spec.Write {
			add(spec.Op, words[1:]...)
		}
	}
	return s
}

// current counts the victims that a machine will remove. Under a volatile policy all have deadlines.
func (c *crush) current(t *testing.T, m *Machine, vs []Victim) (n int) {
	t.Helper()
	var out [1]Result
	for _, v := range vs {
		m.Query([]Command{{Op: OpKVGet, Args: [][]byte{v.Key}}}, out[:], 0, nil)
		if len(out[0].Elems) == 5 && uint64(out[0].Elems[1].Int) == v.Version {
			n++
			if c.volatile && out[0].Elems[3].Int < 0 {
				t.Fatalf("%s is to go and has no deadline", v.Key)
			}
		}
	}
	return n
}

// TestEvictionsAgree evicts 1,000 keys under each policy. Each entry's victims are planned by whichever
// replica leads then; the replicas have been read differently, and one is now and then restored from its
// snapshot. Replies and digests stay the same, nothing is refused, and memory stays near its limit.
func TestEvictionsAgree(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"allkeys-lru", "volatile-lru", "allkeys-lfu", "volatile-lfu", "allkeys-random", "volatile-random", "volatile-ttl"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy, ok := ParsePolicy(name)
			if !ok {
				t.Fatal("unknown")
			}
			rng := seeded(7, uint64(policy))
			c := &crush{source: source{dice: rng, now: testClock}, volatile: policy.Volatile()}
			rs := []*replica{{name: "plain", tm: newTestMachine(t)}, {name: "read", tm: newTestMachine(t)}, {name: "restored", tm: newTestMachine(t)}}
			var log [][]byte
			clock := int64(testClock)
			apply := func(h Header, subs ...*Sub) {
				clock += 200
				h.Clock = clock
				log = append(log, entryOf(h, subs...))
				c.evicted += c.current(t, rs[0].tm.m, h.Evict)
				want := rs[0].apply(uint64(len(log)), log[len(log)-1])
				for _, r := range rs[1:] {
					sameReplies(t, fmt.Sprintf("entry %d: %s", len(log), r.name), want, r.apply(uint64(len(log)), log[len(log)-1]))
				}
				for _, s := range want {
					for i := range s.Results {
						if s.Results[i].Code == CodeOOM {
							t.Fatalf("entry %d: %s", len(log), show(s.Results[i]))
						}
					}
				}
			}
			apply(Header{}, packSub(Own(1, allSlots()), Limit(evictionLimit, policy, 0)))
			rs[1].disturb(uint64(policy))
			defer rs[1].calm()
			for c.evicted < 1000 {
				s := c.grow()
				planner := rs[rng.IntN(len(rs))].tm.m
				victims := planner.PlanEvictions(planner.GrowthBound([]*Sub{s}))
				if rng.IntN(4) == 0 { // this plan reaches the log late
					victims, c.held = c.held, victims
				}
				apply(Header{Evict: victims}, s)
				switch {
				case rs[2].behind == nil && rng.IntN(40) == 0:
					rs[2].freeze()
				case rs[2].behind != nil && rng.IntN(4) == 0:
					rs[2].thaw(rng, log)
				}
				if len(log)%100 == 0 {
					sameState(t, fmt.Sprintf("entry %d", len(log)), rs)
				}
				if len(log) > 20_000 {
					t.Fatalf("only %d evictions in %d entries", c.evicted, len(log))
				}
			}
			if rs[2].behind != nil {
				rs[2].thaw(rng, log)
			}
			apply(Header{Evict: c.held}) // or the one that planned it would count on it
			sameState(t, "the end", rs)
			c.settle(t, rs, apply)
		})
	}
}

// settle makes room by entries that hold victims alone, and checks that this reaches the limit.
func (c *crush) settle(t *testing.T, rs []*replica, apply func(h Header, subs ...*Sub)) {
	t.Helper()
	for range 20 {
		for _, r := range rs {
			if victims := r.tm.m.PlanEvictions(0); len(victims) > 0 {
				apply(Header{Evict: victims})
			}
		}
	}
	res := rs[0].tm.do("KV.STATS")
	w, _ := ParseWhole(&res)
	if used := w.Value.Elems[3].Int; used > evictionLimit {
		t.Errorf("%d bytes are used in the end, the limit is %d", used, evictionLimit)
	}
	sameState(t, "after making room", rs)
}

// samples has arguments for each data command that do something to the keys of TestNoEviction.
var samples = map[string]string{
	"GET": "s", "SET": "s x", "GETDEL": "s", "GETEX": "s EX 100", "MGET": "s t", "MSET": "s 1 t 2", "INCR": "n", "DECR": "n",
	"INCRBY": "n 5", "DECRBY": "n 5", "APPEND": "s x", "STRLEN": "s", "GETRANGE": "s 0 1", "SETRANGE": "s 1 x", "SETEX": "s 100 x",
	"PSETEX": "s 1000 x", "SETNX": "new x", "GETSET": "s x", "MSETNX": "new1 x new2 x", "DEL": "s", "UNLINK": "s", "EXISTS": "s", "TOUCH": "s",
	"TYPE": "s", "SCAN": "0", "DBSIZE": "", "FLUSHALL": "", "EXPIRE": "s 100", "PEXPIRE": "s 1000", "EXPIREAT": "s 9000000000",
	"PEXPIREAT": "s 9000000000000", "TTL": "s", "PTTL": "s", "EXPIRETIME": "s", "PEXPIRETIME": "s", "PERSIST": "v", "LPUSH": "l x",
	"RPUSH": "l x", "LPOP": "l", "RPOP": "l", "LLEN": "l", "LRANGE": "l 0 -1", "LINDEX": "l 0", "LSET": "l 0 x", "LREM": "l 0 a",
	"LTRIM": "l 0 0", "HSET": "h f x", "HGET": "h f", "HMGET": "h f g", "HGETALL": "h", "HDEL": "h f", "HEXISTS": "h f", "HLEN": "h",
	"HKEYS": "h", "HVALS": "h", "HINCRBY": "h n 1", "KV.GET": "s", "KV.DEL": "s", "KV.STATS": "", "KV.WATCH": "s", "KV.LOOK": "s", "KV.ENTRY": "s 100000",
	"LCS": "s t", "SUBSTR": "s 0 1", "INCRBYFLOAT": "n 0.5", "SETBIT": "s 1000 1", "GETBIT": "s 1", "BITCOUNT": "s", "BITPOS": "s 1", "BITOP": "OR new s t",
	"BITFIELD": "s SET u8 800 1", "BITFIELD_RO": "s GET u8 0", "KEYS": "*", "RANDOMKEY": "", "COPY": "s new", "RENAME": "s new", "RENAMENX": "s new",
	"OBJECT": "ENCODING s", "MEMORY": "USAGE s", "DUMP": "s", "RESTORE": "new 0 x", "SORT": "n ALPHA BY x STORE l", "SORT_RO": "l ALPHA", "LPUSHX": "l x", "RPUSHX": "l x", "LINSERT": "l BEFORE a x", "LPOS": "l a", "LMOVE": "l l2 LEFT RIGHT", "RPOPLPUSH": "l l2",
	"BLPOP": "l 0", "BRPOP": "none l 0", "BLMOVE": "l l2 LEFT RIGHT 0", "BRPOPLPUSH": "l l2 0", "BLMPOP": "0 1 l LEFT", "BZPOPMIN": "z 0", "BZPOPMAX": "z 0", "BZMPOP": "0 1 z MIN",
	"LMPOP": "1 l LEFT", "HSETNX": "h new x", "HSTRLEN": "h f", "HINCRBYFLOAT": "h n 0.5", "HRANDFIELD": "h", "HSCAN": "h 0", "HMSET": "h f x",
	"PFADD": "new a", "PFCOUNT": "none", "PFMERGE": "new none",
	"SADD": "m x", "SREM": "m a", "SMEMBERS": "m", "SISMEMBER": "m a", "SMISMEMBER": "m a x", "SCARD": "m", "SPOP": "m", "SRANDMEMBER": "m",
	"SMOVE": "m m2 a", "SINTER": "m m", "SINTERSTORE": "m2 m m", "SINTERCARD": "2 m m", "SUNION": "m m", "SUNIONSTORE": "m2 m m",
	"SDIFF": "m none", "SDIFFSTORE": "m2 m none", "SSCAN": "m 0",
	"ZADD": "z 9 x", "ZINCRBY": "z 1 a", "ZREM": "z a", "ZCARD": "z", "ZSCORE": "z a", "ZMSCORE": "z a x", "ZRANK": "z a", "ZREVRANK": "z a",
	"ZCOUNT": "z 0 9", "ZLEXCOUNT": "z - +", "ZRANGE": "z 0 -1", "ZRANGESTORE": "z2 z 0 -1", "ZRANGEBYSCORE": "z 0 9", "ZREVRANGEBYSCORE": "z 9 0",
	"ZRANGEBYLEX": "z - +", "ZREVRANGEBYLEX": "z + -", "ZREVRANGE": "z 0 -1", "ZREMRANGEBYRANK": "z 0 0", "ZREMRANGEBYSCORE": "z 0 1",
	"ZREMRANGEBYLEX": "z - +", "ZPOPMIN": "z", "ZPOPMAX": "z 1", "ZMPOP": "1 z MIN", "ZRANDMEMBER": "z", "ZUNION": "2 z m", "ZUNIONSTORE": "z2 2 z m",
	"ZINTER": "2 z m", "ZINTERSTORE": "z2 2 z m", "ZINTERCARD": "2 z m", "ZDIFF": "2 z none", "ZDIFFSTORE": "z2 2 z none", "ZSCAN": "z 0",
}

// overfull makes a machine with a key of each type that is over its limit under noeviction.
func overfull(t *testing.T) *testMachine {
	t.Helper()
	tm := newOwner(t)
	tm.script(`
		MSET s value t value n 1 v 1 => +OK
		EXPIRE v 100 => 1
		RPUSH l a b c => 3
		HSET h f 1 g 2 n 3 => 3
		SADD m a b => 2
		ZADD z 1 a 2 c => 2
	`)
	policy, _ := ParsePolicy("noeviction")
	tm.must(Limit(1, policy, 0))
	return tm
}

// TestNoEviction tries every data command over the limit: growing ones are refused with Redis' words and
// change nothing; all others, reads and deletions among them, go on.
func TestNoEviction(t *testing.T) {
	const refusal = "-OOM command not allowed when used memory > 'maxmemory'."
	full := overfull(t) // the same log makes the same machine
	before, reads := full.m.Digest(), probe(full)
	for s := range Data().All() {
		if s.Internal {
			continue
		}
		args, ok := samples[s.Name]
		if !ok {
			if s.Op != OpExec && s.Op != OpEffect && !s.Script { // see TestExecOverfull, TestEffectOverfull
				t.Errorf("%s: no sample", s.Name)
			}
			continue
		}
		tm := overfull(t)
		got := tm.do(append([]string{s.Name}, strings.Fields(args)...)...)
		switch changed := tm.m.Digest().Machine != before.Machine; {
		case s.DenyOOM && (show(got) != refusal || got.Code != CodeOOM || changed || probe(tm) != reads):
			t.Errorf("%s %s: %s, changed %v", s.Name, args, show(got), changed)
		case !s.DenyOOM && (got.IsError() || changed != s.Write):
			t.Errorf("%s %s: %s, changed %v", s.Name, args, show(got), changed)
		}
	}
	tm := overfull(t)
	// Room made by one command of a Sub is there for the next; at the limit itself there is room.
	s := packSub(Command{Op: OpSet, Args: bytesOf("x", "1")}, Command{Op: OpFlushAll}, Command{Op: OpSet, Args: bytesOf("x", "1")}, Command{Op: OpSet, Args: bytesOf("y", "1")})
	tm.entry(Header{}, s)
	if a, b, c := show(s.Results[0]), show(s.Results[2]), show(s.Results[3]); a != refusal || b != "+OK" || c != refusal {
		t.Errorf("before FLUSHALL %s, behind it %s, and %s", a, b, c)
	}
	res := tm.do("KV.STATS")
	w, _ := ParseWhole(&res)
	used := w.Value.Elems[3].Int
	policy, _ := ParsePolicy("noeviction")
	for limit, want := range map[int64]string{used: "+OK", used - 1: refusal} {
		tm.must(Limit(limit, policy, 0))
		if got := show(tm.do("SET", "x", "2")); got != want {
			t.Errorf("%d bytes of %d used: %s", used, limit, got)
		}
	}
}

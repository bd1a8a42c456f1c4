// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
)

func modelKeyMoves() map[string]modelCommand {
	write, grows := true, true
	return map[string]modelCommand{
		"COPY":      {arity: -3, write: write, grows: grows, static: staticCopy, run: (*model).copyKey},
		"RENAME":    {arity: 3, write: write, run: (*model).rename},
		"RENAMENX":  {arity: 3, write: write, run: (*model).rename},
		"RANDOMKEY": {arity: 1, run: (*model).randomKey},
		"KEYS":      {arity: 2, run: (*model).keysLike},
		"MEMORY":    {arity: -3, static: staticMemory, run: (*model).memory},
	}
}

func staticCopy(args []string) *Result {
	for rest := args[2:]; len(rest) > 0; rest = rest[1:] {
		if strings.EqualFold(rest[0], "REPLACE") {
			continue
		}
		if len(rest) == 1 || !strings.EqualFold(rest[0], "DB") {
			return syntaxError()
		}
		rest = rest[1:]
		n, ok := integer(rest[0])
		switch {
		case !ok:
			return notInteger()
		case n != int64(int32(n)):
			return oops(CodeError, "ERR value is out of range, value must between -2147483648 and 2147483647")
		case n != 0:
			return oops(CodeError, "ERR DB index is out of range")
		}
	}
	if args[0] == args[1] {
		return oops(CodeError, "ERR source and destination objects are the same")
	}
	return nil
}

// twin is a copy of a key, with everything but its version.
func (m *model) twin(k *modelKey) *modelKey {
	c := *k
	c.list, c.fields = slices.Clone(k.list), slices.Clone(k.fields)
	c.set, c.scores = maps.Clone(k.set), maps.Clone(k.scores)
	c.version = m.next()
	return &c
}

func (m *model) copyKey(words []string) Result {
	from, to := m.take(words[1]), m.take(words[2])
	replace := slices.ContainsFunc(words[3:], func(w string) bool { return strings.EqualFold(w, "REPLACE") })
	if from == nil || to != nil && !replace {
		return Int(0)
	}
	m.keys[words[2]] = m.twin(from)
	return Int(1)
}

func (m *model) rename(words []string) Result {
	from, to := m.take(words[1]), m.take(words[2])
	careful := strings.EqualFold(words[0], "RENAMENX")
	switch {
	case from == nil:
		return Error(CodeNoSuchKey, "ERR no such key")
	case careful && to != nil:
		return Int(0)
	case words[1] == words[2]:
		return OK()
	}
	m.keys[words[2]] = m.twin(from)
	delete(m.keys, words[1])
	if careful {
		return Int(1)
	}
	return OK()
}

func (m *model) randomKey([]string) Result {
	live := 0
	for name := range m.keys {
		if m.read(name) != nil {
			live++
		}
	}
	chosen := m.chosen
	if w, ok := ParseWhole(&chosen); ok {
		chosen = RandomOf([]Result{w.Value})
	}
	if live == 0 {
		return Null()
	}
	if chosen.Kind != KindBulk || m.read(string(chosen.Str)) == nil {
		return badChoice()
	}
	return chosen
}

func (m *model) keysLike(words []string) Result {
	return m.scan([]string{"SCAN", "0", "MATCH", words[1]})
}

func staticMemory(args []string) *Result {
	if !strings.EqualFold(args[0], "USAGE") {
		return oops(CodeError, "ERR unknown subcommand '"+args[0]+"'. Try MEMORY HELP.")
	}
	for i := 2; i < len(args); i += 2 {
		if !strings.EqualFold(args[i], "SAMPLES") || i+1 == len(args) {
			return syntaxError()
		}
		if n, ok := integer(args[i+1]); !ok {
			return notInteger()
		} else if n < 0 {
			return syntaxError()
		}
	}
	return nil
}

func (m *model) memory(words []string) Result {
	k := m.read(words[2])
	if k == nil {
		return Null()
	}
	value, over := k.sizes()
	return Int(int64(len(words[2])) + value + over)
}

func (g *source) keyMoveCommand() []string {
	switch g.IntN(9) {
	case 8:
		words := []string{"MEMORY", g.pick("USAGE", "usage", "USAGE", "SIZE"), g.key()}
		for g.chance(3) {
			words = append(words, g.pickWords([]string{"SAMPLES", g.number()}, []string{"samples", "0"}, []string{"SAMPLES"}, []string{"bogus", "1"})...)
		}
		return words
	case 0, 1, 2:
		words := []string{"COPY", g.key(), g.key()}
		for g.chance(2) {
			words = append(words, g.pickWords([]string{"REPLACE"}, []string{"replace"}, []string{"REPLACE"}, []string{"DB", "0"}, []string{"db", "0"},
				[]string{"DB"}, []string{"DB", g.pick("x", "99999999999", "-1", "-3000000000", "")}, []string{"bogus"})...)
		}
		return words
	case 3, 4:
		return []string{"RENAME", g.key(), g.key()}
	case 5:
		return []string{"RENAMENX", g.key(), g.key()}
	case 6:
		return []string{"RANDOMKEY"}
	}
	return []string{"KEYS", g.pick("*", "l*", "?", "", "[a-k]*", "[^a-k]*", "{t}?", `\s`, "*s", "k[{]a}", "[", `\`, "none")}
}

// TestObjectAgainstRedis compares what OBJECT says of values that were stored at once.
func TestObjectAgainstRedis(t *testing.T) {
	redis, tm := startRedis(t), newOwner(t)
	both := func(words ...string) {
		t.Helper()
		ours, theirs := tm.do(words...), redis.do(t, words...)
		if ours.Kind != theirs.Kind || show(ours) != show(theirs) {
			t.Errorf("%#v\n ours %s\nredis %s", line(words), show(ours), show(theirs))
		}
	}
	long, ints := pad("", 65), []string{}
	for i := range 513 {
		ints = append(ints, string(formatInt(int64(i))))
	}
	n := 0
	store := func(command string, words ...string) {
		n++
		key := string(formatInt(int64(n)))
		for _, do := range []func(...string) Result{tm.do, func(w ...string) Result { return redis.do(t, w...) }} {
			if res := do(append([]string{command, key}, words...)...); res.IsError() {
				t.Fatalf("%s %#v: %s", command, line(words), show(res))
			}
		}
		both("OBJECT", "ENCODING", key)
	}
	for _, v := range []string{"", "1", "-1", "01", "9223372036854775807", "9223372036854775808", "abc", pad("", 44), pad("", 45), pad("", 20_000)} {
		store("SET", v)
	}
	store("RPUSH", "a")
	store("RPUSH", ints...)
	store("HSET", "f", pad("", 64))
	store("HSET", "f", long)
	store("HSET", long, "v")
	store("HSET", append(slices.Clone(ints), ints[:511]...)...)
	store("HSET", append(slices.Clone(ints), ints...)...)
	store("SADD", ints[:512]...)
	store("SADD", ints...)
	store("SADD", "1", "a")
	store("ZADD", "1", pad("", 64))
	store("ZADD", "1", long)
	pairs := []string{}
	for i := range 129 {
		pairs = append(pairs, ints[i], ints[i])
	}
	store("ZADD", pairs[2:]...)
	store("ZADD", pairs...)
	for _, words := range [][]string{
		{"OBJECT", "REFCOUNT", "7"},
		{"OBJECT", "FREQ", "1"},
		{"OBJECT", "FREQ", "none"},
		{"OBJECT", "encoding", "none"},
		{"OBJECT", "IDLETIME", "none"},
	} {
		both(words...)
	}
	// Redis goes by its clock, so what was stored a moment ago may be idle for seconds.
	ours, theirs := tm.do("OBJECT", "IDLETIME", "1"), redis.do(t, "OBJECT", "IDLETIME", "1")
	if ours.Kind != KindInt || theirs.Kind != KindInt || ours.Int != 0 || theirs.Int > 60 {
		t.Errorf("idle for %s, with Redis for %s", show(ours), show(theirs))
	}
	policy, _ := ParsePolicy("allkeys-lfu")
	tm.must(Limit(math.MaxInt32, policy, 0))
	redis.do(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
	both("OBJECT", "IDLETIME", "1")
	tm.do("SET", "f", "x")
	redis.do(t, "SET", "f", "x")
	both("OBJECT", "FREQ", "f")
	tm.clock += 10_000
	tm.entry(Header{})
	policy, _ = ParsePolicy("allkeys-lru")
	tm.must(Limit(math.MaxInt32, policy, 0))
	if res := tm.do("OBJECT", "IDLETIME", "f"); res.Int < 9 || res.Int > 10 {
		t.Errorf("idle for %s s, want 10", show(res))
	}
}

// TestRandomKey: every key is drawn sooner or later, none that is dead, and a group with more keys more often.
func TestRandomKey(t *testing.T) {
	t.Parallel()
	tm := newOwner(t)
	seed := uint64(0)
	tm.m.opts.Dice = func() uint64 { seed++; return seed }
	random := func() string {
		res := tm.do("RANDOMKEY")
		w, ok := ParseWhole(&res)
		if !ok {
			t.Fatalf("%s", show(res))
		}
		return show(RandomOf([]Result{w.Value}))
	}
	if got := random(); got != "nil" {
		t.Errorf("nothing is there, and %s is drawn", got)
	}
	for i := range 300 {
		tm.do("SET", "dead"+string(formatInt(int64(i))), "v", "PX", "10")
	}
	tm.entry(Header{Clock: tm.clock + 10}) // removes them
	for i := range 20 {
		tm.do("SET", "{t}"+string(formatInt(int64(i))), "v")
		tm.do("SET", string(formatInt(int64(i))), "v")
	}
	seen := map[string]bool{}
	for range 1000 {
		seen[random()] = true
	}
	if len(seen) != 40 {
		t.Errorf("%d keys of 40 were drawn", len(seen))
	}
	drawn := 0
	for i := range 1000 {
		values := []Result{
			Array([]Result{Int(1), Int(int64(i)), bulk("few")}), Array([]Result{Int(0), Int(5), Null()}), Array([]Result{Int(99), Int(int64(2 * i)), bulk("many")}),
		}
		if show(RandomOf(values)) == `"many"` {
			drawn++
		}
	}
	if drawn < 970 || drawn == 1000 {
		t.Errorf("99 keys of 100 were drawn %d times in 1000", drawn)
	}
}

// TestCopyIsApart: what was copied, whatever its size, changes without the copy, and the other way round; COPY and
// RENAME keep flags and deadlines.
func TestCopyIsApart(t *testing.T) {
	tm := newOwner(t)
	for _, size := range []int{3, 2000} {
		for command, per := range map[string]int{"RPUSH": 1, "HSET": 2, "SADD": 1, "ZADD": 2} {
			words := []string{command, "from"}
			for i := range size * per {
				words = append(words, string(formatInt(int64(i))))
			}
			tm.do(words...)
			read := map[string][]string{"RPUSH": {"LRANGE", "", "0", "-1"}, "HSET": {"HGETALL", ""}, "SADD": {"SMEMBERS", ""}, "ZADD": {"ZRANGE", "", "0", "-1"}}[command]
			look := func(key string) string {
				read[1] = key
				return show(tm.do(read...))
			}
			tm.do("COPY", "from", "to")
			was := look("from")
			if look("to") != was {
				t.Errorf("%s of %d: the copy is not the same", command, size)
			}
			tm.do(command, "to", "1", "100000")
			if look("from") != was || look("to") == was {
				t.Errorf("%s of %d: a change of the copy shows", command, size)
			}
			now := look("to")
			tm.do(command, "from", "1", "200000")
			if look("to") != now || look("from") == was {
				t.Errorf("%s of %d: a change shows in the copy", command, size)
			}
			tm.do("RENAME", "from", "other")
			tm.do("DEL", "to", "other")
		}
	}
	tm.script(`
		SET s v FLAGS 7 PX 100000 => +OK
		COPY s t => 1
		RENAME s u => +OK
		PTTL t => 100000
		PTTL u => 100000
	`)
	for _, key := range []string{"t", "u"} {
		if res := tm.do("KV.GET", key); len(res.Elems) != 5 || res.Elems[2].Int != 7 {
			t.Errorf("%s: %s, want flags 7", key, show(res))
		}
	}
	if n := tm.do("KV.GET", "t").Elems[1].Int; n == tm.do("KV.GET", "u").Elems[1].Int {
		t.Errorf("two keys have version %d", n)
	}
}

// TestKeysBound: the names of all keys are a reply like others, within its bounds.
func TestKeysBound(t *testing.T) {
	tm := newOwner(t)
	for i := range 1000 {
		tm.do("SET", pad(string(formatInt(int64(i))), MaxKeyBytes-1), "v")
	}
	query := func(pattern string, room Room) (Result, *Room) {
		var out [1]Result
		tm.m.Query([]Command{{Op: OpKeys, Args: bytesOf(pattern)}}, out[:], 0, &room)
		return out[0], &room
	}
	if res, _ := query("*", Room{Free: 1 << 40}); show(res) != "-"+TextReplyTooBig {
		t.Errorf("64 MiB of keys: %.100s", show(res))
	}
	if res, room := query("1*", Room{Free: 4096}); res.Kind != KindNone || !room.Short {
		t.Errorf("kind %d, short %v, want no reply", res.Kind, room.Short)
	}
	if res, room := query("12*", Room{Free: MaxReply}); res.Kind != KindArray || room.Used < 11*MaxKeyBytes || room.Used > 12*MaxKeyBytes {
		t.Errorf("kind %d, %d bytes are used", res.Kind, room.Used)
	}
}

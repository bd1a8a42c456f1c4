// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// loose are the commands whose reply is a time from now, with how many make up redisPatience.
var loose = map[string]int64{"PTTL": 1000, "PEXPIRETIME": 1000, "TTL": 1, "EXPIRETIME": 1}

// redisPatience is how much later than the machine Redis may read its clock, in seconds. All deadlines of a
// run are farther apart, and farther away.
const redisPatience = 900

// listings are the commands whose reply has no order in Redis, with how many elements belong together.
var listings = map[string]int{"HGETALL": 2, "HKEYS": 1, "HVALS": 1, "SMEMBERS": 1, "SINTER": 1, "SUNION": 1, "SDIFF": 1, "KEYS": 1}

// unordered sorts what a command lists.
func unordered(name string, r Result) Result {
	if r.Kind == KindMap || r.Kind == KindSet {
		r.Kind = KindArray
	}
	n := listings[name]
	if n == 0 || r.Kind != KindArray {
		return r
	}
	groups := slices.Collect(slices.Chunk(r.Elems, n))
	slices.SortFunc(groups, func(a, b []Result) int { return strings.Compare(show(Array(a)), show(Array(b))) })
	return Array(slices.Concat(groups...))
}

// plainly makes a reply comparable with that of another server: the value alone of whole-keyspace
// commands, and all that a scan finds from its start to its end, sorted. again runs a command.
func plainly(t failer, words []string, r Result, again func(words ...string) Result) Result {
	t.Helper()
	name := strings.ToUpper(words[0])
	if w, ok := ParseWhole(&r); ok && name == "RANDOMKEY" {
		return RandomOf([]Result{w.Value})
	} else if ok && name != "SCAN" {
		return w.Value
	}
	at := slices.Index([]string{"", "SCAN", "SSCAN", "ZSCAN", "HSCAN"}, name)
	if at < 0 || r.IsError() {
		return r
	}
	at = min(at, 2) // of the cursor
	found := map[string]bool{}
	for {
		if len(r.Elems) != 2 {
			t.Fatalf("%q: %s", words, show(r))
		}
		for i, e := range r.Elems[1].Elems {
			switch text := string(e.Str); {
			case name[0] == 'S':
				found[text] = true
			case i%2 == 1 && name == "HSCAN":
				found[string(r.Elems[1].Elems[i-1].Str)+"="+text] = true
			case i%2 == 1:
				v, _, ok := double(text)
				if !ok {
					t.Fatalf("%q: score %q", words, text)
				}
				found[string(r.Elems[1].Elems[i-1].Str)+"="+shownDouble(v+0)] = true
			}
		}
		cursor := string(r.Elems[0].Str)
		if cursor == "0" {
			break
		}
		words = slices.Clone(words)
		words[at] = cursor
		r = again(words...)
	}
	names := []string{}
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return bulks(names)
}

// redisAgrees compares a reply with that of Redis.
func redisAgrees(name string, ours, theirs Result) bool {
	if within := loose[name] * redisPatience; within > 0 && ours.Kind == KindInt && theirs.Kind == KindInt {
		d := ours.Int - theirs.Int
		return d <= within && d >= -within && (ours.Int < 0) == (theirs.Int < 0)
	}
	if name == "DUMP" && ours.Kind == KindBulk && theirs.Kind == KindBulk {
		return true // the same value in other bytes: see TestDumpAgainstRedis
	}
	if name == "MEMORY" && ours.Kind == KindInt && theirs.Kind == KindInt {
		return true // each counts its own bytes
	}
	return show(unordered(name, worded(name, ours))) == show(unordered(name, worded(name, theirs)))
}

// worded is a reply as RESP2 has it. Redis knows -0 in a large sorted set and not in a small one; here it is
// the same.
func worded(name string, r Result) Result {
	if r.Kind == KindDouble {
		r = Bulk(AppendDouble(nil, r.Dbl))
	}
	if r.Kind == KindBulk && strings.TrimPrefix(name, "B")[0] == 'Z' && string(r.Str) == "-0" {
		r.Str = []byte("0")
	}
	for i := range r.Elems {
		if i == 0 {
			r.Elems = slices.Clone(r.Elems)
		}
		r.Elems[i] = worded(name, r.Elems[i])
	}
	return r
}

// difference is a row of testdata/redis-differences.txt: after these commands the last one's replies, as
// show words them, fit these patterns of SCAN's MATCH.
type difference struct {
	script       [][]string
	ours, theirs string
	why          string
}

func (d *difference) last() []string { return d.script[len(d.script)-1] }

// excuses tells whether the row is about a command with these replies. Its words are patterns.
func (d *difference) excuses(words []string, ours, theirs Result) bool {
	want := d.last()
	if len(want) != len(words) {
		return false
	}
	for i := range want {
		if !matches(strings.ToUpper(want[i]), strings.ToUpper(words[i])) && !matches(want[i], words[i]) {
			return false
		}
	}
	return matches(d.ours, show(ours)) && matches(d.theirs, show(theirs))
}

func readDifferences(t *testing.T) (rows []difference) {
	t.Helper()
	f, err := os.Open("testdata/redis-differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		parts := strings.Split(text, " | ")
		if len(parts) != 4 {
			t.Fatalf("%q: %d parts", text, len(parts))
		}
		d := difference{ours: parts[1], theirs: parts[2], why: parts[3]}
		for _, command := range strings.Split(parts[0], " ; ") {
			words := strings.Fields(command)
			for i := range words {
				words[i] = strings.Trim(words[i], "'")
			}
			d.script = append(d.script, words)
		}
		rows = append(rows, d)
	}
	return rows
}

// TestDifferencesFromRedis holds the list of intended differences to the truth: each row is what the two
// really answer, and they do not agree.
func TestDifferencesFromRedis(t *testing.T) {
	redis := startRedis(t)
	for _, d := range readDifferences(t) {
		redis.do(t, "FLUSHALL")
		tm := newOwner(t)
		var ours, theirs Result
		for _, words := range d.script {
			ours = plainly(t, words, tm.do(words...), tm.do)
			theirs = plainly(t, words, redis.do(t, words...), func(w ...string) Result { return redis.do(t, w...) })
		}
		if !matches(d.ours, show(ours)) || !matches(d.theirs, show(theirs)) || redisAgrees(d.last()[0], ours, theirs) {
			t.Errorf("%q:\n ours %.200s\nredis %.200s\nthe list says %q and %q", d.script, show(ours), show(theirs), d.ours, d.theirs)
		}
	}
}

// rivals are a machine, a real Redis and the model, which run the same commands.
type rivals struct {
	t           *rapid.T
	redis       *redisServer
	tm          *testMachine
	m           *model
	differences []difference
	base        int64
	n           int
	history     []string
}

// play runs a command everywhere and compares the replies.
func (r *rivals) play(l line) {
	words := rendered(l, r.n, r.base)
	r.n++
	name := strings.ToUpper(words[0])
	if r.m.unspecified(words) {
		return
	}
	r.history = append(r.history, fmt.Sprintf("%#v", line(words)))
	if name == "DBSIZE" {
		r.sweep()
	}
	ours := plainly(r.t, words, r.tm.do(words...), r.tm.do)
	var theirs Result
	if strings.HasPrefix(name, "SORT") {
		r.calmSort(words, ours)
	}
	if drawing[name] && !ours.IsError() && ours.Kind != KindNull && len(words) <= 4 {
		theirs = r.redraw(words, ours)
	} else {
		theirs = plainly(r.t, words, r.redis.do(r.t, words...), func(w ...string) Result { return r.redis.do(r.t, w...) })
	}
	if r.m.writes(words) {
		r.m.begin(r.tm.clock, nil)
	}
	said := r.m.follow(ours, words...)
	if k := r.m.keys[words[min(1, len(words)-1)]]; name == "PFCOUNT" && len(words) == 2 && ours.Kind == KindInt && k != nil {
		r.redis.do(r.t, "SETRANGE", words[1], "8", k.str[8:16]) // it notes what it counted
	}
	if modelled := r.m.agrees(words, said, ours); !modelled || !redisAgrees(name, ours, theirs) && !r.excused(words, ours, theirs) {
		r.t.Fatalf("%#v\n ours %.400s\nredis %.400s\nmodel %.400s\nbefore:\n%s", line(words), show(ours), show(theirs), show(said),
			strings.Join(r.history[max(0, len(r.history)-20):], "\n"))
	}
}

// calmSort keeps numbers out of range that Redis read before from making all those of SORT so: it takes what errno
// says for what the last conversion said. SORT itself reads the scores of a small sorted set, once.
func (r *rivals) calmSort(words []string, ours Result) {
	if !ours.IsError() {
		r.redis.do(r.t, "SORT", words[1], "BY", "nosort", "LIMIT", "0", "0")
	}
	r.redis.do(r.t, "ZADD", "no such key", "XX", "1", "a")
}

// drawing are the commands that draw.
var drawing = map[string]bool{"SPOP": true, "SRANDMEMBER": true, "ZRANDMEMBER": true, "HRANDFIELD": true, "RANDOMKEY": true}

// redraw makes Redis draw what the machine drew, and gives that for its reply. The model knows whether it was
// possible; Redis is asked whether it draws as many.
func (r *rivals) redraw(words []string, ours Result) Result {
	name := strings.ToUpper(words[0])
	if name != "SPOP" {
		theirs := r.redis.do(r.t, words...)
		if plain := worded(name, ours); plain.Kind != theirs.Kind || len(plain.Elems) != len(theirs.Elems) {
			return theirs
		}
		return ours
	}
	remove := []string{"SREM", words[1]}
	for _, e := range append([]Result{ours}, ours.Elems...) {
		if e.Kind == KindBulk {
			remove = append(remove, string(e.Str))
		}
	}
	if len(remove) == 2 {
		return r.redis.do(r.t, words...)
	}
	if n := r.redis.do(r.t, remove...); n.Int != int64(len(remove)-2) {
		return n
	}
	return ours
}

func (r *rivals) excused(words []string, ours, theirs Result) bool {
	return slices.ContainsFunc(r.differences, func(d difference) bool { return d.excuses(words, ours, theirs) })
}

// sweep makes Redis remove what is past its deadline, which it otherwise does some time later.
func (r *rivals) sweep() {
	for _, k := range allKeys {
		r.redis.do(r.t, "EXISTS", k)
	}
}

// compare looks at all that is there.
func (r *rivals) compare() {
	r.play(line{"DBSIZE"})
	r.play(line{"SCAN", "0", "COUNT", "3"})
	for _, k := range allKeys {
		for _, words := range [][]string{{"TYPE", k}, {"GET", k}, {"LRANGE", k, "0", "-1"}, {"HGETALL", k}, {"SMEMBERS", k}, {"ZRANGE", k, "0", "-1", "WITHSCORES"}, {"PTTL", k}} {
			r.play(words)
		}
	}
}

// agrees compares the machine's reply with the model's, outcome codes included; where a hash lost its
// order for good, without order.
func (m *model) agrees(words []string, said, ours Result) bool {
	name := strings.ToUpper(words[0])
	if listings[name] > 0 && (len(words) == 2 || len(words) > 2 && name[0] == 'S') {
		if k := m.read(words[1]); k != nil && k.large || name[0] == 'S' || name == "KEYS" {
			said, ours = unordered(name, said), unordered(name, ours)
		}
	}
	return sameResult(said, ours)
}

// TestAgainstRedis runs random commands on a machine, on a real Redis and on the model, compares every
// reply, and at the end of each round all that is left. The log clock stands still; deadlines are past or
// far ahead, so that no reply depends on the time that a round takes.
func TestAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	differences := readDifferences(t)
	check := func(draw func(t *rapid.T) []line) func(t *rapid.T) {
		return func(t *rapid.T) {
			redis.do(t, "FLUSHALL")
			base := time.Now().UnixMilli()
			r := &rivals{t: t, redis: redis, tm: newOwner(t), m: newModel(base), differences: differences, base: base}
			r.tm.clock = base
			t.Repeat(map[string]func(*rapid.T){
				"commands": func(t *rapid.T) {
					for _, l := range draw(t) {
						r.play(l)
					}
				},
			})
			r.compare()
		}
	}
	t.Run("all", rapid.MakeCheck(check(func(t *rapid.T) []line { return drawLines(t, 0) })))
	for name, family := range families {
		t.Run(name, rapid.MakeCheck(check(func(t *rapid.T) []line { return drawFamily(t, family) })))
	}
}

// TestTableAgainstRedis compares the rows of the table with what Redis says of its commands: arity, keys,
// whether they write, and whether they are refused when memory is full.
func TestTableAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	n := 0
	for s := range Data().All() {
		if s.Internal || strings.HasPrefix(s.Name, "KV.") {
			continue
		}
		n++
		named := s.Name
		switch s.Op {
		case OpObject:
			named = "OBJECT|ENCODING"
		case OpMemory:
			named = "MEMORY|USAGE"
		}
		res := redis.do(t, "COMMAND", "INFO", named)
		if len(res.Elems) != 1 || len(res.Elems[0].Elems) < 6 {
			t.Errorf("%s: Redis says %s", s.Name, show(res))
			continue
		}
		row := res.Elems[0].Elems
		var flags []string
		for _, f := range row[2].Elems {
			flags = append(flags, string(f.Str))
		}
		got := []int64{int64(s.Arity), int64(s.FirstKey), int64(s.LastKey), int64(s.KeyStep)}
		want := []int64{row[1].Int, row[3].Int, row[4].Int, row[5].Int}
		if !slices.Equal(got, want) {
			t.Errorf("%s: arity and keys %v, Redis %v", s.Name, got, want)
		}
		if w := slices.Contains(flags, "write"); w != s.Write && !s.Script {
			t.Errorf("%s: write %v, Redis %v", s.Name, s.Write, flags)
		}
		if d := slices.Contains(flags, "denyoom"); d != s.DenyOOM {
			t.Errorf("%s: DenyOOM %v, Redis %v", s.Name, s.DenyOOM, flags)
		}
	}
	if n < 50 {
		t.Errorf("only %d commands were compared", n)
	}
}

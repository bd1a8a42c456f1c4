// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var dumpsFile = flag.String("dumps", "", "write what Redis dumps of some values into this file (testdata/dumps.txt)")

// dumpsPath has a line for each of some values: the payload of Redis 7.0.15, and the command that made the value.
const dumpsPath = "testdata/dumps.txt"

// dumpedValue is a payload with the command that makes the value it stands for.
type dumpedValue struct {
	payload string
	words   []string
}

// dumpMakers make the values of testdata/dumps.txt: all types, in every form that Redis 7 writes.
func dumpMakers() (all [][]string) {
	many := func(command string, n int, draw func(i int) []string) {
		words := []string{command, "k"}
		for i := range n {
			words = append(words, draw(i)...)
		}
		all = append(all, words)
	}
	for _, v := range []string{"", "12", "-300", "70000", "9223372036854775807", "abc", "x\x00\r\n\xff", strings.Repeat("abcd", 40)} {
		all = append(all, []string{"SET", "k", v})
	}
	number := func(i int) string { return strconv.Itoa(i * i * i * (1 - i%2*2)) }
	many("RPUSH", 3, func(i int) []string { return []string{number(i)} })
	many("RPUSH", 90, func(i int) []string { return []string{pad(number(i), i%9)} })
	many("HSET", 3, func(i int) []string { return []string{"f" + number(i), number(i)} })
	many("HSET", 1, func(int) []string { return []string{pad("f", 68), "v"} })
	many("SADD", 4, func(i int) []string { return []string{strconv.Itoa(i)} })
	many("SADD", 4, func(i int) []string { return []string{strconv.Itoa(i << 14)} })
	many("SADD", 4, func(i int) []string { return []string{strconv.Itoa(i << 40)} })
	many("SADD", 4, func(i int) []string { return []string{"m" + number(i)} })
	many("ZADD", 4, func(i int) []string { return []string{number(i), "m" + number(i)} })
	all = append(all, []string{"ZADD", "k", "inf", "a", "-inf", pad("b", 70), "0.1", "c", "1e300", "d", "-0", "e"})
	return all
}

// TestWriteDumps asks Redis.
func TestWriteDumps(t *testing.T) {
	if *dumpsFile == "" {
		t.Skip("no -dumps")
	}
	redis := startRedis(t)
	var b strings.Builder
	for _, words := range dumpMakers() {
		redis.do(t, "DEL", "k")
		redis.do(t, words...)
		b.WriteString(strconv.Quote(string(redis.do(t, "DUMP", "k").Str)))
		for _, w := range words {
			b.WriteString(" " + strconv.Quote(w))
		}
		b.WriteString("\n")
	}
	if err := os.WriteFile(*dumpsFile, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readDumps() (all []dumpedValue) {
	f, err := os.Open(dumpsPath)
	if err != nil {
		panic(err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var words []string
		for rest := lines.Text(); rest != ""; rest = strings.TrimPrefix(rest, " ") {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				panic(err)
			}
			w, _ := strconv.Unquote(quoted)
			words = append(words, w)
			rest = rest[len(quoted):]
		}
		all = append(all, dumpedValue{payload: words[0], words: words[1:]})
	}
	return all
}

var theDumps = readDumps()

func modelDumps() map[string]modelCommand {
	return map[string]modelCommand{
		"DUMP":    {arity: 2, run: (*model).dump},
		"RESTORE": {arity: -4, write: true, grows: true, static: staticRestore, run: (*model).restore},
	}
}

// dump says nothing of the bytes.
func (m *model) dump(words []string) Result {
	switch k := m.read(words[1]); {
	case k == nil:
		return Null()
	case m.chosen.Kind != KindBulk || len(m.chosen.Str) <= 10:
		return badChoice()
	}
	return m.chosen
}

func staticRestore(args []string) *Result {
	seen := map[string]bool{}
	for i := 3; i < len(args); i++ {
		word := strings.ToUpper(args[i])
		switch {
		case word == "REPLACE" || word == "ABSTTL":
			continue
		case i+1 == len(args), word == "IDLETIME" && seen["FREQ"], word == "FREQ" && seen["IDLETIME"], word != "IDLETIME" && word != "FREQ":
			return syntaxError()
		}
		seen[word] = true
		i++
		switch n, ok := integer(args[i]); {
		case !ok:
			return notInteger()
		case word == "IDLETIME" && n < 0:
			return oops(CodeError, "ERR Invalid IDLETIME value, must be >= 0")
		case word == "FREQ" && (n < 0 || n > 255):
			return oops(CodeError, "ERR Invalid FREQ value, must be >= 0 and <= 255")
		}
	}
	return nil
}

// value is what the command makes.
func (d *dumpedValue) value() *modelKey {
	k, args := &modelKey{}, d.words[2:]
	switch d.words[0] {
	case "SET":
		k.kind, k.str = "string", args[0]
	case "RPUSH":
		k.kind, k.list = "list", slices.Clone(args)
	case "HSET":
		k.kind = "hash"
		for i := 0; i < len(args); i += 2 {
			k.fields = append(k.fields, modelField{args[i], args[i+1]})
		}
	case "SADD":
		k.kind, k.set = "set", map[string]bool{}
		for _, member := range args {
			k.set[member] = true
		}
	case "ZADD":
		k.kind, k.scores = "zset", map[string]float64{}
		for i := 0; i < len(args); i += 2 {
			score, _, _ := double(args[i])
			k.scores[args[i+1]] = score + 0 // -0 is 0
		}
	}
	return k
}

func (m *model) restore(words []string) Result {
	has := func(word string) bool {
		return slices.ContainsFunc(words[4:], func(w string) bool { return strings.EqualFold(w, word) })
	}
	if m.take(words[1]) != nil && !has("REPLACE") {
		return Error(CodeError, "BUSYKEY Target key name already exists.")
	}
	at, ok := integer(words[2])
	switch {
	case !ok:
		return *notInteger()
	case at < 0:
		return Error(CodeError, "ERR Invalid TTL value, must be >= 0")
	}
	known := slices.IndexFunc(theDumps, func(d dumpedValue) bool { return d.payload == words[3] })
	if known < 0 {
		return Error(CodeError, "ERR DUMP payload version or checksum are wrong")
	}
	k := theDumps[known].value()
	parts := slices.Concat([]string{k.str}, k.list, slices.Collect(maps.Keys(k.set)), slices.Collect(maps.Keys(k.scores)))
	for _, f := range k.fields {
		parts = append(parts, f.name, f.value)
		k.large = k.large || len(k.fields) > 128 || len(f.name) > 64 || len(f.value) > 64
	}
	for _, part := range parts {
		if len(part) > m.maxValue {
			return Error(CodeTooBig, "ERR string exceeds maximum allowed size (proto-max-bulk-len)")
		}
	}
	switch {
	case at == 0:
		at = m.fresh()
	case !has("ABSTTL") && at > math.MaxInt64-m.now:
		return Error(CodeError, "ERR invalid expire time in 'restore' command")
	case !has("ABSTTL"):
		at += m.now
	}
	delete(m.keys, words[1])
	if at == 0 || at > m.now {
		k.at, k.version = at, m.next()
		m.keys[words[1]] = k
	}
	return OK()
}

func (g *source) dumpCommand() []string {
	if g.chance(4) {
		return []string{"DUMP", g.key()}
	}
	payload := theDumps[g.IntN(len(theDumps))].payload
	if g.chance(6) {
		payload = g.pick("", "x", payload[:len(payload)-1], payload+"x", "\x01"+payload, "0123456789")
	}
	ttl := g.pick("0", "0", "0", g.millis())
	words := []string{"RESTORE", g.key(), ttl, payload}
	for !g.chance(3) {
		words = append(words, g.pickWords([]string{"REPLACE"}, []string{"REPLACE"}, []string{"replace"}, []string{"IDLETIME", g.pick("0", "5", "-1", "x")},
			[]string{"FREQ", g.pick("0", "255", "256", "-1", "x")}, []string{"FREQ"}, []string{"bogus"})...)
	}
	switch {
	case g.chance(4):
		words = append(words, "ABSTTL")
		words[2] = g.pick(g.atMillis(), "1", "0")
		if g.now == 0 && words[2] == "1" { // where a word is lost on the way, a lifetime that Redis' own clock ends
			words[2] = "0"
		}
	case ttl == maxSpan: // Redis takes what is beyond all time for past
		words[2] = "0"
	}
	return words
}

// wholeOf is what is stored under a key, worded.
func wholeOf(do func(words ...string) Result, key string) string {
	kind := string(do("TYPE", key).Str)
	words := map[string][]string{
		"string": {"GET", key}, "list": {"LRANGE", key, "0", "-1"}, "hash": {"HGETALL", key}, "set": {"SMEMBERS", key}, "zset": {"ZRANGE", key, "0", "-1", "WITHSCORES"},
	}[kind]
	if words == nil {
		return kind
	}
	return kind + fmt.Sprint(show(unordered(words[0], worded(words[0], do(words...)))))
}

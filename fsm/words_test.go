// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// dice draws numbers below n: from rapid, which makes failing draws smaller, or from a seed.
type dice interface{ IntN(n int) int }

type rapidDice struct{ t *rapid.T }

func (d rapidDice) IntN(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "") }

func seeded(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// source draws commands over every data command of Redis that the table has: mostly sensible ones that
// take collections over the thresholds of their encodings and back, sometimes odd ones.
type source struct {
	dice
	// now is where deadlines are counted from, in milliseconds. 0 draws the placeholders below instead.
	now int64
}

// Placeholders for deadlines far ahead, which rendered replaces when the time is known.
const (
	farSeconds   = "@s"
	farMillis    = "@ms"
	farAtSeconds = "@as"
	farAtMillis  = "@ams"
)

// rendered replaces the placeholders of the n-th command by deadlines counted from now in milliseconds.
// Relative ones grow by 1000 s from command to command, and none comes near an absolute one: so it does
// not matter for any comparison of deadlines that two servers read their clocks at different moments.
func rendered(words []string, n int, now int64) []string {
	out := make([]string, len(words))
	relative, absolute := 10_000+1000*int64(n), now/1000+50_000_000+int64(n%2)*1000
	for i, w := range words {
		switch w {
		case farSeconds:
			w = strconv.FormatInt(relative, 10)
		case farMillis:
			w = strconv.FormatInt(relative*1000, 10)
		case farAtSeconds:
			w = strconv.FormatInt(absolute, 10)
		case farAtMillis:
			w = strconv.FormatInt(absolute*1000, 10)
		}
		out[i] = w
	}
	return out
}

func (g *source) pick(words ...string) string { return words[g.IntN(len(words))] }

func (g *source) chance(n int) bool { return g.IntN(n) == n-1 }

// The keys, mostly used for one type each: with hash tags, empty, binary.
var (
	stringKeys = []string{"s", "{t}s", "\x00\xff\r\n"}
	listKeys   = []string{"l", "{t}l", ""}
	hashKeys   = []string{"h", "{t}h", "k{a}"}
	hllKeys    = []string{"p", "{t}p", "q"}
	allKeys    = slices.Concat([]string{"{}x", "none"}, stringKeys, listKeys, hashKeys, setKeys, zsetKeys, hllKeys)
)

func (g *source) key() string { return g.pick(allKeys...) }

// keyOf draws a key that mostly has the type that keys are for.
func (g *source) keyOf(keys []string) string {
	switch {
	case g.chance(8):
		return g.key()
	case g.chance(2):
		return g.pick(keys...)
	}
	return keys[0]
}

// sized fills a word up to a length at which encodings change, or leaves it alone.
func (g *source) sized(word string) string {
	sizes := []int{0, 0, 8, 32, 63, 64, 65, 300}
	return pad(word, sizes[g.IntN(len(sizes))])
}

func pad(word string, n int) string { return word + strings.Repeat(".", max(0, n-len(word))) }

func (g *source) value() string {
	switch g.IntN(6) {
	case 0:
		return g.pick("", "0", "1", "-1", "10", "abc", "x\x00y\r\n")
	case 1, 2:
		return g.pick("9223372036854775807", "-9223372036854775808", "9223372036854775806", "3", "7", "-20")
	case 3:
		return g.pick(" 1", "+1", "01", "-0", "1.5", "99999999999999999999", "1 ")
	case 4:
		return g.sized(strconv.Itoa(g.IntN(3)))
	}
	return pad("v", []int{100, 1000, 4095, 4096, 4097, 20_000}[g.IntN(6)])
}

// number draws an integer as an index, a count or an increment.
func (g *source) number() string {
	switch g.IntN(12) {
	case 10:
		return g.pick("9223372036854775807", "-9223372036854775808", "-9223372036854775807", "2147483648", "-2147483649", "4294967296")
	case 11:
		return g.pick("", "abc", " 1", "+1", "1.0", "9223372036854775808", "-9223372036854775809", "01", "-0", "1 ", "1\x00")
	}
	return g.pick("0", "1", "-1", "2", "-2", "3", "5", "-5", "64", "100", "-100", "127", "128", "129", "-129", "1000")
}

const (
	oddSpan = "abc"
	maxSpan = "9223372036854775807"
)

func (g *source) odd() string {
	return g.pick(oddSpan, "0", "-1", maxSpan, "-9223372036854775808", "9223372036854775", "9223372036854776", "", "1.5", " 1")
}

func (g *source) seconds() string {
	switch {
	case g.chance(4):
		return g.odd()
	case g.now == 0:
		return farSeconds
	}
	return g.pick("1", "2", "100", "5000")
}

func (g *source) millis() string {
	switch {
	case g.chance(4):
		return g.odd()
	case g.now == 0:
		return farMillis
	}
	return g.pick("1", "2", "50", "1499", "1500", "300000")
}

func (g *source) atSeconds() string {
	switch {
	case g.chance(4):
		return g.pick(g.odd(), "1")
	case g.now == 0:
		return farAtSeconds
	}
	return strconv.FormatInt(g.now/1000+int64([]int{-1, 0, 1, 3, 700, 5000}[g.IntN(6)]), 10)
}

func (g *source) atMillis() string {
	switch {
	case g.chance(4):
		return g.pick(g.odd(), "1")
	case g.now == 0:
		return farAtMillis
	}
	return strconv.FormatInt(g.now+int64([]int{-1, 0, 1, 2, 50, 1000, 700_000}[g.IntN(7)]), 10)
}

func (g *source) ttl() []string {
	switch g.IntN(4) {
	case 0:
		return []string{g.pick("EX", "ex"), g.seconds()}
	case 1:
		return []string{g.pick("PX", "px"), g.millis()}
	case 2:
		return []string{g.pick("EXAT", "exat"), g.atSeconds()}
	}
	return []string{g.pick("PXAT", "pxat"), g.atMillis()}
}

// command draws one command, its name first.
func (g *source) command() []string {
	families := []func() []string{g.stringCommand, g.bitCommand, g.listCommand, g.listMoveCommand, g.blockingCommand, g.hashCommand, g.hashFieldCommand, g.setCommand, g.zsetCommand, g.hllCommand, g.keyCommand, g.keyMoveCommand, g.sortCommand, g.numberCommand, g.dumpCommand, g.expireCommand, g.bulkCommand}
	return g.spoiled(families[g.IntN(len(families))]())
}

// spoiled makes a command wrong now and then.
func (g *source) spoiled(words []string) []string {
	switch g.IntN(60) {
	case 55:
		return words[:1+g.IntN(len(words))]
	case 56:
		if _, waits := modelBlocking()[words[0]]; !waits { // a number would be a timeout
			return append(words, g.value())
		}
	case 57:
		return append(words, words[len(words)-1])
	case 58:
		return append([]string{g.pick("NOSUCH", "get2", "")}, words[1:]...)
	case 59:
		return append([]string{strings.ToLower(words[0])}, words[1:]...)
	}
	return words
}

func (g *source) setOptions(words []string, options ...string) []string {
	for g.chance(2) {
		if g.chance(2) {
			words = append(words, g.ttl()...)
		} else {
			words = append(words, g.pick(options...))
		}
	}
	return words
}

func (g *source) stringCommand() []string {
	k := g.keyOf(stringKeys)
	switch g.IntN(12) {
	case 0, 1:
		return g.setOptions([]string{"SET", k, g.value()}, "NX", "xx", "GET", "KEEPTTL", "keepttl", "PERSIST", "EX", "bogus")
	case 2:
		return g.setOptions([]string{"GETEX", k}, "PERSIST", "persist", "KEEPTTL", "PX")
	case 3:
		return []string{g.pick("GET", "GETDEL", "STRLEN"), k}
	case 4:
		return []string{g.pick("INCR", "DECR"), k}
	case 5:
		return []string{g.pick("INCRBY", "DECRBY"), k, g.number()}
	case 6:
		return []string{g.pick("APPEND", "SETNX", "GETSET"), k, g.value()}
	case 7:
		return []string{"GETRANGE", k, g.number(), g.number()}
	case 8:
		offset := g.pick("0", "1", "5", "62", "63", "64", "1000", "4095", "70000", "-1", "abc", "600000000", maxSpan, "-9223372036854775808")
		return []string{"SETRANGE", k, offset, g.value()}
	case 9:
		if g.chance(2) {
			return []string{"SETEX", k, g.seconds(), g.value()}
		}
		return []string{"PSETEX", k, g.millis(), g.value()}
	case 10:
		return g.several([]string{g.pick("MSET", "MSETNX")}, func() []string { return []string{g.keyOf(stringKeys), g.value()} })
	}
	return g.several([]string{"MGET"}, func() []string { return []string{g.key()} })
}

func (g *source) several(words []string, draw func() []string) []string {
	for range 1 + g.IntN(4) {
		words = append(words, draw()...)
	}
	return words
}

func (g *source) listCommand() []string {
	k := g.keyOf(listKeys)
	switch g.IntN(10) {
	case 0, 1:
		return g.several([]string{g.pick("RPUSH", "LPUSH"), k}, func() []string { return []string{g.value()} })
	case 2:
		return []string{g.pick("LPOP", "RPOP", "LLEN"), k}
	case 3:
		return []string{g.pick("LPOP", "RPOP"), k, g.number()}
	case 4, 5:
		return []string{"LRANGE", k, g.number(), g.number()}
	case 6:
		return []string{"LINDEX", k, g.number()}
	case 7:
		return []string{"LSET", k, g.number(), g.value()}
	case 8:
		return []string{"LREM", k, g.number(), g.sized(strconv.Itoa(g.IntN(3)))}
	}
	return []string{"LTRIM", k, g.number(), g.number()}
}

func (g *source) field() string {
	return g.pick("f0", "f1", "f2", "f60", "", pad("f1", 64), pad("f1", 65), "\x00\r\n")
}

func (g *source) hashCommand() []string {
	k := g.keyOf(hashKeys)
	switch g.IntN(7) {
	case 0, 1:
		return g.several([]string{"HSET", k}, func() []string { return []string{g.field(), g.value()} })
	case 2:
		return []string{g.pick("HGET", "HEXISTS"), k, g.field()}
	case 3:
		return g.several([]string{g.pick("HMGET", "HDEL"), k}, func() []string { return []string{g.field()} })
	case 4:
		return []string{g.pick("HGETALL", "HKEYS", "HVALS"), k}
	case 5:
		return []string{"HLEN", k}
	}
	return []string{"HINCRBY", k, g.field(), g.number()}
}

func (g *source) keyCommand() []string {
	switch g.IntN(16) {
	case 0, 1, 2, 3:
		return g.several([]string{g.pick("DEL", "UNLINK")}, func() []string { return []string{g.key()} })
	case 4, 5, 6:
		return g.several([]string{g.pick("EXISTS", "TOUCH")}, func() []string { return []string{g.key()} })
	case 7, 8, 9:
		return []string{"TYPE", g.key()}
	case 10, 11, 12:
		return []string{"DBSIZE"}
	case 13, 14:
		return g.scanCommand()
	}
	return g.pickWords([]string{"FLUSHALL"}, []string{"FLUSHALL", "async"}, []string{"FLUSHALL", "SYNC"}, []string{"FLUSHALL", "later"})
}

func (g *source) pickWords(words ...[]string) []string { return words[g.IntN(len(words))] }

// scanCommand always begins at the start: cursors mean nothing to another server.
func (g *source) scanCommand() []string {
	words := []string{"SCAN", "0"}
	for g.chance(2) {
		switch g.IntN(6) {
		case 0:
			words = append(words, g.pick("COUNT", "count"), g.pick("1", "2", "10", "100000", "9223372036854775807", "0", "-1", "x", ""))
		case 1, 2:
			words = append(words, "MATCH", g.pick("*", "l*", "?", "", "[a-k]*", "[^a-k]*", "{t}?", `\s`, "*s", "**s", "k[{]a}", "[", `\`, "none"))
		case 3:
			words = append(words, "TYPE", g.pick("string", "LIST", "Hash", "zset", "set"))
		case 4:
			words = append(words, g.pick("COUNT", "MATCH", "TYPE", "bogus"))
		case 5:
			words[1] = g.pick("x", " 1", "1 ", "0x1", "1.5", "99999999999999999999")
		}
	}
	return words
}

func (g *source) expireCommand() []string {
	k := g.pick("s", "l", "h", "m", "z", g.key())
	if g.chance(2) {
		return []string{g.pick("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST"), k}
	}
	var words []string
	switch g.IntN(4) {
	case 0:
		words = []string{"EXPIRE", k, g.seconds()}
	case 1:
		words = []string{"PEXPIRE", k, g.millis()}
	case 2:
		words = []string{"EXPIREAT", k, g.atSeconds()}
	case 3:
		words = []string{"PEXPIREAT", k, g.atMillis()}
	}
	for g.chance(2) {
		words = append(words, g.pick("NX", "XX", "gt", "LT", "zz"))
	}
	return words
}

// bulkCommand takes a collection over a threshold at once, or back; or it fills one slot with keys.
func (g *source) bulkCommand() []string {
	counts := []int{3, 20, 60, 100, 127, 128, 129, 140, 400}
	n, start, mod := counts[g.IntN(len(counts))], g.IntN(3)*50, []int{3, 1000}[g.IntN(2)]
	size := []int{0, 0, 0, 8, 32, 33, 64, 65, 300}[g.IntN(9)]
	word := func(i int) string { return pad(strconv.Itoa((start+i)%mod), size) }
	var words []string
	switch g.IntN(11) {
	case 8, 9, 10:
		words = g.manyMembers(n, start, word)
	case 0, 1:
		words = []string{g.pick("RPUSH", "LPUSH"), g.keyOf(listKeys)}
		for i := range n {
			words = append(words, word(i))
		}
	case 2, 3:
		words = []string{"HSET", g.keyOf(hashKeys)}
		for i := range n {
			words = append(words, fmt.Sprint("f", start+i), word(i))
		}
	case 4:
		words = []string{g.pick("HDEL", "HDEL", "HMGET"), g.keyOf(hashKeys)}
		for i := range n {
			words = append(words, fmt.Sprint("f", start+i))
		}
	case 5:
		words = []string{g.pick("LTRIM", "LRANGE"), g.keyOf(listKeys), strconv.Itoa(start), strconv.Itoa(start + n)}
	case 6:
		words = []string{"MSET"}
		for i := range 3 * n {
			words = append(words, fmt.Sprint("{t}", start+i), word(i))
		}
	case 7:
		words = []string{g.pick("DEL", "UNLINK", "EXISTS")}
		for i := range 3 * n {
			words = append(words, fmt.Sprint("{t}", start+i))
		}
	}
	return words
}

// line is a command as a failing test prints it.
type line []string

// GoString implements fmt.GoStringer: long words and long lines are cut.
func (l line) GoString() string {
	var b strings.Builder
	for i, w := range l {
		if i == 14 {
			fmt.Fprintf(&b, " … %d words, the last %.20q", len(l), l[len(l)-1])
			break
		}
		if len(w) > 40 {
			w = fmt.Sprintf("%s…%d", w[:20], len(w))
		}
		fmt.Fprintf(&b, " %q", w)
	}
	return "{" + strings.TrimPrefix(b.String(), " ") + "}"
}

// drawLines gives some commands of g's kind.
func drawLines(t *rapid.T, now int64) []line {
	one := rapid.Custom(func(t *rapid.T) line { return (&source{dice: rapidDice{t}, now: now}).command() })
	return rapid.SliceOfN(one, 1, 12).Draw(t, "commands")
}

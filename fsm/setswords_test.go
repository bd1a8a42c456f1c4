// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"strconv"
)

// Keys that mostly hold sets, and sorted sets.
var (
	setKeys  = []string{"m", "{t}m", "\x00m"}
	zsetKeys = []string{"z", "{t}z", "y"}
)

func (g *source) member() string {
	return g.pick("a", "b", "c", "f0", "f1", "f2", "7", "-20", "", pad("f1", 64), pad("f1", 65), "\x00\r\n")
}

// popCount draws how many members are to go, drawCount how many are to be drawn: no server has to answer with
// so many that it is the end of it.
func (g *source) popCount() string {
	return g.pick("0", "1", "2", "5", "100", "1000", "9223372036854775807", "-1", "abc", "", "01")
}

func (g *source) drawCount() string {
	return g.pick("0", "1", "2", "5", "100", "1000", "9223372036854775807", "-1", "-3", "-200", "abc", "1.5", "-9223372036854775808")
}

// numbered puts the number of keys before some keys, mostly the right one.
func (g *source) numbered(words []string, key func() string) []string {
	n := 1 + g.IntN(3)
	count := strconv.Itoa(n)
	if g.chance(12) {
		count = g.pick("0", "-1", "x", "", "100", "01", strconv.Itoa(n+1), strconv.Itoa(n-1))
	}
	words = append(words, count)
	for range n {
		words = append(words, key())
	}
	return words
}

// memberScan always begins at the start, as scanCommand does.
func (g *source) memberScan(name, key string) []string {
	words := []string{name, key, "0"}
	for g.chance(2) {
		switch g.IntN(5) {
		case 0:
			words = append(words, g.pick("COUNT", "count"), g.pick("1", "3", "100", "100000", "9223372036854775807", "0", "-1", "x", ""))
		case 1, 2:
			words = append(words, "MATCH", g.pick("*", "f*", "?", "1*", "[^a-k]*", "\\", "none"))
		case 3:
			words = append(words, g.pick("COUNT", "MATCH", "TYPE", "NOVALUES", "bogus"))
		case 4:
			words[2] = g.pick("x", " 1", "1 ", "1.5", "99999999999999999999")
		}
	}
	return words
}

func (g *source) setCommand() []string {
	k := g.keyOf(setKeys)
	key := func() string { return g.keyOf(setKeys) }
	one := func() []string { return []string{g.member()} }
	switch g.IntN(14) {
	case 0, 1, 2:
		return g.several([]string{"SADD", k}, one)
	case 3:
		return g.several([]string{"SREM", k}, one)
	case 4:
		return g.pickWords([]string{"SISMEMBER", k, g.member()}, g.several([]string{"SMISMEMBER", k}, one))
	case 5:
		return []string{g.pick("SMEMBERS", "SCARD", "SPOP", "SRANDMEMBER"), k}
	case 6:
		return []string{"SPOP", k, g.popCount()}
	case 7:
		return []string{"SRANDMEMBER", k, g.drawCount()}
	case 8:
		return []string{"SMOVE", k, key(), g.member()}
	case 9, 10:
		return g.several([]string{g.pick("SINTER", "SUNION", "SDIFF"), k}, func() []string { return []string{key()} })
	case 11:
		return g.several([]string{g.pick("SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"), g.key(), k}, func() []string { return []string{key()} })
	case 12:
		words := g.numbered([]string{"SINTERCARD"}, key)
		for g.chance(3) {
			words = append(words, g.pick("LIMIT", "limit", "bogus"), g.pick("0", "1", "2", "1000", "-1", "x"))
		}
		return words
	}
	return g.memberScan("SSCAN", k)
}

func (g *source) score() string {
	switch g.IntN(8) {
	case 0:
		return g.pick("inf", "-inf", "+INF", "infinity", "1e300", "-1e300", "1e-320", "9007199254740993", "1e17", "0x10", "0x.8p1", "-0", ".5", "5.", "1e3", "+2")
	case 1:
		return g.pick("0.1", "0.2", "0.3", "2.5", "1e16", "123456789.123", "-0.1", "3.0000000000000004")
	case 2:
		if g.chance(3) {
			return g.pick("nan", "", " 1", "1 ", "abc", "1e400", "-1e400", "1e-400", "0x", "1_0", ".", "1e", "1e+", "infin", "0x1_0", "1\x00", "--1")
		}
	}
	return g.pick("0", "0", "0", "1", "-1", "2", "3", "10")
}

func (g *source) scoreEnd() string {
	if g.chance(8) {
		return g.pick("", "(", " 1", "( 1", "1 ", "abc", "nan", "(nan", "0x1", "1e400", "-1e400", "1\x00x", "[1", "(abc", "((1", "+", "-", "1e-400")
	}
	return g.pick("-inf", "+inf", "inf", "(inf", "(-inf", "0", "(0", "1", "(1", "2", "(2.5", "-1", "0.1", "(0.1", "100", "-100", "1e17")
}

func (g *source) lexEnd() string {
	if g.chance(8) {
		return g.pick("", "a", "+x", "-x", "+\x00x", "-\x00", "1", " [a")
	}
	return g.pick("-", "+", "-", "+", "[a", "(a", "[b", "(c", "[", "(", "[f1", "(f2", "[\x00", "(7", "["+pad("f1", 64), "[zzz")
}

// limits adds LIMIT, mostly in a place where it may stand.
func (g *source) limits(words []string) []string {
	if g.chance(3) {
		words = append(words, g.pick("LIMIT", "limit"), g.pick("0", "1", "2", "100", "-1", "9223372036854775807", "x"), g.pick("-1", "0", "1", "2", "100", "-5", "9223372036854775807", "y"))
	}
	return words
}

func (g *source) zrangeCommand(k string) []string {
	words := []string{"ZRANGE", k}
	if g.chance(3) {
		words = []string{"ZRANGESTORE", g.key(), k}
	}
	end, by := g.number, ""
	switch g.IntN(3) {
	case 0:
		end, by = g.scoreEnd, g.pick("BYSCORE", "byscore")
	case 1:
		end, by = g.lexEnd, g.pick("BYLEX", "bylex")
	}
	words = append(words, end(), end())
	if by != "" {
		words = append(words, by)
	}
	if g.chance(2) {
		words = append(words, g.pick("REV", "rev"))
	}
	if g.chance(3) {
		words = append(words, "WITHSCORES")
	}
	if words = g.limits(words); g.chance(20) {
		words = append(words, g.pick("REV", "BYLEX", "BYSCORE", "LIMIT", "bogus"))
	}
	return words
}

func (g *source) oldRangeCommand(k string) []string {
	switch g.IntN(4) {
	case 0:
		words := []string{g.pick("ZRANGEBYSCORE", "ZREVRANGEBYSCORE"), k, g.scoreEnd(), g.scoreEnd()}
		if g.chance(2) {
			words = append(words, g.pick("WITHSCORES", "withscores", "REV", "BYLEX"))
		}
		return g.limits(words)
	case 1:
		words := []string{g.pick("ZRANGEBYLEX", "ZREVRANGEBYLEX"), k, g.lexEnd(), g.lexEnd()}
		if g.chance(10) {
			words = append(words, "WITHSCORES")
		}
		return g.limits(words)
	case 2:
		words := []string{"ZREVRANGE", k, g.number(), g.number()}
		if g.chance(2) {
			words = append(words, "WITHSCORES")
		}
		return words
	}
	return g.pickWords(
		[]string{"ZCOUNT", k, g.scoreEnd(), g.scoreEnd()},
		[]string{"ZLEXCOUNT", k, g.lexEnd(), g.lexEnd()},
		[]string{"ZREMRANGEBYRANK", k, g.number(), g.number()},
		[]string{"ZREMRANGEBYSCORE", k, g.scoreEnd(), g.scoreEnd()},
		[]string{"ZREMRANGEBYLEX", k, g.lexEnd(), g.lexEnd()},
	)
}

func (g *source) combineCommand() []string {
	key := func() string { return g.pick(g.keyOf(zsetKeys), g.keyOf(zsetKeys), g.keyOf(setKeys)) }
	name := g.pick("ZUNION", "ZINTER", "ZDIFF", "ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE", "ZINTERCARD")
	words := []string{name}
	if name[len(name)-1] == 'E' {
		words = append(words, g.key())
	}
	words = g.numbered(words, key)
	for g.chance(2) {
		switch g.IntN(5) {
		case 0, 1:
			words = append(words, g.pick("WEIGHTS", "weights"))
			for range 1 + g.IntN(3) {
				words = append(words, g.score())
			}
		case 2:
			words = append(words, g.pick("AGGREGATE", "aggregate"), g.pick("SUM", "min", "MAX", "avg"))
		case 3:
			words = append(words, "WITHSCORES")
		case 4:
			words = append(words, "LIMIT", g.pick("0", "1", "2", "-1", "x"))
		}
	}
	return words
}

func (g *source) zsetCommand() []string {
	k := g.keyOf(zsetKeys)
	switch g.IntN(14) {
	case 0, 1, 2:
		words := []string{"ZADD", k}
		for g.chance(3) {
			words = append(words, g.pick("NX", "XX", "GT", "lt", "CH", "INCR"))
		}
		flat := g.chance(2) // one score: members have an order then
		words = g.several(words, func() []string {
			if flat {
				return []string{"0", g.member()}
			}
			return []string{g.score(), g.member()}
		})
		if g.chance(20) {
			words = append(words, g.score())
		}
		return words
	case 3:
		return []string{"ZINCRBY", k, g.pick(g.score(), g.score(), "nx"), g.member()}
	case 4:
		return g.several([]string{g.pick("ZREM", "ZMSCORE"), k}, func() []string { return []string{g.member()} })
	case 5:
		return g.pickWords([]string{g.pick("ZCARD", "ZRANDMEMBER", "ZPOPMIN", "ZPOPMAX"), k}, []string{g.pick("ZSCORE", "ZRANK", "ZREVRANK"), k, g.member()})
	case 6, 7:
		return g.zrangeCommand(k)
	case 8, 9:
		return g.oldRangeCommand(k)
	case 10, 11:
		return g.combineCommand()
	case 12:
		if g.chance(2) {
			return g.memberScan("ZSCAN", k)
		}
		words := g.numbered([]string{"ZMPOP"}, func() string { return g.keyOf(zsetKeys) })
		words = append(words, g.pick("MIN", "MAX", "min", "MID"))
		for g.chance(3) {
			words = append(words, g.pick("COUNT", "count", "bogus"), g.popCount())
		}
		return words
	}
	return g.pickWords(
		[]string{g.pick("ZPOPMIN", "ZPOPMAX"), k, g.popCount()},
		[]string{"ZRANDMEMBER", k, g.drawCount()},
		[]string{"ZRANDMEMBER", k, g.drawCount(), g.pick("WITHSCORES", "withscores", "bogus")},
	)
}

// manyMembers takes a set or sorted set over a threshold at once, or back.
func (g *source) manyMembers(n, start int, word func(i int) string) []string {
	switch g.IntN(4) {
	case 0:
		words := []string{g.pick("SADD", "SADD", "SREM"), g.keyOf(setKeys)}
		for i := range n {
			words = append(words, word(i))
		}
		return words
	case 1, 2:
		words := []string{"ZADD", g.keyOf(zsetKeys)}
		flat := g.chance(2)
		for i := range n {
			score := "0"
			if !flat {
				score = fmt.Sprint((start + i*7) % 50)
			}
			words = append(words, score, word(i))
		}
		return words
	}
	words := []string{"ZREM", g.keyOf(zsetKeys)}
	for i := range n {
		words = append(words, word(i))
	}
	return words
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"strconv"

	"pgregory.net/rapid"
)

// families are what is also drawn by itself, among what makes the values that it works on.
var families = map[string]func(g *source) []string{
	"list moves": func(g *source) []string {
		return g.pickFrom(g.listMoveCommand, g.listMoveCommand, g.listCommand, g.expireCommand)
	},
	"blocking": func(g *source) []string {
		return g.pickFrom(g.blockingCommand, g.blockingCommand, g.listCommand, g.zsetCommand)
	},
	"hash fields": func(g *source) []string {
		return g.pickFrom(g.hashFieldCommand, g.hashFieldCommand, g.hashCommand, g.bulkCommand)
	},
	"bits": func(g *source) []string {
		return g.pickFrom(g.bitCommand, g.bitCommand, g.bitCommand, g.stringCommand, g.expireCommand)
	},
	"hyperloglogs": func(g *source) []string {
		return g.pickFrom(g.hllCommand, g.hllCommand, g.hllCommand, g.expireCommand, g.keyMoveCommand)
	},
	"sorts": func(g *source) []string {
		return g.pickFrom(g.sortCommand, g.sortCommand, g.sortCommand, g.numberCommand, g.numberCommand, g.bulkCommand, g.zsetCommand, g.expireCommand)
	},
	"dumps": func(g *source) []string {
		return g.pickFrom(g.dumpCommand, g.dumpCommand, g.dumpCommand, g.expireCommand, g.listCommand, g.setCommand, g.zsetCommand, g.hashCommand)
	},
	"key moves": func(g *source) []string {
		return g.pickFrom(g.keyMoveCommand, g.keyMoveCommand, g.bulkCommand, g.expireCommand, g.stringCommand, g.setCommand, g.zsetCommand, g.hashCommand)
	},
}

func (g *source) pickFrom(draw ...func() []string) []string { return draw[g.IntN(len(draw))]() }

// drawFamily is drawLines for one family.
func drawFamily(t *rapid.T, family func(g *source) []string) []line {
	one := rapid.Custom(func(t *rapid.T) line {
		g := &source{dice: rapidDice{t}}
		return g.spoiled(family(g))
	})
	return rapid.SliceOfN(one, 1, 12).Draw(t, "commands")
}

const minSpan = "-9223372036854775808"

// listMoveCommand draws a command that looks for elements of lists, or moves them.
func (g *source) listMoveCommand() []string {
	k := g.keyOf(listKeys)
	key := func() string { return g.keyOf(listKeys) }
	element := func() string { return g.pick(g.sized(strconv.Itoa(g.IntN(3))), g.value()) }
	end := func() string {
		if g.chance(20) {
			return g.pick("", "MID", "RIGHTS")
		}
		return g.pick("LEFT", "RIGHT", "left", "Right")
	}
	switch g.IntN(8) {
	case 0:
		return g.several([]string{g.pick("RPUSHX", "LPUSHX"), k}, func() []string { return []string{g.value()} })
	case 1, 2:
		return []string{"LINSERT", k, g.pick("BEFORE", "AFTER", "before", "After", "AFTER", "BEFORE", "BESIDE"), element(), g.value()}
	case 3, 4:
		words := []string{"LPOS", k, element()}
		for g.chance(2) {
			words = append(words, g.pick("RANK", "COUNT", "MAXLEN", "rank", "count", "maxlen", "RANK", "COUNT", "bogus"), g.number())
			if words[len(words)-1] == minSpan { // whose negative is none
				words[len(words)-1] = maxSpan
			}
		}
		return words
	case 5:
		return []string{"LMOVE", k, key(), end(), end()}
	case 6:
		return []string{"RPOPLPUSH", k, key()}
	}
	words := append(g.numbered([]string{"LMPOP"}, key), end())
	for g.chance(3) {
		words = append(words, g.pick("COUNT", "count", "bogus"), g.popCount())
	}
	return words
}

// float draws what may be added as a floating-point number, or be none.
func (g *source) float() string {
	switch g.IntN(6) {
	case 0:
		return g.pick("0.1", "-0.1", "1e3", "1.5", "3.0", "1e-5", "-0", "5.", ".5", "+2", "0.30000000000000004", "1e17", "1e-17", "5e-18", "-5e-18")
	case 1:
		return g.pick("1e4932", "-1e4932", "1e4000", "0x10", "0x1.8p1", "-0x.8p-3", "1e-4950", "1e-4951", "1e300", "123456789012345678901234567890",
			"0x1p-16446", "0x1.1p-16446", "0x1p16384", "0x.fffffffffffffffp16384", "0x1.fffffffffffffffep16383", "0x1.ffffffffffffffffp16383")
	case 2:
		return g.pick("inf", "-inf", "+Infinity", "nan", "", " 1", "1 ", "abc", "1e", "1e+", "0x", "1_0", ".", "e5", "1e99999", "1e-99999", "--1", "1\x00", "0x1p", "infin", pad("0.1", 5118)+"1")
	case 3:
		return strconv.Itoa(g.IntN(2000000)-1000000) + "." + strconv.Itoa(g.IntN(1000000))
	case 4:
		return strconv.Itoa(g.IntN(1000000)) + strconv.Itoa(g.IntN(1000000)) + strconv.Itoa(g.IntN(1000000)) + "." + strconv.Itoa(g.IntN(1000000)) + strconv.Itoa(g.IntN(1000000)) +
			"e" + strconv.Itoa(g.IntN(60)-40)
	}
	return g.pick("0", "1", "-1", "10", "9223372036854775807", "-9223372036854775808")
}

// hashFieldCommand draws one of the later commands of hashes.
func (g *source) hashFieldCommand() []string {
	k := g.keyOf(hashKeys)
	switch g.IntN(9) {
	case 0:
		return []string{"HSETNX", k, g.field(), g.pick(g.value(), g.float())}
	case 1:
		return []string{"HSTRLEN", k, g.field()}
	case 2, 3:
		return []string{"HINCRBYFLOAT", k, g.pick("f0", "f1", g.field()), g.float()}
	case 4:
		return g.pickWords([]string{"HRANDFIELD", k}, []string{"HRANDFIELD", k, g.drawCount()})
	case 5:
		return []string{"HRANDFIELD", k, g.drawCount(), g.pick("WITHVALUES", "withvalues", "WITHSCORES")}
	case 6:
		return g.memberScan("HSCAN", k)
	case 7:
		return g.several([]string{"HMSET", k}, func() []string { return []string{g.field(), g.pick(g.value(), g.float())} })
	}
	return []string{"HSET", k, g.pick("f0", "f1"), g.float()}
}

// bits draws a string whose bits matter.
func (g *source) bits() string {
	if g.chance(3) {
		return g.value()
	}
	return g.pick("\xff\xf0\x00", "\x00\x00", "\xff\xff\xff", "\x00\xff\xf0", "\x01", "\x80", "abcabcba", "ohmytext", "mynewtext", "", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01")
}

func (g *source) bitOffset() string {
	if g.chance(10) {
		return g.pick("-1", "abc", "", "4294967296", "9223372036854775807", "#1", "01", " 1")
	}
	return g.pick("0", "1", "7", "8", "9", "15", "63", "64", "100", "1000", "80000")
}

func (g *source) fieldSteps(words []string, names ...string) []string {
	for range 1 + g.IntN(4) {
		if g.chance(3) {
			words = append(words, g.pick("OVERFLOW", "overflow"), g.pick("WRAP", "SAT", "FAIL", "sat", "fail", "bad"))
		}
		kind := g.pick("u8", "i8", "u1", "i1", "u63", "i64", "u5", "i33", "i16", "u32")
		offset := g.pick("0", "1", "3", "8", "#0", "#1", "#2", "60", "100", "1000")
		if g.chance(25) {
			kind = g.pick("u64", "i65", "u0", "x8", "", "U8", "u", "u08", "i-1", "u8\x00z")
		}
		if g.chance(25) {
			offset = g.pick("-1", "#-1", "#", "abc", "", "4294967296", "#9223372036854775807", "##1")
		}
		name := g.pick(names...)
		if words = append(words, name, kind, offset); name != "GET" && name != "get" {
			words = append(words, g.pick("0", "1", "-1", "127", "128", "255", "256", "-128", "-129", "65535", "2147483648", g.number(), g.number(),
				"9223372036854775807", "-9223372036854775808", "4611686018427387904"))
		}
	}
	if g.chance(20) {
		words = words[:len(words)-1]
	}
	return words
}

// bitCommand draws a command that sees a string as bits, as a number or as a sequence.
func (g *source) bitCommand() []string {
	k := g.keyOf(stringKeys)
	key := func() string { return g.keyOf(stringKeys) }
	switch g.IntN(14) {
	case 0:
		return []string{"SET", k, g.bits()}
	case 1:
		return []string{"SETBIT", k, g.bitOffset(), g.pick("0", "1", "1", "0", "1", "2", "-1", "x", "")}
	case 2:
		return []string{"GETBIT", k, g.bitOffset()}
	case 3:
		words := []string{"BITCOUNT", k}
		for range g.IntN(4) {
			words = append(words, g.number())
		}
		return words
	case 4:
		return []string{"BITCOUNT", k, g.number(), g.number(), g.pick("BYTE", "BIT", "bit", "byte", "BITS")}
	case 5:
		words := []string{"BITPOS", k, g.pick("0", "1", "0", "1", "0", "1", "2", "x", "-1")}
		for range g.IntN(4) {
			words = append(words, g.number())
		}
		return words
	case 6:
		return []string{"BITPOS", k, g.pick("0", "1"), g.number(), g.number(), g.pick("BYTE", "BIT", "bit", "byte", "BITS")}
	case 7, 8:
		return g.several([]string{"BITOP", g.pick("AND", "OR", "XOR", "NOT", "xor", "and", "NAND"), g.pick(g.key(), key()), k}, func() []string {
			if g.chance(3) {
				return nil
			}
			return []string{key()}
		})
	case 9, 10:
		return g.fieldSteps([]string{"BITFIELD", k}, "GET", "SET", "INCRBY", "incrby", "set", "get")
	case 11:
		return g.fieldSteps([]string{"BITFIELD_RO", k}, "GET", "get", "GET", "GET", "GET", "SET")
	case 12:
		words := []string{"LCS", k, key()}
		for g.chance(2) {
			words = append(words, g.pick("IDX", "IDX", "LEN", "idx", "len", "WITHMATCHLEN", "WITHMATCHLEN", "MINMATCHLEN", "bogus"))
			if words[len(words)-1] == "MINMATCHLEN" {
				words = append(words, g.pick("0", "1", "2", "4", "-1", "x", "9223372036854775807"))
			}
		}
		return words
	}
	return g.pickWords([]string{"SUBSTR", k, g.number(), g.number()}, []string{"INCRBYFLOAT", k, g.float()}, []string{"INCRBYFLOAT", k, g.float()}, []string{"SET", k, g.float()})
}

// hllCommand draws a command of HyperLogLogs, or one that makes a string look like one.
func (g *source) hllCommand() []string {
	k := g.keyOf(hllKeys)
	switch g.IntN(10) {
	case 0:
		return g.several([]string{"PFADD", k}, func() []string {
			if g.chance(4) {
				return nil
			}
			return []string{g.pick(g.member(), g.value())}
		})
	case 1, 2, 3:
		words, start := []string{"PFADD", k}, g.IntN(20)*100
		for i := range []int{1, 5, 100, 700, 1500, 3000}[g.IntN(6)] {
			words = append(words, "e"+strconv.Itoa(start+i))
		}
		return words
	case 4, 5:
		return []string{"PFCOUNT", k}
	case 6:
		return g.several([]string{"PFCOUNT", k}, func() []string { return []string{g.keyOf(hllKeys)} })
	case 7:
		return g.several([]string{"PFMERGE", k}, func() []string {
			if g.chance(4) {
				return nil
			}
			return []string{g.keyOf(hllKeys)}
		})
	case 8:
		return []string{"GET", k}
	}
	if g.chance(3) {
		return g.pickWords([]string{"SETRANGE", k, "0", g.pick("HYLL", "X")}, []string{"SETRANGE", k, "4", g.pick("\x00", "\x02")}, []string{"SETRANGE", k, "15", "\x00"})
	}
	return []string{"SET", k, g.pick("", "HYLL", "HYLL\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x7f\xff", "HYLL\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x80\x7f\xff",
		"HYLL\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x80\x7f\xff", "HYLL\x02\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x80\x7f\xff")}
}

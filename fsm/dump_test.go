// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/kvorum/kvorum/fsm/rdb"
	"github.com/kvorum/kvorum/internal/host/racing"
)

// noise is text that does not compress.
func noise(n int) string {
	dice := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(dice.IntN(256))
	}
	return string(b)
}

// dumpable are commands that make values at k of all types and sizes, over the thresholds of all encodings.
func dumpable() (all [][]string) {
	many := func(command string, n int, draw func(i int) []string) {
		words := []string{command, "k"}
		for i := range n {
			words = append(words, draw(i)...)
		}
		all = append(all, words)
	}
	all = append(all, dumpMakers()...)
	for _, v := range []string{"127", "128", "-128", "-129", "32767", "32768", "-32769", "2147483647", "2147483648", "-2147483649", "-9223372036854775808", "9223372036854775808", "007", "-0", "+1"} {
		all = append(all, []string{"SET", "k", v}, []string{"RPUSH", "k", v}, []string{"SADD", "k", v}, []string{"HSET", "k", v, v}, []string{"ZADD", "k", "1", v})
	}
	for _, n := range []int{1, 20, 63, 64, 300, 4095, 4096, 16_383, 16_384, 70_000, 300_000} {
		for _, v := range []string{noise(n), strings.Repeat("x", n), pad("ab", n)} {
			all = append(all, []string{"SET", "k", v}, []string{"RPUSH", "k", "a", v, "7", v}, []string{"SADD", "k", v, "a"}, []string{"HSET", "k", v, v, "a", v}, []string{"ZADD", "k", "1.5", v, "2", "a"})
		}
	}
	for _, n := range []int{100, 129, 513, 3000} {
		for _, size := range []int{0, 10, 70} {
			word := func(i int) string { return pad(strconv.Itoa(i*i*i-1000), size) }
			many("RPUSH", n, func(i int) []string { return []string{word(i)} })
			many("SADD", n, func(i int) []string { return []string{word(i)} })
			many("HSET", n, func(i int) []string { return []string{word(i), word(i + 1)} })
			many("ZADD", n, func(i int) []string { return []string{fmt.Sprint(float64(i) / 7), word(i)} })
		}
	}
	return all
}

// TestDumpAgainstRedis: what Redis dumps is restored here, and what is dumped here is restored by Redis and here, to the
// same value, for all types, sizes and encodings.
func TestDumpAgainstRedis(t *testing.T) {
	redis, tm := startRedis(t), newOwner(t)
	ask := func(words ...string) Result { return redis.do(t, words...) }
	restore := func(do func(words ...string) Result, key string, payload []byte) {
		t.Helper()
		if res := do("RESTORE", key, "0", string(payload), "REPLACE"); show(res) != "+OK" {
			t.Fatalf("%s: %s", key, show(res))
		}
	}
	for _, words := range dumpable() {
		for _, do := range []func(words ...string) Result{tm.do, ask} {
			do("DEL", "k")
			if res := do(words...); res.IsError() {
				t.Fatalf("%.100q: %s", words, show(res))
			}
		}
		want := wholeOf(tm.do, "k")
		theirs, ours := ask("DUMP", "k"), tm.do("DUMP", "k")
		restore(tm.do, "from redis", theirs.Str)
		restore(tm.do, "from here", ours.Str)
		restore(ask, "from there", ours.Str)
		for key, got := range map[string]string{
			"from redis": wholeOf(tm.do, "from redis"), "from here": wholeOf(tm.do, "from here"), "from there": wholeOf(ask, "from there"),
		} {
			if got != want {
				t.Errorf("%.100q %s\n got %.300s\nwant %.300s", words, key, got, want)
			}
		}
		if a, b := show(ask("OBJECT", "ENCODING", "from there")), show(ask("OBJECT", "ENCODING", "k")); a != b {
			t.Errorf("%.100q: Redis restores it as %s, and had it as %s", words, a, b)
		}
	}
}

// ziplist packs elements as Redis did before version 7, numbers in all their forms.
func ziplist(elems ...string) string {
	body, before := "", 0
	for _, e := range elems {
		one := string([]byte{byte(before)})
		if before >= 254 {
			one = "\xfe" + string(binary.LittleEndian.AppendUint32(nil, uint32(before)))
		}
		n, err := strconv.ParseInt(e, 10, 64)
		low := binary.LittleEndian.AppendUint64(nil, uint64(n))
		switch {
		case err == nil && n >= 0 && n <= 12:
			one += string([]byte{0xf1 + byte(n)})
		case err == nil && n == int64(int8(n)):
			one += "\xfe" + string(low[:1])
		case err == nil && n == int64(int16(n)):
			one += "\xc0" + string(low[:2])
		case err == nil && n == n<<40>>40:
			one += "\xf0" + string(low[:3])
		case err == nil && n == int64(int32(n)):
			one += "\xd0" + string(low[:4])
		case err == nil:
			one += "\xe0" + string(low)
		case len(e) < 64:
			one += string([]byte{byte(len(e))}) + e
		case len(e) < 1<<14:
			one += string([]byte{0x40 | byte(len(e)>>8), byte(len(e))}) + e
		default:
			one += "\x80" + string(binary.BigEndian.AppendUint32(nil, uint32(len(e)))) + e
		}
		body, before = body+one, len(one)
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(body)+11))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(body)+10-before))
	return string(binary.LittleEndian.AppendUint16(head, uint16(len(elems)))) + body + "\xff"
}

// rdbText is a string in the form of a file, its length in four bytes.
func rdbText(s string) string {
	return "\x80" + string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// oldPayloads stand for values as older versions wrote them.
func oldPayloads() map[string]string {
	ints := []string{"0", "12", "13", "-1", "127", "-128", "300", "-30000", "70000", "-8388608", "8388608", "9223372036854775807", "-9223372036854775808"}
	mixed := append([]string{"", "a", pad("b", 63), pad("c", 64), pad("d", 300), pad("e", 20_000)}, ints...)
	pairs := func(elems []string) (all []string) {
		for i, e := range elems {
			all = append(all, e, strconv.Itoa(i*i))
		}
		return all
	}
	score := func(s string) string { return string([]byte{byte(len(s))}) + s }
	return map[string]string{
		"list":            "\x01\x03" + rdbText("a") + "\xc0\x05" + "\xc2\x00\x00\x01\x00",
		"list of ziplist": "\x0a" + rdbText(ziplist(mixed...)),
		"quicklist":       "\x0e\x02" + rdbText(ziplist(mixed...)) + rdbText(ziplist(ints...)),
		"hash of ziplist": "\x0d" + rdbText(ziplist(pairs(mixed)...)),
		"sorted set":      "\x03\x04" + rdbText("a") + score("1.5") + rdbText("b") + "\xfe" + rdbText("c") + "\xff" + rdbText("d") + score("-3e2"),
		"zset of ziplist": "\x0c" + rdbText(ziplist("a", "0", "b", "1", "c", "1.5", "d", "70000")),
		"zipmap":          "\x09" + rdbText("\x02\x01a\x03\x02xyz..\x00\x02\x00yz\xff"),
		"plain node":      "\x12\x02\x01" + rdbText(pad("p", 9000)) + "\x01" + rdbText("q"),
	}
}

// TestOldPayloads: Redis and this restore the encodings of older versions to the same values.
func TestOldPayloads(t *testing.T) {
	redis, tm := startRedis(t), newOwner(t)
	ask := func(words ...string) Result { return redis.do(t, words...) }
	for name, value := range oldPayloads() {
		payload := string(rdb.New().Seal([]byte(value)))
		ours, theirs := tm.do("RESTORE", "k", "0", payload, "REPLACE"), ask("RESTORE", "k", "0", payload, "REPLACE")
		if show(ours) != "+OK" || show(theirs) != "+OK" {
			t.Errorf("%s: %s, Redis %s", name, show(ours), show(theirs))
			continue
		}
		if a, b := wholeOf(tm.do, "k"), wholeOf(ask, "k"); a != b {
			t.Errorf("%s\n ours %.500s\nredis %.500s", name, a, b)
		}
	}
}

// TestRestoreRefuses: what is refused, in the order and in the words of Redis.
func TestRestoreRefuses(t *testing.T) {
	redis, tm := startRedis(t), newOwner(t)
	codec := rdb.New()
	seal := func(value string) string { return string(codec.Seal([]byte(value))) }
	newer := []byte("\x00\x01a\x0b\x00")
	newer = binary.LittleEndian.AppendUint64(newer, binary.LittleEndian.Uint64(codec.Seal([]byte("\x00\x01a"))[5:]))
	good := seal("\x00\x01a")
	for _, words := range [][]string{
		{"RESTORE", "k", "0", good},
		{"RESTORE", "k", "0", good},
		{"RESTORE", "k", "x", "junk"},
		{"RESTORE", "k", "0", good, "bogus"},
		{"RESTORE", "new", "x", "junk"},
		{"RESTORE", "new", "-1", "junk"},
		{"RESTORE", "new", "0", "junk"},
		{"RESTORE", "new", "0", ""},
		{"RESTORE", "new", "0", good[:len(good)-1]},
		{"RESTORE", "new", "0", string(newer)},
		{"RESTORE", "new", "0", seal("")},
		{"RESTORE", "new", "0", seal("\x63\x01a")},
		{"RESTORE", "new", "0", seal("\x02\x00")},
		{"RESTORE", "new", "0", seal("\x01\x00")},
		{"RESTORE", "new", "0", seal("\x04\x00")},
		{"RESTORE", "new", "0", seal("\x05\x01\x01a\x00\x00\x00\x00\x00\x00\xf8\x7f")},
		{"RESTORE", "new", "0", seal("\x0b\x08\x02\x00\x00\x00\x00\x00\x00\x00")},
		{"RESTORE", "new", "0", seal("\x0b\x09\x02\x00\x00\x00\x00\x00\x00\x00\x00")},
		{"RESTORE", "new", "0", seal("\x00\xc3\x04\x0a\x00abc")},
		{"RESTORE", "new", "1", good, "ABSTTL"},
		{"EXISTS", "new"},
		{"RESTORE", "k", "1", good, "ABSTTL", "REPLACE"},
		{"EXISTS", "k"},
		{"RESTORE", "k", "0", good, "IDLETIME", "1000", "FREQ", "1"},
		{"RESTORE", "k", "0", good, "IDLETIME", "1000", "IDLETIME", "-1"},
		{"RESTORE", "k", "0", good, "FREQ", "256"},
		{"RESTORE", "k", "0", good, "IDLETIME"},
		{"DUMP", "none"},
	} {
		ours, theirs := tm.do(words...), redis.do(t, words...)
		if show(ours) != show(theirs) {
			t.Errorf("%.100q\n ours %s\nredis %s", words, show(ours), show(theirs))
		}
	}
}

// TestHeavyRestoreBounds: a payload may not stand for more than the limits say, and what it stands for counts as growth.
func TestHeavyRestoreBounds(t *testing.T) {
	racing.Heavy(t)
	tm := newOwner(t)
	codec := rdb.New()
	lzf := func(n int) string { // n times x, in as little as possible
		packed := "\x01xx"
		for left := n - 2; left > 0; {
			length := min(left, 264)
			if rest := left - length; rest > 0 && rest < 3 {
				length -= 3
			}
			packed += string([]byte{7 << 5, byte(length - 9), 0})
			left -= length
		}
		return "\xc3\x80" + string(binary.BigEndian.AppendUint32(nil, uint32(len(packed)))) + "\x80" + string(binary.BigEndian.AppendUint32(nil, uint32(n))) + packed
	}
	restore := func(value string) Result {
		return tm.do("RESTORE", "k", "0", string(codec.Seal([]byte(value))), "REPLACE")
	}
	const step = 264
	if res := restore("\x00" + lzf(step*1000+2)); show(res) != "+OK" || tm.do("STRLEN", "k").Int != step*1000+2 {
		t.Errorf("a long string: %s", show(res))
	}
	if res := restore("\x00" + lzf(DefaultMaxValue/step*step+2+step)); show(res) != "-"+TextStringTooBig {
		t.Errorf("a string over the limit: %s", show(res))
	}
	if res := restore("\x01\x0a" + strings.Repeat(lzf(8<<20/step*step+2), 10)); show(res) != "-"+TextRestoreTooMany {
		t.Errorf("80 MiB: %s", show(res))
	}
	ints := func(n int) string {
		set := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 4), uint32(n))
		for i := range n {
			set = binary.LittleEndian.AppendUint32(set, uint32(i))
		}
		return "\x0b" + rdbText(string(set))
	}
	if res := restore(ints(maxRestoredItems + 1)); show(res) != "-"+TextRestoreTooMany {
		t.Errorf("a member too many: %s", show(res))
	}
	if res := restore(ints(maxRestoredItems)); show(res) != "+OK" || tm.do("SCARD", "k").Int != maxRestoredItems {
		t.Errorf("as many members as may be: %s", show(res))
	}
	policy, _ := ParsePolicy("allkeys-lru")
	tm.must(Limit(1<<40, policy, 0))
	for _, value := range []string{"\x00" + lzf(step*1000+2), ints(1000), "\x01\x0a" + strings.Repeat(lzf(step*100+2), 10)} {
		cmd, _ := tm.command("RESTORE", "new", "0", string(codec.Seal([]byte(value))), "REPLACE")
		s := packSub(cmd)
		tm.do("DEL", "new")
		before, bound := tm.used(), tm.m.GrowthBound([]*Sub{s})
		tm.entry(Header{}, s)
		if grown := tm.used() - before; grown > bound || grown*10 < bound {
			t.Errorf("%d bytes grew, %d were announced", grown, bound)
		}
	}
}

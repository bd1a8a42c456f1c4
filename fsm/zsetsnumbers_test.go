// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// randomDouble draws from all doubles, from whole numbers, and from those that are printed short.
func randomDouble(rng *rand.Rand) float64 {
	switch rng.IntN(5) {
	case 0:
		return float64(rng.Int64N(1<<55) - 1<<54)
	case 1:
		return float64(rng.IntN(2_000_001)-1_000_000) / 1000
	case 2:
		return math.Pow(10, float64(rng.IntN(640)-330))
	case 3:
		return float64(rng.Int64()) * math.Pow(2, float64(rng.IntN(40)-20))
	}
	for {
		if v := math.Float64frombits(rng.Uint64()); !math.IsNaN(v) {
			return v
		}
	}
}

// TestDoublesAgainstRedis: numbers are printed as Redis prints them, and read back the same.
func TestDoublesAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	rng := seeded(1, 5)
	values := []float64{0, 1, -1, 0.1, 1e300, -1e300, 1e16, 1e17, 1 << 53, 1<<53 + 2, 5e-324, math.MaxFloat64, math.Inf(1), math.Inf(-1), 123456789012345680}
	for range 20_000 {
		values = append(values, randomDouble(rng))
	}
	for _, v := range values {
		text := string(AppendDouble(nil, v))
		redis.do(t, "ZADD", "z", text, "m")
		if got := string(redis.do(t, "ZSCORE", "z", "m").Str); got != text && v != 0 {
			t.Fatalf("%b: %q, Redis says %q", v, text, got)
		}
		if back, ok := parseDouble([]byte(text)); !ok || back != v {
			t.Fatalf("%q is read as %b, %v, not %b", text, back, ok, v)
		}
	}
}

// TestNumbersAgainstRedis: odd texts are numbers to both or to none.
func TestNumbersAgainstRedis(t *testing.T) {
	redis := startRedis(t)
	tm := newOwner(t)
	rng := seeded(2, 5)
	parts := []string{"0", "1", "9", "e", "E", ".", "-", "+", "x", "X", "p", "a", "inf", "INFINITY", "nan", "nan(1)", " ", "(", "_", "\x00", "\t", "00", "12", "308", "400", "d"}
	for range 20_000 {
		text := ""
		for range rng.IntN(7) {
			text += parts[rng.IntN(len(parts))]
		}
		if word, _, _ := strings.Cut(text, "\x00"); strings.EqualFold(word, "xx") {
			continue // to Redis an option of ZADD
		}
		for _, words := range [][]string{
			{"DEL", "z"},
			{"ZADD", "z", text, "m"},
			{"ZADD", "z", "1", "n"},
			{"ZRANGE", "z", "0", "-1", "WITHSCORES"},
			{"ZCOUNT", "z", text, "inf"},
			{"ZCOUNT", "z", "-inf", text},
			{"ZUNION", "1", "z", "WEIGHTS", text, "WITHSCORES"},
		} {
			ours, theirs := tm.do(words...), redis.do(t, words...)
			if !redisAgrees(words[0], ours, theirs) {
				t.Fatalf("%q: %s, Redis says %s", words, show(ours), show(theirs))
			}
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package script

import "testing"

// BenchmarkRun is what a script costs beside its keys, and what steps and commands cost in it.
func BenchmarkRun(b *testing.B) {
	for name, source := range map[string]string{
		"empty":   `return 1`,
		"counter": `local n = redis.call("get", KEYS[1]) redis.call("set", KEYS[1], (tonumber(n) or 0) + 1) return n`,
		"reads":   `for i = 1, 100 do redis.call("get", KEYS[1]) end`,
		"steps":   `local n = 0 for i = 1, 10000 do n = n + i end return n`,
	} {
		b.Run(name, func(b *testing.B) {
			x := newBench(b)
			for b.Loop() {
				x.run(source, []string{"k"}, nil)
			}
		})
	}
}

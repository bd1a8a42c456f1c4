// SPDX-License-Identifier: Apache-2.0

package check

import (
	"testing"

	"github.com/kvorum/kvorum/integration/history"
)

// TestQueues: each broken promise has its name, and histories that keep all have none.
func TestQueues(t *testing.T) {
	push := func(value string, call, ret int64, out history.Outcome) history.Op {
		return history.Op{Func: history.Append, Key: "q0a", Arg: value, Call: call, Return: ret, Out: out}
	}
	pop := func(value string, call, ret int64, out history.Outcome) history.Op {
		return history.Op{Func: history.Pop, Key: "q0a", Value: value, Found: value != "", Call: call, Return: ret, Out: out}
	}
	const ok, fail, unknown = history.OK, history.Fail, history.Unknown
	for _, c := range []struct {
		name string
		ops  []history.Op
		want string
	}{
		{"in order", []history.Op{push("a", 1, 2, ok), push("b", 3, 4, ok), pop("a", 5, 6, ok), pop("b", 5, 7, ok), pop("", 8, 9, ok)}, ""},
		{"at once", []history.Op{push("a", 1, 4, ok), push("b", 2, 3, ok), pop("a", 5, 6, ok), pop("b", 7, 8, ok)}, ""},
		{"of unknown outcome", []history.Op{push("a", 1, 2, unknown), pop("a", 3, 4, ok), push("b", 5, 6, unknown)}, ""},
		{"taken by a lost answer", []history.Op{push("a", 1, 2, ok), pop("", 3, 4, unknown)}, ""},
		{"twice", []history.Op{push("a", 1, 2, ok), pop("a", 3, 4, ok), pop("a", 5, 6, ok)}, "duplicate"},
		{"never pushed", []history.Op{pop("a", 3, 4, ok)}, "phantom"},
		{"refused", []history.Op{push("a", 1, 2, fail), pop("a", 3, 4, ok)}, "aborted-read"},
		{"from the future", []history.Op{pop("a", 1, 2, ok), push("a", 3, 4, ok)}, "future"},
		{"gone", []history.Op{push("a", 1, 2, ok)}, "lost"},
		{"two gone", []history.Op{push("a", 1, 2, ok), push("b", 1, 2, ok), pop("", 3, 4, unknown)}, "lost"},
		{"out of order", []history.Op{push("a", 1, 2, ok), push("b", 3, 4, ok), pop("b", 5, 6, ok), pop("a", 7, 8, ok)}, "order"},
	} {
		tagOf := func(key string) string { return key[:2] }
		if found := Queues(c.ops, tagOf, false); c.want == "lost" && len(found) > 0 {
			t.Errorf("%s, and nobody popped to the end: %v", c.name, found)
		}
		found := Queues(c.ops, tagOf, true)
		if c.want == "" && len(found) > 0 || c.want != "" && (len(found) != 1 || found[0].Kind != c.want || found[0].Key != "q0") {
			t.Errorf("%s: %v, want %q", c.name, found, c.want)
		}
	}
}

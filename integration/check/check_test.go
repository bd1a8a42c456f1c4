// SPDX-License-Identifier: Apache-2.0

package check

import (
	"testing"
	"time"

	"github.com/kvorum/kvorum/integration/history"
)

func app(client int, arg string, call, ret int64, out history.Outcome, n int64) history.Op {
	return history.Op{Client: client, Func: history.Append, Key: "k", Arg: arg, Call: call, Return: ret, Out: out, Len: n}
}

func rd(client int, call, ret int64, list ...string) history.Op {
	return history.Op{Client: client, Func: history.ReadList, Key: "k", Call: call, Return: ret, Out: history.OK, List: list}
}

// TestListAppend feeds golden histories, one anomaly each, and wants exactly its kind.
func TestListAppend(t *testing.T) {
	ok, fail, unknown := history.OK, history.Fail, history.Unknown
	tests := []struct {
		name string
		ops  []history.Op
		want string
	}{
		{"clean", []history.Op{app(1, "a", 0, 1, ok, 1), app(2, "b", 2, 3, ok, 2), rd(1, 4, 5, "a", "b")}, ""},
		{"concurrent appends in either order", []history.Op{app(1, "a", 0, 9, ok, 2), app(2, "b", 0, 9, ok, 1), rd(1, 10, 11, "b", "a")}, ""},
		{"unknown append seen late", []history.Op{app(1, "a", 0, 1, unknown, 0), rd(1, 2, 3), rd(1, 4, 5, "a")}, ""},
		{"unknown append never seen", []history.Op{app(1, "a", 0, 1, unknown, 0), rd(1, 2, 3)}, ""},
		{"lost acknowledged append", []history.Op{app(1, "a", 0, 1, ok, 1), rd(1, 2, 3)}, "lost-append"},
		{"stale read after a newer read", []history.Op{app(1, "a", 0, 9, unknown, 0), rd(1, 2, 3, "a"), rd(2, 4, 5)}, "stale-read"},
		{"stale read after an append", []history.Op{app(1, "a", 0, 1, ok, 1), app(1, "b", 2, 3, ok, 2), rd(2, 4, 5, "a"), rd(2, 6, 7, "a", "b")}, "stale-read"},
		{"two branches", []history.Op{app(1, "a", 0, 9, unknown, 0), app(2, "b", 0, 9, unknown, 0), rd(1, 10, 11, "a"), rd(2, 10, 11, "b")}, "fork"},
		{"applied twice", []history.Op{app(1, "a", 0, 1, unknown, 0), rd(1, 2, 3, "a", "a")}, "duplicate"},
		{"wrong definite failure", []history.Op{app(1, "a", 0, 1, fail, 0), rd(1, 2, 3, "a")}, "aborted-read"},
		{"element from nowhere", []history.Op{rd(1, 2, 3, "x")}, "garbage"},
		{"order against real time", []history.Op{app(1, "a", 0, 1, ok, 0), app(2, "b", 2, 3, ok, 0), rd(1, 4, 5, "b", "a")}, "order"},
		{"wrong length answered", []history.Op{app(1, "a", 0, 1, ok, 2), rd(1, 4, 5, "a")}, "order"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := ListAppend(tt.ops)
			if tt.want == "" && len(found) != 0 {
				t.Fatalf("want no anomaly, got %v", found)
			}
			if tt.want != "" && !contains(found, tt.want) {
				t.Fatalf("want %s, got %v", tt.want, found)
			}
		})
	}
}

func contains(found []Anomaly, kind string) bool {
	for _, a := range found {
		if a.Kind == kind {
			return true
		}
	}
	return false
}

func reg(client int, f history.Func, arg string, call, ret int64, out history.Outcome, value string, found bool) history.Op {
	return history.Op{Client: client, Func: f, Key: "k", Arg: arg, Call: call, Return: ret, Out: out, Value: value, Found: found}
}

// TestRegisters judges small histories with known verdicts.
func TestRegisters(t *testing.T) {
	ok, fail, unknown := history.OK, history.Fail, history.Unknown
	tests := []struct {
		name string
		ops  []history.Op
		want string
	}{
		{"write then read", []history.Op{reg(1, history.Write, "1", 0, 1, ok, "", false), reg(1, history.Read, "", 2, 3, ok, "1", true)}, ""},
		{"stale read", []history.Op{reg(1, history.Write, "1", 0, 1, ok, "", false), reg(2, history.Read, "", 2, 3, ok, "", false)}, "not-linearizable"},
		{"unknown write read later", []history.Op{reg(1, history.Write, "1", 0, 1, unknown, "", false), reg(2, history.Read, "", 2, 3, ok, "", false), reg(2, history.Read, "", 4, 5, ok, "1", true)}, ""},
		{"failed write read", []history.Op{reg(1, history.Write, "1", 0, 1, fail, "", false), reg(2, history.Read, "", 2, 3, ok, "1", true)}, "not-linearizable"},
		{"value comes back", []history.Op{
			reg(1, history.Write, "1", 0, 1, ok, "", false), reg(1, history.Write, "2", 2, 3, ok, "", false),
			reg(2, history.Read, "", 4, 5, ok, "2", true), reg(2, history.Read, "", 6, 7, ok, "1", true),
		}, "not-linearizable"},
		{"delete of nothing that claims one", []history.Op{reg(1, history.Delete, "", 0, 1, ok, "", true)}, "not-linearizable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := Registers(tt.ops, 10*time.Second)
			if (tt.want == "") != (len(found) == 0) || tt.want != "" && !contains(found, tt.want) {
				t.Fatalf("want %q, got %v", tt.want, found)
			}
		})
	}
}

// TestDeath: a value that was seen gone stays gone.
func TestDeath(t *testing.T) {
	read := func(call, ret int64, value string) history.Op {
		return reg(1, history.Read, "", call, ret, history.OK, value, value != "")
	}
	tests := []struct {
		name string
		ops  []history.Op
		want string
	}{
		{"lives and dies", []history.Op{read(0, 1, "a"), read(2, 3, "a"), read(4, 5, ""), read(6, 7, "")}, ""},
		{"comes back", []history.Op{read(0, 1, "a"), read(2, 3, ""), read(4, 5, "a")}, "resurrected"},
		{"comes back after another", []history.Op{read(0, 1, "a"), read(2, 3, "b"), read(4, 5, "a")}, "resurrected"},
		{"concurrent reads may disagree", []history.Op{read(0, 1, "a"), read(2, 9, ""), read(3, 8, "a")}, ""},
		{"absent before it was seen", []history.Op{read(0, 1, ""), read(2, 3, "a"), read(4, 5, "a")}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := Death(tt.ops)
			if (tt.want == "") != (len(found) == 0) || tt.want != "" && !contains(found, tt.want) {
				t.Fatalf("want %q, got %v", tt.want, found)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// commandDifferences are the commands of which COMMAND INFO tells something else than Redis 7.0, and why.
var commandDifferences = map[string]string{}

// text is the text of a simple or bulk string.
func (w *wireReply) text() string {
	_, body, _ := bytes.Cut(w.raw, []byte("\n"))
	if w.kind != '$' {
		body = w.raw[1:]
	}
	return strings.TrimRight(string(body), "\r\n")
}

// texts are those of an array or set, sorted.
func (w *wireReply) texts() (all []string) {
	for i := range w.elems {
		all = append(all, w.elems[i].text())
	}
	slices.Sort(all)
	return all
}

// row is what COMMAND INFO tells of one command, without its subcommands, which are asked for by themselves, and
// without notes on its keys.
func (w *wireReply) row() string {
	if len(w.elems) != 1 || len(w.elems[0].elems) != 10 {
		return string(w.raw)
	}
	var b strings.Builder
	fields := w.elems[0].elems
	for i := range fields[:8] {
		b.Write(fields[i].raw)
	}
	for _, spec := range fields[8].elems {
		for i := 0; i+1 < len(spec.elems); i += 2 {
			if spec.elems[i].text() != "notes" {
				b.Write(spec.elems[i].raw)
				b.Write(spec.elems[i+1].raw)
			}
		}
	}
	return b.String()
}

// TestCommandsAgainstRedis compares what COMMAND tells of every command that is in both: INFO but for its notes,
// version, family and arguments, keys with flags, and the lists by category and pattern.
func TestCommandsAgainstRedis(t *testing.T) {
	theirs := dialWire(t, "unix", redisOnSocket(t))
	ours := dialWire(t, "tcp", startCluster(t, 1).Nodes()[0].RESP())
	for _, c := range []*wireConn{ours, theirs} {
		c.do("HELLO", "3")
	}
	list := ours.do("COMMAND", "LIST")
	known := map[string]bool{}
	for _, name := range list.texts() {
		got, want := ours.do("COMMAND", "INFO", name), theirs.do("COMMAND", "INFO", name)
		if want.elems[0].kind == '_' {
			continue // later than 7.0, or Kvorum's own
		}
		known[name] = true
		if why, listed := commandDifferences[name]; (got.row() == want.row()) == listed {
			t.Errorf("%s (listed %v %s)\n ours %q\nredis %q", name, listed, why, strings.ReplaceAll(got.row(), "\r\n", " "), strings.ReplaceAll(want.row(), "\r\n", " "))
		}
		if !strings.Contains(name, "|") {
			got, want = ours.do("COMMAND", "DOCS", name), theirs.do("COMMAND", "DOCS", name)
			for _, word := range []string{"since", "group", "arguments"} {
				if a, b := got.elems[1].field(word), want.elems[1].field(word); a != b {
					t.Errorf("%s: %s is %q, with Redis %q", name, word, a, b)
				}
			}
		}
	}
	if len(known) < 200 {
		t.Errorf("only %d commands were compared", len(known))
	}
	for _, words := range []string{
		"GET k", "SET k v", "SET k v GET", "MSET a 1 b 2", "MSET a", "PING x", "NOSUCH x", "DEL a b c", "BITOP AND d a b", "BITFIELD a GET u8 0", "BITFIELD a OVERFLOW WRAP SET u8 0 1",
		"BITFIELD a GET", "PFCOUNT a b", "PFMERGE d a b", "LMPOP 2 a b LEFT", "LMPOP x a LEFT", "BLMPOP 0 2 a b LEFT", "BLPOP a b 0", "ZUNIONSTORE d 2 a b", "ZUNIONSTORE d 3 a b",
		"ZUNION 1 a", "ZINTERCARD 2 a b LIMIT 1", "SINTERCARD 2 a b", "COPY a b", "RENAME a b", "LMOVE a b LEFT RIGHT", "SMOVE a b m", "SORT a", "SORT a BY x GET y STORE d", "SORT_RO a BY w*",
		"OBJECT ENCODING k", "OBJECT BOGUS k", "MEMORY USAGE k", "MEMORY STATS x", "CLIENT KILL x", "PUBLISH a b", "SPUBLISH a b", "MULTI x", "INFO x", "KEYS x", "ZRANGESTORE d a 0 1", "GETEX k", "TOUCH a b",
		"SINTERSTORE d a b", "LCS a b", "HSET h f v", "EXPIRE k 1", "WATCH a b", "SCAN 0", "COMMAND GETKEYS GET a", "EXISTS a b", "XREAD STREAMS a 0",
	} {
		for _, sub := range []string{"GETKEYS", "GETKEYSANDFLAGS"} {
			full := append([]string{"COMMAND", sub}, strings.Fields(words)...)
			if full[2] == "XREAD" && string(ours.do("COMMAND", "INFO", "XREAD").elems[0].raw) == "_\r\n" {
				continue
			}
			if got, want := ours.do(full...), theirs.do(full...); string(got.raw) != string(want.raw) {
				t.Errorf("%q\n ours %q\nredis %q", full, got.raw, want.raw)
			}
		}
	}
	for _, words := range []string{
		"PATTERN *", "PATTERN [a-g]*", "PATTERN *|*", "PATTERN [^a-y]*", "PATTERN nosuch", "MODULE x", "ACLCAT read", "ACLCAT write", "ACLCAT fast", "ACLCAT dangerous", "ACLCAT Hash", "ACLCAT nosuch",
		"ACLCAT connection", "ACLCAT admin", "ACLCAT keyspace", "ACLCAT transaction", "PATTERN g*t", "BOGUS x", "PATTERN", "ACLCAT read x",
	} {
		full := append([]string{"COMMAND", "LIST", "FILTERBY"}, strings.Fields(words)...)
		got, want := ours.do(full...), theirs.do(full...)
		if got.kind == '-' || want.kind == '-' {
			if string(got.raw) != string(want.raw) {
				t.Errorf("%q: ours %q, Redis %q", full, got.raw, want.raw)
			}
			continue
		}
		here := func(name string) bool { return !known[name] || commandDifferences[name] != "" }
		a, b := slices.DeleteFunc(got.texts(), here), slices.DeleteFunc(want.texts(), here)
		if !slices.Equal(a, b) {
			t.Errorf("%q\n ours %q\nredis %q", full, a, b)
		}
	}
}

// field is the value of a map's key, as it came.
func (w *wireReply) field(name string) string {
	for i := 0; i+1 < len(w.elems); i += 2 {
		if w.elems[i].text() == name {
			return string(w.elems[i+1].raw)
		}
	}
	return ""
}

// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of commands into docs/REDIS.md")

// redisCommands are the commands of Redis 7.0.15 as COMMAND LIST names them, and those of later versions
// of 7 that exist here.
//
//go:embed testdata/commands.txt
var redisCommands string

// redisDoc is where the table of commands is kept, between two marks.
const (
	redisDoc  = "../../docs/REDIS.md"
	markBegin = "<!-- begin: table of commands -->\n"
	markEnd   = "<!-- end: table of commands -->\n"
)

// notes name what is different from Redis, by command.
var notes = map[string]string{
	"auth":                "there are no users yet: `default`, who needs no password",
	"bgsave":              "this node's groups take snapshots; the reply comes when that is done",
	"client|kill":         "connections of this node",
	"client|list":         "connections of this node; sizes of buffers are not told",
	"client|no-evict":     "accepted: connections are not evicted",
	"client|pause":        "commands of this node's connections",
	"client|tracking":     "`OFF` is accepted, `ON` refused",
	"client|unblock":      "connections of this node",
	"cluster|nodes":       "every node is a master, of the slots whose groups it leads",
	"command|docs":        "versions, families and arguments only",
	"config|get":          "what exists here",
	"config|rewrite":      "refused",
	"config|set":          "`maxmemory`, `maxmemory-policy` and `notify-keyspace-events` are the cluster's; `slowlog-*` and `latency-monitor-threshold` this node's",
	"debug":               "with `--debug-commands`: `SLEEP`, which holds up its own connection alone, `OBJECT`, `SET-ACTIVE-EXPIRE`",
	"flushall":            "the whole cluster, synchronously in either form; a reader may see some slots empty before others",
	"flushdb":             "as `FLUSHALL`",
	"function|flush":      "accepted: there are no functions",
	"function|list":       "none",
	"info":                "also `raft`; `used_memory` is this node's, `used_memory_dataset` and keyspace the whole cluster's",
	"latency|history":     "the one event `command`",
	"latency|doctor":      "in short",
	"publish":             "counts the receivers on all nodes; see above",
	"pubsub|channels":     "of this node, as are the others",
	"spublish":            "as `PUBLISH`",
	"ssubscribe":          "at any node",
	"readonly":            "reads of this connection may be answered by the local replica, and be old",
	"role":                "every node is a master, with the others as its replicas",
	"save":                "as `BGSAVE`",
	"select":              "`0` only",
	"exec":                "one entry of the log; the keys of its commands and those watched must be in one slot, or in one group of a cluster that has one",
	"multi":               "commands of all slots that write are refused in it; those without keys run behind the rest",
	"watch":               "an absent key also counts as changed when another key of its slot went",
	"set":                 "clears memcached flags",
	"slowlog|get":         "of this node; the time has the wait for disks and other nodes in it, and 100 ms is slow by default",
	"wait":                "answers at once with the number of nodes beside the leader that are sure to have every acknowledged write: a majority less one",
	"waitaof":             "as `WAIT`: an acknowledged write is on the disks of a majority",
	"memory|usage":        "exact: the bytes that the key counts towards `maxmemory`; `SAMPLES` changes nothing",
	"memory|doctor":       "in short",
	"cluster|links":       "the other nodes; buffers are not told",
	"cluster|shards":      "a node is in as many shards as it has groups of other leaders",
	"object|encoding":     "as Redis names it for a value that was stored at once",
	"object|freq":         "what the replica at hand knows",
	"object|idletime":     "what the replica at hand knows; reads count while `maxmemory` is set",
	"object|refcount":     "always 1",
	"keys":                "all groups; slots are looked at one after the other",
	"randomkey":           "of all groups",
	"pfadd":               "a sketch that other commands have damaged is refused whatever part of it is read",
	"pfcount":             "keeps nothing of what it counted: a read is a read",
	"copy":                "database `0` only",
	"sort":                "keys that `BY` and `GET` lead to must be in the key's slot, as a `{hashtag}` in front of the star shows, or one group must have all slots; `ALPHA` compares bytes; 524,288 elements at most",
	"sort_ro":             "as `SORT`",
	"dump":                "often other bytes than those of Redis, which restores them",
	"restore":             "no streams and modules; `IDLETIME` and `FREQ` change nothing; 1,048,576 elements and 64 MiB at most",
	"lcs":                 "the lengths of the two strings, multiplied, are 4 million at most",
	"setbit":              "up to `--max-value`",
	"bitfield":            "up to `--max-value`",
	"scan":                "all groups, one after the other; cursors are larger than those of Redis",
	"asking":              "with `--redis-redirect`, the next command is answered here",
	"client|no-touch":     "accepted",
	"memory|stats":        "what exists here",
	"eval":                "runs at the leader of its keys, which it names all in `KEYS`; not in `MULTI`; see below",
	"eval_ro":             "as `EVAL`",
	"evalsha":             "as `EVAL`; the caches of scripts are one a node",
	"evalsha_ro":          "as `EVAL`",
	"script|debug":        "`NO` is accepted: there is no debugger",
	"script|exists":       "of this node",
	"script|flush":        "on all nodes that can be reached",
	"script|kill":         "those that run on this node, whatever they did: nothing is applied before the end of a script",
	"script|load":         "on all nodes that can be reached",
	"client|trackinginfo": "always off",
}

// table words the status of every command.
func table(h *Handler) []byte {
	var b bytes.Buffer
	b.WriteString("| command | here | what is different |\n|---|---|---|\n")
	names := strings.Fields(redisCommands)
	seen := map[string]bool{}
	for _, name := range names {
		seen[name] = true
	}
	h.each(func(c *command) {
		if !seen[c.name] {
			names = append(names, c.name)
		}
	})
	slices.Sort(names)
	for _, name := range names {
		c := h.named([]byte(name))
		here := "yes"
		switch {
		case c == nil:
			here = "–"
		case !seen[name] && c.group == "kvorum":
			here = "Kvorum's own"
		case c.subs != nil && c.run == nil:
			continue // its subcommands are named
		}
		note := notes[name]
		if c == nil {
			note = ""
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.ToUpper(strings.ReplaceAll(name, "|", " ")), here, note)
	}
	return b.Bytes()
}

// TestDocument: docs/REDIS.md has the status of every command of Redis 7 and of every command here.
func TestDocument(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	doc, err := os.ReadFile(redisDoc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(doc, []byte(markBegin))
	old, tail, ok2 := bytes.Cut(rest, []byte(markEnd))
	if !ok || !ok2 {
		t.Fatalf("%s lacks its marks", redisDoc)
	}
	want := table(b.h)
	if bytes.Equal(old, want) {
		return
	}
	if !*update {
		t.Fatalf("%s does not say what the table of commands says: go test ./tcpd/resp -run TestDocument -update", redisDoc)
	}
	if err := os.WriteFile(redisDoc, slices.Concat(head, []byte(markBegin), want, []byte(markEnd), tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

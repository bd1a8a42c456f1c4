// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// TestServerCommands: replies and errors as Redis 7.0.15 gives them, and those that say what is different
// here.
func TestServerCommands(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Wall = func() time.Time { return time.Unix(1_700_000_000, 123_456_000) } }, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	for _, c := range [][2]string{
		{"time", "*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n"},
		{"lolwut", "$18\r\nRedis ver. 7.0.15\n\r\n"},
		{"wait 0 0", ":0\r\n"},
		{"wait a 0", "-ERR value is not an integer or out of range\r\n"},
		{"wait 0 a", "-ERR timeout is not an integer or out of range\r\n"},
		{"wait 0 -1", "-ERR timeout is negative\r\n"},
		{"waitaof 1 0 0", "*2\r\n:1\r\n:0\r\n"},
		{"role", "*3\r\n$6\r\nmaster\r\n:0\r\n*1\r\n*3\r\n$8\r\n10.0.0.2\r\n$4\r\n7403\r\n$1\r\n0\r\n"},
		{"function flush", "+OK\r\n"},
		{"function flush foo", "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option\r\n"},
		{"function list", "*0\r\n"},
		{"flushall x", "-ERR syntax error\r\n"},
		{"set k v", "+OK\r\n"},
		{"dbsize", ":1\r\n"},
		{"flushdb async", "+OK\r\n"},
		{"dbsize", ":0\r\n"},
		{"flushall sync", "+OK\r\n"},
		{"memory foo", "-ERR unknown subcommand 'foo'. Try MEMORY HELP.\r\n"},
		{"memory usage", "-ERR wrong number of arguments for 'memory|usage' command\r\n"},
		{"memory purge", "+OK\r\n"},
		{"latency latest", "*0\r\n"},
		{"latency history foo", "*0\r\n"},
		{"latency reset foo", ":0\r\n"},
		{"slowlog get a", "-ERR count should be greater than or equal to -1\r\n"},
		{"slowlog get -2", "-ERR count should be greater than or equal to -1\r\n"},
		{"slowlog reset", "+OK\r\n"},
		{"slowlog get -1", "*0\r\n"},
		{"slowlog foo", "-ERR unknown subcommand 'foo'. Try SLOWLOG HELP.\r\n"},
		{"debug", "-ERR wrong number of arguments for 'debug' command\r\n"},
		{"debug sleep 0", "-ERR DEBUG command not allowed. Start the node with --debug-commands to allow it.\r\n"},
		{"save", "+OK\r\n"},
		{"bgsave", "+Background saving started\r\n"},
		{"bgsave foo", "-ERR syntax error\r\n"},
		{"info foo", "$0\r\n\r\n"},
	} {
		p.do(c[0], c[1])
	}
}

// TestWait: acknowledged is what a majority has.
func TestWait(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	for nodes, want := range map[int]int64{1: 0, 2: 0, 3: 1, 4: 1} {
		m := twoGroups()
		m.Version += uint64(nodes)
		m.Groups[1] = shard.GroupPlace{Replicas: make([]string, nodes)}
		m.Groups[2] = shard.GroupPlace{Replicas: make([]string, 5)}
		b.router.SetMap(m)
		if n := b.h.guaranteed(); n != want {
			t.Errorf("%d replicas: %d, want %d", nodes, n, want)
		}
	}
}

func TestConfig(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	for _, c := range [][2]string{
		{"config get save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"},
		{"config get SAVE appendon*", "*4\r\n$10\r\nappendonly\r\n$3\r\nyes\r\n$4\r\nsave\r\n$0\r\n\r\n"},
		{"config get nope", "*0\r\n"},
		{"config get", "-ERR wrong number of arguments for 'config|get' command\r\n"},
		{"config set a b", "-ERR Unknown option or number of arguments for CONFIG SET - 'a'\r\n"},
		{"config set maxmemory", "-ERR wrong number of arguments for 'config|set' command\r\n"},
		{"config set maxmemory abc", "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value\r\n"},
		{"config set maxmemory 1 maxmemory 1", "-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - duplicate parameter\r\n"},
		{"config set databases 3", "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config\r\n"},
		{"config set databases 1 save ''", "+OK\r\n"},
		{"config set maxmemory 1gb databases 3", "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config\r\n"},
		{"config get maxmemory", "*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n"},
		{"config set maxmemory 1gb maxmemory-policy ALLKEYS-LRU", "+OK\r\n"},
		{"config set notify-keyspace-events AKEn", "+OK\r\n"},
		{"config get notify-keyspace-events", "*2\r\n$22\r\nnotify-keyspace-events\r\n$4\r\nAnKE\r\n"},
		{"config set notify-keyspace-events KEq", "-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class character. Use 'Ag$lshzxeKEtmdn'.\r\n"},
		{"config get maxmemory", "*2\r\n$9\r\nmaxmemory\r\n$10\r\n1073741824\r\n"},
		{"config get maxmemory-policy", "*2\r\n$16\r\nmaxmemory-policy\r\n$11\r\nallkeys-lru\r\n"},
		{"config set slowlog-log-slower-than -1 slowlog-max-len 5", "+OK\r\n"},
		{"config get slowlog*", "*4\r\n$23\r\nslowlog-log-slower-than\r\n$2\r\n-1\r\n$15\r\nslowlog-max-len\r\n$1\r\n5\r\n"},
		{"config set slowlog-max-len x", "-ERR CONFIG SET failed (possibly related to argument 'slowlog-max-len') - argument couldn't be parsed into an integer\r\n"},
		{"config rewrite", "-ERR The server is running without a config file\r\n"},
		{"config resetstat", "+OK\r\n"},
	} {
		p.do(c[0], c[1])
	}
}

func TestParseMemory(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "1": 1, "2k": 2000, "2KB": 2048, "3m": 3_000_000, "1mb": 1 << 20, "1g": 1_000_000_000, "1Gb": 1 << 30, "5b": 5} {
		if n, ok := parseMemory(text); !ok || n != want {
			t.Errorf("%s: %d %t", text, n, ok)
		}
	}
	for _, text := range []string{"", "x", "-1", "1tb", "1bb", "kb", "99999999999999999999", "9999999999gb"} {
		if n, ok := parseMemory(text); ok {
			t.Errorf("%q: %d", text, n)
		}
	}
}

// TestInfo: sections as asked, numbers where they are known.
func TestInfo(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	p.do("SET k v", "+OK\r\n")
	p.do("GET", "-ERR wrong number of arguments for 'get' command\r\n")
	for line, want := range map[string][]string{
		"INFO":              {"# Server\r\nredis_version:7.0.15\r\n", "redis_mode:standalone", "connected_clients:1", "role:master", "db0:keys=1,", "cluster_enabled:0"},
		"INFO server":       {"# Server", "run_id:" + self},
		"INFO keyspace cpu": {"# CPU\r\nused_cpu_sys:", "\r\n\r\n# Keyspace\r\ndb0:keys=1"},
		"INFO commandstats": {"cmdstat_set:calls=1,usec=", "cmdstat_get:calls=1,usec=", "failed_calls=1"},
		"INFO raft":         {"cluster_id:cid", "group1:leader=" + self + ",term=3"},
		"INFO everything":   {"# Commandstats", "# Raft"},
		"INFO replication":  {"connected_slaves:1\r\nslave0:ip=10.0.0.2,port=7403,state=online"},
	} {
		got := p.text(line)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s lacks %q: %q", line, w, got)
			}
		}
		if name, ok := strings.CutPrefix(line, "INFO "); ok && name == "server" && strings.Contains(got, "# Clients") {
			t.Errorf("%s: %q", line, got)
		}
	}
}

func TestCommand(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	get := "*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n" +
		"$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n" +
		"$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
	for _, c := range [][2]string{
		{"command info get nope", "*2\r\n" + get + "$-1\r\n"},
		{"command getkeys mset a b c d", "*2\r\n$1\r\na\r\n$1\r\nc\r\n"},
		{"command getkeys ping", "-ERR wrong number of arguments for 'command|getkeys' command\r\n"},
		{"command getkeys ping x", "-ERR The command has no key arguments\r\n"},
		{"command getkeys nope x", "-ERR Invalid command specified\r\n"},
		{"command getkeys mget", "-ERR wrong number of arguments for 'command|getkeys' command\r\n"},
		{"command getkeys get a b", "-ERR Invalid number of arguments specified for command\r\n"},
		{"command list filterby aclcat foo", "*0\r\n"},
		{"command list filterby module x", "*0\r\n"},
		{"command list filterby pattern xre*", "*0\r\n"},
		{"command list filterby pattern config|g*", "*1\r\n$10\r\nconfig|get\r\n"},
		{"command list filterby", "-ERR syntax error\r\n"},
		{"command foo", "-ERR unknown subcommand 'foo'. Try COMMAND HELP.\r\n"},
		{"command docs nope", "*0\r\n"},
		{"command count", ":" + strconv.Itoa(len(b.h.list)) + "\r\n"},
	} {
		p.do(c[0], c[1])
	}
	if s := p.text("COMMAND"); !strings.HasPrefix(s, "*"+strconv.Itoa(len(b.h.list))+"\r\n*10\r\n") {
		t.Errorf("COMMAND: %.100q", s)
	}
	for c := range b.router.Table().All() {
		if known := b.h.lookup([]byte(strings.ToLower(c.Name))); (known != nil) == c.Internal {
			t.Errorf("%s: internal %t, and here it is %v", c.Name, c.Internal, known)
		}
	}
}

func TestClusterCommands(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	a := "*4\r\n$8\r\n10.0.0.1\r\n:7403\r\n$40\r\n" + self + "\r\n*0\r\n"
	o := "*4\r\n$8\r\n10.0.0.2\r\n:7403\r\n$40\r\n" + other + "\r\n*0\r\n"
	lower, upper := "*4\r\n:0\r\n:8191\r\n", "*4\r\n:8192\r\n:16383\r\n"
	p.do("CLUSTER MYID", "$40\r\n"+self+"\r\n")
	p.do("CLUSTER KEYSLOT foo", ":12182\r\n")
	p.do("CLUSTER KEYSLOT {foo}bar", ":12182\r\n")
	p.do("CLUSTER SLOTS", "*2\r\n"+lower+a+o+upper+o+a)
	nodes := self + " 10.0.0.1:7403@7400 myself,master - 0 0 5 connected 0-8191\n" + other + " 10.0.0.2:7403@7400 master - 0 0 5 connected 8192-16383\n"
	p.do("CLUSTER NODES", "$"+strconv.Itoa(len(nodes))+"\r\n"+nodes+"\r\n")
	if s := p.text("CLUSTER SHARDS"); strings.Count(s, "$6\r\nmaster\r\n") != 2 || strings.Count(s, "$7\r\nreplica\r\n") != 2 || !strings.Contains(s, "*2\r\n:0\r\n:8191\r\n") {
		t.Errorf("CLUSTER SHARDS: %q", s)
	}
	if s := p.text("CLUSTER INFO"); !strings.Contains(s, "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n") || !strings.Contains(s, "cluster_size:2") {
		t.Errorf("CLUSTER INFO: %q", s)
	}
	b.router.lead(1, "")
	if s := p.text("CLUSTER INFO"); !strings.Contains(s, "cluster_state:fail\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:8192\r\n") {
		t.Errorf("without a leader: %q", s)
	}
	b.router.lead(1, other)
	p.do("CLUSTER SLOTS", "*1\r\n*4\r\n:0\r\n:16383\r\n"+o+a)
	p.do("CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid slot\r\n")
	p.do("CLUSTER FOO", "-ERR unknown subcommand 'FOO'. Try CLUSTER HELP.\r\n")
	if s := p.text("CLUSTER LINKS"); strings.Count(s, other) != 2 {
		t.Errorf("CLUSTER LINKS: %q", s)
	}
}

// TestKeysInSlot: exactly the keys of the slot, also of the first and the last one.
func TestKeysInSlot(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	want := make(map[uint16][]string)
	for i := range 2000 {
		key := "{" + strconv.Itoa(i%3) + "}" + strconv.Itoa(i)
		if i%10 == 0 {
			key = strconv.Itoa(i)
		}
		b.router.Run(fsm.Command{Op: fsm.OpSet, Args: [][]byte{[]byte(key), []byte("v")}})
		slot := fsm.SlotOf([]byte(key))
		want[slot] = append(want[slot], key)
	}
	want[0], want[shard.SlotCount-1] = append(want[0], []string{}...), append(want[shard.SlotCount-1], []string{}...)
	for slot, keys := range want {
		s := strconv.Itoa(int(slot))
		p.do("CLUSTER COUNTKEYSINSLOT "+s, ":"+strconv.Itoa(len(keys))+"\r\n")
		got := p.text("CLUSTER GETKEYSINSLOT " + s + " 100000")
		if n := strings.Count(got, "$"); n != len(keys) || slices.ContainsFunc(keys, func(k string) bool { return !strings.Contains(got, "\r\n"+k+"\r\n") }) {
			t.Fatalf("slot %s: %d keys, want %d", s, n, len(keys))
		}
		p.do("CLUSTER GETKEYSINSLOT "+s+" 0", "*0\r\n")
	}
}

// TestRedirect: with it, a node answers for the slots that it leads alone.
func TestRedirect(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Redirect = true }, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	for _, c := range [][2]string{
		{"SET bar v", "+OK\r\n"}, // slot 5061
		{"GET foo", "-MOVED 12182 10.0.0.2:7403\r\n"},
		{"MGET bar foo", "-CROSSSLOT Keys in request don't hash to the same slot\r\n"},
		{"MSET {bar}1 a {bar}2 b", "+OK\r\n"},
		{"GET", "-ERR wrong number of arguments for 'get' command\r\n"},
		{"DBSIZE", ":3\r\n"},
		{"ASKING", "+OK\r\n"},
		{"GET foo", "$-1\r\n"},
		{"GET foo", "-MOVED 12182 10.0.0.2:7403\r\n"},
		{"READONLY", "+OK\r\n"},
		{"GET foo", "$-1\r\n"},
		{"SET foo x", "-MOVED 12182 10.0.0.2:7403\r\n"},
		{"READWRITE", "+OK\r\n"},
		{"GET foo", "-MOVED 12182 10.0.0.2:7403\r\n"},
	} {
		p.do(c[0], c[1])
	}
	b.router.lead(2, "")
	p.do("GET foo", "-CLUSTERDOWN Hash slot not served\r\n")
	if s := p.text("HELLO"); !strings.Contains(s, "$4\r\nmode\r\n$7\r\ncluster\r\n") {
		t.Errorf("HELLO: %q", s)
	}
}

// TestReadonly makes reads stale, and no longer.
func TestReadonly(t *testing.T) {
	b := newBench(t, nil, nil)
	defer b.close()
	p := b.dial()
	defer p.close()
	for _, c := range []struct {
		line  string
		stale bool
	}{{"READONLY", true}, {"READWRITE", false}, {"READONLY", true}, {"RESET", false}} {
		p.text(c.line)
		p.do("GET foo", "$-1\r\n")
		if got := b.router.LastCaller().Stale; got != c.stale {
			t.Errorf("behind %s: stale %t", c.line, got)
		}
	}
}

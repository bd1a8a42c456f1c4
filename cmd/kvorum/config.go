// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

// config is a node's effective configuration. Every field has exactly one row in options, which is
// also the flag, the environment variable, the line of the configuration file and the
// documentation. Precedence: flag, environment, file, default.
type config struct {
	Data      string
	Name      string
	Zone      string
	Bind      string
	Advertise string
	Port      int
	Peer      string
	HTTP      string
	Native    string
	RESP      string
	Insecure  bool

	Init     bool
	Join     string
	IfNew    bool
	Groups   int
	Replicas int

	MaxMemory       size
	MaxMemoryPolicy string
	MaxKey          size
	MaxValue        size
	MaxConnections  int

	RedisRedirect bool
	DebugCommands bool

	LogStore     string
	SegmentSize  size
	LogTail      size
	SnapshotLog  size
	SnapshotRate size
	DiskReserve  size
	Heartbeat    time.Duration
	Timeout      time.Duration

	LogLevel  string
	LogFormat string
}

// option is one row of the table.
type option struct {
	name string
	help string
	bind func(c *config, f *pflag.FlagSet, name, help string)
}

func defaults() config {
	return config{
		Data: "kvorum-data", Bind: "127.0.0.1", Port: 7400,
		Groups: defaultGroups(), Replicas: 3,
		MaxMemoryPolicy: "noeviction", MaxKey: 64 << 10, MaxValue: 16 << 20, MaxConnections: 10000,
		LogStore: "wal", SegmentSize: 64 << 20, LogTail: 64 << 20, SnapshotLog: 256 << 20, SnapshotRate: 64 << 20, DiskReserve: 64 << 20,
		Heartbeat: 400 * time.Millisecond, Timeout: 5 * time.Second,
		LogLevel: "info", LogFormat: "text",
	}
}

// maxDefaultGroups bounds the number of data groups that nobody asked for.
const maxDefaultGroups = 16

// defaultGroups is the number of data groups of a new cluster: one for every two cores of the machine
// that founds it, since a group under full load keeps about as many busy and every further one only
// makes batches smaller. docs/OPERATIONS.md has the measurement.
func defaultGroups() int { return min(max(1, runtime.GOMAXPROCS(0)/2), maxDefaultGroups) }

func text(field func(*config) *string) func(*config, *pflag.FlagSet, string, string) {
	return func(c *config, f *pflag.FlagSet, name, help string) {
		f.StringVar(field(c), name, *field(c), help)
	}
}

func number(field func(*config) *int) func(*config, *pflag.FlagSet, string, string) {
	return func(c *config, f *pflag.FlagSet, name, help string) { f.IntVar(field(c), name, *field(c), help) }
}

func flag(field func(*config) *bool) func(*config, *pflag.FlagSet, string, string) {
	return func(c *config, f *pflag.FlagSet, name, help string) { f.BoolVar(field(c), name, *field(c), help) }
}

func span(field func(*config) *time.Duration) func(*config, *pflag.FlagSet, string, string) {
	return func(c *config, f *pflag.FlagSet, name, help string) {
		f.DurationVar(field(c), name, *field(c), help)
	}
}

func bytesize(field func(*config) *size) func(*config, *pflag.FlagSet, string, string) {
	return func(c *config, f *pflag.FlagSet, name, help string) { f.Var(field(c), name, help) }
}

func options() []option {
	return []option{
		{"data", "folder that holds everything this node keeps", text(func(c *config) *string { return &c.Data })},
		{"name", "name shown for this node; default: the host name and the port", text(func(c *config) *string { return &c.Name })},
		{"zone", "failure domain of this node; replicas of a group spread over zones", text(func(c *config) *string { return &c.Zone })},
		{"bind", "address the listeners bind to", text(func(c *config) *string { return &c.Bind })},
		{"advertise", "host that other nodes and clients reach this node by; default: the bind address", text(func(c *config) *string { return &c.Advertise })},
		{"port", "base port: peer, HTTP +1, native TCP +2, Redis protocol +3", number(func(c *config) *int { return &c.Port })},
		{"peer-addr", "listener for other nodes, host:port; default: bind:port", text(func(c *config) *string { return &c.Peer })},
		{"http-addr", "HTTP listener, host:port or off; default: bind:port+1", text(func(c *config) *string { return &c.HTTP })},
		{"native-addr", "native TCP listener, host:port or off; default: bind:port+2", text(func(c *config) *string { return &c.Native })},
		{"resp-addr", "listener for clients of Redis, host:port or off; default: bind:port+3", text(func(c *config) *string { return &c.RESP })},
		{"insecure", "allow a listener beyond loopback although there is no authentication", flag(func(c *config) *bool { return &c.Insecure })},
		{"init", "found a new cluster with this node, once, on an empty data folder", flag(func(c *config) *bool { return &c.Init })},
		{"join", "join the cluster of these members (host:peerport, comma separated), once, on an empty data folder", text(func(c *config) *string { return &c.Join })},
		{"if-new", "with --init or --join: do neither when this node already belongs to a cluster; end with code 0 when it has left one", flag(func(c *config) *bool { return &c.IfNew })},
		{"groups", "with --init: data groups of the cluster; by default one for every two cores", number(func(c *config) *int { return &c.Groups })},
		{"replicas", "with --init: voters of each group, odd; 1 is kept until enough nodes are there", number(func(c *config) *int { return &c.Replicas })},
		{"maxmemory", "with --init: limit of the whole cluster's data, one copy counted: bytes of keys and values and a fixed overhead for each entry; 0 for no limit", bytesize(func(c *config) *size { return &c.MaxMemory })},
		{"maxmemory-policy", "with --init: what goes at the limit: " + strings.Join(fsm.PolicyNames(), ", "), text(func(c *config) *string { return &c.MaxMemoryPolicy })},
		{"max-key", "longest key, at most 64KiB", bytesize(func(c *config) *size { return &c.MaxKey })},
		{"max-value", "longest value, at most 16MiB", bytesize(func(c *config) *size { return &c.MaxValue })},
		{"max-connections", "client connections per listener", number(func(c *config) *int { return &c.MaxConnections })},
		{"redis-redirect", "tell clients of Redis to ask the key's leader (MOVED), as Redis Cluster does, instead of asking it for them", flag(func(c *config) *bool { return &c.RedisRedirect })},
		{"debug-commands", "allow DEBUG to clients of Redis", flag(func(c *config) *bool { return &c.DebugCommands })},
		{"log-store", "storage of the replicated log: wal or bolt", text(func(c *config) *string { return &c.LogStore })},
		{"segment-size", "size of a log segment file", bytesize(func(c *config) *size { return &c.SegmentSize })},
		{"log-tail", "memory for the newest log entries, over all groups of the node; none has less than 1MiB", bytesize(func(c *config) *size { return &c.LogTail })},
		{"snapshot-log", "log bytes of a group after which it is snapshotted", bytesize(func(c *config) *size { return &c.SnapshotLog })},
		{"snapshot-rate", "bytes of snapshots written a second; 0 is as fast as possible, and felt", bytesize(func(c *config) *size { return &c.SnapshotRate })},
		{"disk-reserve", "free space below which growing writes are refused", bytesize(func(c *config) *size { return &c.DiskReserve })},
		{"heartbeat", "time without a leader's sign of life after which a follower stands for election", span(func(c *config) *time.Duration { return &c.Heartbeat })},
		{"timeout", "time a request may wait for its group when the client names none", span(func(c *config) *time.Duration { return &c.Timeout })},
		{"log-level", "debug, info, warn or error", text(func(c *config) *string { return &c.LogLevel })},
		{"log-format", "text or json", text(func(c *config) *string { return &c.LogFormat })},
	}
}

// size is a number of bytes, written with an optional unit: 64MiB, 16m, 1gb, 4096.
type size uint64

func (s *size) Type() string { return "size" }

func (s *size) String() string {
	n := uint64(*s)
	for _, u := range []struct {
		n    uint64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.n && n%u.n == 0 {
			return strconv.FormatUint(n/u.n, 10) + u.name
		}
	}
	return strconv.FormatUint(n, 10)
}

func (s *size) Set(text string) error {
	t := strings.ToLower(strings.TrimSpace(text))
	digits := strings.TrimRight(t, "kmgtib ")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is no size such as 64MiB", text)
	}
	shift, ok := map[string]uint{"": 0, "b": 0, "k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20, "g": 30, "gb": 30, "gib": 30}[strings.TrimSpace(t[len(digits):])]
	if !ok || n > 1<<62>>shift {
		return fmt.Errorf("%q is no size such as 64MiB", text)
	}
	*s = size(n << shift)
	return nil
}

// bindConfig registers every row as a flag of f.
func bindConfig(c *config, f *pflag.FlagSet) {
	for _, o := range options() {
		o.bind(c, f, o.name, o.help+" [$"+envName(o.name)+"]")
	}
	f.String("config", "", "file of lines NAME: VALUE with the names of these flags [$KVORUM_CONFIG]")
}

func envName(flag string) string {
	return "KVORUM_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// resolve fills the flags that the command line left alone from the environment, then from the
// file, and validates and completes the whole. It reports every fault at once.
func resolve(c *config, f *pflag.FlagSet, getenv func(string) string) error {
	path, _ := f.GetString("config")
	if path == "" {
		path = getenv("KVORUM_CONFIG")
	}
	file := map[string]string{}
	if path != "" {
		var err error
		if file, err = readConfigFile(path, f); err != nil {
			return err
		}
	}
	var faults []error
	for _, o := range options() {
		if f.Changed(o.name) {
			continue
		}
		value, from := getenv(envName(o.name)), "$"+envName(o.name)
		if value == "" {
			value, from = file[o.name], path
		}
		if value == "" {
			continue
		}
		if err := f.Set(o.name, value); err != nil {
			faults = append(faults, fmt.Errorf("%s in %s: %w", o.name, from, err))
		}
	}
	faults = append(faults, c.validate()...)
	return errors.Join(append(faults, c.complete()...)...)
}

func readConfigFile(path string, f *pflag.FlagSet) (map[string]string, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	defer in.Close()
	values := map[string]string{}
	scan := bufio.NewScanner(in)
	for line := 1; scan.Scan(); line++ {
		t := strings.TrimSpace(scan.Text())
		if t == "" || strings.HasPrefix(t, "#") {
			continue
		}
		name, value, ok := strings.Cut(t, ":")
		name = strings.TrimSpace(name)
		if !ok || f.Lookup(name) == nil || name == "config" {
			return nil, fmt.Errorf("%s:%d: %q is no NAME: VALUE with the name of a flag", path, line, t)
		}
		values[name] = strings.Trim(strings.TrimSpace(value), `"'`)
	}
	return values, scan.Err()
}

// checkMember judges how a member to join is named.
func checkMember(addr string) error {
	if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
		return fmt.Errorf("%q is no host:port of a member", addr)
	}
	return nil
}

func (c *config) validate() []error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Data == "" {
		bad("--data is empty")
	}
	if c.Port < 1 || c.Port > 65535-10 {
		bad("--port %d is not between 1 and 65525", c.Port)
	}
	if c.Groups < 1 || c.Groups > 1024 {
		bad("--groups %d is not between 1 and 1024", c.Groups)
	}
	if c.Replicas < 1 || c.Replicas > 7 || c.Replicas%2 == 0 {
		bad("--replicas %d is not 1, 3, 5 or 7", c.Replicas)
	}
	if c.Init && c.Join != "" {
		bad("--init founds a cluster and --join enters one: give one of them")
	}
	if c.Join != "" {
		for _, m := range strings.Split(c.Join, ",") {
			if err := checkMember(m); err != nil {
				bad("--join: %w", err)
			}
		}
	}
	if c.LogStore != "wal" && c.LogStore != "bolt" {
		bad("--log-store %q is neither wal nor bolt", c.LogStore)
	}
	if c.Heartbeat < 50*time.Millisecond {
		bad("--heartbeat %v is below 50ms", c.Heartbeat)
	}
	// What the groups' state machines refuse by themselves cannot be allowed here.
	if c.MaxKey < 1 || c.MaxKey > fsm.MaxKeyBytes {
		bad("--max-key %s is not between 1 and 64KiB", c.MaxKey.String())
	}
	if c.MaxValue < 1 || c.MaxValue > fsm.DefaultMaxValue {
		bad("--max-value %s is not between 1 and 16MiB", c.MaxValue.String())
	}
	if _, ok := fsm.ParsePolicy(c.MaxMemoryPolicy); !ok {
		bad("--maxmemory-policy %q is no eviction policy", c.MaxMemoryPolicy)
	}
	if c.MaxConnections < 1 {
		bad("--max-connections %d is not positive", c.MaxConnections)
	}
	if c.SegmentSize < 1 || c.SegmentSize > logstore.MaxSegmentBytes {
		bad("--segment-size %s is not between 1 and 1GiB", c.SegmentSize.String())
	}
	if c.LogTail < 1 {
		bad("--log-tail is 0")
	}
	if c.SnapshotLog < 1 {
		bad("--snapshot-log is 0")
	}
	if c.Timeout <= 0 {
		bad("--timeout %v is not positive", c.Timeout)
	}
	if new(slog.Level).UnmarshalText([]byte(c.LogLevel)) != nil {
		bad("--log-level %q is none of debug, info, warn and error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		bad("--log-format %q is neither text nor json", c.LogFormat)
	}
	return faults
}

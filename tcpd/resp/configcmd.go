// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"strconv"
	"strings"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// parameter is one name of CONFIG. set judges a value and returns what applies it; nil: the value
// cannot be changed, though it may be set to what it is.
type parameter struct {
	name string
	get  func(h *Handler) string
	set  func(h *Handler, value string) (apply func(ctx context.Context) error, fault string)
}

func fixed(name, value string) parameter {
	return parameter{name: name, get: func(*Handler) string { return value }}
}

// Faults of values, worded as Redis words them.
const (
	faultMemory    = "argument must be a memory value"
	faultNumber    = "argument couldn't be parsed into an integer"
	faultPolicy    = "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction"
	faultEvents    = "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."
	faultImmutable = "can't set immutable config"
	faultNoCluster = "this node belongs to no cluster"
	faultDuplicate = "duplicate parameter"
)

// parameters are what exists of Redis' configuration here. maxmemory, its policy and notify-keyspace-events are the
// cluster's.
func parameters() []parameter {
	return []parameter{
		fixed("appendfsync", "always"), fixed("appendonly", "yes"), fixed("bind", ""),
		{name: "cluster-enabled", get: func(h *Handler) string {
			if h.cfg.Redirect {
				return "yes"
			}
			return "no"
		}},
		fixed("databases", "1"),
		{name: "latency-monitor-threshold", get: func(h *Handler) string { return strconv.FormatInt(h.latency.millis.Load(), 10) }, set: setLatency},
		fixed("lfu-decay-time", "1"), fixed("lfu-log-factor", "10"), fixed("lua-time-limit", "5000"),
		{name: "maxclients", get: func(h *Handler) string { return strconv.Itoa(h.cfg.MaxConns) }},
		{name: "maxmemory", get: func(h *Handler) string { return strconv.FormatUint(h.settings().MaxMemory, 10) }, set: setMaxMemory},
		{name: "maxmemory-policy", get: func(h *Handler) string { return h.settings().Policy }, set: setPolicy},
		{name: "notify-keyspace-events", get: func(h *Handler) string { return h.settings().Events }, set: setEvents},
		{name: "proto-max-bulk-len", get: func(h *Handler) string { return strconv.Itoa(h.cfg.Table.Limits().MaxValue) }},
		fixed("requirepass", ""), fixed("save", ""),
		{name: "slowlog-log-slower-than", get: func(h *Handler) string { return strconv.FormatInt(h.slow.micros.Load(), 10) }, set: setSlower},
		{name: "slowlog-max-len", get: func(h *Handler) string { return h.slow.maxText() }, set: setSlowLen},
		fixed("tcp-keepalive", "15"), fixed("timeout", "0"),
	}
}

// settings are the cluster's, or what a new one has.
func (h *Handler) settings() shard.Settings {
	if h.cfg.Cluster != nil {
		if v := h.cfg.Cluster.View(); v != nil {
			return v.Settings
		}
	}
	return shard.Settings{Policy: shard.DefaultPolicy}
}

func setLatency(h *Handler, value string) (func(context.Context) error, string) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return nil, faultNumber
	}
	return func(context.Context) error { h.latency.millis.Store(n); return nil }, ""
}

func setSlower(h *Handler, value string) (func(context.Context) error, string) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < -1 {
		return nil, faultNumber
	}
	return func(context.Context) error { h.slow.micros.Store(n); return nil }, ""
}

func setSlowLen(h *Handler, value string) (func(context.Context) error, string) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 {
		return nil, faultNumber
	}
	return func(context.Context) error { h.slow.setMax(min(n, slowMaxLen)); return nil }, ""
}

func setMaxMemory(h *Handler, value string) (func(context.Context) error, string) {
	n, ok := parseMemory(value)
	if !ok {
		return nil, faultMemory
	}
	return h.configure(func(s *shard.Settings) { s.MaxMemory = n })
}

func setPolicy(h *Handler, value string) (func(context.Context) error, string) {
	value = strings.ToLower(value)
	if _, ok := fsm.ParsePolicy(value); !ok {
		return nil, faultPolicy
	}
	return h.configure(func(s *shard.Settings) { s.Policy = value })
}

func setEvents(h *Handler, value string) (func(context.Context) error, string) {
	classes, ok := fsm.ParseClasses(value)
	if !ok {
		return nil, faultEvents
	}
	return h.configure(func(s *shard.Settings) { s.Events = classes.String() })
}

func (h *Handler) configure(change func(s *shard.Settings)) (func(context.Context) error, string) {
	if h.cfg.Cluster == nil || h.cfg.Cluster.View() == nil {
		return nil, faultNoCluster
	}
	return func(ctx context.Context) error { return h.cfg.Cluster.Configure(ctx, change) }, ""
}

// parseMemory reads a number of bytes with Redis' units.
func parseMemory(text string) (uint64, bool) {
	t := strings.ToLower(text)
	digits := strings.TrimRight(t, "bkmg")
	unit, ok := map[string]uint64{"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1000_000, "mb": 1 << 20, "g": 1000_000_000, "gb": 1 << 30}[t[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || n > 1<<62/unit {
		return 0, false
	}
	return n * unit, true
}

func configCommand() row {
	const f = flagAdmin | flagNoScript | flagLoading | flagStale
	return container(
		"config", 0, nil,
		local("get", -3, f, runConfigGet),
		local("help", 2, f, help("CONFIG", []string{
			"GET <pattern> [<pattern> ...]", "    Return parameters matching the glob-like <pattern>s and their values.",
			"SET <directive> <value> [<directive> <value> ...]", "    Set configuration directives; maxmemory, maxmemory-policy and", "    notify-keyspace-events are the cluster's.",
			"RESETSTAT", "    Reset statistics reported by the INFO command.",
			"REWRITE", "    Refused: flags and settings are kept where they were given.",
		})),
		local("resetstat", 2, f, runConfigResetStat),
		local("rewrite", 2, f, func(context.Context, *session, [][]byte) fsm.Result {
			return fail("ERR The server is running without a config file")
		}),
		local("set", -4, f, runConfigSet),
	)
}

func runConfigGet(_ context.Context, s *session, args [][]byte) fsm.Result {
	var out []fsm.Result
	for _, p := range parameters() {
		for _, pattern := range args {
			if matches(strings.ToLower(string(pattern)), p.name) {
				out = append(out, bulk(p.name), bulk(p.get(s.h)))
				break
			}
		}
	}
	return fsm.Map(out)
}

// runConfigSet judges all values before it applies any.
func runConfigSet(ctx context.Context, s *session, args [][]byte) fsm.Result {
	if len(args)%2 != 0 {
		return fsm.Errorf(fsm.CodeArity, "ERR wrong number of arguments for 'config|set' command")
	}
	refuse := func(name, fault string) fsm.Result {
		return fsm.Errorf(fsm.CodeError, "ERR CONFIG SET failed (possibly related to argument '%s') - %s", name, oneLine(fault))
	}
	byName := make(map[string]parameter)
	for _, p := range parameters() {
		byName[p.name] = p
	}
	type step struct {
		name  string
		apply func(context.Context) error
	}
	var steps []step
	seen := make(map[string]bool)
	for i := 0; i < len(args); i += 2 {
		name, value := strings.ToLower(string(args[i])), string(args[i+1])
		p, ok := byName[name]
		switch {
		case !ok:
			return fsm.Errorf(fsm.CodeError, "ERR Unknown option or number of arguments for CONFIG SET - '%s'", cut(args[i]))
		case seen[name]:
			return refuse(name, faultDuplicate)
		case p.set == nil && value != p.get(s.h):
			return refuse(name, faultImmutable)
		}
		seen[name] = true
		if p.set != nil {
			apply, fault := p.set(s.h, value)
			if fault != "" {
				return refuse(name, fault)
			}
			steps = append(steps, step{name, apply})
		}
	}
	for _, st := range steps {
		if err := st.apply(ctx); err != nil {
			return refuse(st.name, err.Error())
		}
	}
	return fsm.OK()
}

func runConfigResetStat(_ context.Context, s *session, _ [][]byte) fsm.Result {
	s.h.each(func(c *command) {
		for _, n := range []interface{ Store(uint64) }{&c.stat.calls, &c.stat.micros, &c.stat.rejected, &c.stat.failed} {
			n.Store(0)
		}
		for i := range c.stat.buckets {
			c.stat.buckets[i].Store(0)
		}
	})
	s.h.connections.Store(0)
	s.h.rejected.Store(0)
	s.h.protocolErrors.Store(0)
	return fsm.OK()
}

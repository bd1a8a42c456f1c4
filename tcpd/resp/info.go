// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// infoTime bounds what INFO asks other nodes.
const infoTime = 2 * time.Second

// section is one part of INFO. usual: it is part of INFO without arguments.
type section struct {
	name  string
	usual bool
	write func(ctx context.Context, s *session, b *strings.Builder)
}

func sections() []section {
	return []section{
		{"Server", true, infoServer},
		{"Clients", true, infoClients},
		{"Memory", true, infoMemory},
		{"Persistence", true, infoPersistence},
		{"Stats", true, infoStats},
		{"Replication", true, infoReplication},
		{"CPU", true, infoCPU},
		{"Commandstats", false, infoCommandStats},
		{"Cluster", true, infoCluster},
		{"Raft", false, infoRaft},
		{"Keyspace", true, infoKeyspace},
	}
}

func runInfo(ctx context.Context, s *session, args [][]byte) fsm.Result {
	ctx, cancel := context.WithTimeout(ctx, infoTime)
	defer cancel()
	var b strings.Builder
	for _, sec := range sections() {
		if !sec.asked(args) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("# " + sec.name + "\r\n")
		sec.write(ctx, s, &b)
	}
	return verbatim(b.String())
}

func (sec *section) asked(args [][]byte) bool {
	if len(args) == 0 {
		return sec.usual
	}
	return slices.ContainsFunc(args, func(a []byte) bool {
		return is(a, upper(sec.name)) || is(a, "ALL") || is(a, "EVERYTHING") || is(a, "DEFAULT") && sec.usual
	})
}

// put writes lines of name and value.
func put(b *strings.Builder, pairs ...any) {
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(b, "%v:%v\r\n", pairs[i], pairs[i+1])
	}
}

func human(n uint64) string {
	f := float64(n)
	for _, unit := range []string{"B", "K", "M", "G"} {
		if f < 1024 {
			if unit == "B" {
				return fmt.Sprintf("%dB", n)
			}
			return fmt.Sprintf("%.2f%s", f, unit)
		}
		f /= 1024
	}
	return fmt.Sprintf("%.2fT", f)
}

func (h *Handler) mode() string {
	if h.cfg.Redirect {
		return "cluster"
	}
	return "standalone"
}

func infoServer(_ context.Context, s *session, b *strings.Builder) {
	up := time.Since(s.h.started)
	_, port := splitPort(s.card.laddr)
	put(
		b, "redis_version", redisVersion, "kvorum_version", s.h.cfg.Version, "redis_mode", s.h.mode(), "os", runtime.GOOS+" "+runtime.GOARCH,
		"arch_bits", 64, "go_version", runtime.Version(), "run_id", s.h.cfg.NodeID, "tcp_port", port,
		"server_time_usec", s.h.cfg.Wall().UnixMicro(), "uptime_in_seconds", int64(up.Seconds()), "uptime_in_days", int64(up.Hours()/24),
	)
}

func infoClients(_ context.Context, s *session, b *strings.Builder) {
	s.h.mu.Lock()
	n := len(s.h.cards)
	s.h.mu.Unlock()
	put(b, "connected_clients", n, "cluster_connections", 0, "maxclients", s.h.cfg.MaxConns, "blocked_clients", s.h.blocked.Load(), "tracking_clients", 0)
}

// memory is the runtime's, in bytes.
type memory struct{ objects, free, released, total uint64 }

func (m memory) used() uint64 { return m.total - m.released }

func readMemory() (m memory) {
	sample := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/total:bytes"},
	}
	metrics.Read(sample)
	for i, to := range []*uint64{&m.objects, &m.free, &m.released, &m.total} {
		if sample[i].Value.Kind() == metrics.KindUint64 {
			*to = sample[i].Value.Uint64()
		}
	}
	return m
}

// dataStats are KV.STATS, zero when they cannot be had.
type dataStats struct{ keys, keyBytes, valueBytes, logical int64 }

func (s *session) dataStats(ctx context.Context) (d dataStats) {
	res := s.do(ctx, "KV.STATS")
	for i, to := range []*int64{&d.keys, &d.keyBytes, &d.valueBytes, &d.logical} {
		if i < len(res.Elems) {
			*to = res.Elems[i].Int
		}
	}
	return d
}

// infoMemory: used_memory is the runtime's on this node, used_memory_dataset the whole cluster's data, one
// copy counted, as maxmemory counts it.
func infoMemory(ctx context.Context, s *session, b *strings.Builder) {
	m, data, set := readMemory(), s.dataStats(ctx), s.h.settings()
	put(
		b, "used_memory", m.used(), "used_memory_human", human(m.used()), "used_memory_rss", m.used(), "used_memory_rss_human", human(m.used()),
		"used_memory_dataset", data.logical, "used_memory_dataset_human", human(uint64(data.logical)),
		"maxmemory", set.MaxMemory, "maxmemory_human", human(set.MaxMemory), "maxmemory_policy", set.Policy,
		"mem_allocator", "go", "allocator_allocated", m.objects, "allocator_active", m.objects+m.free,
	)
}

func infoPersistence(_ context.Context, _ *session, b *strings.Builder) {
	put(
		b, "loading", 0, "async_loading", 0, "rdb_changes_since_last_save", 0, "rdb_bgsave_in_progress", 0, "rdb_last_bgsave_status", "ok",
		"aof_enabled", 1, "aof_rewrite_in_progress", 0, "aof_last_bgrewrite_status", "ok", "aof_last_write_status", "ok",
	)
}

func infoStats(_ context.Context, s *session, b *strings.Builder) {
	calls, failed := uint64(0), uint64(0)
	s.h.each(func(c *command) {
		calls += c.stat.calls.Load()
		failed += c.stat.failed.Load()
	})
	net := s.h.stats()
	put(
		b, "total_connections_received", s.h.connections.Load(), "total_commands_processed", calls,
		"total_net_input_bytes", net.BytesIn, "total_net_output_bytes", net.BytesOut, "rejected_connections", net.Refused,
		"total_error_replies", failed+s.h.rejected.Load(), "unexpected_error_replies", 0, "protocol_errors", s.h.protocolErrors.Load(),
		"pubsub_channels", s.h.hub.distinct(channels), "pubsub_patterns", s.h.hub.distinct(patterns),
		"pubsubshard_channels", s.h.hub.distinct(shardChannels), "pubsub_dropped_messages", s.h.dropped(),
	)
}

func infoReplication(_ context.Context, s *session, b *strings.Builder) {
	nodes := s.h.nodes()
	put(b, "role", "master", "connected_slaves", max(0, len(nodes)-1))
	i := 0
	for _, n := range nodes {
		if n.id != s.h.cfg.NodeID {
			fmt.Fprintf(b, "slave%d:ip=%s,port=%d,state=online,offset=0,lag=0\r\n", i, n.host, n.port)
			i++
		}
	}
	put(b, "master_failover_state", "no-failover", "master_replid", s.h.cfg.NodeID, "master_repl_offset", 0)
}

func infoCPU(_ context.Context, _ *session, b *strings.Builder) {
	sample := []metrics.Sample{{Name: "/cpu/classes/user:cpu-seconds"}, {Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(sample)
	seconds := func(i int) float64 {
		if sample[i].Value.Kind() != metrics.KindFloat64 {
			return 0
		}
		return sample[i].Value.Float64()
	}
	put(b, "used_cpu_sys", fmt.Sprintf("%.6f", seconds(1)), "used_cpu_user", fmt.Sprintf("%.6f", seconds(0)))
}

func infoCommandStats(_ context.Context, s *session, b *strings.Builder) {
	s.h.each(func(c *command) {
		calls, micros, rejected, failed := c.stat.calls.Load(), c.stat.micros.Load(), c.stat.rejected.Load(), c.stat.failed.Load()
		if calls+rejected == 0 {
			return
		}
		per := 0.0
		if calls > 0 {
			per = float64(micros) / float64(calls)
		}
		fmt.Fprintf(b, "cmdstat_%s:calls=%d,usec=%d,usec_per_call=%.2f,rejected_calls=%d,failed_calls=%d\r\n", c.name, calls, micros, per, rejected, failed)
	})
}

func infoCluster(_ context.Context, s *session, b *strings.Builder) {
	enabled := 0
	if s.h.cfg.Redirect {
		enabled = 1
	}
	put(b, "cluster_enabled", enabled)
}

// infoRaft asks every node.
func infoRaft(ctx context.Context, s *session, b *strings.Builder) {
	if s.h.cfg.Cluster == nil {
		return
	}
	st, err := s.h.cfg.Cluster.Status(ctx)
	if err != nil {
		return
	}
	put(b, "cluster_id", st.Cluster.ID, "health", st.Cluster.Health, "tolerates", st.Cluster.Tolerates, "epoch", st.Cluster.Epoch, "node", st.Cluster.Self)
	for i := range st.Groups {
		g := &st.Groups[i]
		fmt.Fprintf(b, "group%d:leader=%s,term=%d,applied=%d,lag=%d,voters=%d,learners=%d,slots=%d,keys=%d,bytes=%d\r\n",
			g.ID, cmp.Or(g.Leader, "?"), g.Term, g.Applied, g.Lag, len(g.Voters), len(g.Learners), g.Slots, g.Keys, g.Bytes)
	}
}

func infoKeyspace(ctx context.Context, s *session, b *strings.Builder) {
	if d := s.dataStats(ctx); d.keys > 0 {
		fmt.Fprintf(b, "db0:keys=%d,expires=0,avg_ttl=0\r\n", d.keys)
	}
}

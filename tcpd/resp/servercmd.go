// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/tcpd"
)

// maxSleep bounds DEBUG SLEEP.
const maxSleep = 5 * time.Minute

func serverCommands() []row {
	const quick = flagFast | flagLoading | flagStale
	const admin = flagAdmin | flagNoScript
	rows := []row{
		commandCommand(), configCommand(), latencyCommand(), slowlogCommand(), memoryCommand(), objectCommand(), functionCommand(),
		local("bgsave", -1, admin, runSave("Background saving started")),
		local("debug", -2, admin|flagLoading|flagStale, runDebug),
		local("info", -1, flagLoading|flagStale, runInfo),
		local("lolwut", -1, flagReadonly|flagFast, func(context.Context, *session, [][]byte) fsm.Result {
			return verbatim("Redis ver. " + redisVersion + "\n")
		}),
		local("role", 1, quick|flagNoScript, runRole),
		local("save", 1, admin, runSave("OK")),
		local("time", 1, quick, runTime),
		local("wait", 3, flagNoScript, runWait),
		local("waitaof", 4, flagNoScript, runWaitAOF),
	}
	for i := range rows {
		rows[i] = rows[i].in("server")
	}
	return rows
}

func runTime(_ context.Context, s *session, _ [][]byte) fsm.Result {
	now := s.h.cfg.Wall()
	return fsm.Array([]fsm.Result{bulk(strconv.FormatInt(now.Unix(), 10)), bulk(strconv.Itoa(now.Nanosecond() / 1000))})
}

// runSave makes this node's groups take snapshots; both forms answer when that is done.
func runSave(text string) runFunc {
	return func(ctx context.Context, s *session, args [][]byte) fsm.Result {
		if len(args) > 1 || len(args) == 1 && !is(args[0], "SCHEDULE") {
			return syntax()
		}
		if s.h.cfg.Cluster == nil {
			return fail("ERR " + faultNoCluster)
		}
		if err := s.h.cfg.Cluster.Snapshot(ctx); err != nil {
			return fail("ERR " + oneLine(err.Error()))
		}
		return fsm.Status(text)
	}
}

// guaranteed is how many nodes beside the leader hold every write that was acknowledged, at least: a
// majority of each group's voters has it on disk before its reply is sent.
func (h *Handler) guaranteed() int64 {
	m := h.cfg.Router.SlotMap()
	if !m.Initialised() || len(m.Groups) == 0 {
		return 0
	}
	least := h.settings().Replicas
	for _, g := range m.Groups {
		if least == 0 || len(g.Replicas) < least {
			least = len(g.Replicas)
		}
	}
	// Voters are odd; one replica more is on its way to be one.
	return int64(max(0, (least+1)/2-1))
}

func waitArgs(args [][]byte) (res fsm.Result, ok bool) {
	for _, a := range args[:len(args)-1] {
		if _, ok := parseInt(a); !ok {
			return fail(fsm.TextNotInteger), false
		}
	}
	switch n, ok := parseInt(args[len(args)-1]); {
	case !ok:
		return fail("ERR timeout is not an integer or out of range"), false
	case n < 0:
		return fail("ERR timeout is negative"), false
	}
	return res, true
}

// runWait never waits: what it could wait for was so before the writes were answered.
func runWait(_ context.Context, s *session, args [][]byte) fsm.Result {
	if res, ok := waitArgs(args); !ok {
		return res
	}
	return fsm.Int(s.h.guaranteed())
}

func runWaitAOF(_ context.Context, s *session, args [][]byte) fsm.Result {
	if res, ok := waitArgs(args); !ok {
		return res
	}
	return fsm.Array([]fsm.Result{fsm.Int(1), fsm.Int(s.h.guaranteed())})
}

// runRole calls every node a master: each takes reads and writes of every key.
func runRole(_ context.Context, s *session, _ [][]byte) fsm.Result {
	others := []fsm.Result{}
	for _, n := range s.h.nodes() {
		if n.id != s.h.cfg.NodeID {
			others = append(others, fsm.Array([]fsm.Result{bulk(n.host), bulk(strconv.Itoa(n.port)), bulk("0")}))
		}
	}
	return fsm.Array([]fsm.Result{bulk("master"), fsm.Int(0), fsm.Array(others)})
}

func memoryCommand() row {
	const f = flagReadonly
	return container(
		"memory", 0, nil,
		local("doctor", 2, f, func(context.Context, *session, [][]byte) fsm.Result {
			return verbatim("INFO memory has this node's memory, KV.STATS the data's; 'kvorum status' names what should be mended.\n")
		}),
		local("help", 2, flagLoading|flagStale, help("MEMORY", []string{
			"DOCTOR", "    Return where memory problems are reported.",
			"MALLOC-STATS", "    Return statistics of the runtime's memory.",
			"PURGE", "    Accepted: memory is given back by itself.",
			"STATS", "    Return information about the memory usage of this node.",
			"USAGE <key> [SAMPLES <count>]", "    Return memory in bytes used by <key> and its value.",
		})),
		local("malloc-stats", 2, f, func(context.Context, *session, [][]byte) fsm.Result {
			m := readMemory()
			return verbatim(fmt.Sprintf("heap_objects_bytes:%d\nheap_free_bytes:%d\nheap_released_bytes:%d\ntotal_bytes:%d\n", m.objects, m.free, m.released, m.total))
		}),
		local("purge", 2, f, func(context.Context, *session, [][]byte) fsm.Result { return fsm.OK() }),
		local("stats", 2, f, runMemoryStats),
		tabled("usage", -3, f, func(ctx context.Context, s *session, args [][]byte) fsm.Result {
			return s.do(ctx, "MEMORY", append([][]byte{[]byte("USAGE")}, args...)...)
		}),
	)
}

// objectCommand asks the router about a key; the table has one row for all that may be asked.
func objectCommand() row {
	ask := func(name string) row {
		return tabled(name, 3, flagReadonly, func(ctx context.Context, s *session, args [][]byte) fsm.Result {
			return s.do(ctx, "OBJECT", []byte(name), args[0])
		})
	}
	return container(
		"object", 0, nil,
		ask("encoding"), ask("freq"), ask("idletime"), ask("refcount"),
		local("help", 2, flagLoading|flagStale, help("OBJECT", []string{
			"ENCODING <key>", "    Return the kind of internal representation used in order to store the value", "    associated with a <key>.",
			"FREQ <key>", "    Return the access frequency index of the <key>. The returned integer is", "    proportional to the logarithm of the recent access frequency of the key.",
			"IDLETIME <key>", "    Return the idle time of the <key>, that is the approximated number of", "    seconds elapsed since the last access to the key.",
			"REFCOUNT <key>", "    Return the number of references of the value associated with the specified", "    <key>.",
		})),
	).in("generic")
}

func runMemoryStats(ctx context.Context, s *session, _ [][]byte) fsm.Result {
	m, data := readMemory(), s.dataStats(ctx)
	perKey := int64(0)
	if data.keys > 0 {
		perKey = data.logical / data.keys
	}
	pairs := []fsm.Result{}
	for _, p := range []struct {
		name string
		n    int64
	}{
		{"total.allocated", int64(m.used())},
		{"keys.count", data.keys},
		{"keys.bytes-per-key", perKey},
		{"dataset.bytes", data.logical},
		{"allocator.allocated", int64(m.objects)},
		{"allocator.active", int64(m.objects + m.free)},
		{"allocator.resident", int64(m.used())},
	} {
		pairs = append(pairs, bulk(p.name), fsm.Int(p.n))
	}
	return fsm.Map(pairs)
}

// functionCommand knows that there are no functions.
func functionCommand() row {
	return container(
		"function", 0, nil,
		local("flush", -2, flagNoScript|flagWrite, func(_ context.Context, _ *session, args [][]byte) fsm.Result {
			if len(args) > 1 || len(args) == 1 && !is(args[0], "SYNC") && !is(args[0], "ASYNC") {
				return fail("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
			}
			return fsm.OK()
		}),
		local("help", 2, flagLoading|flagStale, help("FUNCTION", []string{
			"FLUSH [ASYNC|SYNC]", "    Accepted: there are no functions.", "LIST", "    Return no functions.",
		})),
		local("list", -2, flagNoScript, func(context.Context, *session, [][]byte) fsm.Result { return fsm.Array(nil) }),
	)
}

func runDebug(ctx context.Context, s *session, args [][]byte) fsm.Result {
	if !s.h.cfg.Debug {
		return fail("ERR DEBUG command not allowed. Start the node with --debug-commands to allow it.")
	}
	switch {
	case is(args[0], "SLEEP") && len(args) == 2:
		seconds, err := strconv.ParseFloat(string(args[1]), 64)
		if err != nil || seconds != seconds {
			return fail("ERR value is not a valid float")
		}
		if d := min(max(0, seconds), maxSleep.Seconds()); d > 0 {
			timer := time.NewTimer(time.Duration(d * float64(time.Second)))
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
			case <-s.gone:
			}
		}
		return fsm.OK()
	case is(args[0], "OBJECT") && len(args) == 2:
		return s.debugObject(ctx, args[1])
	case is(args[0], "SET-ACTIVE-EXPIRE") && len(args) == 2, is(args[0], "QUICKLIST-PACKED-THRESHOLD") && len(args) == 2:
		return fsm.OK()
	}
	return fsm.Errorf(fsm.CodeError, "ERR unknown subcommand or wrong number of arguments for '%s'. Try DEBUG HELP.", cut(args[0]))
}

// debugObject tells of a key what exists here.
func (s *session) debugObject(ctx context.Context, key []byte) fsm.Result {
	encoding := s.do(ctx, "OBJECT", []byte("ENCODING"), key)
	if encoding.Code == fsm.CodeUnknown {
		encoding = s.do(ctx, "TYPE", key)
	}
	switch {
	case encoding.IsError():
		return encoding
	case encoding.Kind == fsm.KindNull || string(encoding.Str) == "none":
		return fail(fsm.TextNoSuchKey)
	}
	return fsm.Status(fmt.Sprintf("Value at:0x0 refcount:1 encoding:%s serializedlength:0 lru:0 lru_seconds_idle:0", encoding.Str))
}

// nodeAddr is a member as clients of this protocol reach it.
type nodeAddr struct {
	id, host string
	port     int
	peerPort int
}

func (a *nodeAddr) String() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

func splitPort(addr string) (host string, port int) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0
	}
	port, _ = strconv.Atoi(text)
	return host, port
}

// dropped counts the messages that did not reach another node.
func (h *Handler) dropped() uint64 {
	if h.cfg.Bus == nil {
		return 0
	}
	return h.cfg.Bus.Dropped()
}

// stats are the counts of the server that runs h.
func (h *Handler) stats() tcpd.Stats {
	if h.cfg.Server == nil {
		return tcpd.Stats{}
	}
	return h.cfg.Server()
}

// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// Limits of an entry, as in Redis, and of the whole log. Times have the wait for disks and other nodes in
// them, so the default of what is slow is larger than in Redis.
const (
	slowArgs       = 32
	slowArgBytes   = 128
	slowDefaultLen = 128
	slowMaxLen     = 10_000
	slowDefault    = 100 * time.Millisecond
)

// slowEntry is one command that took long, its words cut.
type slowEntry struct {
	id         int64
	at         int64 // seconds since 1970
	micros     int64
	args       []string
	addr, name string
}

// slowlog keeps the newest slow commands of this node's connections. The time of a command that goes
// to the router is that of its batch.
type slowlog struct {
	micros atomic.Int64 // from which a command is kept; negative keeps none

	mu      sync.Mutex
	max     int
	next    int64
	entries []slowEntry // newest last
}

func (l *slowlog) init() {
	l.max = slowDefaultLen
	l.micros.Store(slowDefault.Microseconds())
}

func (l *slowlog) takes(d time.Duration) bool {
	from := l.micros.Load()
	return from >= 0 && d.Microseconds() >= from
}

func (l *slowlog) add(s *session, d time.Duration, args []string) {
	e := slowEntry{at: s.h.cfg.Wall().Unix(), micros: d.Microseconds(), args: args, addr: s.card.addr}
	s.card.with(func() { e.name = s.card.name })
	l.mu.Lock()
	defer l.mu.Unlock()
	e.id = l.next
	l.next++
	l.entries = append(l.entries, e)
	l.trimLocked()
}

func (l *slowlog) trimLocked() {
	if over := len(l.entries) - l.max; over > 0 {
		l.entries = slices.Delete(l.entries, 0, over)
	}
}

// cutArgs copies the beginnings of args, as Redis does.
func cutArgs(words []string, args [][]byte) []string {
	total := len(words) + len(args)
	for _, a := range args {
		switch {
		case len(words) == slowArgs-1 && total > slowArgs:
			return append(words, fmt.Sprintf("... (%d more arguments)", total-slowArgs+1))
		case len(a) > slowArgBytes:
			words = append(words, fmt.Sprintf("%s... (%d more bytes)", a[:slowArgBytes], len(a)-slowArgBytes))
		default:
			words = append(words, string(a))
		}
	}
	return words
}

func slowlogCommand() row {
	const f = flagAdmin | flagLoading | flagStale
	return container(
		"slowlog", 0, nil,
		local("get", -2, f, runSlowlogGet),
		local("help", 2, f, help("SLOWLOG", []string{
			"GET [<count>]", "    Return top <count> entries from the slowlog of this node (default: 10, -1 means all).",
			"    Entries are made of: id, timestamp, time in microseconds, arguments array, client IP and port, client name",
			"LEN", "    Return the length of the slowlog.", "RESET", "    Reset the slowlog.",
		})),
		local("len", 2, f, func(_ context.Context, s *session, _ [][]byte) fsm.Result {
			l := &s.h.slow
			l.mu.Lock()
			defer l.mu.Unlock()
			return fsm.Int(int64(len(l.entries)))
		}),
		local("reset", 2, f, func(_ context.Context, s *session, _ [][]byte) fsm.Result {
			l := &s.h.slow
			l.mu.Lock()
			defer l.mu.Unlock()
			l.entries = nil
			return fsm.OK()
		}),
	)
}

func runSlowlogGet(_ context.Context, s *session, args [][]byte) fsm.Result {
	count := int64(10)
	if len(args) > 1 {
		return fsm.Errorf(fsm.CodeArity, "ERR wrong number of arguments for 'slowlog|get' command")
	}
	if len(args) == 1 {
		n, ok := parseInt(args[0])
		if !ok || n < -1 {
			return fail("ERR count should be greater than or equal to -1")
		}
		count = n
	}
	l := &s.h.slow
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []fsm.Result{}
	for i := len(l.entries) - 1; i >= 0 && (count < 0 || int64(len(out)) < count); i-- {
		e := &l.entries[i]
		words := make([]fsm.Result, len(e.args))
		for j, w := range e.args {
			words[j] = bulk(w)
		}
		out = append(out, fsm.Array([]fsm.Result{fsm.Int(e.id), fsm.Int(e.at), fsm.Int(e.micros), fsm.Array(words), bulk(e.addr), bulk(e.name)}))
	}
	return fsm.Array(out)
}

// latencySamples bounds what is kept of the event, as in Redis.
const latencySamples = 160

// latencies is Redis' latency monitor with its one event "command".
type latencies struct {
	millis atomic.Int64 // from which a command is a spike; 0 is off

	mu      sync.Mutex
	samples []latencySample // newest last
	worst   int64
}

type latencySample struct{ at, millis int64 }

const latencyEvent = "command"

func (l *latencies) note(cfg *Config, d time.Duration) {
	from := l.millis.Load()
	if ms := d.Milliseconds(); from > 0 && ms >= from {
		at := cfg.Wall().Unix()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.worst = max(l.worst, ms)
		if n := len(l.samples); n > 0 && l.samples[n-1].at == at {
			l.samples[n-1].millis = max(l.samples[n-1].millis, ms)
			return
		}
		if len(l.samples) == latencySamples {
			l.samples = slices.Delete(l.samples, 0, 1)
		}
		l.samples = append(l.samples, latencySample{at, ms})
	}
}

func latencyCommand() row {
	const f = flagAdmin | flagNoScript | flagLoading | flagStale
	return container(
		"latency", 0, nil,
		local("doctor", 2, f, runLatencyDoctor),
		local("help", 2, f, help("LATENCY", []string{
			"DOCTOR", "    Return a human readable latency analysis report.",
			"HISTORY <event>", "    Return time-latency samples for the <event>; there is one event, \"command\".",
			"HISTOGRAM [<command> ...]", "    Return a cumulative distribution of latencies in the format of a histogram.",
			"LATEST", "    Return the latest latency samples for all events.",
			"RESET [<event> ...]", "    Reset latency data of one or more <event> classes.",
		})),
		local("histogram", -2, f, runLatencyHistogram),
		local("history", 3, f, runLatencyHistory),
		local("latest", 2, f, runLatencyLatest),
		local("reset", -2, f, runLatencyReset),
	)
}

func runLatencyDoctor(_ context.Context, s *session, _ [][]byte) fsm.Result {
	l := &s.h.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.millis.Load() == 0:
		return verbatim("Latency monitoring is off. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n")
	case len(l.samples) == 0:
		return verbatim("No command took longer than latency-monitor-threshold.\n")
	}
	return verbatim(fmt.Sprintf("%d seconds had commands longer than latency-monitor-threshold; the longest took %d milliseconds. SLOWLOG GET names them.\n",
		len(l.samples), l.worst))
}

func runLatencyHistory(_ context.Context, s *session, args [][]byte) fsm.Result {
	l := &s.h.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	out := []fsm.Result{}
	if string(args[0]) == latencyEvent {
		for _, p := range l.samples {
			out = append(out, fsm.Array([]fsm.Result{fsm.Int(p.at), fsm.Int(p.millis)}))
		}
	}
	return fsm.Array(out)
}

func runLatencyLatest(_ context.Context, s *session, _ [][]byte) fsm.Result {
	l := &s.h.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.samples) == 0 {
		return fsm.Array(nil)
	}
	p := l.samples[len(l.samples)-1]
	return fsm.Array([]fsm.Result{fsm.Array([]fsm.Result{bulk(latencyEvent), fsm.Int(p.at), fsm.Int(p.millis), fsm.Int(l.worst)})})
}

func runLatencyReset(_ context.Context, s *session, args [][]byte) fsm.Result {
	l := &s.h.latency
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.samples) == 0 || len(args) > 0 && !slices.ContainsFunc(args, func(a []byte) bool { return string(a) == latencyEvent }) {
		return fsm.Int(0)
	}
	l.samples, l.worst = nil, 0
	return fsm.Int(1)
}

// runLatencyHistogram tells for each command how many calls took at most so many microseconds.
func runLatencyHistogram(_ context.Context, s *session, args [][]byte) fsm.Result {
	out := []fsm.Result{}
	s.h.each(func(c *command) {
		calls := c.stat.calls.Load()
		if calls == 0 || len(args) > 0 && !slices.ContainsFunc(args, func(a []byte) bool { return s.h.named(a) == c }) {
			return
		}
		var histogram []fsm.Result
		sum := uint64(0)
		for i := range c.stat.buckets {
			n := c.stat.buckets[i].Load()
			if sum += n; n > 0 {
				histogram = append(histogram, fsm.Int(1<<i), fsm.Int(int64(sum)))
			}
		}
		out = append(out, bulk(c.name), fsm.Map([]fsm.Result{bulk("calls"), fsm.Int(int64(calls)), bulk("histogram_usec"), fsm.Map(histogram)}))
	})
	return fsm.Map(out)
}

// each calls f with every command that runs, subcommands in the place of their containers.
func (h *Handler) each(f func(c *command)) {
	for _, c := range h.list {
		if c.run != nil || c.spec != nil {
			f(c)
		}
		for _, name := range sortedNames(c.subs) {
			f(c.subs[name])
		}
	}
}

// setMax is CONFIG SET slowlog-max-len.
func (l *slowlog) setMax(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.max = n
	l.trimLocked()
}

func (l *slowlog) maxText() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strconv.Itoa(l.max)
}

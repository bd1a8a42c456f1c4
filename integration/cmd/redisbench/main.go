// SPDX-License-Identifier: Apache-2.0

// Command redisbench runs redis-benchmark by turns against three nodes, through one of them and with --cluster,
// against a real Redis that syncs every write, and against bareredis, and prints medians and ratios for SET and GET
// without a pipeline and with one. What is not measured is stopped meanwhile. It fails when a ratio is below its bound.
package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

const (
	startTime = time.Minute
	// runTime bounds one call of redis-benchmark.
	runTime = 5 * time.Minute
)

type settings struct {
	bin, redis, bare, bench string
	dir                     string
	runs, clients, requests int
	groups, procs           int
}

// target is one server under test.
type target struct {
	name string
	addr string
	args []string // more for redis-benchmark
	pids []int    // of its processes
	// pause stops the processes while others are measured, resume has them ready again; nil: an idle one costs nothing.
	pause  func() error
	resume func(ctx context.Context) error
}

func main() {
	var s settings
	flag.StringVar(&s.bin, "bin", "bin/kvorum", "the kvorum binary")
	flag.StringVar(&s.bare, "bare", "bin/bareredis", "the bareredis binary; empty leaves it out")
	flag.StringVar(&s.redis, "redis", "redis-server", "the redis binary")
	flag.StringVar(&s.bench, "benchmark", "redis-benchmark", "the redis-benchmark binary")
	flag.StringVar(&s.dir, "dir", "", "folder for the data; empty makes one for the time of the run")
	flag.IntVar(&s.runs, "runs", 5, "alternating runs; medians count")
	flag.IntVar(&s.clients, "clients", 50, "connections")
	flag.IntVar(&s.requests, "requests", 200_000, "requests of one measurement, ten times as many with a pipeline")
	flag.IntVar(&s.groups, "groups", 3, "data groups of the cluster")
	flag.IntVar(&s.procs, "procs", max(2, runtime.NumCPU()/3), "GOMAXPROCS of each node, as kvorum dev has it; 0 leaves it alone")
	flag.Parse()
	if err := run(context.Background(), s); err != nil {
		fmt.Fprintln(os.Stderr, "redisbench: FAILED:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp(s.dir, "kvorum-redisbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var targets []target
	for _, redirect := range []bool{false, true} {
		t, stop, err := startKvorum(ctx, s, dir, redirect)
		defer stop()
		if err != nil {
			return err
		}
		targets = append(targets, t)
	}
	redis, stop, err := startChild(ctx, "redis", s.redis, "--port", "%port", "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	defer stop()
	if err != nil {
		return err
	}
	targets = append(targets, redis)
	if s.bare != "" {
		bare, stop, err := startChild(ctx, "bare", s.bare, "-addr", "127.0.0.1:%port")
		defer stop()
		if err != nil {
			return err
		}
		targets = append(targets, bare)
	}
	m := rates{}
	for i := range s.runs {
		for _, t := range targets {
			if err := m.alone(ctx, &s, i, t); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
		}
	}
	return m.judge(targets)
}

// alone measures a target while no other one runs.
func (m rates) alone(ctx context.Context, s *settings, i int, t target) error {
	if t.resume != nil {
		if err := t.resume(ctx); err != nil {
			return err
		}
	}
	for _, pipeline := range []int{1, 16} {
		if err := m.measure(ctx, s, i, t, pipeline); err != nil {
			return err
		}
	}
	if t.pause == nil {
		return nil
	}
	return t.pause()
}

// startKvorum starts three nodes. stop may be called whatever the error.
func startKvorum(ctx context.Context, s settings, dir string, redirect bool) (t target, stop func(), err error) {
	stop = func() {}
	t = target{name: "kvorum"}
	args := []string{"--log-level", "warn"}
	if redirect {
		t = target{name: "kvorum --cluster", args: []string{"--cluster"}}
		args = append(args, "--redis-redirect")
	}
	cfg := proc.Config{Bin: s.bin, Dir: filepath.Join(dir, strings.ReplaceAll(t.name, " ", "")), Args: args, InitArgs: []string{"--groups", strconv.Itoa(s.groups)}}
	if s.procs > 0 {
		cfg.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(s.procs))
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return t, stop, err
	}
	c, err := proc.New(cfg)
	if err != nil {
		return t, stop, err
	}
	stop = c.Close
	for range 3 {
		if _, err := c.Add(ctx); err != nil {
			return t, stop, err
		}
	}
	for _, n := range c.Nodes() {
		t.pids = append(t.pids, n.Pid())
	}
	signal := func(sig syscall.Signal) (err error) {
		for _, n := range c.Nodes() {
			err = errors.Join(err, c.Signal(n, sig))
		}
		return err
	}
	t.pause = func() error { return signal(syscall.SIGSTOP) }
	t.resume = func(ctx context.Context) error {
		wait, cancel := context.WithTimeout(ctx, startTime)
		defer cancel()
		if err := signal(syscall.SIGCONT); err != nil {
			return err
		}
		_, err := c.Wait(wait, "health and leaders spread evenly", func(st *shard.Status) bool {
			return proc.Healthy(3)(st) && proc.LeadersSpread(st)
		})
		return err
	}
	t.addr = c.Nodes()[0].RESP()
	if err := t.resume(ctx); err != nil {
		return t, stop, err
	}
	return t, stop, t.pause()
}

// startChild starts a server on a free port, which %port stands for in its arguments.
func startChild(ctx context.Context, name, bin string, args ...string) (t target, stop func(), err error) {
	stop = func() {}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return t, stop, err
	}
	t = target{name: name, addr: ln.Addr().String()}
	_ = ln.Close() // the server takes it over
	_, port, _ := net.SplitHostPort(t.addr)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "%port", port)
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	if err := cmd.Start(); err != nil {
		return t, stop, err
	}
	t.pids = []int{cmd.Process.Pid}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
	wait, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	tick := time.NewTicker(proc.PollEvery)
	defer tick.Stop()
	for {
		if nc, err := net.Dial("tcp", t.addr); err == nil {
			return t, stop, nc.Close()
		}
		select {
		case <-wait.Done():
			return t, stop, fmt.Errorf("%s does not answer: %w", name, context.Cause(wait))
		case <-tick.C:
		}
	}
}

// rates are requests a second by target, command and pipeline.
type rates map[string][]float64

func rateKey(name, command string, pipeline int) string {
	return fmt.Sprintf("%s %s P=%d", name, command, pipeline)
}

func (m rates) measure(ctx context.Context, s *settings, i int, t target, pipeline int) error {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	host, port, err := net.SplitHostPort(t.addr)
	if err != nil {
		return err
	}
	n := s.requests
	if pipeline > 1 {
		n *= 10
	}
	args := []string{"-h", host, "-p", port, "-c", strconv.Itoa(s.clients), "-n", strconv.Itoa(n), "-P", strconv.Itoa(pipeline), "-d", "100", "-r", "100000", "-t", "set,get", "--csv"}
	bench := exec.CommandContext(ctx, s.bench, append(args, t.args...)...)
	servers := proc.CPUTime(t.pids...)
	out, err := bench.Output()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", s.bench, err, out)
	}
	servers = proc.CPUTime(t.pids...) - servers
	clients := bench.ProcessState.UserTime() + bench.ProcessState.SystemTime()
	fmt.Printf("run %d  %-28s CPU per request: servers %.1f µs, benchmark %.1f µs\n", i+1, fmt.Sprintf("%s P=%d", t.name, pipeline),
		float64(servers.Microseconds())/float64(2*n), float64(clients.Microseconds())/float64(2*n))
	found := 0
	for lines := bufio.NewScanner(strings.NewReader(string(out))); lines.Scan(); {
		row, err := csv.NewReader(strings.NewReader(lines.Text())).Read()
		if err != nil || len(row) < 2 || row[0] != "SET" && row[0] != "GET" {
			continue // headings, and what --cluster says of the nodes
		}
		rate, err := strconv.ParseFloat(row[1], 64)
		if err != nil {
			return fmt.Errorf("%q: %w", lines.Text(), err)
		}
		key := rateKey(t.name, row[0], pipeline)
		m[key] = append(m[key], rate)
		fmt.Printf("run %d  %-28s %10.0f/s\n", i+1, key, rate)
		found++
	}
	if found != 2 {
		return fmt.Errorf("%d results: %s", found, out)
	}
	return nil
}

// least is the least ratio to Redis; GET is held to the bare server, too.
func least(command string, pipeline int) float64 {
	switch {
	case command == "SET":
		return 0.6
	case pipeline == 1:
		return 0.75
	}
	return 0.8
}

// leastOfBare is the least ratio of GET to the bare server.
const leastOfBare = 0.9

func (m rates) judge(targets []target) (failed error) {
	fmt.Println()
	for _, command := range []string{"SET", "GET"} {
		for _, pipeline := range []int{1, 16} {
			redis := median(m[rateKey("redis", command, pipeline)])
			for _, t := range targets {
				rate := median(m[rateKey(t.name, command, pipeline)])
				fmt.Printf("%-28s %10.0f/s   %.2f of redis\n", rateKey(t.name, command, pipeline), rate, rate/redis)
				if !strings.HasPrefix(t.name, "kvorum") {
					continue
				}
				if want := least(command, pipeline); rate < want*redis {
					failed = errors.Join(failed, fmt.Errorf("%s: %.2f of redis, not %.2f", rateKey(t.name, command, pipeline), rate/redis, want))
				}
				if bare := median(m[rateKey("bare", command, pipeline)]); command == "GET" && rate < leastOfBare*bare {
					failed = errors.Join(failed, fmt.Errorf("%s: %.2f of the bare server, not %.2f", rateKey(t.name, command, pipeline), rate/bare, leastOfBare))
				}
			}
		}
	}
	return failed
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

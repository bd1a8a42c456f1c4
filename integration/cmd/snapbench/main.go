// SPDX-License-Identifier: Apache-2.0

// Command snapbench shows what a snapshot costs those who write meanwhile, and how long a restart from it
// takes. It fills one node with keys, writes to them at a steady rate, and compares the latencies while snapshots are
// taken with those before, between and after; then it restarts the node and a real Redis with as many keys
// of the same size, and compares the time until they answer, per key. It fails when p99.9 of a middle phase with
// snapshots is more than -margin over that of one without, or when the node is slower to restart than Redis. Writes that
// met with a theft of the machine's processors by its host do not count. A run that tells nothing because too few writes
// count is repeated; the fifth of them fails, too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

// startTime bounds the start of an empty node.
const startTime = 30 * time.Second

// ownAccord is how long the node's log may be: longer than it gets, so that no snapshot is taken but those asked for.
const ownAccord = "64GiB"

type settings struct {
	bin, dir, redis string
	args            string
	set             keySet
	rate, conns     int
	phase, margin   time.Duration
	hold            time.Duration
	runs, rounds    int
	restarts        int
}

func main() {
	var s settings
	flag.StringVar(&s.bin, "bin", "bin/kvorum", "the kvorum binary")
	flag.StringVar(&s.dir, "dir", "", "folder for the data; empty makes one for the time of the run")
	flag.StringVar(&s.redis, "redis", "redis-server", "the redis binary; empty measures Kvorum alone")
	flag.StringVar(&s.args, "args", "", "more flags for the node, separated by blanks")
	flag.IntVar(&s.set.keys, "keys", 10_000_000, "keys of 16 bytes with values of 100 bytes")
	flag.BoolVar(&s.set.hot, "hot", false, "put 1,000,000 of the keys into one slot")
	flag.IntVar(&s.rate, "rate", 20_000, "writes a second, sent when they are due whether others were answered or not")
	flag.IntVar(&s.conns, "conns", 5, "connections that write")
	flag.DurationVar(&s.phase, "phase", 20*time.Second, "length of a phase without snapshots, and least length of one with them")
	flag.DurationVar(&s.margin, "margin", 5*time.Millisecond, "by how much p99.9 may rise while snapshots are taken")
	flag.DurationVar(&s.hold, "hold", 2*time.Millisecond, "how long a capture may hold up the apply goroutine")
	flag.IntVar(&s.runs, "runs", 3, "runs; every one that tells something is judged")
	flag.IntVar(&s.rounds, "rounds", 5, "phases with snapshots of a run")
	flag.IntVar(&s.restarts, "restarts", 3, "restarts of each server, by turns; the medians are compared; 0 for none")
	flag.Parse()
	stayAwake()
	if err := start(context.Background(), s); err != nil {
		fmt.Fprintln(os.Stderr, "snapbench: FAILED:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, s settings) error {
	if s.set.keys < 1 || s.rate < 1 || s.conns < 1 || s.phase <= 0 || s.rounds < 1 || s.runs < 0 || s.restarts < 0 {
		return errors.New("-keys, -rate, -conns, -phase and -rounds must be positive, -runs and -restarts not negative")
	}
	dir, err := os.MkdirTemp(s.dir, "kvorum-snapbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBench(ctx, s, dir)
	if err != nil {
		return err
	}
	defer b.cluster.Close()
	return errors.Join(b.phases(ctx), b.restarted(ctx))
}

// bench is one node with its keys.
type bench struct {
	s       settings
	dir     string
	cluster *proc.Cluster
	node    *proc.Node
}

// newBench starts a node and fills it.
func newBench(ctx context.Context, s settings, dir string) (*bench, error) {
	c, err := proc.New(proc.Config{
		Bin: s.bin, Dir: dir, Args: append([]string{"--log-level", "debug", "--snapshot-log", ownAccord}, strings.Fields(s.args)...), InitArgs: []string{"--groups", "1", "--replicas", "1"},
	})
	if err != nil {
		return nil, err
	}
	b := &bench{s: s, dir: dir, cluster: c}
	if err := b.begin(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return b, nil
}

func (b *bench) begin(ctx context.Context) (err error) {
	if b.node, err = b.cluster.Add(ctx); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if _, err := b.cluster.Wait(wait, "the node", func(s *shard.Status) bool {
		return s.Cluster.Initialised && proc.Healthy(1)(s)
	}); err != nil {
		return err
	}
	began := time.Now()
	if err := fillNode(ctx, b.node.Native(), &b.s.set); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	took := time.Since(began)
	fmt.Printf("filled with %d keys in %.1f s, %.0f a second; resident %s\n",
		b.s.set.keys, took.Seconds(), float64(b.s.set.keys)/took.Seconds(), resident(b.node.Pid()))
	// The log of the fill would make a snapshot due in the middle of a phase.
	took, err = b.snapshot(ctx)
	fmt.Printf("snapshot without load: %.2f s\n", took.Seconds())
	return err
}

// restarted restarts both servers by turns and judges the medians.
func (b *bench) restarted(ctx context.Context) error {
	if b.s.restarts == 0 {
		return nil
	}
	if _, err := b.snapshot(ctx); err != nil {
		return err
	}
	if err := b.cluster.Signal(b.node, syscall.SIGTERM); err != nil {
		return err
	}
	var r *redis
	if b.s.redis != "" {
		var err error
		if r, err = newRedis(ctx, b.s.redis, b.dir, &b.s.set); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		defer r.kill()
	}
	var ours, theirs []time.Duration
	for range b.s.restarts {
		took, err := b.restart(ctx)
		if err != nil {
			return fmt.Errorf("restart: %w", err)
		}
		ours = append(ours, took)
		if r == nil {
			continue
		}
		if took, err = r.restart(ctx); err != nil {
			return fmt.Errorf("restart of redis: %w", err)
		}
		theirs = append(theirs, took)
	}
	kvorum := b.tell("kvorum", ours)
	if r == nil {
		return nil
	}
	if limit := b.tell("redis", theirs); kvorum > limit {
		return fmt.Errorf("a restart takes %v, that of redis %v", kvorum, limit)
	}
	return nil
}

// tell prints the restarts of a server and gives their median.
func (b *bench) tell(name string, all []time.Duration) time.Duration {
	m := median(all)
	fmt.Printf("restart of %-6s %7.3f s, %6.0f ns a key (of %v)\n", name, m.Seconds(), float64(m.Nanoseconds())/float64(b.s.set.keys), all)
	return m
}

// resident is a process's resident memory and its peak, in words.
func resident(pid int) string {
	now, peak := statusField(pid, "VmRSS"), statusField(pid, "VmHWM")
	return strconv.Itoa(now>>10) + " MiB, at most " + strconv.Itoa(peak>>10) + " MiB"
}

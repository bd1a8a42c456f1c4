// SPDX-License-Identifier: Apache-2.0

// Command etcdbench runs the same closed loop of writes and linearizable reads against three
// Kvorum nodes and three etcd nodes on one file system, in alternating runs, each client with a
// connection of its own, and prints the medians and their ratios. It fails when a ratio is below
// the bound. It is a module of its own so that etcd's dependencies stay out of the product's.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"
)

type settings struct {
	bin, etcd, dir  string
	clients, runs   int
	keys, valueSize int
	seconds         time.Duration
	want            float64
	initArgs        []string
	// env is every server's environment, of both sides.
	env []string
	// only names the one side to run, for profiles; empty for both and the judgement.
	only string
}

// side is one system under test: it starts, gives closed-loop clients, and stops.
type side interface {
	name() string
	start(ctx context.Context) error
	client(ctx context.Context, i int) (session, error)
	pids() []int
	stop()
}

// session is one client with its own connection; it belongs to one goroutine.
type session interface {
	put(ctx context.Context, key string, value []byte) error
	get(ctx context.Context, key string) error
	close()
}

func main() {
	s := settings{}
	flag.StringVar(&s.bin, "bin", "bin/kvorum", "the kvorum binary")
	flag.StringVar(&s.etcd, "etcd", "etcd", "the etcd binary (Debian: etcd-server)")
	flag.StringVar(&s.dir, "dir", "", "folder for both clusters' data; default: a temporary one")
	flag.IntVar(&s.clients, "clients", 50, "closed-loop clients, a connection each")
	flag.IntVar(&s.runs, "runs", 5, "alternating runs")
	flag.IntVar(&s.keys, "keys", 10000, "number of keys, 16 bytes each")
	flag.IntVar(&s.valueSize, "value", 100, "value size in bytes")
	flag.DurationVar(&s.seconds, "time", 5*time.Second, "length of each measurement")
	flag.Float64Var(&s.want, "want", 5, "least ratio for writes and for reads")
	procs := flag.Int("procs", max(2, runtime.NumCPU()/3), "GOMAXPROCS of each server, as kvorum dev has it; 0 leaves it alone")
	flag.StringVar(&s.only, "only", "", "run one side without judging: kvorum or etcd")
	groups := flag.Int("groups", 0, "data groups of the Kvorum cluster; 0 for its default")
	flag.Parse()
	if *groups > 0 {
		s.initArgs = []string{"--groups", strconv.Itoa(*groups)}
	}
	if *procs > 0 {
		s.env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(*procs))
	}
	if err := run(context.Background(), s); err != nil {
		fmt.Fprintln(os.Stderr, "etcdbench: FAILED:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "kvorum-etcdbench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		s.dir = dir
	}
	sides := []side{newKvorum(s), newEtcd(s)}
	if s.only != "" {
		sides = slices.DeleteFunc(sides, func(x side) bool { return x.name() != s.only })
	}
	for _, x := range sides {
		defer x.stop()
		if err := x.start(ctx); err != nil {
			return fmt.Errorf("%s: %w", x.name(), err)
		}
	}
	rates := map[string][]float64{}
	for i := range s.runs {
		for _, x := range sides {
			for _, op := range []string{"put", "get"} {
				r, err := measure(ctx, s, x, op)
				if err != nil {
					return fmt.Errorf("%s %s: %w", x.name(), op, err)
				}
				rates[x.name()+" "+op] = append(rates[x.name()+" "+op], r.rate)
				fmt.Printf("run %d  %-6s %s  %8.0f/s  p50 %6.2f ms  p99 %6.2f ms  CPU per request: servers %3.0f µs, clients %3.0f µs\n",
					i+1, x.name(), op, r.rate, r.p50, r.p99, r.servers, r.clients)
			}
		}
	}
	return judge(s, rates)
}

func judge(s settings, rates map[string][]float64) error {
	fmt.Printf("\n%d clients, 16 B keys, %d B values, medians of %d runs\n", s.clients, s.valueSize, s.runs)
	var failed error
	if s.only != "" {
		return nil
	}
	for _, op := range []string{"put", "get"} {
		ours, theirs := median(rates["kvorum "+op]), median(rates["etcd "+op])
		fmt.Printf("%s  kvorum %8.0f/s   etcd %8.0f/s   ratio %.1f\n", op, ours, theirs, ours/theirs)
		if ours < s.want*theirs {
			failed = fmt.Errorf("%s: ratio %.2f is below %.1f", op, ours/theirs, s.want)
		}
	}
	return failed
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

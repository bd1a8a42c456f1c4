// SPDX-License-Identifier: Apache-2.0

// Command logbench measures how fast groups write with each log store, every append synced. It keeps a
// cluster of three nodes in this process for each store, on real files and loopback TCP, leaders
// spread over the nodes; in every group so many writers each wait for one SET before they send the
// next, so that as many entries are outstanding. It also appends to as many bare logs beside each
// other, without consensus. The stores take turns, run by run. It prints lines that benchstat reads,
// then the medians, and fails when wal is not -want times as fast as bolt in the cluster.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/kvorum/kvorum/raftnode"
)

type settings struct {
	dir     string
	groups  int
	writers int // of each group
	bytes   int
	runs    int
	time    time.Duration // of each run
	want    float64
	profile string
	only    string
}

func main() {
	var s settings
	flag.StringVar(&s.dir, "dir", "", "folder for the logs; empty makes one for the time of the run")
	flag.IntVar(&s.groups, "groups", 8, "groups that write at the same time")
	flag.IntVar(&s.writers, "writers", 2, "writers, and so entries outstanding, of each group")
	flag.IntVar(&s.bytes, "bytes", 4<<10, "bytes of a value")
	flag.IntVar(&s.runs, "runs", 7, "runs of each store")
	flag.DurationVar(&s.time, "time", 3*time.Second, "length of a run")
	flag.Float64Var(&s.want, "want", 1.6, "least ratio of the medians, wal to bolt; 0 judges nothing")
	flag.StringVar(&s.only, "only", "", "run one store without judging: wal or bolt")
	flag.StringVar(&s.profile, "cpuprofile", "", "write a CPU profile of the runs")
	flag.Parse()
	if err := run(context.Background(), s); err != nil {
		fmt.Fprintln(os.Stderr, "logbench: FAILED:", err)
		os.Exit(1)
	}
}

// subject is one store in one setting.
type subject interface {
	// measure writes for a while and tells how many entries became durable.
	measure(d time.Duration) (entries int, err error)
	close() error
}

func run(ctx context.Context, s settings) error {
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "kvorum-logbench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		s.dir = dir
	}
	stores := []string{raftnode.LogStoreWAL, raftnode.LogStoreBolt}
	if s.only != "" {
		stores = []string{s.only}
	}
	if s.profile != "" {
		f, err := os.Create(s.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	var ratios []float64
	for _, kind := range []string{"Logs", "Cluster"} {
		rates, err := compare(ctx, s, kind, stores)
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		wal, bolt := median(rates[raftnode.LogStoreWAL]), median(rates[raftnode.LogStoreBolt])
		ratios = append(ratios, wal/bolt)
		outstanding := 1 // a bare log takes one append at a time
		if kind == "Cluster" {
			outstanding = s.writers
		}
		fmt.Printf("# %s, %d groups, %d B, %d outstanding in each, medians of %d runs: wal %.0f entries/s, bolt %.0f entries/s, ratio %.2f\n",
			kind, s.groups, s.bytes, outstanding, s.runs, wal, bolt, wal/bolt)
	}
	if s.only == "" && ratios[1] < s.want {
		return fmt.Errorf("wal is %.2f times as fast as bolt, wanted %.1f", ratios[1], s.want)
	}
	return nil
}

// compare runs the stores in turn.
func compare(ctx context.Context, s settings, kind string, stores []string) (rates map[string][]float64, err error) {
	subjects := map[string]subject{}
	for _, store := range stores {
		dir := filepath.Join(s.dir, kind+"-"+store)
		var x subject
		if kind == "Logs" {
			x, err = openLogs(s, store, dir)
		} else {
			x, err = openCluster(ctx, s, store, dir)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", store, err)
		}
		defer x.close()
		subjects[store] = x
	}
	rates = map[string][]float64{}
	for i := range s.runs + 1 {
		for _, store := range stores {
			start := time.Now()
			n, err := subjects[store].measure(s.time)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", store, err)
			}
			took := time.Since(start)
			if i == 0 {
				continue // warms up
			}
			rate := float64(n) / took.Seconds()
			rates[store] = append(rates[store], rate)
			fmt.Printf("Benchmark%s/store=%s/groups=%d/bytes=%d\t%8d\t%12.0f ns/op\t%10.0f entries/s\n",
				kind, store, s.groups, s.bytes, n, float64(took.Nanoseconds())/float64(max(1, n)), rate)
		}
	}
	return rates, nil
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

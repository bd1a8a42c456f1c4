// SPDX-License-Identifier: Apache-2.0

// Command pressure keeps a cluster of three nodes under twice its memory limit of Zipf traffic and fails
// when a node's resident memory exceeds what it was configured to use, when a write is refused although
// keys may be evicted, or when the replicas are not equal afterwards. Then it fills a cluster that evicts
// nobody, which must refuse what grows with Redis' words and go on reading and deleting.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

const (
	nodeCount = 3
	// lookEvery is how often resident memory is read.
	lookEvery = time.Second
	turns     = 10
	minTurn   = 5 * time.Second
)

// size is a number of bytes, on the command line with a unit: 256MiB.
type size int64

func (s *size) String() string { return strconv.FormatInt(int64(*s)>>20, 10) + "MiB" }

func (s *size) Set(text string) error {
	digits, ok := strings.CutSuffix(text, "MiB")
	n, err := strconv.ParseInt(digits, 10, 32)
	if !ok || err != nil || n <= 0 {
		return fmt.Errorf("%q is no size such as 256MiB", text)
	}
	*s = size(n << 20)
	return nil
}

type settings struct {
	bin, out                        string
	length, every, turn             time.Duration
	maxMemory, logTail, snapshotLog size
	groups, conns, pipeline         int
	space, skew                     float64
	whole, onlyFull, onlyLRU        bool
}

func flags() *settings {
	s := &settings{maxMemory: 512 << 20, logTail: 64 << 20, snapshotLog: 256 << 20}
	flag.StringVar(&s.bin, "bin", "bin/kvorum", "the kvorum binary")
	flag.StringVar(&s.out, "out", "", "folder for heap profiles; empty for a new one")
	flag.DurationVar(&s.length, "duration", 10*time.Minute, "length of the Zipf traffic")
	flag.DurationVar(&s.every, "every", 5*time.Second, "time between two lines of figures")
	flag.Var(&s.maxMemory, "maxmemory", "memory limit of the cluster's data")
	flag.Var(&s.logTail, "log-tail", "the nodes' --log-tail")
	flag.Var(&s.snapshotLog, "snapshot-log", "the nodes' --snapshot-log")
	flag.IntVar(&s.groups, "groups", 2, "data groups")
	flag.IntVar(&s.conns, "conns", 12, "connections, spread over the nodes")
	flag.IntVar(&s.pipeline, "pipeline", 64, "commands under way on each connection")
	flag.Float64Var(&s.space, "space", 2, "logical bytes of all keys, as a multiple of the memory limit")
	flag.Float64Var(&s.skew, "skew", 1.01, "exponent of the Zipf distribution, more than 1")
	flag.BoolVar(&s.whole, "whole", false, "measure against all budgets of a node, not only what this load can occupy of them")
	flag.BoolVar(&s.onlyLRU, "lru-only", false, "leave noeviction out")
	flag.BoolVar(&s.onlyFull, "noeviction-only", false, "leave the Zipf traffic out")
	flag.Parse()
	s.turn = max(s.length/turns, minTurn)
	return s
}

func main() {
	s := flags()
	dir, err := os.MkdirTemp("", "kvorum-pressure-")
	if err == nil && s.out == "" {
		s.out, err = os.MkdirTemp("", "kvorum-pressure-heap-")
	}
	if err == nil {
		err = run(context.Background(), s, dir)
		os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pressure: FAILED:", err)
		os.Exit(1)
	}
	fmt.Println("pressure: passed")
}

// run plays both parts, whatever became of the first.
func run(ctx context.Context, s *settings, dir string) error {
	fmt.Print(budgetOf(s).text(s.whole))
	var errs []error
	if !s.onlyFull {
		errs = append(errs, runLRU(ctx, s, dir))
		if err := os.RemoveAll(dir); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	if !s.onlyLRU {
		errs = append(errs, runFull(ctx, s, dir))
	}
	return errors.Join(errs...)
}

// runLRU is the Zipf traffic under allkeys-lru.
func runLRU(ctx context.Context, s *settings, dir string) error {
	c, err := start(ctx, s, dir, "allkeys-lru")
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Printf("allkeys-lru: %v of Zipf traffic (exponent %g) over %.1f x %s, sizes change every %v\n", s.length, s.skew, s.space, &s.maxMemory, s.turn)
	l := newLoad(s)
	w := &watch{s: s, c: c, l: l, limit: budgetOf(s).limit(s.whole)}
	loadCtx, cancel := context.WithTimeout(ctx, s.length)
	defer cancel()
	var wg sync.WaitGroup
	for i := range s.conns {
		addr := c.Nodes()[i%nodeCount].Native()
		wg.Go(func() {
			if err := l.connection(loadCtx, addr, uint64(i)); err != nil {
				l.note(err)
				cancel()
			}
		})
	}
	w.look(loadCtx)
	tellMemory(ctx, c, s.out, "at the end")
	cancel()
	wg.Wait()
	w.summary()
	return errors.Join(w.over, l.failure(), sameEverywhere(ctx, s, c))
}

// watch reads the nodes' memory and tells how it goes. One goroutine.
type watch struct {
	s     *settings
	c     *proc.Cluster
	l     *load
	limit int64
	// peak is each node's largest resident memory.
	peak [nodeCount]int64
	over error
	// last are the figures at the line before.
	last figures
}

type figures struct{ gets, hits, sets, evicted int64 }

func (w *watch) look(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	told := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := w.memory(ctx)
		if since := time.Since(told); since >= w.s.every {
			w.line(ctx, now, since)
			told = time.Now()
		}
	}
}

// memory reads every node's resident memory; the first that is over the limit is looked into.
func (w *watch) memory(ctx context.Context) (now [nodeCount]int64) {
	for i, n := range w.c.Nodes() {
		rss, err := resident(n.Pid())
		if err != nil {
			w.l.note(fmt.Errorf("%s: %w", n.Name(), err))
			continue
		}
		now[i] = rss
		w.peak[i] = max(w.peak[i], rss)
		if rss > w.limit && w.over == nil {
			w.over = fmt.Errorf("%s had %s resident after %v, the limit is %s", n.Name(), mib(rss), time.Since(w.l.began).Round(time.Second), mib(w.limit))
			fmt.Println("OVER THE LIMIT:", w.over)
			tellMemory(ctx, w.c, w.s.out, "over the limit")
		}
	}
	return now
}

// line prints the figures since the last one. Evictions are the keys that were made and are not there:
// a key that two connections made at once counts as one too many.
func (w *watch) line(ctx context.Context, rss [nodeCount]int64, since time.Duration) {
	var keys, bytes int64
	if st, err := w.status(ctx); err == nil {
		keys, bytes = held(st)
	}
	f := figures{gets: w.l.gets.Load(), hits: w.l.hits.Load(), sets: w.l.sets.Load(), evicted: w.last.evicted}
	if keys > 0 {
		f.evicted = max(f.evicted, w.l.made.Load()-keys) // the status is a little old
	}
	m := w.l.mix()
	rate := func(n int64) float64 { return float64(n) / since.Seconds() }
	fmt.Printf("%6s  sizes %d-%d  resident %s %s %s  keys %d  data %s  reads %.0f/s  hits %.1f%%  writes %.0f/s  evictions %.0f/s  refused %d\n",
		time.Since(w.l.began).Round(time.Second), m.least, m.most, mib(rss[0]), mib(rss[1]), mib(rss[2]), keys, mib(bytes),
		rate(f.gets-w.last.gets), 100*float64(f.hits-w.last.hits)/max(1, float64(f.gets-w.last.gets)),
		rate(f.sets-w.last.sets), rate(f.evicted-w.last.evicted), w.l.refused.Load())
	w.last = f
}

func (w *watch) status(ctx context.Context) (*shard.Status, error) {
	return w.c.Status(ctx, w.c.Nodes()[0])
}

func (w *watch) summary() {
	took := min(time.Since(w.l.began), w.s.length).Seconds()
	gets, sets := w.l.gets.Load(), w.l.sets.Load()
	fmt.Printf("reads %d (%.0f/s), hits %.1f%%, writes %d (%.0f/s), evictions %d, refused %d; peak resident %s %s %s, limit %s\n",
		gets, float64(gets)/took, 100*float64(w.l.hits.Load())/max(1, float64(gets)), sets, float64(sets)/took, w.last.evicted, w.l.refused.Load(),
		mib(w.peak[0]), mib(w.peak[1]), mib(w.peak[2]), mib(w.limit))
}

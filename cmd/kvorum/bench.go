// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/spf13/cobra"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/shard"
)

const (
	// histogram of microseconds, up to a minute, three digits.
	histMax    = 60_000_000
	histDigits = 3
	// maxPipelineDepth bounds --pipeline.
	maxPipelineDepth = 1024
	maxBenchClients  = 10_000
)

// benchConfig is what the flags of bench say.
type benchConfig struct {
	clients, pipeline, keys, value int
	duration                       time.Duration
	mix, prefix                    string
	tokens                         bool
}

// share is one kind of command with its part of the mix.
type share struct {
	name   string
	weight int
}

func newBench(io stdio) *cobra.Command {
	var e endpoint
	b := benchConfig{}
	c := &cobra.Command{
		Use: "bench", Short: "Drive the cluster and print throughput and latency", Args: cobra.NoArgs,
		Long: "Closed loops over the native protocol, straight to the leaders. The mix names get, set, incr, rpush and\n" +
			"hset with weights. Keys are PREFIX0 … ; they are left behind with a lifetime of one hour where they can be.",
		Example: "  kvorum bench --clients 50 --mix set\n  kvorum bench --mix get=9,set=1 --pipeline 16 --duration 30s",
	}
	e.bind(c.Flags(), io)
	c.Flags().Lookup("timeout").Usage = "time that commands may take longer than --duration"
	c.Flags().IntVar(&b.clients, "clients", 50, "concurrent clients, a connection to each node apiece")
	c.Flags().IntVar(&b.pipeline, "pipeline", 1, "commands a client has in flight")
	c.Flags().IntVar(&b.keys, "keys", 100_000, "number of keys")
	c.Flags().IntVar(&b.value, "value", 100, "value size in bytes")
	c.Flags().DurationVar(&b.duration, "duration", 10*time.Second, "how long to run")
	c.Flags().StringVar(&b.mix, "mix", "set=1,get=1", "commands with weights")
	c.Flags().StringVar(&b.prefix, "prefix", "bench:", "prefix of the keys")
	c.Flags().BoolVar(&b.tokens, "tokens", true, "send request tokens with writes, so that retries apply once")
	c.RunE = func(cmd *cobra.Command, _ []string) error { return runBench(cmd.Context(), io, &e, b) }
	return c
}

func (b *benchConfig) parse() ([]share, error) {
	if b.clients < 1 || b.clients > maxBenchClients || b.pipeline < 1 || b.pipeline > maxPipelineDepth || b.keys < 1 || b.value < 0 || b.duration <= 0 {
		return nil, errors.New("--clients, --pipeline, --keys and --duration must be positive, --value not negative, --pipeline at most 1024")
	}
	var mix []share
	for part := range strings.SplitSeq(b.mix, ",") {
		name, weight, found := strings.Cut(strings.TrimSpace(part), "=")
		n := 1
		if found {
			var err error
			if n, err = strconv.Atoi(weight); err != nil || n < 1 {
				return nil, fmt.Errorf("--mix: %q is no positive weight", weight)
			}
		}
		if _, ok := benchCommand(name, "", nil); !ok {
			return nil, fmt.Errorf("--mix: %q is none of get, set, incr, rpush, hset", name)
		}
		mix = append(mix, share{name, n})
	}
	return mix, nil
}

func benchCommand(name, key string, value []byte) (client.Cmd, bool) {
	switch name {
	case "get":
		return client.Get(key), true
	case "set":
		return client.SetFor(key, value, time.Hour), true
	case "incr":
		return client.IncrBy(key+":n", 1), true
	case "rpush":
		return client.RPush(key+":l", value), true
	case "hset":
		return client.HSet(key+":h", "f", value), true
	}
	return client.Cmd{}, false
}

func runBench(ctx context.Context, io stdio, e *endpoint, b benchConfig) error {
	mix, err := b.parse()
	if err != nil {
		return &exitError{exitUsage, err}
	}
	a, err := e.open()
	if err != nil {
		return err
	}
	var s shard.Status
	ask, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	if err := a.get(ask, "/v1/cluster", &s); err != nil {
		return err
	}
	if !s.Cluster.Initialised {
		return &exitError{exitFailed, plainError{shard.ErrUninitialised}}
	}
	var addrs []string
	for i := range s.Nodes {
		if n := s.Nodes[i].Addrs["native"]; n != "" && s.Nodes[i].Alive {
			addrs = append(addrs, n)
		}
	}
	if len(addrs) == 0 {
		return &exitError{exitFailed, errors.New("no member has a native port")}
	}
	r := &benchRun{b: b, mix: mix, addrs: addrs, end: time.Now().Add(b.duration)}
	// Commands that wait for nodes that are gone end with the run.
	ctx, end := context.WithDeadline(ctx, r.end.Add(e.timeout))
	defer end()
	stop := r.progress(ctx, io.err)
	hists, err := r.run(ctx)
	stop()
	if err != nil {
		return &exitError{exitFailed, err}
	}
	return r.print(io.out, e.output, hists)
}

type benchRun struct {
	b     benchConfig
	mix   []share
	addrs []string
	end   time.Time
	done  atomic.Int64
	fails atomic.Int64
	began time.Time
	took  time.Duration
}

// run gives one histogram per kind of command.
func (r *benchRun) run(ctx context.Context) (map[string]*hdrhistogram.Histogram, error) {
	total := map[string]*hdrhistogram.Histogram{}
	for _, s := range r.mix {
		total[s.name] = hdrhistogram.New(1, histMax, histDigits)
	}
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	r.began = time.Now()
	for i := range r.b.clients {
		wg.Go(func() {
			own, err := r.client(ctx, uint64(i))
			mu.Lock()
			defer mu.Unlock()
			if err != nil && first == nil {
				first = err
			}
			for name, h := range own {
				total[name].Merge(h)
			}
		})
	}
	wg.Wait()
	r.took = time.Since(r.began)
	return total, first
}

// client keeps pipeline commands in flight until the end.
func (r *benchRun) client(ctx context.Context, seed uint64) (map[string]*hdrhistogram.Histogram, error) {
	opts := []client.Option{client.WithExclusiveConns(1), client.WithConns(1)}
	if !r.b.tokens {
		opts = append(opts, client.WithoutTokens())
	}
	c, err := client.Dial(ctx, r.addrs, opts...)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	own := map[string]*hdrhistogram.Histogram{}
	for _, s := range r.mix {
		own[s.name] = hdrhistogram.New(1, histMax, histDigits)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	value := make([]byte, r.b.value)
	for time.Now().Before(r.end) && ctx.Err() == nil {
		name := r.pick(rng)
		if r.b.pipeline == 1 {
			cmd, _ := benchCommand(name, r.key(rng), value)
			at := time.Now()
			_, err := c.Do(ctx, cmd)
			r.note(own[name], at, err)
			continue
		}
		r.batch(ctx, c, own, rng, value)
	}
	return own, nil
}

func (r *benchRun) batch(ctx context.Context, c *client.Client, own map[string]*hdrhistogram.Histogram, rng *rand.Rand, value []byte) {
	names := make([]string, r.b.pipeline)
	futures := make([]*client.Future, r.b.pipeline)
	at := time.Now()
	for i := range futures {
		names[i] = r.pick(rng)
		cmd, _ := benchCommand(names[i], r.key(rng), value)
		futures[i] = c.Go(ctx, cmd)
	}
	for i, f := range futures {
		_, err := f.Value(ctx)
		r.note(own[names[i]], at, err)
	}
}

func (r *benchRun) pick(rng *rand.Rand) string {
	sum := 0
	for _, s := range r.mix {
		sum += s.weight
	}
	n := rng.IntN(sum)
	for _, s := range r.mix {
		if n -= s.weight; n < 0 {
			return s.name
		}
	}
	return r.mix[0].name
}

func (r *benchRun) key(rng *rand.Rand) string { return r.b.prefix + strconv.Itoa(rng.IntN(r.b.keys)) }

func (r *benchRun) note(h *hdrhistogram.Histogram, at time.Time, err error) {
	if err != nil {
		r.fails.Add(1)
		return
	}
	r.done.Add(1)
	_ = h.RecordValue(min(max(time.Since(at).Microseconds(), 1), histMax))
}

// progress prints a line a second until stopped.
func (r *benchRun) progress(ctx context.Context, w io.Writer) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		last := int64(0)
		for {
			select {
			case <-ctx.Done():
				fmt.Fprint(w, "\r\033[K")
				return
			case <-tick.C:
				n := r.done.Load()
				fmt.Fprintf(w, "\r\033[K%d/s, %d done, %d failed, %v left", n-last, n, r.fails.Load(), max(0, time.Until(r.end).Round(time.Second)))
				last = n
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (r *benchRun) print(w io.Writer, output string, hists map[string]*hdrhistogram.Histogram) error {
	type row struct {
		Command                  string
		Count                    int64
		PerSecond                float64
		P50, P90, P99, P999, Max float64 // milliseconds
	}
	var rows []row
	for _, s := range r.mix {
		h := hists[s.name]
		ms := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
		rows = append(rows, row{s.name, h.TotalCount(), float64(h.TotalCount()) / r.took.Seconds(), ms(50), ms(90), ms(99), ms(99.9), float64(h.Max()) / 1000})
	}
	if output == "json" {
		return printJSON(w, map[string]any{"seconds": r.took.Seconds(), "failed": r.fails.Load(), "commands": rows})
	}
	fmt.Fprintf(w, "%d clients, pipeline %d, %d keys, %d B values, %.1f s, %d failed\n", r.b.clients, r.b.pipeline, r.b.keys, r.b.value, r.took.Seconds(), r.fails.Load())
	for _, x := range rows {
		fmt.Fprintf(w, "%-6s %10.0f/s   p50 %8.3f ms   p90 %8.3f ms   p99 %8.3f ms   p99.9 %8.3f ms   max %8.3f ms\n", x.Command, x.PerSecond, x.P50, x.P90, x.P99, x.P999, x.Max)
	}
	if r.done.Load() == 0 {
		return &exitError{exitFailed, errors.New("no command succeeded")}
	}
	return nil
}

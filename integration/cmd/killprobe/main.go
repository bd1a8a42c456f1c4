// SPDX-License-Identifier: Apache-2.0

// Command killprobe measures the time without service after a leader is killed with SIGKILL. While
// it sends 1,000 writes a second to keys of every group through the nodes that live, it kills a
// leader, notes for each key when the first write that was sent after the kill is acknowledged, and
// takes the slowest key as the outage of that kill. It prints the distribution and fails when the
// median or the 99th percentile is over its bound.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

const (
	probesPerSecond = 1000
	keyCount        = 40
	medianBound     = time.Second
	tailBound       = 2 * time.Second
	giveUp          = 20 * time.Second
	waitTime        = 60 * time.Second
	probeTimeout    = 5 * time.Second
	maxInFlight     = 4000
)

func main() {
	bin := flag.String("bin", "bin/kvorum", "the kvorum binary")
	kills := flag.Int("kills", 50, "leaders to kill")
	port := flag.Int("port", 0, "base port; 0 finds free ones")
	groups := flag.Int("groups", 4, "data groups; the dead node leads some of them")
	flag.Parse()
	dir, err := os.MkdirTemp("", "kvorum-kills-")
	if err == nil {
		err = run(context.Background(), *bin, dir, *port, *kills, *groups)
		os.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "killprobe: FAILED:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bin, dir string, port, kills, groups int) error {
	c, err := proc.New(proc.Config{Bin: bin, Dir: dir, Port: port, Args: []string{"--log-level", "warn"}, InitArgs: []string{"--groups", strconv.Itoa(groups)}})
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range 3 {
		if _, err := c.Add(ctx); err != nil {
			return err
		}
		if err := wait(ctx, c, "nodes", func(s *shard.Status) bool { return len(s.Nodes) > i && s.Cluster.Initialised }); err != nil {
			return err
		}
	}
	p := &prober{cluster: c, client: &http.Client{Timeout: probeTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	stop := p.start(ctx)
	defer stop()
	var outages []time.Duration
	for i := range kills {
		d, err := killOne(ctx, c, p, i)
		if err != nil {
			return fmt.Errorf("kill %d: %w", i+1, err)
		}
		fmt.Printf("kill %2d: %v\n", i+1, d.Round(time.Millisecond))
		outages = append(outages, d)
	}
	return judge(outages)
}

func wait(ctx context.Context, c *proc.Cluster, what string, ok func(*shard.Status) bool) error {
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	_, err := c.Wait(ctx, what, ok)
	return err
}

// killOne kills the leader of one data group, in turn, and returns the outage.
func killOne(ctx context.Context, c *proc.Cluster, p *prober, i int) (time.Duration, error) {
	waitCtx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	s, err := c.Wait(waitCtx, "health", func(s *shard.Status) bool { return proc.Healthy(3)(s) && len(s.Groups) > 1 })
	if err != nil {
		return 0, err
	}
	n := c.ByID(s, s.Groups[1+i%(len(s.Groups)-1)].Leader)
	if n == nil {
		return 0, errors.New("no leader in status")
	}
	p.avoid(n)
	done := p.expect()
	began := time.Now()
	if err := c.Signal(n, syscall.SIGKILL); err != nil {
		return 0, err
	}
	select {
	case <-done:
	case <-time.After(giveUp):
		return 0, fmt.Errorf("no service on every key within %v", giveUp)
	}
	outage := time.Since(began)
	if err := c.Start(ctx, n); err != nil {
		return 0, err
	}
	return outage, nil
}

func judge(outages []time.Duration) error {
	slices.Sort(outages)
	at := func(q float64) time.Duration { return outages[min(len(outages)-1, int(q*float64(len(outages))))] }
	median, tail := at(0.5), at(0.99)
	fmt.Printf("kills %d   median %v   p90 %v   p99 %v   worst %v\n", len(outages),
		median.Round(time.Millisecond), at(0.9).Round(time.Millisecond), tail.Round(time.Millisecond), outages[len(outages)-1].Round(time.Millisecond))
	if median >= medianBound || tail >= tailBound {
		return fmt.Errorf("want a median under %v and a p99 under %v", medianBound, tailBound)
	}
	return nil
}

// prober sends writes at a fixed rate, whatever becomes of them.
type prober struct {
	cluster *proc.Cluster
	client  *http.Client

	mu      sync.Mutex
	avoided *proc.Node
	waiting map[int]bool // keys without an acknowledgement since expect
	since   time.Time
	done    chan struct{}
	flight  int
}

// avoid makes the prober leave out a node that is about to be killed, until another is.
func (p *prober) avoid(n *proc.Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.avoided = n
}

// expect returns a channel that closes when each key had a write that was sent and acknowledged
// from now on.
func (p *prober) expect() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = map[int]bool{}
	for k := range keyCount {
		p.waiting[k] = true
	}
	p.since, p.done = time.Now(), make(chan struct{})
	return p.done
}

func (p *prober) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second / probesPerSecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			p.mu.Lock()
			full, avoided := p.flight >= maxInFlight, p.avoided
			if !full {
				p.flight++
			}
			p.mu.Unlock()
			if full {
				continue
			}
			wg.Go(func() { p.probe(ctx, i%keyCount, p.pick(i, avoided)) })
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (p *prober) pick(i int, avoided *proc.Node) *proc.Node {
	nodes := p.cluster.Nodes()
	for j := range nodes {
		if n := nodes[(i+j)%len(nodes)]; n != avoided {
			return n
		}
	}
	return nodes[0]
}

func (p *prober) probe(ctx context.Context, key int, n *proc.Node) {
	sent := time.Now()
	err := p.write(ctx, key, n)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flight--
	if err != nil || p.done == nil || sent.Before(p.since) || !p.waiting[key] {
		return
	}
	delete(p.waiting, key)
	if len(p.waiting) == 0 {
		close(p.done)
		p.done = nil
	}
}

func (p *prober) write(ctx context.Context, key int, n *proc.Node) error {
	url := fmt.Sprintf("http://%s/v1/kv/probe-%d", n.HTTP(), key)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader("x"))
	if err != nil {
		return err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode >= 300 {
		return errors.New(resp.Status)
	}
	return nil
}

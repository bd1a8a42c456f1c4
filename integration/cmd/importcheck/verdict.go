// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

const requestTime = 8 * time.Second

type httpClient struct{ c *http.Client }

func newHTTP(workers int) *httpClient {
	return &httpClient{&http.Client{Timeout: requestTime, Transport: &http.Transport{MaxIdleConnsPerHost: workers, DisableCompression: true}}}
}

func keyURL(n *proc.Node, key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return "http://" + n.HTTP() + "/v1/kv/" + b.String()
}

// put is nil when acknowledged, wraps errNotApplied when the server, or a refused connection, says
// that nothing was applied, and is any other error when the outcome is unknown.
func (h *httpClient) put(ctx context.Context, n *proc.Node, key string, value []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, keyURL(n, key), bytes.NewReader(value))
	if err != nil {
		return err
	}
	resp, err := h.c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if resp.StatusCode < 300 {
		return nil
	}
	if err == nil && bytes.Contains(body, []byte(`"applied":"no"`)) {
		return fmt.Errorf("%w: %s", errNotApplied, body)
	}
	return fmt.Errorf("unknown: %s: %s", resp.Status, body)
}

func (h *httpClient) get(ctx context.Context, n *proc.Node, key string) ([]byte, bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, keyURL(n, key), nil)
	if err != nil {
		return nil, false, err
	}
	resp, err := h.c.Do(req)
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, false, err
	case resp.StatusCode == http.StatusNotFound:
		return nil, false, nil
	case resp.StatusCode != http.StatusOK:
		return nil, false, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, true, nil
}

// compare reads every key through every running node.
func (c *check) compare(ctx context.Context) error {
	var mu sync.Mutex
	for _, n := range c.cluster.Nodes() {
		if !n.Running() {
			continue
		}
		err := c.each(ctx, c.names, func(ctx context.Context, name string) error {
			value, found, err := c.http.get(ctx, n, name)
			if err != nil {
				return fmt.Errorf("read of %s through %s: %w", name, n.Name(), err)
			}
			k, sum := c.keys[name], sha256.Sum256(value)
			mu.Lock()
			defer mu.Unlock()
			c.compared++
			switch {
			case !found:
				c.lost++
				fmt.Printf("LOST %s through %s\n", name, n.Name())
			case sum == k.acked:
			case k.later[sum]:
				// Seen once, it is the value from now on.
				k.acked = sum
				clear(k.later)
			default:
				c.wrong++
				fmt.Printf("WRONG %s through %s: %d bytes\n", name, n.Name(), len(value))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if c.lost+c.wrong > 0 {
		return fmt.Errorf("%d lost, %d wrong", c.lost, c.wrong)
	}
	return nil
}

func (c *check) joinFourth(ctx context.Context) error {
	if _, err := c.cluster.Add(ctx); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, waitHealthy)
	defer cancel()
	_, err := c.cluster.Wait(wait, "the fourth node with replicas caught up", func(s *shard.Status) bool {
		if !proc.Healthy(4)(s) {
			return false
		}
		for i := range s.Nodes {
			if s.Nodes[i].Name == "node3" && s.Nodes[i].Replicas > 1 {
				return caughtUp(s)
			}
		}
		return false
	})
	return err
}

func caughtUp(s *shard.Status) bool {
	for i := range s.Groups {
		g := &s.Groups[i]
		if g.Lag > 100 || g.ID != 0 && (len(g.Learners) > 0 || len(g.Voters) != s.Cluster.Replicas) {
			return false
		}
	}
	return true
}

// leaveFirst runs the command that an operator would.
func (c *check) leaveFirst(ctx context.Context) error {
	first := c.cluster.Nodes()[0]
	cmd := exec.CommandContext(ctx, c.bin, "leave", "--addr", first.HTTP(), "--timeout", "120s")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("kvorum leave: %w: %s", err, out)
	}
	wait, cancel := context.WithTimeout(ctx, waitHealthy)
	defer cancel()
	if err := first.WaitExit(wait); err != nil {
		return fmt.Errorf("the node that left: %w", err)
	}
	return c.healthy(ctx, 3)
}

// watchMemory samples the nodes' resident memory until stopped.
func (c *check) watchMemory() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(proc.PollEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				for _, n := range c.cluster.Nodes() {
					c.peak = max(c.peak, peakMemory(n.Pid()))
				}
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// peakMemory is VmHWM of a process in bytes, 0 when it cannot be read.
func peakMemory(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// verdict prints the counts and judges the bounds.
func (c *check) verdict() error {
	share := float64(c.outsideAcked.Load()) / float64(max(1, c.outside.Load()))
	limit := int64(memoryBase) + memoryFactor*c.logical
	fmt.Printf("kills %d   writes %d   unknown %d   acknowledged outside the %v after a kill %.2f%% of %d\n",
		len(c.kills), c.total.Load(), c.unknown.Load(), killPause, 100*share, c.outside.Load())
	fmt.Printf("compared %d values: %d lost, %d wrong   peak memory of a node during the import %d MiB (limit %d MiB)\n",
		c.compared, c.lost, c.wrong, c.peak>>20, limit>>20)
	var faults []error
	if len(c.kills) < c.settings.kills {
		faults = append(faults, fmt.Errorf("only %d kills", len(c.kills)))
	}
	if share < wantShare {
		faults = append(faults, fmt.Errorf("only %.2f%% acknowledged outside the kills", 100*share))
	}
	if c.peak > limit || c.peak == 0 {
		faults = append(faults, fmt.Errorf("peak memory %d bytes, limit %d", c.peak, limit))
	}
	return errors.Join(faults...)
}

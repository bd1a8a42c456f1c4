// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

const (
	killPause    = 2 * time.Second // after a kill, requests do not count for the share acknowledged
	killGap      = 500 * time.Millisecond
	wantShare    = 0.95
	waitHealthy  = 60 * time.Second
	memoryBase   = 256 << 20
	memoryFactor = 3
)

// keyState is what is known of one key. A key has one writer at a time.
type keyState struct {
	path string
	// acked is the SHA-256 of the last acknowledged value.
	acked [sha256.Size]byte
	// later are the sums of unknown writes since then: each of them may be the value now.
	later map[[sha256.Size]byte]bool
	size  int
}

type check struct {
	settings
	cluster *proc.Cluster
	http    *httpClient
	keys    map[string]*keyState
	names   []string
	began   time.Time

	killsMu sync.Mutex
	kills   []time.Time

	outside, outsideAcked atomic.Int64
	total, unknown        atomic.Int64
	lost, wrong, compared int
	peak                  int64
	logical               int64
}

// scan lists the files to import; the key is the path below the source folder.
func (c *check) scan(context.Context) error {
	err := filepath.WalkDir(c.src, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		key := filepath.ToSlash(strings.TrimPrefix(path, c.src+string(filepath.Separator)))
		c.keys[key] = &keyState{path: path, later: map[[sha256.Size]byte]bool{}}
		c.names = append(c.names, key)
		return nil
	})
	sort.Strings(c.names)
	if err == nil && len(c.names) == 0 {
		err = fmt.Errorf("no files below %s", c.src)
	}
	return err
}

func (c *check) start(ctx context.Context) error {
	for range 3 {
		if _, err := c.cluster.Add(ctx); err != nil {
			return err
		}
		wait, cancel := context.WithTimeout(ctx, waitHealthy)
		_, err := c.cluster.Wait(wait, "the founder", func(s *shard.Status) bool { return s.Cluster.Initialised })
		cancel()
		if err != nil {
			return err
		}
	}
	return c.healthy(ctx, 3)
}

func (c *check) healthy(ctx context.Context, n int) error {
	wait, cancel := context.WithTimeout(ctx, waitHealthy)
	defer cancel()
	_, err := c.cluster.Wait(wait, fmt.Sprintf("%d healthy nodes", n), proc.Healthy(n))
	return err
}

// each runs f for every name with the configured number of workers and stops at the first error.
func (c *check) each(ctx context.Context, names []string, f func(ctx context.Context, name string) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan string)
	var wg sync.WaitGroup
	for range c.workers {
		wg.Go(func() {
			for name := range work {
				if err := f(ctx, name); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, name := range names {
		select {
		case work <- name:
		case <-ctx.Done():
		}
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}

func (c *check) importAll(ctx context.Context) error {
	var logical atomic.Int64
	stop := c.watchMemory()
	defer stop()
	err := c.each(ctx, c.names, func(ctx context.Context, name string) error {
		k := c.keys[name]
		value, err := os.ReadFile(k.path)
		if err != nil {
			return err
		}
		logical.Add(int64(len(name) + len(value)))
		return c.put(ctx, name, k, value, true)
	})
	c.logical = logical.Load()
	fmt.Printf("imported %d files, %d bytes\n", len(c.names), c.logical)
	return err
}

// put writes one value. With retry it goes on until acknowledged.
func (c *check) put(ctx context.Context, name string, k *keyState, value []byte, retry bool) error {
	sum := sha256.Sum256(value)
	for {
		at := time.Now()
		err := c.http.put(ctx, c.node(), name, value)
		c.count(at, err)
		switch {
		case err == nil:
			k.acked, k.size = sum, len(value)
			clear(k.later)
			return nil
		case !errors.Is(err, errNotApplied):
			k.later[sum] = true
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !retry {
			return nil
		}
	}
}

var errNotApplied = errors.New("definitely not applied")

func (c *check) count(began time.Time, err error) {
	c.total.Add(1)
	if err != nil && !errors.Is(err, errNotApplied) {
		c.unknown.Add(1)
	}
	c.killsMu.Lock()
	near := false
	for i := len(c.kills) - 1; i >= 0 && !near; i-- {
		// A request is near a kill when any part of it lies in the pause after the kill.
		near = time.Now().After(c.kills[i]) && began.Before(c.kills[i].Add(killPause))
	}
	c.killsMu.Unlock()
	if near {
		return
	}
	c.outside.Add(1)
	if err == nil {
		c.outsideAcked.Add(1)
	}
}

// node picks a running node in turn.
func (c *check) node() *proc.Node {
	nodes := c.cluster.Nodes()
	n := int(c.total.Load())
	for i := range nodes {
		if cand := nodes[(n+i)%len(nodes)]; cand.Running() {
			return cand
		}
	}
	return nodes[0]
}

// overwriteUnderKills rewrites the second half with changed content, round after round, until the
// killer has done its work.
func (c *check) overwriteUnderKills(ctx context.Context) error {
	half := c.names[len(c.names)/2:]
	killed := make(chan error, 1)
	go func() { killed <- c.killLeaders(ctx) }()
	for round := 1; ; round++ {
		err := c.each(ctx, half, func(ctx context.Context, name string) error {
			k := c.keys[name]
			value, err := os.ReadFile(k.path)
			if err != nil {
				return err
			}
			return c.put(ctx, name, k, append(value, fmt.Sprintf("\n// round %d\n", round)...), false)
		})
		if err != nil {
			return err
		}
		select {
		case err := <-killed:
			fmt.Printf("overwrote %d files in %d rounds under %d kills\n", len(half), round, len(c.kills))
			return err
		default:
		}
	}
}

// killLeaders kills the leaders of the data groups in turn, each time waits until every group that
// the node led has another leader in status, restarts it and waits for health.
func (c *check) killLeaders(ctx context.Context) error {
	for i := range c.settings.kills {
		wait, cancel := context.WithTimeout(ctx, waitHealthy)
		s, err := c.cluster.Wait(wait, "health before a kill", func(s *shard.Status) bool {
			return proc.Healthy(3)(s) && len(s.Groups) > 1
		})
		cancel()
		if err != nil {
			return err
		}
		if err := c.killLeader(ctx, s, s.Groups[1+i%(len(s.Groups)-1)]); err != nil {
			return fmt.Errorf("kill %d: %w", i+1, err)
		}
	}
	return nil
}

func (c *check) killLeader(ctx context.Context, s *shard.Status, g shard.GroupStatus) error {
	n := c.cluster.ByID(s, g.Leader)
	if n == nil {
		return fmt.Errorf("group %d has no leader in status", g.ID)
	}
	c.killsMu.Lock()
	c.kills = append(c.kills, time.Now())
	c.killsMu.Unlock()
	if err := c.cluster.Signal(n, syscall.SIGKILL); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, waitHealthy)
	defer cancel()
	_, err := c.cluster.Wait(wait, fmt.Sprintf("a new leader of group %d", g.ID), func(now *shard.Status) bool {
		for i := range now.Groups {
			if now.Groups[i].ID == g.ID {
				return now.Groups[i].Leader != "" && now.Groups[i].Leader != g.Leader && now.Groups[i].Term > g.Term
			}
		}
		return false
	})
	if err != nil {
		return err
	}
	return c.cluster.Start(ctx, n)
}

// killAll kills every node within a moment and starts them again.
func (c *check) killAll(ctx context.Context) error {
	for _, n := range c.cluster.Nodes() {
		if err := syscall.Kill(n.Pid(), syscall.SIGKILL); err != nil {
			return err
		}
	}
	for _, n := range c.cluster.Nodes() {
		if err := c.cluster.Signal(n, syscall.SIGKILL); err != nil {
			return err
		}
	}
	for _, n := range c.cluster.Nodes() {
		if err := c.cluster.Start(ctx, n); err != nil {
			return err
		}
	}
	return c.healthy(ctx, 3)
}

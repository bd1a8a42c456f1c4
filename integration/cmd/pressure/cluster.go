// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

const (
	waitTime  = 60 * time.Second
	checkTime = 60 * time.Second
)

// start brings up a cluster of nodeCount nodes with a policy, its folders below dir.
func start(ctx context.Context, s *settings, dir, policy string) (*proc.Cluster, error) {
	dir = filepath.Join(dir, policy)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c, err := proc.New(proc.Config{
		Bin: s.bin, Dir: dir,
		Args: []string{"--log-level", "warn", "--log-tail", strconv.FormatInt(int64(s.logTail), 10), "--snapshot-log", strconv.FormatInt(int64(s.snapshotLog), 10)},
		InitArgs: []string{
			"--groups", strconv.Itoa(s.groups), "--replicas", strconv.Itoa(nodeCount),
			"--maxmemory", strconv.FormatInt(int64(s.maxMemory), 10), "--maxmemory-policy", policy,
		},
	})
	if err != nil {
		return nil, err
	}
	for i := range nodeCount {
		if _, err := c.Add(ctx); err != nil {
			c.Close()
			return nil, err
		}
		if _, err := wait(ctx, c, "nodes", func(s *shard.Status) bool { return len(s.Nodes) > i && s.Cluster.Initialised }); err != nil {
			c.Close()
			return nil, err
		}
	}
	if _, err := wait(ctx, c, "a whole cluster", whole(s.groups)); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// whole is the condition that every group has all its voters, and leaders are spread.
func whole(groups int) func(*shard.Status) bool {
	return func(s *shard.Status) bool {
		if !proc.Healthy(nodeCount)(s) || !proc.LeadersSpread(s) || len(s.Groups) != groups+1 {
			return false
		}
		for i := range s.Groups {
			if len(s.Groups[i].Voters) != nodeCount {
				return false
			}
		}
		return true
	}
}

// level is the condition that no replica is behind its leader.
func level(groups int) func(*shard.Status) bool {
	return func(s *shard.Status) bool {
		if !whole(groups)(s) {
			return false
		}
		for i := range s.Groups {
			if s.Groups[i].Lag > 0 {
				return false
			}
		}
		return true
	}
}

func wait(ctx context.Context, c *proc.Cluster, what string, ok func(*shard.Status) bool) (*shard.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	return c.Wait(ctx, what, ok)
}

// sameEverywhere waits until the replicas are level and fails unless all were compared and are equal.
func sameEverywhere(ctx context.Context, s *settings, c *proc.Cluster) error {
	if _, err := wait(ctx, c, "replicas that are level", level(s.groups)); err != nil {
		return err
	}
	cmp, err := compare(ctx, c.Nodes()[0])
	if err != nil {
		return fmt.Errorf("comparison: %w", err)
	}
	for i := range cmp.Groups {
		g := &cmp.Groups[i]
		fmt.Printf("group %d: %d replicas %s at index %d: %s\n", g.Group, len(g.Replicas), g.Verdict, g.Applied, g.Digest)
		if g.Verdict != shard.VerdictEqual || len(g.Replicas) != nodeCount {
			text, _ := json.Marshal(g)
			return fmt.Errorf("the replicas of group %d are %s: %s", g.Group, g.Verdict, text)
		}
	}
	if cmp.Verdict != shard.VerdictEqual || len(cmp.Groups) < s.groups {
		return fmt.Errorf("the comparison of %d groups says %s", len(cmp.Groups), cmp.Verdict)
	}
	return nil
}

// compare is what 'kvorum check --digest' asks.
func compare(ctx context.Context, n *proc.Node) (*shard.Comparison, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime+waitTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.HTTP()+"/v1/cluster/check?timeout="+checkTime.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", resp.Status)
	}
	var c shard.Comparison
	return &c, json.NewDecoder(resp.Body).Decode(&c)
}

// held sums the keys and the logical bytes of the data groups.
func held(s *shard.Status) (keys, bytes int64) {
	for i := range s.Groups {
		if s.Groups[i].ID != 0 {
			keys += int64(s.Groups[i].Keys)
			bytes += int64(s.Groups[i].Bytes)
		}
	}
	return keys, bytes
}

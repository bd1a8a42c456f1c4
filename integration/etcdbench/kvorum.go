// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/kvorum/kvorum/client"
	"github.com/kvorum/kvorum/integration/proc"
	"github.com/kvorum/kvorum/shard"
)

type kvorum struct {
	s       settings
	cluster *proc.Cluster
	addrs   []string
}

func newKvorum(s settings) *kvorum { return &kvorum{s: s} }

func (k *kvorum) name() string { return "kvorum" }

func (k *kvorum) start(ctx context.Context) error {
	dir := filepath.Join(k.s.dir, "kvorum")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	bin, err := filepath.Abs(k.s.bin)
	if err != nil {
		return err
	}
	c, err := proc.New(proc.Config{Bin: bin, Dir: dir, Args: []string{"--log-level", "warn"}, InitArgs: k.s.initArgs, Env: k.s.env})
	if err != nil {
		return err
	}
	k.cluster = c
	for range 3 {
		n, err := c.Add(ctx)
		if err != nil {
			return err
		}
		k.addrs = append(k.addrs, n.Native())
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err = c.Wait(ctx, "health and leaders spread evenly", func(s *shard.Status) bool {
		return proc.Healthy(3)(s) && proc.LeadersSpread(s)
	})
	return err
}

func (k *kvorum) pids() []int {
	var pids []int
	for _, n := range k.cluster.Nodes() {
		pids = append(pids, n.Pid())
	}
	return pids
}

func (k *kvorum) stop() {
	if k.cluster != nil {
		k.cluster.Close()
	}
}

type kvorumSession struct{ c *client.Client }

// client makes a client of its own, which keeps one connection to each node and uses one at a time.
// Writes go without request tokens: etcd's client has none either.
func (k *kvorum) client(ctx context.Context, _ int) (session, error) {
	c, err := client.Dial(ctx, k.addrs, client.WithExclusiveConns(1), client.WithoutTokens())
	if err != nil {
		return nil, err
	}
	return kvorumSession{c}, nil
}

func (s kvorumSession) put(ctx context.Context, key string, value []byte) error {
	return s.c.Set(ctx, key, value)
}

func (s kvorumSession) get(ctx context.Context, key string) error {
	_, _, err := s.c.Get(ctx, key)
	return err
}

func (s kvorumSession) close() { _ = s.c.Close() }

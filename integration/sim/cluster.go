// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode"
	"github.com/kvorum/kvorum/shard"
)

// node is one member, up or down.
type node struct {
	name string
	addr string

	mu sync.Mutex
	rn *raftnode.Node
	sn *shard.Node // nil while down
	// ailing: this life met an error of its disk that the bench made, and wants to stop.
	ailing bool
}

func (n *node) wantsStop() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.ailing
}

func (n *node) ail() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ailing = true
}

// router is the node's router, nil while it is down.
func (n *node) router() *shard.Router {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sn == nil {
		return nil
	}
	return n.sn.Router()
}

func (n *node) shard() *shard.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sn
}

// cluster is the world and its nodes. Its methods belong to the goroutine of the run, except where
// a node's own lock guards.
type cluster struct {
	opt   Options
	world *host.World
	nodes []*node
	log   *slog.Logger
	fatal func(error)
}

func newCluster(opt Options, fatal func(error)) *cluster {
	c := &cluster{opt: opt, world: host.NewWorld(opt.Seed), fatal: fatal, log: slog.New(slog.DiscardHandler)}
	if opt.Log != nil {
		c.log = slog.New(slog.NewTextHandler(opt.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for i := range opt.Nodes {
		name := fmt.Sprintf("n%d", i)
		c.nodes = append(c.nodes, &node{name: name, addr: name + ":7400"})
	}
	for _, a := range c.nodes {
		for _, b := range c.nodes {
			if a != b {
				c.world.SetDelay(a.name, b.name, 200*time.Microsecond, 300*time.Microsecond)
			}
		}
	}
	return c
}

// start opens a node on whatever its disk holds.
func (c *cluster) start(n *node) error {
	h := c.world.Host(n.name)
	cfg := raftnode.DefaultConfig()
	cfg.Dir, cfg.Listen, cfg.Advertise = "/data", n.addr, n.addr
	cfg.Logger = c.log.With("node", n.name)
	cfg.SegmentBytes = 256 << 10
	cfg.SnapshotLogBytes = c.opt.SnapshotLogBytes
	cfg.DiskReserve = 1 << 20
	cfg.Events.Fatal = func(err error) { c.fatalOf(n, err) }
	rn, err := raftnode.Open(h, cfg)
	if err != nil {
		return fmt.Errorf("sim: open %s: %w", n.name, err)
	}
	sn, err := shard.Open(h, rn, shard.Config{
		Name: n.name, Addrs: map[string]string{"peer": n.addr}, Logger: cfg.Logger, Fatal: cfg.Events.Fatal,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("sim: open %s: %w", n.name, err), rn.Close())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rn, n.sn, n.ailing = rn, sn, false
	return nil
}

// fatalOf: a node that is being crashed loses its disk under its feet and may say so, and one whose disk
// was made to fail must; any other fatal event is a finding.
func (c *cluster) fatalOf(n *node, err error) {
	if errors.Is(err, errDisk) {
		n.ail()
		return
	}
	if n.shard() != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, host.ErrCrashed) {
		c.fatal(fmt.Errorf("sim: %s: fatal: %w", n.name, err))
	}
}

// stop closes a node; crashed says that its world is gone already.
func (c *cluster) stop(n *node) {
	n.mu.Lock()
	rn, sn := n.rn, n.sn
	n.rn, n.sn = nil, nil
	n.mu.Unlock()
	if sn != nil {
		_ = sn.Close()
		_ = rn.Close()
	}
}

// crash cuts the node's power: nothing un-synced survives but a random part.
func (c *cluster) crash(n *node, rng *rand.Rand) {
	c.kill(n, host.CrashPolicy{Survive: float64(rng.IntN(3)) / 2, Silent: rng.IntN(4) == 0})
}

// kill ends the node's process, and more if the policy says so.
func (c *cluster) kill(n *node, policy host.CrashPolicy) {
	n.mu.Lock()
	rn, sn := n.rn, n.sn
	n.rn, n.sn = nil, nil
	n.mu.Unlock()
	c.world.Crash(n.name, policy)
	if sn != nil {
		_ = sn.Close()
		_ = rn.Close()
	}
}

// found starts all nodes, founds the cluster with the first and lets the others join.
func (c *cluster) found(ctx context.Context) error {
	for i, n := range c.nodes {
		if err := c.start(n); err != nil {
			return err
		}
		var err error
		if i == 0 {
			err = n.shard().Init(ctx, shard.InitOptions{
				Groups: c.opt.Groups, Replicas: min(3, c.opt.Nodes|1), MaxMemory: c.opt.MaxMemory, Policy: c.opt.Policy.String(),
			})
		} else {
			err = n.shard().Join(ctx, []string{c.nodes[0].addr})
		}
		if err != nil {
			return fmt.Errorf("sim: found: %s: %w", n.name, err)
		}
	}
	return c.healthy(ctx)
}

// healthy waits until every node is up and every group is complete.
func (c *cluster) healthy(ctx context.Context) error {
	var last shard.Status
	for {
		if sn := c.nodes[0].shard(); sn != nil {
			s, err := sn.Status(ctx)
			if err == nil && s.Cluster.Health == shard.HealthOK && len(s.Nodes) == len(c.nodes) && c.ready() {
				return nil
			}
			last = s
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sim: no health: %w: %+v", ctx.Err(), last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ready tells whether every node is up and says that it has caught up.
func (c *cluster) ready() bool {
	for _, n := range c.nodes {
		if sn := n.shard(); sn == nil || sn.Ready() != nil {
			return false
		}
	}
	return true
}

// close ends the world and joins every goroutine of every node.
func (c *cluster) close() {
	for _, n := range c.nodes {
		c.stop(n)
	}
	c.world.Close()
}

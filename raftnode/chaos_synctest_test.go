// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

// chaosSeeds is how many runs TestChaos makes; KVORUM_CHAOS asks for another number.
const chaosSeeds = 3

// TestChaos: clients that each count up a key of their own, and readers of all keys, while nodes crash
// and come back, links are cut, stalled and slowed, leaders are moved, and snapshots cut the logs. A
// read must see at least what was acknowledged before it began and at most what was ever tried. At the
// end all is healed, everything acknowledged is there, and the replicas are equal.
func TestChaos(t *testing.T) {
	seeds := chaosSeeds
	if n, err := strconv.Atoi(os.Getenv("KVORUM_CHAOS")); err == nil {
		seeds = n
	}
	var writes, reads, unknown atomic.Int64
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			inWorld(t, func(b *bench) {
				c := &chaos{bench: b, rng: rand.New(rand.NewPCG(uint64(seed), 1)), names: []string{"n1", "n2", "n3"}}
				c.run()
				writes.Add(c.writes.Load())
				reads.Add(c.reads.Load())
				unknown.Add(c.unknown.Load())
			})
		})
	}
	t.Logf("%d writes, %d reads, %d unknown", writes.Load(), reads.Load(), unknown.Load())
	if int(writes.Load()) < 200*seeds || int(reads.Load()) < 200*seeds {
		t.Error("too little got through to show anything")
	}
}

type chaos struct {
	*bench
	rng                    *rand.Rand // the nemesis' own
	names                  []string
	keys                   [6]struct{ acked, tried atomic.Int64 }
	stop                   chan struct{}
	writes, reads, unknown atomic.Int64
}

const chaosTime = 30 * time.Second

func (c *chaos) run() {
	c.cfg = func(_ string, cfg *Config) { cfg.SnapshotLogBytes = 64 << 10 }
	c.cluster(c.names...)
	c.stop = make(chan struct{})
	var wg sync.WaitGroup
	for k := range c.keys {
		wg.Go(func() { c.writer(k) })
		wg.Go(func() { c.reader(k) })
	}
	for end := time.Now().Add(chaosTime); time.Now().Before(end); {
		c.sleep(time.Duration(20+c.rng.IntN(600)) * time.Millisecond)
		c.fault()
	}
	c.world.HealAll()
	for _, name := range c.names {
		if n := c.current(name); n.dead.Load() {
			c.reopen(name, replicaOf(name))
		}
	}
	c.write("healed", "1")
	close(c.stop)
	wg.Wait()
	c.converged()
	for k := range c.keys {
		got, _ := strconv.ParseInt(head(c.leader().local(fmt.Sprint("key", k))), 10, 64)
		if acked := c.keys[k].acked.Load(); got < acked {
			c.t.Errorf("key%d is %d, %d was acknowledged", k, got, acked)
		}
	}
}

func (c *chaos) current(name string) *testNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[name]
}

// head is the number in front of a value's padding.
func head(value string) string {
	n, _, _ := strings.Cut(value, " ")
	return n
}

func (c *chaos) over() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

func (c *chaos) writer(k int) {
	key := fmt.Sprint("key", k)
	pad := strings.Repeat("x", 50+k*300)
	for i := int64(1); !c.over(); i++ {
		n := c.current(c.names[int(i)%len(c.names)])
		c.keys[k].tried.Store(i)
		err := n.set(key, fmt.Sprint(i, " ", pad))
		switch {
		case err == nil:
			c.keys[k].acked.Store(i)
			c.writes.Add(1)
		case !IsNotApplied(err):
			c.unknown.Add(1)
		}
		c.sleep(time.Duration(1+k) * time.Millisecond)
	}
}

func (c *chaos) reader(k int) {
	key := fmt.Sprint("key", k)
	for i := 0; !c.over(); i++ {
		n := c.current(c.names[i%len(c.names)])
		least := c.keys[k].acked.Load()
		ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
		value, err := n.get(ctx, key)
		cancel()
		if err == nil {
			got, _ := strconv.ParseInt(head(value), 10, 64)
			if got < least || got > c.keys[k].tried.Load() {
				c.t.Errorf("%s read %d from %s: %d was acknowledged before", key, got, n.name, least)
			}
			c.reads.Add(1)
		}
		c.sleep(time.Duration(1+k) * time.Millisecond)
	}
}

// fault does one bad or good thing.
func (c *chaos) fault() {
	a, b := c.names[c.rng.IntN(3)], c.names[c.rng.IntN(3)]
	n := c.current(a)
	switch c.rng.IntN(10) {
	case 0, 1:
		if n.dead.Load() {
			c.reopen(a, replicaOf(a))
			return
		}
		n.dead.Store(true)
		c.world.Crash(a, host.CrashPolicy{Survive: c.rng.Float64()})
		_ = n.node.Close()
	case 2:
		if a != b {
			c.world.Cut(a, b)
		}
	case 3:
		for _, o := range c.names {
			if o != a {
				c.world.Isolate(a, o)
			}
		}
	case 4:
		if a != b {
			c.world.SetDelay(a, b, time.Duration(c.rng.IntN(20))*time.Millisecond, time.Duration(c.rng.IntN(20))*time.Millisecond)
		}
	case 5, 6:
		c.world.HealAll()
	case 7:
		if !n.dead.Load() {
			ctx, cancel := context.WithTimeout(c.t.Context(), time.Second)
			_ = n.group.Transfer(ctx, c.current(b).node.ID())
			cancel()
		}
	case 8:
		c.world.ResetConns(a, b)
	case 9:
		c.world.FS(a).SetSyncDelay(time.Duration(c.rng.IntN(30)) * time.Millisecond)
	}
	for _, name := range c.names {
		if c.current(name).dead.Load() && c.rng.IntN(2) == 0 {
			c.reopen(name, replicaOf(name))
		}
	}
}

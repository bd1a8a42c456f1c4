// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/shard"
)

// TestRestoredClock: death is final behind a snapshot too. More keys die at once than one entry removes, every
// node takes a snapshot with dead keys in it, and starts again from it with a clock on the wall that is a minute slow.
func TestRestoredClock(t *testing.T) {
	if err := restoredClock(t, 900); err != nil {
		t.Error(err)
	}
}

const (
	mortals   = 2000 // several times what one entry removes
	mortalTTL = 10 * time.Second
	longTTL   = 10 * time.Minute
)

func restoredClock(t *testing.T, seed uint64) (err error) {
	synctest.Test(t, func(*testing.T) {
		var mu sync.Mutex
		var fatal error
		c := newCluster(Options{Seed: seed, Nodes: 3, Groups: 1, SnapshotLogBytes: 64 << 20}, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			fatal = errors.Join(fatal, err)
		})
		defer c.close()
		ctx, cancel := context.WithTimeout(context.Background(), foundTime+healTime)
		defer cancel()
		if err = c.found(ctx); err == nil {
			err = diesOnce(ctx, c)
		}
		mu.Lock()
		defer mu.Unlock()
		err = errors.Join(err, fatal)
	})
	return err
}

func diesOnce(ctx context.Context, c *cluster) error {
	do := func(words ...string) (fsm.Result, error) {
		r, out := c.nodes[0].router(), make([]shard.Reply, 1)
		r.Do(ctx, &shard.Caller{Protocol: "internal", Timeout: opTimeout}, []fsm.Command{parse(r.Table(), words...)}, out)
		if out[0].Err == nil && out[0].Result.IsError() {
			return out[0].Result, errors.New(string(out[0].Result.Str))
		}
		return out[0].Result, out[0].Err
	}
	key := func(i int) string { return "mortal-" + strconv.Itoa(i) }
	if _, err := do("SET", "long", "x", "PX", strconv.FormatInt(longTTL.Milliseconds(), 10)); err != nil {
		return err
	}
	at := strconv.FormatInt(c.world.Host(c.nodes[0].name).Wall.Now().Add(mortalTTL).UnixMilli(), 10)
	for i := range mortals {
		if _, err := do("SET", key(i), "x", "PXAT", at); err != nil {
			return err
		}
	}
	for {
		res, err := do("GET", key(0))
		if err != nil {
			return err
		}
		if res.Kind == fsm.KindNull {
			break
		}
		pause(ctx, 5*time.Millisecond)
	}
	left, err := do("PTTL", "long")
	if err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.shard().Snapshot(ctx); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		c.kill(n, host.CrashPolicy{ProcessOnly: true})
		c.world.SetWallOffset(n.name, -time.Minute)
	}
	for _, n := range c.nodes {
		if err := c.start(n); err != nil {
			return err
		}
	}
	if err := c.healthy(ctx); err != nil {
		return err
	}
	for i := range mortals {
		if res, err := do("GET", key(i)); err != nil {
			return err
		} else if res.Kind != fsm.KindNull {
			return fmt.Errorf("sim: %s was dead before the nodes started from their snapshots, and lives again", key(i))
		}
	}
	now, err := do("PTTL", "long")
	if err == nil && (now.Int <= 0 || now.Int > left.Int) {
		err = fmt.Errorf("sim: a key had %d ms left before the nodes started again, and now %d", left.Int, now.Int)
	}
	return err
}

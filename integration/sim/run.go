// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/integration/check"
	"github.com/kvorum/kvorum/integration/history"
	"github.com/kvorum/kvorum/shard"
)

const (
	foundTime = 2 * time.Minute
	// healTime bounds recovery after the last fault, in virtual time.
	healTime = 2 * time.Minute
	// checkTime bounds the register checker per key, in real time.
	checkTime = 20 * time.Second
	// minOK is the least number of acknowledged operations a run must have to prove anything.
	minOK = 50
)

// Report is what a run found.
type Report struct {
	Options Options
	Ops     []history.Op
	Faults  map[string]int
	// Saves counts those that succeeded.
	Saves int
	// Audits counts the pairs of replicas that were compared at one entry while the load ran.
	Audits int
	// Crowd is what the workload under a memory limit did.
	Crowd    crowdCount
	Findings []string
	// drained: the queues were popped empty after all else.
	drained bool
}

// Failed tells whether anything was found.
func (r *Report) Failed() bool { return len(r.Findings) > 0 }

func (r *Report) String() string {
	ok, unknown := 0, 0
	for i := range r.Ops {
		switch r.Ops[i].Out {
		case history.OK:
			ok++
		case history.Unknown:
			unknown++
		}
	}
	return fmt.Sprintf("seed %d: %d operations, %d ok, %d unknown, %d saves, %d audits, %s %+v, faults %v, findings: %s",
		r.Options.Seed, len(r.Ops), ok, unknown, r.Saves, r.Audits, r.Options.Policy, r.Crowd, r.Faults, strings.Join(r.Findings, "; "))
}

// Run plays one seed. The checkers run behind the bubble, in real time.
func Run(t *testing.T, opt Options) *Report {
	t.Helper()
	rep := &Report{Options: opt}
	synctest.Test(t, func(*testing.T) { rep.play() })
	rep.judge()
	return rep
}

func (r *Report) find(format string, args ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
}

// play is the run inside the bubble.
func (r *Report) play() {
	var mu sync.Mutex
	c := newCluster(r.Options, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		r.find("%v", err)
	})
	defer c.close()
	ctx, cancel := context.WithTimeout(context.Background(), foundTime)
	err := c.found(ctx)
	cancel()
	if err != nil {
		r.find("%v", err)
		return
	}
	l, m := newLoad(c, r.Options), newNemesis(c, r.Options)
	ctx, cancel = context.WithTimeout(context.Background(), r.Options.Load)
	var wg sync.WaitGroup
	wg.Go(func() { l.run(ctx) })
	err = m.run(ctx)
	cancel()
	wg.Wait()
	r.Faults = m.count
	if err == nil {
		err = r.settle(c, l)
	}
	if err != nil {
		r.find("%v", err)
	}
	r.Ops, r.Saves, r.Audits, r.Crowd = l.rec.Ops(), l.saves, l.audits, l.crowded
}

// settle is the liveness part: after the last fault the cluster heals, takes writes on every group,
// answers the final reads and agrees with itself.
func (r *Report) settle(c *cluster, l *load) error {
	ctx, cancel := context.WithTimeout(context.Background(), healTime)
	defer cancel()
	if err := c.healthy(ctx); err != nil {
		return err
	}
	for key := range history.ByKey(l.rec.Ops()) {
		if key[0] == 'e' || key[0] == 'q' {
			continue // a crowd: its replicas' digests say it all; a queue: popped below
		}
		f := history.Read
		if key[0] == 'l' {
			f = history.ReadList
		}
		for i, n := range c.nodes {
			op := history.Op{Client: 1 << 20 * (i + 1), Key: key, Func: f}
			l.execute(ctx, n, &op)
			if op.Out != history.OK {
				return fmt.Errorf("sim: final read of %s through %s: %s", key, n.name, op.Err)
			}
			l.rec.Record(op)
		}
	}
	if err := l.makeRoom(ctx); err != nil {
		return err
	}
	if err := l.drainQueues(ctx); err != nil {
		return err
	}
	r.drained = true
	if err := r.clocks(ctx, c); err != nil {
		return err
	}
	if err := l.withinLimit(ctx); err != nil {
		return err
	}
	if err := r.agree(ctx, c); err != nil {
		return err
	}
	if r.Options.SaveGap > 0 && l.save(ctx, c.nodes[0]) == nil {
		return errors.New("sim: no save of a cluster that is well")
	}
	return nil
}

// clocks checks that no group's log clock has run ahead of every node's time of day, give or take what the
// faults shifted that: a key that is to live for a minute must be there, and have a minute left.
func (r *Report) clocks(ctx context.Context, c *cluster) error {
	const life, slack = time.Minute, 15 * time.Second
	router := c.nodes[0].router()
	table := router.Table()
	do := func(args ...string) *shard.Reply {
		out := make([]shard.Reply, 1)
		router.Do(ctx, &shard.Caller{Protocol: "internal", Timeout: opTimeout}, []fsm.Command{parse(table, args...)}, out)
		return &out[0]
	}
	for i := range 8 * r.Options.Groups { // groups are met by chance, each surely enough
		key := fmt.Sprintf("clock-%d", i)
		at := c.world.Host(c.nodes[0].name).Wall.Now().Add(life).UnixMilli()
		if rep := do("SET", key, "x", "PXAT", strconv.FormatInt(at, 10)); rep.Err != nil || rep.Result.IsError() {
			return fmt.Errorf("sim: a key with a deadline: %s, %w", rep.Result.Str, rep.Err)
		}
		rep := do("PTTL", key)
		if rep.Err != nil {
			return fmt.Errorf("sim: PTTL: %w", rep.Err)
		}
		if left := time.Duration(rep.Result.Int) * time.Millisecond; left < life-slack || left > life+slack {
			return fmt.Errorf("sim: a key that is to live for %v has %v left by its group's clock", life, left)
		}
	}
	return nil
}

// agree compares the digests of all replicas until they are equal at one applied index.
func (r *Report) agree(ctx context.Context, c *cluster) error {
	var last []shard.ReplicaDigest
	for {
		digests, err := c.nodes[0].shard().Digest(ctx)
		if err == nil {
			last = digests
			same, _, bad := compareDigests(digests, len(c.nodes)*r.Options.Groups)
			if bad != nil {
				return bad
			}
			if same {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sim: replicas never met at one index: %w: %v", errors.Join(ctx.Err(), err), last)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// judge runs the checkers.
func (r *Report) judge() {
	for _, a := range check.ListAppend(opsOf(r.Ops, 'l')) {
		r.find("%v", a)
	}
	for _, a := range check.Queues(opsOf(r.Ops, 'q'), tagOfQueue, r.drained) {
		r.find("%v", a)
	}
	for _, a := range check.Registers(opsOf(r.Ops, 'r'), checkTime) {
		r.find("%v", a)
	}
	for _, a := range check.Registers(opsOf(r.Ops, 'c'), checkTime) {
		r.find("%v", a)
	}
	for _, a := range check.Death(append(opsOf(r.Ops, 't'), opsOf(r.Ops, 'e')...)) {
		r.find("%v", a)
	}
	ok := 0
	for i := range r.Ops {
		if op := &r.Ops[i]; op.Out == history.OK && (op.Func != history.Pop || op.Found) {
			ok++
		}
	}
	if ok < minOK && !r.Failed() {
		r.find("only %d operations succeeded: the run proves nothing", ok)
	}
}

// opsOf picks the operations of one workload by the first letter of their keys.
func opsOf(ops []history.Op, kind byte) (out []history.Op) {
	for _, op := range ops {
		if op.Key[0] == kind {
			out = append(out, op)
		}
	}
	return out
}

// compareDigests says whether every replica of every group stands at one index with one digest, and how many
// replicas were compared with another; bad is the proof that two replicas differ at the same index.
func compareDigests(digests []shard.ReplicaDigest, want int) (same bool, pairs int, bad error) {
	type entry struct {
		group   uint32
		applied uint64
	}
	at, groups := map[entry]shard.ReplicaDigest{}, map[uint32]bool{}
	for _, d := range digests {
		e := entry{d.Group, d.Applied}
		o, seen := at[e]
		if !seen {
			at[e], groups[d.Group] = d, true
			continue
		}
		pairs++
		if o.Digest != d.Digest {
			return false, pairs, fmt.Errorf("sim: group %d at index %d: node %s has digest %s, node %s has %s", d.Group, d.Applied, o.Node, o.Digest, d.Node, d.Digest)
		}
	}
	return len(digests) >= want && len(at) == len(groups), pairs, nil
}

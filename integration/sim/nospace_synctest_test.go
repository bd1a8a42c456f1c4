// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host/racing"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/store"
)

const (
	// roomLeft is less than the disk reserve of the bench, and enough to append for a while.
	roomLeft = 100_000
	fillSize = 4000
	noRoom   = time.Minute // bounds each wait, in virtual time
)

// ledger is what clients know while disks fill up: the value of each key, as far as it is known.
type ledger struct {
	t *testing.T
	c *cluster

	mu sync.Mutex
	// known is the value last acknowledged, "" for none; maybe are those of unknown outcome: any of
	// them may still come.
	known map[string]string
	maybe map[string][]string
	ok    int
}

// inSpace runs f on a founded cluster in a bubble. Any fatal event fails the test.
func inSpace(t *testing.T, opt Options, f func(l *ledger)) {
	t.Helper()
	if *logFlag {
		opt.Log = os.Stderr
	}
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(opt, func(err error) { t.Errorf("a node wants to stop: %v", err) })
		defer c.close()
		ctx, cancel := context.WithTimeout(t.Context(), foundTime)
		defer cancel()
		if err := c.found(ctx); err != nil {
			t.Fatal(err)
		}
		f(&ledger{t: t, c: c, known: map[string]string{}, maybe: map[string][]string{}})
	})
}

func spaceOptions(seed uint64) Options {
	return Options{Seed: seed, Nodes: 3, Groups: 2, SnapshotLogBytes: 512 << 10}
}

// do runs one command through a node.
func (l *ledger) do(n *node, words ...string) (fsm.Result, *shard.Error) {
	r := n.router()
	spec, ok := r.Table().Lookup([]byte(words[0]))
	if !ok {
		panic("no command " + words[0])
	}
	cmd := fsm.Command{Op: spec.Op}
	for _, w := range words[1:] {
		cmd.Args = append(cmd.Args, []byte(w))
	}
	out := make([]shard.Reply, 1)
	r.Do(context.Background(), &shard.Caller{Protocol: "internal", Timeout: opTimeout}, []fsm.Command{cmd}, out)
	if out[0].Err == nil {
		return out[0].Result, nil
	}
	e, ok := errors.AsType[*shard.Error](out[0].Err)
	if !ok {
		l.t.Errorf("%s: an error without a kind: %v", words[0], out[0].Err)
		e = &shard.Error{Kind: shard.KindUnknown, Err: out[0].Err}
	}
	return out[0].Result, e
}

// write sets or, with "", deletes a key and keeps the books. Keys belong to one goroutine at a time.
func (l *ledger) write(n *node, key, value string) *shard.Error {
	words := []string{"SET", key, value}
	if value == "" {
		words = []string{"DEL", key}
	}
	res, err := l.do(n, words...)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && res.IsError():
		l.t.Errorf("%s %s: %s", words[0], key, res.Str)
	case err == nil:
		l.ok++
		l.known[key] = value
	case !err.NotApplied():
		l.known[key] += "" // a key of unknown outcome is looked at too
		l.maybe[key] = append(l.maybe[key], value)
	}
	return err
}

// check reads every key through a node.
func (l *ledger) check(n *node) {
	l.t.Helper()
	l.mu.Lock()
	known, maybe := maps.Clone(l.known), maps.Clone(l.maybe)
	l.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(known)) {
		res, err := l.do(n, "GET", key)
		if err != nil {
			l.t.Fatalf("GET %s through %s: %v", key, n.name, err)
		}
		if got := string(res.Str); got != known[key] && !slices.Contains(maybe[key], got) {
			l.t.Fatalf("GET %s through %s: %.30q of %d bytes, want %.30q", key, n.name, got, len(got), known[key])
		}
	}
}

// fill sets count keys named by prefix, spread over the nodes, and gives the kinds of refusal.
func (l *ledger) fill(prefix string, count int) map[shard.Kind]int {
	kinds := map[shard.Kind]int{}
	for i := range count {
		key := fmt.Sprintf("%s-%d", prefix, i)
		if err := l.write(l.c.nodes[i%len(l.c.nodes)], key, key+strings.Repeat(".", fillSize)); err != nil {
			kinds[err.Kind]++
		}
	}
	return kinds
}

// until polls a condition.
func (l *ledger) until(what string, ok func() bool) {
	l.t.Helper()
	for deadline := time.Now().Add(noRoom); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// squeeze leaves a node so many bytes of disk space; free gives it all it wants.
func (l *ledger) squeeze(n *node, room int64) {
	fs := l.c.world.FS(n.name)
	fs.SetQuota(fs.Used() + room)
}

func (l *ledger) free(n *node) { l.c.world.FS(n.name).SetQuota(0) }

// groupKeys names a key of every data group.
func (l *ledger) groupKeys(prefix string) map[uint32]string {
	m := l.c.nodes[0].router().SlotMap()
	keys := map[uint32]string{}
	for i := 0; len(keys) < len(m.Groups); i++ {
		key := fmt.Sprintf("%s-%d", prefix, i)
		if g := m.Owner(store.SlotOf([]byte(key))); keys[g] == "" {
			keys[g] = key
		}
	}
	return keys
}

// restored waits until every group takes growing writes again, through every node, and compares all
// that was acknowledged.
func (l *ledger) restored() {
	l.t.Helper()
	for g, key := range l.groupKeys("restored") {
		for _, n := range l.c.nodes {
			l.until(fmt.Sprintf("group %d to take writes through %s", g, n.name), func() bool { return l.write(n, key, "yes"+n.name) == nil })
		}
	}
	if kinds := l.fill("after", 100); len(kinds) > 0 {
		l.t.Errorf("refused after space was there again: %v", kinds)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), healTime)
	defer cancel()
	if err := l.c.healthy(ctx); err != nil {
		l.t.Fatal(err)
	}
	for _, n := range l.c.nodes {
		l.check(n)
	}
	if err := (&Report{Options: l.c.opt}).agree(ctx, l.c); err != nil {
		l.t.Fatal(err)
	}
}

// status is the cluster's, from a node.
func (l *ledger) status() shard.Status {
	l.t.Helper()
	s, err := l.c.nodes[0].shard().Status(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// deletes removes count keys of a fill through all nodes; each must work on a full disk.
func (l *ledger) deletes(prefix string, from, count int) {
	l.t.Helper()
	for i := from; i < from+count; i++ {
		if err := l.write(l.c.nodes[i%len(l.c.nodes)], fmt.Sprintf("%s-%d", prefix, i), ""); err != nil {
			l.t.Fatalf("DEL of %s-%d on a full disk: %v", prefix, i, err)
		}
	}
}

// TestNoSpaceOneNode: the disk of one node fills up under load, whichever node it is. The others go on,
// what is refused is refused as not applied, and everything is as before when there is space.
func TestNoSpaceOneNode(t *testing.T) {
	for victim := range 3 {
		t.Run("n"+strconv.Itoa(victim), func(t *testing.T) {
			inSpace(t, spaceOptions(uint64(100+victim)), func(l *ledger) {
				l.fill("before", 100)
				full := l.c.nodes[victim]
				l.squeeze(full, roomLeft)
				kinds := l.fill("during", 600)
				// A victim that leads one of the two groups refuses what grows there: about half of them.
				if l.ok < 340 {
					t.Errorf("only %d writes succeeded beside one full disk: %v", l.ok, kinds)
				}
				for _, n := range l.c.nodes {
					l.check(n)
				}
				l.deletes("before", 0, 50)
				l.free(full)
				l.restored()
			})
		})
	}
}

// TestNoSpaceAllNodes: the disks of all nodes are full. Growing writes are refused as not applied, reads
// and deletes work through every node, a leader can be elected, and freed space restores writes.
func TestNoSpaceAllNodes(t *testing.T) {
	inSpace(t, spaceOptions(200), func(l *ledger) {
		l.fill("before", 200)
		for _, n := range l.c.nodes {
			l.squeeze(n, roomLeft)
		}
		l.until("every group to refuse", func() bool {
			for _, key := range l.groupKeys("filler") {
				if err := l.write(l.c.nodes[1], key, strings.Repeat("x", fillSize)); err == nil || err.Kind != shard.KindNoSpace {
					return false
				}
			}
			return true
		})
		if kinds := l.fill("refused", 30); kinds[shard.KindNoSpace] != 30 {
			t.Errorf("growing writes on full disks: %v", kinds)
		}
		warned := false
		for _, w := range l.status().Warnings {
			warned = warned || strings.Contains(w.Text, "disk space")
		}
		if !warned {
			t.Errorf("status warns of nothing: %+v", l.status().Warnings)
		}
		for _, n := range l.c.nodes {
			l.check(n)
		}
		l.deletes("before", 0, 60)
		l.elections()
		l.deletes("before", 60, 40)
		for _, n := range l.c.nodes {
			l.check(n)
			l.free(n)
		}
		l.restored()
	})
}

// TestNoSpaceDeletesUnderLoad: on full disks deletes get through although every other command beside
// them would grow the data and is refused. Without any room left there is that of the reserve file.
func TestNoSpaceDeletesUnderLoad(t *testing.T) {
	for seed, room := range map[uint64]int64{300: roomLeft, 301: roomLeft, 302: 0, 303: 0} {
		t.Run(fmt.Sprintf("%d bytes left, seed %d", room, seed), func(t *testing.T) {
			inSpace(t, spaceOptions(seed), func(l *ledger) { l.deleteUnderLoad(room) })
		})
	}
}

func (l *ledger) deleteUnderLoad(room int64) {
	l.fill("before", 120)
	for _, n := range l.c.nodes {
		l.squeeze(n, room)
	}
	l.until("refusals", func() bool {
		err := l.write(l.c.nodes[0], "filler", strings.Repeat("x", fillSize))
		return err != nil && err.Kind == shard.KindNoSpace
	})
	ctx, cancel := context.WithCancel(l.t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i := range 24 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := l.write(l.c.nodes[i%3], fmt.Sprintf("load-%d", i), "x"); err != nil && !err.NotApplied() {
					l.t.Errorf("a refused write of unknown outcome: %v", err)
				}
				pause(ctx, time.Millisecond)
			}
		})
	}
	began := time.Now()
	l.deletes("before", 0, 100)
	cancel()
	wg.Wait()
	if took := time.Since(began); took > 20*time.Second {
		l.t.Errorf("100 deletes took %v among refused writes", took)
	}
	for _, n := range l.c.nodes {
		l.free(n)
	}
	l.restored()
}

// elections cuts each node off for a while: its groups find another leader, whose vote fits on a full
// disk, and are read.
func (l *ledger) elections() {
	l.t.Helper()
	for i, n := range l.c.nodes {
		for _, other := range l.c.nodes {
			if other != n {
				l.c.world.Isolate(n.name, other.name)
			}
		}
		time.Sleep(5 * time.Second)
		l.check(l.c.nodes[(i+1)%len(l.c.nodes)])
		l.c.world.HealAll()
		l.until("all nodes to be ready", l.c.ready)
	}
}

// TestNoSpaceHistories: disks that fill and empty at random under the bench's own clients. Histories
// stay linearizable, no acknowledged write is lost, and in the end all replicas are equal.
func TestNoSpaceHistories(t *testing.T) {
	for i := range racing.Fewer(4, 2) {
		seed := 400 + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			opt := Options{Seed: seed, Nodes: 3, Groups: 2, Load: 20 * time.Second, Clients: 3, Keys: 4, SnapshotLogBytes: 32 << 10}
			rep := &Report{Options: opt}
			inSpace(t, opt, func(l *ledger) {
				load := newLoad(l.c, opt)
				ctx, cancel := context.WithTimeout(l.t.Context(), opt.Load)
				defer cancel()
				var wg sync.WaitGroup
				wg.Go(func() { load.run(ctx) })
				wg.Go(func() { l.press(ctx) })
				squeezes := l.squeezeAtRandom(ctx, rand.New(rand.NewPCG(seed, 9)))
				wg.Wait()
				for _, n := range l.c.nodes {
					l.free(n)
				}
				if err := rep.settle(l.c, load); err != nil {
					l.t.Error(err)
				}
				l.check(l.c.nodes[0])
				rep.Ops, rep.Faults = load.rec.Ops(), map[string]int{"squeeze": squeezes}
			})
			rep.judge()
			t.Log(rep)
			if rep.Failed() {
				t.Error(rep.Findings)
			}
		})
	}
}

// press writes large values over and over, so that logs meet the end of the disk.
func (l *ledger) press(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		l.write(l.c.nodes[i%len(l.c.nodes)], fmt.Sprintf("press-%d", i%50), strconv.Itoa(i)+strings.Repeat(".", fillSize))
		pause(ctx, time.Millisecond)
	}
}

// squeezeAtRandom leaves one node, or all, between nothing and the bench's disk reserve, and frees some.
func (l *ledger) squeezeAtRandom(ctx context.Context, rng *rand.Rand) (count int) {
	for ; ctx.Err() == nil; count++ {
		for _, n := range l.c.nodes {
			switch rng.IntN(4) {
			case 0:
				l.squeeze(n, 0)
			case 1:
				l.squeeze(n, rng.Int64N(8<<10))
			case 2:
				l.squeeze(n, rng.Int64N(1<<20))
			default:
				l.free(n)
			}
		}
		pause(ctx, time.Duration(100+rng.IntN(2000))*time.Millisecond)
	}
	return count
}

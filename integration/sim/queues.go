// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/integration/history"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/store"
)

const (
	// queueClients push and pop, queueTags are the hashtags of their keys, each of which has two keys.
	queueClients = 3
	queueTags    = 2
	// wakeTime is the longest that a client of a cluster that is well waits for an element that is there.
	wakeTime = 5 * time.Second
	// wakeRounds is how often that is tried at each node with each tag.
	wakeRounds = 5
)

// queues tells whether a run has them: a policy that may evict any key would take elements away.
func (l *load) queues() bool {
	return l.opt.MaxMemory == 0 || l.opt.Policy.Volatile() || l.opt.Policy == store.NoEviction
}

// tagOfQueue is what the two keys of a tag have in common.
func tagOfQueue(key string) string { tag, _, _ := strings.Cut(key, "}"); return tag }

func queueKeys(tag int) (a, b string) { return fmt.Sprintf("q{%d}a", tag), fmt.Sprintf("q{%d}b", tag) }

// queueClient pushes elements and takes what it is given, blocked while there is nothing.
func (l *load) queueClient(ctx context.Context, id int, rng *rand.Rand) {
	for ctx.Err() == nil {
		pause(ctx, time.Duration(1+rng.IntN(40))*time.Millisecond)
		a, b := queueKeys(rng.IntN(queueTags))
		n := l.c.nodes[rng.IntN(len(l.c.nodes))]
		if rng.IntN(2) == 0 {
			key := a
			if rng.IntN(3) == 0 {
				key = b
			}
			l.pushOne(ctx, n, id, key)
		} else {
			op := history.Op{Client: id, Key: a, Func: history.Pop, Node: n.name, Call: l.rec.Now()}
			l.pop(ctx, n, &op, time.Duration(rng.IntN(1500))*time.Millisecond, "BLPOP", a, b, "0")
			l.rec.Record(op)
		}
	}
}

func (l *load) pushOne(ctx context.Context, n *node, client int, key string) history.Op {
	l.mu.Lock()
	l.nextVal++
	op := history.Op{Client: client, Key: key, Func: history.Append, Arg: "v" + strconv.Itoa(l.nextVal)}
	l.mu.Unlock()
	l.execute(ctx, n, &op)
	l.rec.Record(op)
	return op
}

// pop runs a blocking command as an edge does, and gives up after a time. What it was given, or that it was given
// nothing, is in op.
func (l *load) pop(ctx context.Context, n *node, op *history.Op, patience time.Duration, words ...string) {
	defer func() { op.Return = l.rec.Now() }()
	r := n.router()
	if r == nil {
		op.Out, op.Err = history.Fail, "node is down"
		return
	}
	cmd := parse(r.Table(), words...)
	spec := r.Table().Spec(cmd.Op)
	if l.popped(ctx, r, op, cmd) {
		return
	}
	w, _ := spec.WaitOf(cmd.Args)
	woken := make(chan struct{}, 1)
	waiting, err := r.Wait(w, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	if err != nil {
		op.Out, op.Err = history.Fail, err.Error()
		return
	}
	defer waiting.End()
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		key, ready, err := waiting.Ready()
		switch {
		case err != nil:
			op.Out, op.Err = history.Fail, err.Error()
			return
		case ready:
			try := cmd
			if key >= 0 {
				try = spec.TryOf(cmd.Args, key)
			}
			if l.popped(ctx, r, op, try) {
				return
			}
			waiting.Again()
			continue
		}
		select {
		case <-woken:
		case <-over.C:
			op.Out = history.OK
			return
		case <-ctx.Done():
			op.Out = history.OK
			return
		}
	}
}

// popped runs one try, and tells whether that ends the command.
func (l *load) popped(ctx context.Context, r *shard.Router, op *history.Op, cmd fsm.Command) bool {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	res, ok := send(ctx, r, op, cmd)
	switch {
	case !ok: // op has the outcome
	case res.IsError():
		op.Out, op.Err = history.Fail, string(res.Str)
	case len(res.Elems) == 2:
		key := res.Elems[0].Str
		if !slices.ContainsFunc(cmd.Args[:len(cmd.Args)-1], func(asked []byte) bool { return string(asked) == string(key) }) {
			l.c.fatal(fmt.Errorf("sim: a pop from %s was given something from %q", op.Key, key))
			op.Out, op.Err = history.Unknown, "another command's reply"
			return true
		}
		op.Out, op.Found, op.Key, op.Value = history.OK, true, string(key), string(res.Elems[1].Str)
	default:
		return false
	}
	return true
}

// drainQueues takes all that is left, and then has a client at every node wait for an element that comes through
// another one.
func (l *load) drainQueues(ctx context.Context) error {
	if !l.queues() {
		return nil
	}
	rng := rand.New(rand.NewPCG(l.opt.Seed, 899))
	for tag := range queueTags {
		a, b := queueKeys(tag)
		for {
			op := history.Op{Client: 1 << 20, Key: a, Func: history.Pop, Call: l.rec.Now()}
			l.pop(ctx, l.c.nodes[0], &op, 0, "BLPOP", a, b, "0")
			l.rec.Record(op)
			if op.Out != history.OK {
				return fmt.Errorf("sim: %s is not popped empty: %s", a, op.Err)
			}
			if !op.Found {
				break
			}
		}
		for round := range wakeRounds * len(l.c.nodes) {
			if err := l.wake(ctx, round%len(l.c.nodes), time.Duration(rng.IntN(5000))*time.Microsecond, a, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// wake has a client wait at node i, and pushes an element so long after it began: it may have found nothing by then,
// and not be known to the leader yet.
func (l *load) wake(ctx context.Context, i int, after time.Duration, a, b string) error {
	op := history.Op{Client: 1<<20 + i, Key: a, Func: history.Pop, Call: l.rec.Now()}
	done := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		l.pop(ctx, l.c.nodes[i], &op, 2*wakeTime, "BLPOP", a, b, "0")
	}()
	pause(ctx, after)
	push := l.pushOne(ctx, l.c.nodes[(i+1)%len(l.c.nodes)], 1<<20, b)
	<-done
	l.rec.Record(op)
	switch took := time.Since(began); {
	case push.Out != history.OK:
		return fmt.Errorf("sim: %s is not pushed to: %s", b, push.Err)
	case op.Out != history.OK:
		return fmt.Errorf("sim: a client waits at %s: %w", b, errors.New(op.Err))
	case !op.Found || op.Value != push.Arg || took > wakeTime:
		return fmt.Errorf("sim: a client at %s waited %v for %s and was given %q", l.c.nodes[i].name, took, b, op.Value)
	}
	return nil
}

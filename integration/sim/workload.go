// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/integration/history"
	"github.com/kvorum/kvorum/shard"
)

const (
	// opsPerKey bounds a key's history: checking a register is exponential in the worst case.
	opsPerKey = 200
	// unknownsPerKey retires a key early for the same reason.
	unknownsPerKey = 4
	opTimeout      = 3 * time.Second
)

// load is the clients' side of a run.
type load struct {
	c   *cluster
	rec *history.Recorder
	opt Options

	mu      sync.Mutex
	keys    map[string]*liveKey // by slot of the workload: "r0", "l3" …
	nextVal int
	saves   int
	audits  int
	crowded crowdCount
}

// liveKey is a key in use; a retired one is replaced by the next generation.
type liveKey struct {
	gen, ops, unknown int
}

func newLoad(c *cluster, opt Options) *load {
	return &load{c: c, rec: history.NewRecorder(), opt: opt, keys: map[string]*liveKey{}}
}

// run drives all clients until ctx ends.
func (l *load) run(ctx context.Context) {
	var wg sync.WaitGroup
	for i := range kinds * l.opt.Clients {
		rng := rand.New(rand.NewPCG(l.opt.Seed, uint64(1000+i)))
		if l.inCrowd(i) {
			wg.Go(func() { newCrowd(l, i, rng).run(ctx) })
			continue
		}
		wg.Go(func() { l.client(ctx, i, rng) })
	}
	if l.queues() {
		for i := range queueClients {
			wg.Go(func() { l.queueClient(ctx, 1<<19+i, rand.New(rand.NewPCG(l.opt.Seed, uint64(900+i)))) })
		}
	}
	if l.opt.AuditGap > 0 {
		wg.Go(func() { l.auditor(ctx, rand.New(rand.NewPCG(l.opt.Seed, 998))) })
	}
	if l.opt.SaveGap > 0 {
		wg.Go(func() { l.saver(ctx, rand.New(rand.NewPCG(l.opt.Seed, 999))) })
	}
	wg.Wait()
}

// client issues one operation after the other. After an unknown outcome it goes on under a new
// client number: its old self may still have an operation under way.
func (l *load) client(ctx context.Context, id int, rng *rand.Rand) {
	self := id
	for ctx.Err() == nil {
		pause(ctx, time.Duration(1+rng.IntN(20))*time.Millisecond)
		op := l.choose(self, id%kinds, rng)
		n := l.c.nodes[rng.IntN(len(l.c.nodes))]
		l.execute(ctx, n, &op)
		l.done(&op)
		if op.Out == history.Unknown {
			self += kinds * l.opt.Clients
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// kinds of clients: registers and counters, lists, values with a lifetime.
const kinds = 3

// choose picks key and operation by the kind of client.
func (l *load) choose(client, kind int, rng *rand.Rand) history.Op {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nextVal++
	op := history.Op{Client: client, Arg: "v" + strconv.Itoa(l.nextVal)}
	switch kind {
	case 0:
		if rng.IntN(3) == 0 {
			op.Key, op.Func = l.key("c", rng), history.Incr
			if rng.IntN(3) == 0 {
				op.Func = history.Read
			}
			break
		}
		op.Key = l.key("r", rng)
		op.Func = []history.Func{history.Read, history.Read, history.Write, history.Write, history.Delete}[rng.IntN(5)]
	case 1:
		op.Key = l.key("l", rng)
		op.Func = []history.Func{history.Append, history.ReadList}[rng.IntN(2)]
	default:
		op.Key, op.Func = l.key("t", rng), history.Read
		if rng.IntN(8) == 0 {
			op.Func, op.Len = history.Expire, int64(20+rng.IntN(1500))
		}
	}
	return op
}

func (l *load) key(kind string, rng *rand.Rand) string {
	at := kind + strconv.Itoa(rng.IntN(l.opt.Keys))
	k := l.keys[at]
	if k == nil {
		k = &liveKey{}
		l.keys[at] = k
	}
	if k.ops >= opsPerKey || k.unknown >= unknownsPerKey {
		*k = liveKey{gen: k.gen + 1}
	}
	k.ops++
	return fmt.Sprintf("%s.%d", at, k.gen)
}

func (l *load) done(op *history.Op) {
	l.rec.Record(*op)
	if op.Out != history.Unknown {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, k := range l.keys {
		if fmt.Sprintf("%s.%d", at, k.gen) == op.Key {
			k.unknown++
		}
	}
}

// execute sends the operation through the node's router and writes outcome and answer into op.
func (l *load) execute(ctx context.Context, n *node, op *history.Op) {
	op.Node, op.Call = n.name, l.rec.Now()
	defer func() { op.Return = l.rec.Now() }()
	r := n.router()
	if r == nil {
		op.Out, op.Err = history.Fail, "node is down"
		return
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if op.Func == history.Incr && underWatch(op) {
		l.watchedIncr(ctx, r, op)
		return
	}
	cmd := command(r.Table(), op)
	if op.Func == history.Incr && byScript(op) {
		cmd = parse(r.Table(), "EVAL", incrScript, "1", op.Key)
	}
	if res, ok := send(ctx, r, op, cmd); ok {
		answer(op, &res)
	}
}

// send runs a command. When there is no answer op has the outcome.
func send(ctx context.Context, r *shard.Router, op *history.Op, cmd fsm.Command) (res fsm.Result, ok bool) {
	out := make([]shard.Reply, 1)
	r.Do(ctx, &shard.Caller{Protocol: "internal", Timeout: opTimeout}, []fsm.Command{cmd}, out)
	if err := out[0].Err; err != nil {
		op.Err = err.Error()
		op.Out = history.Unknown
		if e, ok := errors.AsType[*shard.Error](err); ok && e.NotApplied() {
			op.Out = history.Fail
		}
		return res, false
	}
	return out[0].Result, true
}

func command(t *fsm.Table, op *history.Op) fsm.Command {
	words := map[history.Func][]string{
		history.Read: {"GET", op.Key}, history.Write: {"SET", op.Key, op.Arg}, history.Delete: {"DEL", op.Key},
		history.Expire: {"SET", op.Key, op.Arg, "PX", strconv.FormatInt(op.Len, 10)},
		history.Incr:   {"INCR", op.Key},
		history.Append: {"RPUSH", op.Key, op.Arg}, history.ReadList: {"LRANGE", op.Key, "0", "-1"},
	}[op.Func]
	return parse(t, words...)
}

// parse makes a command of its words.
func parse(t *fsm.Table, words ...string) fsm.Command {
	spec, ok := t.Lookup([]byte(words[0]))
	if !ok {
		panic("sim: no command " + words[0])
	}
	cmd := fsm.Command{Op: spec.Op}
	for _, w := range words[1:] {
		cmd.Args = append(cmd.Args, []byte(w))
	}
	return cmd
}

func answer(op *history.Op, res *fsm.Result) {
	op.Out = history.OK
	if res.Kind == fsm.KindError {
		op.Out, op.Err = history.Fail, string(res.Str)
		return
	}
	switch op.Func {
	case history.Read:
		op.Found, op.Value = res.Kind == fsm.KindBulk, string(res.Str)
	case history.Delete:
		op.Found = res.Int == 1
	case history.Append, history.Incr:
		op.Len = res.Int
	case history.ReadList:
		for _, e := range res.Elems {
			op.List = append(op.List, string(e.Str))
		}
	}
}

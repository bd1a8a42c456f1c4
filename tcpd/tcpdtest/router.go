// SPDX-License-Identifier: Apache-2.0

// Package tcpdtest is for tests of the edges. It has a router: one real fsm.Machine that owns every slot,
// without consensus, network or disk, with hooks for every kind of delivery failure; and a server on an
// in-memory network, for whatever protocol.
//
// Invariant: a command whose reply has no error was applied exactly once, in the order of the calls;
// hooks alone decide what fails and what the caller is told. All methods may be called from any
// goroutine; the hooks are set before the first call. The package knows no protocol.
package tcpdtest

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// Start is where the clock of a Router begins, in milliseconds since 1970.
const Start = 1_700_000_000_000

// Router answers commands as a cluster of one group would.
type Router struct {
	// Before is called ahead of every command without any lock held, and may wait. An error becomes
	// the reply, and the command is not applied.
	Before func(ctx context.Context, c *shard.Caller, cmd *fsm.Command) error
	// After is called behind every command. An error becomes the reply although the command was
	// applied.
	After func(c *shard.Caller, cmd *fsm.Command) error
	// Leader is named in every reply.
	Leader string

	// Calls counts calls of Do, Commands the commands in them.
	Calls, Commands atomic.Int64
	// Applied counts the writes that ran in the machine, those answered from a token's record
	// included.
	Applied atomic.Int64

	table *fsm.Table
	waits waits
	m     atomic.Pointer[shard.Map]
	mu    struct {
		sync.Mutex
		machine *fsm.Machine
		clock   int64
		last    shard.Caller
		next    int
		watch   map[int]func(*shard.Map)
	}
}

// New returns a Router over an empty keyspace, whose map has the given node ids with made-up
// addresses, all slots in group 1.
func New(nodes ...string) *Router {
	r := &Router{table: fsm.Data()}
	r.mu.clock = Start
	r.mu.watch = make(map[int]func(*shard.Map))
	keys := fsm.NewKeyspace(r.table, fsm.KeyspaceConfig{HashKey: [16]byte{1}, Waiters: &r.waits})
	r.mu.machine = fsm.NewMachine(r.table, keys, fsm.Options{Cluster: "test", Group: 1})
	slots := make([]uint16, fsm.Slots)
	for i := range slots {
		slots[i] = uint16(i)
	}
	own := fsm.Own(1, slots)
	r.mu.Lock()
	r.applyLocked(&own)
	r.mu.Unlock()
	r.SetMap(NewMap(1, nodes...))
	return r
}

// NewMap makes a map of one group, 1, that owns every slot and has a replica on every node. A node's
// native address is its id with port 7402, its HTTP address with port 7401.
func NewMap(version uint64, nodes ...string) *shard.Map {
	m := &shard.Map{Epoch: 1, Version: version, Groups: map[uint32]shard.GroupPlace{1: {Replicas: nodes}}, Nodes: map[string]shard.NodePlace{}}
	for i := range m.Slots {
		m.Slots[i] = 1
	}
	for _, id := range nodes {
		m.Nodes[id] = shard.NodePlace{Name: id, Addrs: map[string]string{"native": id + ":7402", "http": id + ":7401"}}
	}
	return m
}

// Table returns the table of commands.
func (r *Router) Table() *fsm.Table { return r.table }

// Advance moves the clock on.
func (r *Router) Advance(millis int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.clock += millis
	r.entryLocked(&fsm.Sub{})
}

// LastCaller returns the caller of the newest command.
func (r *Router) LastCaller() shard.Caller {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.last
}

// Do runs cmds one after the other.
func (r *Router) Do(ctx context.Context, c *shard.Caller, cmds []fsm.Command, out []shard.Reply) {
	r.Calls.Add(1)
	for i := range cmds {
		out[i] = shard.Reply{Leader: r.Leader}
		r.Commands.Add(1)
		if r.Before != nil {
			if out[i].Err = r.Before(ctx, c, &cmds[i]); out[i].Err != nil {
				continue
			}
		}
		out[i].Result = r.one(c, &cmds[i])
		if r.After != nil {
			if err := r.After(c, &cmds[i]); err != nil {
				out[i] = shard.Reply{Err: err}
			}
		}
	}
}

// Stream is Do, with the replies handed on one by one.
func (r *Router) Stream(
	ctx context.Context, c *shard.Caller, cmds []fsm.Command, out []shard.Reply, hand func([]shard.Reply) error,
) error {
	r.Do(ctx, c, cmds, out)
	for i := range cmds {
		if err := hand(out[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// Run runs one command past all hooks.
func (r *Router) Run(cmd fsm.Command) fsm.Result { return r.one(&shard.Caller{}, &cmd) }

func (r *Router) one(c *shard.Caller, cmd *fsm.Command) fsm.Result {
	if res, ok := r.table.Check(cmd); !ok {
		return res
	}
	spec := r.table.Spec(cmd.Op)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.last = *c
	var res fsm.Result
	if spec.Write {
		r.Applied.Add(1)
		res = r.applyLocked(cmd)
	} else {
		var one [1]fsm.Result
		r.mu.machine.Query([]fsm.Command{*cmd}, one[:], 0, nil)
		res = one[0]
	}
	if w, ok := fsm.ParseWhole(&res); spec.Whole && ok {
		if spec.Join == fsm.JoinRandom {
			return fsm.RandomOf([]fsm.Result{w.Value})
		}
		return w.Value
	}
	return res
}

func (r *Router) applyLocked(cmd *fsm.Command) fsm.Result {
	s := &fsm.Sub{Writes: 1, Body: fsm.AppendCommand(nil, cmd)}
	r.entryLocked(s)
	return s.Results[0]
}

func (r *Router) entryLocked(s *fsm.Sub) {
	data := fsm.AppendEntryHeader(nil, &fsm.Header{Clock: r.mu.clock})
	data = fsm.AppendSub(data, s)
	index, _ := r.mu.machine.Applied()
	r.mu.machine.Apply(index+1, 1, data, []*fsm.Sub{s})
}

// SlotMap returns the newest map.
func (r *Router) SlotMap() *shard.Map { return r.m.Load() }

// SetMap replaces the map and tells the watchers.
func (r *Router) SetMap(m *shard.Map) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.m.Store(m)
	for _, f := range r.mu.watch {
		f(m)
	}
}

// Watch calls f with the present map and every later one until stop was called.
func (r *Router) Watch(f func(*shard.Map)) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.mu.next
	r.mu.next++
	r.mu.watch[id] = f
	if m := r.m.Load(); m != nil {
		f(m)
	}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.mu.watch, id)
	}
}

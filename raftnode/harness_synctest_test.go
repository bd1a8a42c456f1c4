// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

const testGroup = 1

// bench is a world of nodes that all hold a replica of one group.
type bench struct {
	t     testing.TB
	world *host.World
	cfg   func(name string, c *Config)

	mu    sync.Mutex
	nodes map[string]*testNode
	addrs map[string]string // by node id
}

// testNode is one life of a node.
type testNode struct {
	b       *bench
	name    string
	node    *Node
	group   *Group
	machine *fsm.Machine
	keys    *fsm.Keyspace
	dead    atomic.Bool
	// gate, while set, holds up appends to the log; storeErr makes them fail.
	gate     atomic.Pointer[chan struct{}]
	storeErr atomic.Pointer[error]
	mu       sync.Mutex
	fatal    []error
}

func inWorld(t *testing.T, f func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		t.Cleanup(b.close)
		f(b)
	})
}

func newBench(tb testing.TB) *bench {
	tb.Helper()
	return &bench{
		t: tb, world: host.NewWorld(1), nodes: make(map[string]*testNode), addrs: make(map[string]string),
	}
}

func (b *bench) close() {
	b.world.HealAll()
	for _, n := range b.live() {
		n.close()
	}
	b.world.Close()
}

func (b *bench) live() []*testNode {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*testNode
	for _, name := range []string{"n1", "n2", "n3", "n4", "n5"} {
		if n := b.nodes[name]; n != nil && !n.dead.Load() {
			out = append(out, n)
		}
	}
	return out
}

// logger is silent unless KVORUM_TEST_LOG is set.
func testLogger(name string) *slog.Logger {
	if os.Getenv("KVORUM_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("host", name)
}

// open starts a node's process without its group.
func (b *bench) open(name string) *testNode {
	b.t.Helper()
	n := &testNode{b: b, name: name}
	cfg := DefaultConfig()
	cfg.Dir, cfg.Listen, cfg.Logger = "/data", ":7400", testLogger(name)
	cfg.DiskReserve = 0
	cfg.Events.Fatal = func(err error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.fatal = append(n.fatal, err)
	}
	cfg.SegmentBytes = 1 << 20
	cfg.wrapStores = func(_ *Group, s stores) stores {
		s.logs = &gatedStore{Store: s.logs, n: n}
		return s
	}
	b.world.FS(name).SetSyncDelay(time.Millisecond)
	if b.cfg != nil {
		b.cfg(name, &cfg)
	}
	node, err := Open(b.world.Host(name), cfg)
	if err != nil {
		b.t.Fatalf("open %s: %v", name, err)
	}
	n.node = node
	if err := node.SetCluster("cluster-a"); err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.addrs[node.ID()] = name + ":7400"
	b.mu.Unlock()
	node.SetDirectory(func(id string) (string, bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		a, ok := b.addrs[id]
		return a, ok
	})
	return n
}

// start starts the group of a node; founder bootstraps it.
func (n *testNode) start(replica uint64, founder bool) *testNode {
	n.b.t.Helper()
	table := fsm.Data()
	n.keys = fsm.NewKeyspace(table, fsm.KeyspaceConfig{HashKey: [16]byte{1}})
	n.machine = fsm.NewMachine(table, n.keys, fsm.Options{
		Cluster: "cluster-a", Group: testGroup,
		Fatal: func(err error) { n.node.fatal(err) },
	})
	g, err := n.node.StartGroup(GroupConfig{
		Group: testGroup, Replica: replica, Machine: n.machine, Bootstrap: founder,
	})
	if err != nil {
		n.b.t.Fatalf("%s: %v", n.name, err)
	}
	n.group = g
	n.b.mu.Lock()
	defer n.b.mu.Unlock()
	n.b.nodes[n.name] = n
	return n
}

func (n *testNode) close() {
	n.b.t.Helper()
	if n.dead.Swap(true) {
		return
	}
	if err := n.node.Close(); err != nil {
		n.b.t.Errorf("close %s: %v", n.name, err)
	}
	for _, err := range n.fatal {
		n.b.t.Errorf("%s: fatal: %v", n.name, err)
	}
}

// crash kills the node: only what was synced survives.
func (n *testNode) crash() { n.kill()() }

// kill is crash. The dead process' goroutines, which may wait for a while, are joined by bury.
func (n *testNode) kill() (bury func()) {
	n.dead.Store(true)
	n.b.world.Crash(n.name)
	return func() { _ = n.node.Close() }
}

// reopen starts the next life of a node that crashed or was closed, with its replica.
func (b *bench) reopen(name string, replica uint64) *testNode {
	b.t.Helper()
	return b.open(name).start(replica, false)
}

// cluster starts names with the first as founder, and makes all voters.
func (b *bench) cluster(names ...string) []*testNode {
	b.t.Helper()
	var nodes []*testNode
	for i, name := range names {
		nodes = append(nodes, b.open(name).start(uint64(i+1), i == 0))
	}
	lead := nodes[0]
	b.waitFor("founder leads", lead.group.IsLeader)
	lead.must(fsm.Own(1, allSlots()))
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	for i, n := range nodes[1:] {
		replica := uint64(i + 2)
		if err := lead.group.AddNonvoter(ctx, n.node.ID(), replica, 0); err != nil {
			b.t.Fatal(err)
		}
		index, err := lead.group.Fence(ctx)
		if err != nil {
			b.t.Fatal(err)
		}
		if err := n.group.WaitApplied(ctx, index); err != nil {
			b.t.Fatal(err)
		}
		if err := lead.group.Promote(ctx, n.node.ID(), replica, 0); err != nil {
			b.t.Fatal(err)
		}
	}
	return nodes
}

func allSlots() []uint16 {
	slots := make([]uint16, fsm.Slots)
	for i := range slots {
		slots[i] = uint16(i)
	}
	return slots
}

// sleep lets virtual time pass.
func (b *bench) sleep(d time.Duration) { time.Sleep(d) }

// waitFor polls in virtual time.
func (b *bench) waitFor(what string, f func() bool) {
	b.t.Helper()
	for range 6000 {
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatalf("waited for a minute: %s", what)
}

// leader waits for a live leader and returns it.
func (b *bench) leader() *testNode {
	b.t.Helper()
	var found *testNode
	b.waitFor("a leader", func() bool {
		for _, n := range b.live() {
			if n.group.IsLeader() {
				found = n
				return true
			}
		}
		return false
	})
	return found
}

func pack(cmds ...fsm.Command) *fsm.Sub {
	s := &fsm.Sub{Writes: len(cmds)}
	for i := range cmds {
		s.Body = fsm.AppendCommand(s.Body, &cmds[i])
	}
	return s
}

func setCmd(key, value string) fsm.Command {
	return fsm.Command{Op: fsm.OpSet, Args: [][]byte{[]byte(key), []byte(value)}}
}

func getCmd(key string) fsm.Command { return fsm.Command{Op: fsm.OpGet, Args: [][]byte{[]byte(key)}} }

// submit proposes and waits.
func (n *testNode) submit(sub *fsm.Sub) error {
	done := make(chan error, 1)
	n.group.Submit(sub, func(_ *fsm.Sub, err error) { done <- err })
	return <-done
}

func (n *testNode) must(cmds ...fsm.Command) []fsm.Result {
	n.b.t.Helper()
	sub := pack(cmds...)
	if err := n.submit(sub); err != nil {
		n.b.t.Fatalf("%s: submit: %v", n.name, err)
	}
	for _, r := range sub.Results {
		if r.IsError() {
			n.b.t.Fatalf("%s: %s", n.name, r.Str)
		}
	}
	return sub.Results
}

func (n *testNode) set(key, value string) error {
	sub := pack(setCmd(key, value))
	err := n.submit(sub)
	if err == nil && sub.Results[0].IsError() {
		return errors.New(string(sub.Results[0].Str))
	}
	return err
}

// get reads through the fence.
func (n *testNode) get(ctx context.Context, key string) (string, error) {
	out := make([]fsm.Result, 1)
	if err := n.group.Read(ctx, []fsm.Command{getCmd(key)}, out, nil); err != nil {
		return "", err
	}
	return string(out[0].Str), nil
}

// local reads the replica's own state.
func (n *testNode) local(key string) string {
	out := make([]fsm.Result, 1)
	n.group.ReadStale([]fsm.Command{getCmd(key)}, out, nil)
	return string(out[0].Str)
}

// write retries on whoever leads until the write is acknowledged.
func (b *bench) write(key, value string) {
	b.t.Helper()
	b.waitFor("write of "+key, func() bool {
		for _, n := range b.live() {
			if n.group.IsLeader() && n.set(key, value) == nil {
				return true
			}
		}
		return false
	})
}

// converged waits until all live replicas hold the same state and returns its size.
func (b *bench) converged() {
	b.t.Helper()
	b.waitFor("replicas to agree", func() bool {
		lead := b.leader()
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Second)
		defer cancel()
		index, err := lead.group.Fence(ctx)
		if err != nil {
			return false
		}
		for _, n := range b.live() {
			if n.group.Applied() < index {
				return false
			}
		}
		return true
	})
	time.Sleep(time.Second)
	var first []byte
	for _, n := range b.live() {
		d := n.machine.Digest()
		sum := fmt.Appendf(nil, "%v", d)
		if first == nil {
			first = sum
		} else if !bytes.Equal(first, sum) {
			b.t.Fatalf("%s differs: %.200s\n%.200s", n.name, sum, first)
		}
	}
}

// gatedStore lets a test hold up or fail the appends of a node.
type gatedStore struct {
	logstore.Store
	n *testNode
}

// hang makes the appends of a node wait until release is called.
func (n *testNode) hang() (release func()) {
	gate := make(chan struct{})
	n.gate.Store(&gate)
	return func() {
		n.gate.Store(nil)
		close(gate)
	}
}

func (s *gatedStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *gatedStore) StoreLogs(logs []*raft.Log) error {
	if gate := s.n.gate.Load(); gate != nil {
		<-*gate
	}
	if err := s.n.storeErr.Load(); err != nil {
		return *err
	}
	return s.Store.StoreLogs(logs)
}

// copySnapshot puts the newest snapshot of one node into the folder of a stopped one.
func (b *bench) copySnapshot(from, to *testNode) {
	b.t.Helper()
	src, dst := path.Join(from.group.dir, snapshotsName), path.Join(to.group.dir, snapshotsName)
	fs, target := b.world.Host(from.name).FS, b.world.Host(to.name).FS
	names, err := fs.ReadDir(src)
	if err != nil || len(names) == 0 {
		b.t.Fatalf("%v, %v", names, err)
	}
	name := names[len(names)-1]
	in, err := fs.OpenFile(path.Join(src, name), os.O_RDONLY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := target.OpenFile(path.Join(dst, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		b.t.Fatal(err)
	}
	if err := errors.Join(out.Sync(), target.SyncDir(dst), out.Close(), in.Close()); err != nil {
		b.t.Fatal(err)
	}
}

// machineOnly makes an empty machine.
func (n *testNode) machineOnly() *fsm.Machine {
	table := fsm.Data()
	keys := fsm.NewKeyspace(table, fsm.KeyspaceConfig{HashKey: [16]byte{1}})
	return fsm.NewMachine(table, keys, fsm.Options{Cluster: "cluster-a", Group: testGroup})
}

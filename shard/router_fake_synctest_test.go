// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// fakeWorld is a cluster of routers over fake groups and links with seeded faults. Every group has
// one real state machine: what raft would make of its replicas.
type fakeWorld struct {
	t     testing.TB
	table *fsm.Table
	nodes []*fakeNode
	rafts map[uint32]*fakeRaft
	m     *Map

	mu  sync.Mutex
	rng *rand.Rand
	// loss is the chance in percent that a frame or its reply is lost, doubled that it arrives
	// twice, refuse that a group is overloaded.
	loss, doubled, refuse atomic.Int32
	// delay is the largest delay of a frame and of a commit.
	delay time.Duration
	// cut nodes can be reached by nobody.
	cut map[string]bool
	// calls counts the frames on their way.
	calls sync.WaitGroup
	// frames counts the frames that arrived, by kind; commits the entries.
	frames  map[byte]int
	commits int
}

type fakeNode struct {
	w      *fakeWorld
	id     string
	router *Router
}

type randReader struct{ w *fakeWorld }

func (r randReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.w.dice(256))
	}
	return len(p), nil
}

// newFakeWorld makes nodes n0 … with one router each, and groups 1 … that own the slots in turn,
// each with a replica on the nodes named by replicas.
func newFakeWorld(t testing.TB, seed uint64, nodes, groups int, replicas func(group, node int) bool) *fakeWorld {
	w := &fakeWorld{
		t: t, table: fsm.Data(), rafts: make(map[uint32]*fakeRaft), cut: make(map[string]bool),
		rng: rand.New(rand.NewPCG(seed, 1)), frames: make(map[byte]int),
	}
	for i := range nodes {
		n := &fakeNode{w: w, id: fmt.Sprintf("n%d", i)}
		n.router = newRouter(routerConfig{
			Self: n.id, Incarnation: 1, Table: w.table, Link: n, Rand: randReader{w},
			Logger: slog.New(slog.DiscardHandler),
		})
		w.nodes = append(w.nodes, n)
	}
	w.m = &Map{Epoch: 1, Version: 1, Groups: make(map[uint32]GroupPlace), Nodes: make(map[string]NodePlace)}
	slots := make(map[uint32][]uint16)
	for s := range SlotCount {
		g := uint32(s%groups) + 1
		w.m.Slots[s] = g
		slots[g] = append(slots[g], uint16(s))
	}
	for g := range groups {
		id := uint32(g + 1)
		raft := newFakeRaft(w, id)
		w.rafts[id] = raft
		var place GroupPlace
		for i, n := range w.nodes {
			if replicas == nil || replicas(g, i) {
				place.Replicas = append(place.Replicas, n.id)
				raft.replicas = append(raft.replicas, &fakeReplica{raft: raft, node: n})
			}
		}
		w.m.Groups[id] = place
		raft.lead(raft.replicas[g%len(raft.replicas)].node.id)
		raft.run(fsm.Own(1, slots[id]))
	}
	for _, n := range w.nodes {
		m := *w.m
		n.router.setMap(&m)
	}
	for id, raft := range w.rafts {
		for _, rep := range raft.replicas {
			rep.node.router.attach(id, rep)
		}
	}
	return w
}

func (w *fakeWorld) close() {
	for _, n := range w.nodes {
		n.router.close()
	}
	for _, raft := range w.rafts {
		raft.stop()
	}
	w.calls.Wait()
}

// cutOff lets nobody reach a node.
func (w *fakeWorld) cutOff(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[node] = true
}

func (w *fakeWorld) dice(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

func (w *fakeWorld) chance(percent *atomic.Int32) bool {
	n := int(percent.Load())
	return n > 0 && w.dice(100) < n
}

func (w *fakeWorld) someDelay() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.delay == 0 {
		return 0
	}
	return time.Duration(w.rng.Int64N(int64(w.delay)))
}

func (w *fakeWorld) node(id string) *fakeNode {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// calm ends all faults.
func (w *fakeWorld) calm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, percent := range []*atomic.Int32{&w.loss, &w.doubled, &w.refuse} {
		percent.Store(0)
	}
	clear(w.cut)
}

func (w *fakeWorld) isCut(a, b string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[a] || w.cut[b]
}

// Call implements peerLink with losses, delays, doubled frames and cuts.
func (n *fakeNode) Call(ctx context.Context, node string, class raftnode.Class, req []byte) ([]byte, error) {
	w := n.w
	peer := w.node(node)
	if peer == nil || class != raftnode.ClassForward {
		return nil, fmt.Errorf("fake: %w", raftnode.ErrNotSent)
	}
	if w.chance(&w.loss) {
		return nil, fmt.Errorf("fake: %w", raftnode.ErrNotSent)
	}
	type answer struct {
		reply []byte
		err   error
	}
	copies := 1
	if w.chance(&w.doubled) {
		copies = 2
	}
	answers := make(chan answer, copies)
	for range copies {
		frame := append([]byte(nil), req...)
		w.calls.Go(func() {
			time.Sleep(w.someDelay())
			if w.isCut(n.id, node) || w.chance(&w.loss) {
				return
			}
			w.mu.Lock()
			w.frames[frame[1]]++
			w.mu.Unlock()
			hctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			reply, err := peer.router.handleForward(hctx, n.id, frame)
			for i := range frame {
				frame[i] = 0xAA // the handler's time with the frame is over
			}
			time.Sleep(w.someDelay())
			if w.isCut(n.id, node) || w.chance(&w.loss) {
				return
			}
			if err != nil {
				err = errors.New("fake: remote: " + err.Error())
			}
			answers <- answer{reply, err}
		})
	}
	select {
	case a := <-answers:
		return a.reply, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("fake: %w: %w", raftnode.ErrLost, ctx.Err())
	}
}

// fakeRaft is a group: a log with one entry per Sub, applied in order by one machine.
type fakeRaft struct {
	w        *fakeWorld
	id       uint32
	replicas []*fakeReplica

	mu      sync.Mutex
	machine *fsm.Machine
	leader  string
	term    uint64
	index   uint64
	stopped bool
	// log holds what the present leader appended and did not commit yet; limbo what deposed
	// leaders left behind, which the next leader may or may not have.
	log, limbo []*fakeEntry
	// low makes the leader refuse Subs that grow.
	low bool
	// stall holds commits back.
	stall bool
}

type fakeEntry struct {
	data []byte
	sub  *fsm.Sub
	done func(*fsm.Sub, error)
}

type fakeReplica struct {
	raft *fakeRaft
	node *fakeNode
}

var _ localGroup = (*fakeReplica)(nil)

func newFakeRaft(w *fakeWorld, id uint32) *fakeRaft {
	r := &fakeRaft{w: w, id: id}
	r.machine = fsm.NewMachine(w.table, fsm.NewKeyspace(w.table, fsm.KeyspaceConfig{Waiters: r}), fsm.Options{
		Group: id, Fatal: func(err error) { w.t.Error("machine stopped:", err) },
	})
	return r
}

// Any and Touched implement fsm.Waiters for the leader's node. They are called with mu held.
func (r *fakeRaft) Any() bool {
	n := r.w.node(r.leader)
	return n != nil && n.router.route(r.id).registry.Any()
}

// Touched implements fsm.Waiters.
func (r *fakeRaft) Touched(key []byte, holds fsm.Pops, popped bool) {
	r.w.node(r.leader).router.route(r.id).registry.Touched(key, holds, popped)
}

// Opened implements fsm.Waiters.
func (r *fakeRaft) Opened() { r.w.node(r.leader).router.route(r.id).registry.Opened() }

// run applies upkeep at once.
func (r *fakeRaft) run(cmds ...fsm.Command) {
	sub := &fsm.Sub{Writes: len(cmds)}
	for i := range cmds {
		sub.Body = fsm.AppendCommand(sub.Body, &cmds[i])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applyLocked(&fakeEntry{data: encodeEntry(sub), sub: sub, done: func(*fsm.Sub, error) {}})
	for _, res := range sub.Results {
		if res.IsError() {
			r.w.t.Errorf("upkeep: %s", res.Str)
		}
	}
}

func encodeEntry(sub *fsm.Sub) []byte {
	return fsm.AppendSub(fsm.AppendEntryHeader(nil, &fsm.Header{Clock: 1}), sub)
}

func (r *fakeRaft) applyLocked(e *fakeEntry) {
	r.index++
	var subs []*fsm.Sub
	if e.sub != nil {
		subs = []*fsm.Sub{e.sub}
	}
	r.machine.Apply(r.index, max(r.term, 1), e.data, subs)
}

// lead makes a node the leader, empty for none. What the old leader had under way becomes unknown
// to those who wait; a prefix of it survives into the next leader's log.
func (r *fakeRaft) lead(node string) {
	r.mu.Lock()
	lost := r.log
	r.log = nil
	for _, e := range lost {
		r.limbo = append(r.limbo, &fakeEntry{data: e.data})
	}
	r.leader = node
	r.term++
	if node != "" {
		survivors := 0
		if len(r.limbo) > 0 {
			survivors = r.w.dice(len(r.limbo) + 1)
		}
		for _, e := range r.limbo[:survivors] {
			r.applyLocked(e)
		}
		r.limbo = nil
	}
	hint := raftnode.Hint{Node: node, Term: r.term}
	r.mu.Unlock()
	for _, e := range lost {
		e.done(e.sub, raftnode.ErrUnknown)
	}
	if node == "" {
		return
	}
	for _, rep := range r.replicas {
		if r.w.dice(100) < 70 && !r.w.isCut(rep.node.id, node) {
			rep.node.router.leaderChanged(r.id, hint)
		}
	}
}

// closeSessions ends every session of the group, as after long silence.
func (r *fakeRaft) closeSessions() {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := fsm.Header{Clock: 1, Close: r.machine.Sessions()}
	r.applyLocked(&fakeEntry{data: fsm.AppendEntryHeader(nil, &h)})
}

func (r *fakeRaft) stop() {
	r.mu.Lock()
	lost := r.log
	r.log, r.stopped, r.leader = nil, true, ""
	r.mu.Unlock()
	for _, e := range lost {
		e.done(e.sub, raftnode.ErrUnknown)
	}
}

func (r *fakeRaft) hint() raftnode.Hint {
	r.mu.Lock()
	defer r.mu.Unlock()
	return raftnode.Hint{Node: r.leader, Term: r.term}
}

// Submit implements localGroup.
func (p *fakeReplica) Submit(sub *fsm.Sub, done func(*fsm.Sub, error)) {
	if err := p.append(sub, done); err != nil {
		done(sub, err)
	}
}

func (p *fakeReplica) append(sub *fsm.Sub, done func(*fsm.Sub, error)) error {
	r := p.raft
	if r.w.chance(&r.w.refuse) {
		return fmt.Errorf("fake: %w", raftnode.ErrOverloaded)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return raftnode.ErrClosed
	}
	if r.leader != p.node.id {
		return raftnode.ErrNotLeader{Hint: p.hintLocked()}
	}
	if r.low && r.grows(sub) {
		return raftnode.ErrNoSpace
	}
	e := &fakeEntry{data: encodeEntry(sub), sub: sub, done: done}
	r.log = append(r.log, e)
	if !r.stall {
		time.AfterFunc(r.w.someDelay(), r.commit)
	}
	return nil
}

func (r *fakeRaft) grows(sub *fsm.Sub) bool {
	for body := sub.Body; len(body) > 0; {
		cmd, n, err := fsm.ParseCommand(body)
		if err != nil {
			return true
		}
		if r.w.table.Spec(cmd.Op).DenyOOM {
			return true
		}
		body = body[n:]
	}
	return false
}

// commit applies the first entry of the log.
func (r *fakeRaft) commit() {
	r.mu.Lock()
	if len(r.log) == 0 || r.stall {
		r.mu.Unlock()
		return
	}
	e := r.log[0]
	r.log = r.log[1:]
	r.applyLocked(e)
	r.mu.Unlock()
	r.w.mu.Lock()
	r.w.commits++
	r.w.mu.Unlock()
	e.done(e.sub, nil)
}

// stallNow holds all commits up.
func (r *fakeRaft) stallNow() {
	r.mu.Lock()
	r.stall = true
	r.mu.Unlock()
}

// unstall lets commits go on.
func (r *fakeRaft) unstall() {
	r.mu.Lock()
	r.stall = false
	n := len(r.log)
	r.mu.Unlock()
	for range n {
		r.commit()
	}
}

// Read implements localGroup.
func (p *fakeReplica) Read(ctx context.Context, cmds []fsm.Command, out []fsm.Result, room *fsm.Room) error {
	r := p.raft
	before := r.hint()
	if before.Node != p.node.id {
		return raftnode.ErrNotLeader{Hint: p.Leader()}
	}
	if d := r.w.someDelay(); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leader != p.node.id || r.term != before.Term {
		return raftnode.ErrNotLeader{Hint: p.hintLocked()}
	}
	r.machine.Query(cmds, out, 1, room)
	return nil
}

// Vouch implements localGroup.
func (p *fakeReplica) Vouch() raftnode.Voucher { return raftnode.Voucher{} }

// ReadVouched implements localGroup.
func (p *fakeReplica) ReadVouched(string, raftnode.Voucher, []fsm.Command, []fsm.Result, *fsm.Room) bool {
	return false
}

// ReadStale implements localGroup.
func (p *fakeReplica) ReadStale(cmds []fsm.Command, out []fsm.Result, room *fsm.Room) {
	p.raft.machine.Query(cmds, out, 1, room)
}

// Leader implements localGroup: a cut replica knows nothing.
func (p *fakeReplica) Leader() raftnode.Hint {
	p.raft.mu.Lock()
	defer p.raft.mu.Unlock()
	return p.hintLocked()
}

func (p *fakeReplica) hintLocked() raftnode.Hint {
	h := raftnode.Hint{Node: p.raft.leader, Term: p.raft.term}
	if p.raft.w.isCut(p.node.id, h.Node) {
		return raftnode.Hint{}
	}
	return h
}

// IsLeader implements localGroup.
func (p *fakeReplica) IsLeader() bool {
	p.raft.mu.Lock()
	defer p.raft.mu.Unlock()
	return p.raft.leader == p.node.id
}

func cmd(op fsm.Op, args ...string) fsm.Command {
	c := fsm.Command{Op: op}
	for _, a := range args {
		c.Args = append(c.Args, []byte(a))
	}
	return c
}

// do runs commands on a node's router with a budget.
func (n *fakeNode) do(timeout time.Duration, cmds ...fsm.Command) []Reply {
	out := make([]Reply, len(cmds))
	n.router.Do(context.Background(), &Caller{Protocol: "internal", Timeout: timeout}, cmds, out)
	return out
}

// text words a reply for comparison.
func text(r Reply) string {
	if r.Err != nil {
		return "ERR " + r.Err.Error()
	}
	return resultText(r.Result)
}

func resultText(r fsm.Result) string {
	switch r.Kind {
	case fsm.KindNull:
		return "nil"
	case fsm.KindInt:
		return fmt.Sprint(r.Int)
	case fsm.KindArray:
		s := "["
		for i, e := range r.Elems {
			if i > 0 {
				s += " "
			}
			s += resultText(e)
		}
		return s + "]"
	}
	return string(r.Str)
}

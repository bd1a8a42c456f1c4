// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// DefaultTimeout is a call's budget when its Caller names none.
const DefaultTimeout = 5 * time.Second

// Caller says on whose behalf commands run.
type Caller struct {
	// User is empty where authentication is off.
	User string
	// Protocol is the edge: "http", "native", "resp", "memcached" or "internal".
	Protocol string
	// Conn identifies the client's connection on this node, for logs.
	Conn uint64
	// Stale allows reads from the local replica without a fence.
	Stale bool
	// Timeout is the budget of one Do; 0 means DefaultTimeout.
	Timeout time.Duration
}

// Reply is what became of one command: a Result, or Err when it could not be delivered.
type Reply struct {
	Result fsm.Result
	// Err is nil or an *Error.
	Err error
	// Leader is the node id of the leader that the command's group had last; empty when unknown
	// or when the command touched several groups.
	Leader string
}

// localGroup is a replica of a data group on this node. All methods may be called from any
// goroutine.
type localGroup interface {
	// Submit never blocks. done runs exactly once, possibly before Submit returns; it may call
	// Submit again.
	Submit(sub *fsm.Sub, done func(*fsm.Sub, error))
	// Read answers linearizably, on the caller's goroutine. Commands that find no room for their reply
	// get KindNone.
	Read(ctx context.Context, cmds []fsm.Command, out []fsm.Result, room *fsm.Room) error
	// ReadVouched is Read of commands that node had received before its own replica gave v. It never waits: false means
	// that v proves nothing, and that nothing was read.
	ReadVouched(node string, v raftnode.Voucher, cmds []fsm.Command, out []fsm.Result, room *fsm.Room) bool
	// Vouch is this replica's part of a Read at the leader.
	Vouch() raftnode.Voucher
	// ReadStale answers from this replica's state as it is.
	ReadStale(cmds []fsm.Command, out []fsm.Result, room *fsm.Room)
	Leader() raftnode.Hint
	// IsLeader: this replica leads and has applied an entry of its term.
	IsLeader() bool
}

// peerLink reaches other nodes.
type peerLink interface {
	Call(ctx context.Context, node string, class raftnode.Class, req []byte) ([]byte, error)
}

var (
	_ localGroup = (*raftnode.Group)(nil)
	_ peerLink   = (*raftnode.Node)(nil)
)

// routerConfig is what a Router needs. All but Link and Logger is required.
type routerConfig struct {
	// Self is this node's id, Incarnation the count of its starts.
	Self        string
	Incarnation uint64
	Table       *fsm.Table
	// Link is nil when no other node can be reached.
	Link peerLink
	// Rand is for jitter.
	Rand   io.Reader
	Logger *slog.Logger
	// Member tells whether this node belongs to a cluster, so that a Map will come: commands then
	// wait for it. Nil means no. Any goroutine.
	Member func() bool
	// QueueBytes bounds the bytes of commands accepted and not answered on this node; 0 means
	// DefaultQueueBytes.
	QueueBytes int64
	// Wall is the time of day as scripts see it; nil: they see the log clock.
	Wall func() time.Time
	// HashKey is the cluster's, once this node has replicas; nil is all zero.
	HashKey func() [16]byte
	// Point is where tests hold up what runs; nil does nothing.
	Point func(name string)
	// ReplyBytes bounds the replies held on this node for its callers, and again for other nodes; 0
	// means DefaultReplyBytes.
	ReplyBytes int64
}

// DefaultQueueBytes bounds the commands accepted and not answered on one node, in bytes.
const DefaultQueueBytes = 64 << 20

// Router carries commands to the groups that own their keys. Every method may be called from any
// goroutine. A new Router has no Map: it answers KindUninitialised.
type Router struct {
	// Authorise is asked about every command before anything else happens to it; a non-nil error
	// becomes KindDenied. Nil allows everything. Set it before the first Do.
	Authorise func(c *Caller, s *fsm.Spec, cmd *fsm.Command) error

	cfg    routerConfig
	m      atomic.Pointer[Map]
	routes atomic.Pointer[map[uint32]*route]
	bytes  budget
	// replies is the memory of replies to callers here, serving that of replies to other nodes.
	replies, serving replyBudget
	forwards         forwardServer
	bus              Bus
	notices          notices
	scripts          Scripts
	// waiting counts the blocked clients of this node; tickets numbers them.
	waiting atomic.Int64
	tickets atomic.Uint64
	// news is closed and replaced whenever the Map or a leader changes.
	news    atomic.Pointer[chan struct{}]
	closing atomic.Bool
	// ctx ends with close; work counts the goroutines of attempts.
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	batches, calls sync.Pool
	counts         routerCounts

	// mu guards routes against other writers.
	mu sync.Mutex

	watch struct {
		sync.Mutex
		next uint64
		fs   map[uint64]func(*Map)
	}
}

// RouterStats counts what a Router did since it was made.
type RouterStats struct {
	// QueuedBytes are accepted and not answered now; Waiting callers wait for room.
	QueuedBytes, Waiting int64
	// Subs and ReadBatches were sent, Forwarded of both to other nodes.
	Subs, ReadBatches, Forwarded uint64
	// Recoveries of lanes, after Lost attempts and refusals; Gaps were answered among them.
	Recoveries, Lost, Gaps uint64
	// Sessions were opened.
	Sessions uint64
	// Unknown counts the writes whose caller was told unknown.
	Unknown uint64
}

type routerCounts struct {
	subs, readBatches, forwarded, recoveries, lost, gaps, sessions, unknown atomic.Uint64
}

// Stats returns the counters.
func (r *Router) Stats() RouterStats {
	c := &r.counts
	return RouterStats{
		QueuedBytes: r.bytes.used.Load(), Waiting: int64(r.bytes.waiting.Load()),
		Subs: c.subs.Load(), ReadBatches: c.readBatches.Load(), Forwarded: c.forwarded.Load(),
		Recoveries: c.recoveries.Load(), Lost: c.lost.Load(), Gaps: c.gaps.Load(),
		Sessions: c.sessions.Load(), Unknown: c.unknown.Load(),
	}
}

func newRouter(cfg routerConfig) *Router {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Router{cfg: cfg}
	r.bytes.limit = cfg.QueueBytes
	if cfg.QueueBytes <= 0 {
		r.bytes.limit = DefaultQueueBytes
	}
	if cfg.ReplyBytes <= 0 {
		cfg.ReplyBytes = DefaultReplyBytes
	}
	r.replies.init(cfg.ReplyBytes)
	r.serving.init(cfg.ReplyBytes)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.bus.init(r)
	r.notices.r = r
	r.scripts.init(r)
	news := make(chan struct{})
	r.news.Store(&news)
	r.routes.Store(&map[uint32]*route{})
	r.watch.fs = make(map[uint64]func(*Map))
	return r
}

// Bus carries published messages between the nodes.
func (r *Router) Bus() *Bus { return &r.bus }

// Table returns the table of commands.
func (r *Router) Table() *fsm.Table { return r.cfg.Table }

// route returns what is known about reaching a group.
func (r *Router) route(group uint32) *route {
	if rt := (*r.routes.Load())[group]; rt != nil {
		return rt
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := *r.routes.Load()
	if rt := old[group]; rt != nil {
		return rt
	}
	routes := make(map[uint32]*route, len(old)+1)
	maps.Copy(routes, old)
	rt := newRoute(r, group)
	if r.closing.Load() {
		rt.close()
	}
	routes[group] = rt
	r.routes.Store(&routes)
	return rt
}

func (r *Router) localReplica(group uint32) *localReplica {
	if rt := (*r.routes.Load())[group]; rt != nil {
		return rt.local.Load()
	}
	return nil
}

// setMap replaces the Map unless m is no newer than the present one. The Router owns m from now on.
func (r *Router) setMap(m *Map) {
	m.findOwners()
	r.watch.Lock()
	if old := r.m.Load(); old != nil && m.Version <= old.Version {
		r.watch.Unlock()
		return
	}
	r.m.Store(m)
	for _, f := range r.watch.fs {
		f(m)
	}
	r.watch.Unlock()
	r.tell()
	for group, rt := range *r.routes.Load() {
		if _, ok := m.Groups[group]; !ok {
			rt.wake()
		}
	}
}

// tell wakes the calls that wait for news.
func (r *Router) tell() {
	next := make(chan struct{})
	close(*r.news.Swap(&next))
}

// attach makes a local replica of a group known.
func (r *Router) attach(group uint32, g localGroup) {
	rt := r.route(group)
	rt.local.Store(&localReplica{g})
	r.tell()
	rt.wake()
}

// detach forgets the local replica of a group.
func (r *Router) detach(group uint32) {
	r.route(group).local.Store(nil)
	r.forwards.forget(group)
	r.tell()
}

// leaderChanged is told of every change of leader that this node learns. It is quick and calls no
// group.
func (r *Router) leaderChanged(group uint32, hint raftnode.Hint) {
	if rt := r.route(group); rt.learn(hint) {
		rt.wake()
	}
}

// close refuses new calls, answers those that wait, and joins all goroutines. Subs under way in
// local groups are answered when those end.
func (r *Router) close() {
	r.mu.Lock()
	r.closing.Store(true)
	routes := *r.routes.Load()
	r.mu.Unlock()
	for _, rt := range routes {
		rt.close()
	}
	r.notices.close()
	r.bus.close()
	r.cancel()
	r.tell()
	r.work.Wait()
}

// jitter gives d, half of it left to chance.
func (r *Router) jitter(d time.Duration) time.Duration {
	var b [2]byte
	_, _ = io.ReadFull(r.cfg.Rand, b[:])
	return d*3/4 + d/2*time.Duration(binary.BigEndian.Uint16(b[:]))/math.MaxUint16
}

// Do runs cmds and fills out, which has the same length. It returns when every reply is there or
// the budget is spent. The commands of one call that concern one slot keep their order; a command
// on the whole keyspace runs behind all those before it and before all those behind it. Arguments
// are not kept after Do returned; results belong to the caller.
//
// Replies for which there is no memory end as KindOverloaded. Do keeps no account of the others once it
// returned: callers that run many commands at once use Stream.
func (r *Router) Do(ctx context.Context, c *Caller, cmds []fsm.Command, out []Reply) {
	r.replies.giveBack(r.part(ctx, c, cmds, out, 0, false, false))
}

// part runs cmds, or with more those of them that an earlier part left. With parts it may leave some
// with errLater, but not the first. held bytes of the shared reply memory are taken over from the part
// before; it returns what the replies in out hold now, and whether a turn is held as well.
func (r *Router) part(
	ctx context.Context, c *Caller, cmds []fsm.Command, out []Reply, carried int64, more, parts bool,
) (held int64, turn bool) {
	kind := Kind(0)
	if r.closing.Load() {
		kind = KindClosing
	} else if !r.m.Load().Initialised() && !r.awaitMap(ctx, c) {
		kind = KindUninitialised
	}
	if kind != 0 {
		for i := range cmds {
			if !more || errors.Is(out[i].Err, errLater) {
				out[i] = Reply{Err: &Error{Kind: kind}}
			}
		}
		return carried, false
	}
	k := r.newCall(ctx, c)
	k.parts = parts
	if carried > 0 {
		k.held.Store(carried)
	}
	m := r.m.Load()
	for i := range cmds {
		cmd, reply := &cmds[i], &out[i]
		if more && !errors.Is(reply.Err, errLater) {
			continue
		}
		if k.later {
			reply.Err = errLater
			continue
		}
		*reply = Reply{}
		s := r.admit(c, cmd, reply)
		switch {
		case s == nil:
		case s.Whole || s.Script:
			if k.flush(); k.later {
				reply.Err = errLater
				continue
			}
			if s.Script {
				k.script(s, cmd, reply)
			} else {
				k.whole(s, cmd, reply)
			}
		default:
			k.ahead = k.ahead || len(k.items) == 0 && i > 0
			k.plan(s, cmd, reply, m)
		}
	}
	k.flush()
	held, turn = k.held.Load(), k.turn
	k.release()
	return held, turn
}

// awaitMap waits, at most as long as the caller does, for the first Map of a member that has just
// started; false when none came or none will.
func (r *Router) awaitMap(ctx context.Context, c *Caller) bool {
	if r.cfg.Member == nil || !r.cfg.Member() {
		return false
	}
	budget := c.Timeout
	if budget <= 0 {
		budget = DefaultTimeout
	}
	timer := time.NewTimer(budget)
	defer timer.Stop()
	for {
		news := *r.news.Load()
		if r.m.Load().Initialised() {
			return true
		}
		if r.closing.Load() {
			return false
		}
		select {
		case <-news:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// admit asks whether cmd may run at all; nil means that reply says why not.
func (r *Router) admit(c *Caller, cmd *fsm.Command, reply *Reply) *fsm.Spec {
	s := r.cfg.Table.Spec(cmd.Op)
	if s == nil || s.Internal {
		reply.Err = &Error{Kind: KindInvalid, Op: "admit"}
		return nil
	}
	if r.Authorise != nil {
		if err := r.Authorise(c, s, cmd); err != nil {
			reply.Err = &Error{Kind: KindDenied, Op: s.Name, Err: err}
			return nil
		}
	}
	if res, ok := r.cfg.Table.Check(cmd); !ok {
		reply.Result = res
		return nil
	}
	return s
}

// flush runs the items planned so far and joins the split commands among them.
func (k *call) flush() {
	if len(k.items) == 0 {
		return
	}
	k.run()
	for i := range k.splits {
		sp := &k.splits[i]
		if sp.join(); (k.held.Load() > 0 || k.turn) && fsm.ReplySize(&sp.reply.Result) > fsm.MaxReply {
			sp.reply.Result = fsm.Error(fsm.CodeTooBig, fsm.TextReplyTooBig)
		}
	}
	k.items, k.splits = k.items[:0], k.splits[:0]
}

// SlotMap returns the newest Map, nil before the first.
func (r *Router) SlotMap() *Map { return r.m.Load() }

// Leader names the node that leads a group as far as this node knows, empty when it does not. Unlike
// the Map it changes without notice.
func (r *Router) Leader(group uint32) string {
	rt := (*r.routes.Load())[group]
	if rt == nil {
		return ""
	}
	if local := rt.local.Load(); local != nil {
		rt.learn(local.Leader())
	}
	return rt.leader()
}

// Watch calls f with the present Map, if there is one, and with every newer one, in order, until
// the returned function was called. f must be quick and must call neither Watch nor stop.
func (r *Router) Watch(f func(*Map)) (stop func()) {
	r.watch.Lock()
	defer r.watch.Unlock()
	id := r.watch.next
	r.watch.next++
	r.watch.fs[id] = f
	if m := r.m.Load(); m != nil {
		f(m)
	}
	return func() {
		r.watch.Lock()
		defer r.watch.Unlock()
		delete(r.watch.fs, id)
	}
}

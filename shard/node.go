// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode"
)

// Node is one node of a cluster. All methods may be called from any goroutine.
type Node struct {
	h      *host.Host
	rn     *raftnode.Node
	host   replicaHost // rn, as far as it starts and ends replicas
	cfg    Config
	log    *slog.Logger
	table  *fsm.Table
	router *Router
	// view is the newest control state seen in this process; never nil, Revision 0 before the first.
	view atomic.Pointer[View]
	// listening keeps listen from going by an older View than another call of it.
	listening sync.Mutex

	// ctx is the node's lifetime; wg joins what start began.
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	// viewMoved is fired after each change of the View, replicasMoved after each change of the Map or
	// of a replica's readiness.
	viewMoved     signal
	replicasMoved signal
	// wake asks the agent to look.
	wake chan struct{}
	// agentOnce starts the agent; checking and describing are set while that background call runs.
	agentOnce            sync.Once
	checking, describing atomic.Bool
	// book is the identity as last saved; never nil.
	book     atomic.Pointer[identity]
	digests  digestRuns
	defects  defects
	captures captures
	left     chan struct{}

	mu struct {
		sync.Mutex
		// busy: Init or Join is under way.
		busy     bool
		closed   bool
		left     bool // another member said that this node is none
		replicas map[uint32]*replica
	}
}

// Open starts the node on an open consensus runtime, which must have no running group: it restarts
// the replicas in the catalogue and ends a founding or a join that a crash interrupted. A node
// without cluster waits for Init or Join. The caller closes rn after Close.
func Open(h *host.Host, rn *raftnode.Node, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	n := &Node{
		h: h, rn: rn, cfg: cfg, table: fsm.DataWith(cfg.Limits),
		wake: make(chan struct{}, 1), left: make(chan struct{}),
	}
	n.log = n.cfg.Logger
	n.host = rn
	if cfg.wrapHost != nil {
		n.host = cfg.wrapHost(rn)
	}
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	n.mu.replicas = make(map[uint32]*replica)
	n.view.Store(emptyView())
	n.router = newRouter(routerConfig{
		Self: rn.ID(), Incarnation: rn.Incarnation(), Table: n.table, Link: rn, Rand: h.Rand, Logger: n.log, Member: n.member, Wall: h.Wall.Now,
		HashKey: n.hashKey,
	})
	id, err := loadIdentity(rn)
	if err != nil {
		return nil, n.abandon(err)
	}
	n.book.Store(id)
	rn.SetDirectory(n.address)
	rn.Handle(raftnode.ClassForward, n.router.handleForward)
	rn.Handle(raftnode.ClassControl, n.handleControl)
	rn.Handle(raftnode.ClassJoin, n.handleJoin)
	rn.Handle(raftnode.ClassBulk, n.handleBulk)
	if err := n.resume(id); err != nil {
		return nil, n.abandon(err)
	}
	return n, nil
}

// resume goes on where the node's last life ended.
func (n *Node) resume(id *identity) error {
	switch id.Phase {
	case phaseBlank:
		return nil
	case phaseLeft:
		// A crash may have left replicas behind.
		for _, r := range n.host.Groups() {
			if err := n.host.RemoveGroup(r.Group); err != nil {
				return fmt.Errorf("shard: delete what was left: %w", err)
			}
		}
		n.markLeft()
		return nil
	}
	if err := n.startControl(id); err != nil {
		return err
	}
	for _, r := range n.host.Groups() {
		if r.Group == controlGroup {
			continue
		}
		if err := n.startReplica(r.Group, r.Replica, r.Founder); err != nil {
			return err
		}
	}
	n.startAgent()
	if id.Phase == phaseFounding {
		n.founding(id)
	}
	return nil
}

// spawn runs f on a goroutine that Close joins; false when the node is closing.
func (n *Node) spawn(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.closed {
		return false
	}
	n.wg.Go(f)
	return true
}

// abandon undoes a failed Open.
func (n *Node) abandon(err error) error {
	return errors.Join(err, n.Close())
}

// Close stops the node's loops and joins them. It stops no group: that is rn.Close.
func (n *Node) Close() error {
	n.mu.Lock()
	closed := n.mu.closed
	n.mu.closed = true
	n.mu.Unlock()
	if closed {
		return nil
	}
	n.cancel(ErrClosing)
	n.router.close()
	n.captures.close()
	n.wg.Wait()
	return nil
}

// ID is the node's id: 40 hex digits.
func (n *Node) ID() string { return n.rn.ID() }

// Router carries commands to the groups.
func (n *Node) Router() *Router { return n.router }

// View returns the control state as last applied here; nil while the node belongs to no cluster or
// has not caught up with it yet.
func (n *Node) View() *View {
	if v := n.view.Load(); v.Revision > 0 {
		return v
	}
	return nil
}

// Initialised tells whether the node belongs to a cluster.
func (n *Node) Initialised() bool {
	p := n.book.Load().Phase
	return p == phaseFounding || p == phaseMember
}

// member tells whether this node is a full member: the control group's state will arrive.
func (n *Node) member() bool {
	p := n.book.Load()
	return p != nil && p.Phase == phaseMember
}

// Left is closed once the node has left its cluster: its groups are stopped and their data deleted.
func (n *Node) Left() <-chan struct{} { return n.left }

// Ready is nil when the node knows its cluster and every local replica has caught up, otherwise it
// says what is missing.
func (n *Node) Ready() error {
	if n.book.Load().Phase == phaseLeft {
		return ErrLeft
	}
	v := n.View()
	if v == nil {
		return ErrUninitialised
	}
	var missing []error
	local := n.localReplicas()
	for _, r := range local {
		if err := r.ready(); err != nil {
			missing = append(missing, err)
		}
	}
	for _, m := range agentSteps(v, n.ID(), n.holdings(), nil) {
		if m.Start {
			missing = append(missing, fmt.Errorf("shard: group %d is not started yet", m.Group))
		}
	}
	return errors.Join(missing...)
}

// claim reserves the node for Init or Join.
func (n *Node) claim() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch id := n.book.Load(); {
	case n.mu.closed:
		return ErrClosing
	case n.mu.busy:
		return ErrBusy
	case id.Phase == phaseLeft:
		return ErrLeft
	case id.Phase != phaseBlank:
		return fmt.Errorf("%w: %s", ErrInitialised, id.ClusterID)
	}
	if cluster, _ := n.rn.Cluster(); cluster != "" || len(n.host.Groups()) > 0 {
		return ErrHasData
	}
	n.mu.busy = true
	return nil
}

func (n *Node) unclaim() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.busy = false
}

// publish takes over a View that the control group's machine here has reached. A machine that starts
// anew goes through old Views again; readers do not.
func (n *Node) publish(v *View) {
	for {
		have := n.view.Load()
		if have.Revision >= v.Revision {
			return
		}
		if n.view.CompareAndSwap(have, v) {
			break
		}
	}
	n.listen()
	n.viewMoved.fire()
	n.kick()
}

// listen has those events published that the newest View asks for.
func (n *Node) listen() {
	n.listening.Lock()
	defer n.listening.Unlock()
	n.router.notices.want(n.view.Load().Settings.Events)
}

// kick asks the agent to look, without waiting.
func (n *Node) kick() { kick(n.wake) }

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// address is the peer directory: the View, or the saved identity while that is newer.
func (n *Node) address(node string) (string, bool) {
	v, id := n.view.Load(), n.book.Load()
	if v.Revision >= id.Revision && v.Revision > 0 {
		if info, ok := v.Node(node); ok {
			return info.Addrs["peer"], true
		}
	}
	a, ok := id.Peers[node]
	return a, ok
}

// self describes this node as its configuration says.
func (n *Node) self() NodeInfo {
	info := NodeInfo{ID: n.ID(), Name: n.cfg.Name, Zone: n.cfg.Zone, Weight: n.cfg.Weight, Addrs: map[string]string{}}
	if info.Name == "" {
		info.Name = info.ID[:min(8, len(info.ID))]
	}
	for proto, a := range n.cfg.Addrs {
		info.Addrs[proto] = a
	}
	if info.Addrs["peer"] == "" {
		info.Addrs["peer"] = n.rn.Advertised()
	}
	return info
}

// Configure changes the cluster's settings by change, which may be called more than once. Groups cannot
// be changed here. Data groups learn the new settings within moments of its return.
func (n *Node) Configure(ctx context.Context, change func(s *Settings)) error {
	for {
		v := n.View()
		if v == nil {
			return fmt.Errorf("shard: configure: %w", ErrUninitialised)
		}
		s := v.Settings
		change(&s)
		_, err := n.propose(ctx, &cmdSettings{If: v.SettingsRev, Settings: s})
		if err == nil { // who asks this node next finds it; when it takes too long, the settings are made all the same
			_ = n.viewMoved.until(ctx, func() bool {
				w := n.view.Load()
				return w.Settings == s || w.SettingsRev > v.SettingsRev
			})
			return nil
		}
		if !errors.Is(err, ErrConflict) || ctx.Err() != nil {
			return fmt.Errorf("shard: configure: %w", err)
		}
		// Another change came between: wait until it is here.
		if err := n.viewMoved.until(ctx, func() bool { return n.view.Load().SettingsRev != v.SettingsRev }); err != nil {
			return fmt.Errorf("shard: configure: %w", err)
		}
	}
}

// Snapshot makes every local group take a snapshot now.
func (n *Node) Snapshot(ctx context.Context) error {
	if n.View() == nil {
		return ErrUninitialised
	}
	var errs []error
	for _, r := range n.localReplicas() {
		if err := r.group.Snapshot(ctx); err != nil {
			errs = append(errs, fmt.Errorf("shard: snapshot group %d: %w", r.id, err))
		}
	}
	return errors.Join(errs...)
}

// signal lets any number of goroutines wait for the next fire.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// next returns a channel that the next fire closes. Take it before looking at what it announces.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// until waits until ok, which is asked again after each fire.
func (s *signal) until(ctx context.Context, ok func() bool) error {
	for {
		next := s.next()
		if ok() {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

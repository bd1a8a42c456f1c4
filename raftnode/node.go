// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/link"
	"github.com/kvorum/kvorum/raftnode/transport"
)

// Class is a class of peer link messages; each has its own connection, so that none can hold up
// another.
type Class = link.Class

// The classes open to the layers above.
const (
	ClassControl = link.ClassControl
	ClassForward = link.ClassForward
	ClassObserve = link.ClassObserve
	ClassBulk    = link.ClassBulk
	// ClassJoin is served before the caller knows the cluster's id.
	ClassJoin = link.ClassJoin
)

// Handler serves one peer link request on a goroutine of its own. from is the caller's node id. An
// error travels to the caller as a *RemoteError. Close waits for it, so it must return soon after its
// context ends.
type Handler = link.Handler

// RemoteError is the error of a handler on the other side.
type RemoteError = link.RemoteError

// Names in the data folder.
const (
	lockName    = "LOCK"
	catalogName = "catalog.db"
	reserveName = "reserve"
	groupsName  = "groups"
)

// Node is the runtime of one node: its data folder, its catalogue, its end of the peer link and its
// groups. All methods may be called from any goroutine.
type Node struct {
	h    *host.Host
	cfg  Config
	log  *slog.Logger
	lock io.Closer
	kv   host.KV
	cat  *catalog
	link *link.Link
	mux  *transport.Mux

	// ctx ends when Close begins to stop the node's own goroutines, which wg joins.
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
	// starts joins StartGroup calls under way.
	starts sync.WaitGroup

	// opened is when the node was opened, the zero of uptime.
	opened time.Time
	// coarse counts vitals ticks; it dates Subs.
	coarse  atomic.Uint32
	budget  budget
	batches atomic.Uint64
	// low: below the disk reserve. overdue: an append takes too long.
	low, overdue atomic.Bool
	died         atomic.Bool

	lanes atomic.Pointer[map[string]*lane]
	table atomic.Pointer[groupTable]
	// snapSlot is held by the one snapshot under way; snapKick wakes the schedule.
	snapSlot, snapKick chan struct{}
	pacer              pacer
	reserve            diskReserve
	upper              atomic.Pointer[Handler]

	mu struct {
		sync.Mutex
		closed bool
		// busy holds groups being started, stopped or removed.
		busy map[uint32]bool
	}
}

// groupTable is immutable.
type groupTable struct {
	byID map[uint32]*Group
	list []*Group
}

// Open locks the data folder, opens the catalogue and starts the peer link's listener.
func Open(h *host.Host, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{
		h: h, cfg: cfg, log: cfg.Logger, opened: monotonic(),
		budget:   budget{limit: cfg.QueueBytes},
		snapSlot: make(chan struct{}, 1), snapKick: make(chan struct{}, 1),
		pacer: pacer{rate: cfg.SnapshotRate},
	}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.mu.busy = make(map[uint32]bool)
	n.table.Store(&groupTable{})
	if err := n.open(); err != nil {
		n.stop()
		return nil, errors.Join(fmt.Errorf("raftnode: open %s: %w", cfg.Dir, err), n.release())
	}
	n.wg.Go(n.vitals)
	n.wg.Go(n.snapshotLoop)
	return n, nil
}

func (n *Node) open() error {
	if err := n.h.FS.MkdirAll(path.Join(n.cfg.Dir, groupsName), 0o700); err != nil {
		return err
	}
	lock, err := n.h.FS.Lock(path.Join(n.cfg.Dir, lockName))
	if errors.Is(err, host.ErrLocked) {
		return ErrInUse
	}
	if err != nil {
		return err
	}
	n.lock = lock
	if n.kv, err = n.h.FS.OpenKV(path.Join(n.cfg.Dir, catalogName)); err != nil {
		return err
	}
	if n.cat, err = openCatalog(n.kv, n.h.Rand); err != nil {
		return err
	}
	if err := n.sweep(); err != nil {
		return err
	}
	n.reserve = diskReserve{n: n, path: path.Join(n.cfg.Dir, reserveName)}
	if err := n.reserve.open(); err != nil {
		return err
	}
	n.log = n.cfg.Logger.With("node", n.cat.id)
	return n.openLink()
}

func (n *Node) openLink() error {
	var err error
	if n.link, err = link.New(link.Config{Host: n.h, Node: n.cat.id, Logger: n.log, Gone: n.peerGone}); err != nil {
		return err
	}
	id, epoch := n.cat.cluster()
	n.link.SetCluster(link.Identity{Cluster: id, Epoch: epoch})
	n.mux, err = transport.NewMux(transport.Config{Link: n.link, Logger: n.log, DiskOverdue: n.overdue.Load})
	if err != nil {
		return err
	}
	n.link.Handle(ClassControl, n.control)
	return n.link.Listen(n.cfg.Listen)
}

// sweep deletes the folders of replicas that the catalogue does not know: what a crash left of
// RemoveGroup.
func (n *Node) sweep() error {
	root := path.Join(n.cfg.Dir, groupsName)
	names, err := n.h.FS.ReadDir(root)
	if err != nil {
		return err
	}
	known := make(map[string]bool)
	for _, r := range n.cat.list() {
		known[replicaDir(r.Group, r.Replica)] = true
	}
	for _, name := range names {
		if known[name] {
			continue
		}
		if err := n.h.FS.RemoveAll(path.Join(root, name)); err != nil {
			return err
		}
	}
	return nil
}

// ID is the node's id: 40 hex digits, made once.
func (n *Node) ID() string { return n.cat.id }

// Incarnation counts the starts of this node, from 1.
func (n *Node) Incarnation() uint64 { return n.cat.incarnation }

// Addr is the address the peer link listens on.
func (n *Node) Addr() string { return n.link.Addr() }

// Advertised is the address peers are to dial.
func (n *Node) Advertised() string {
	if n.cfg.Advertise != "" {
		return n.cfg.Advertise
	}
	return n.link.Addr()
}

// LowDisk tells whether this node's disk is below its reserve.
func (n *Node) LowDisk() bool { return n.low.Load() }

// Close stops all groups and the link. Every pending Sub is answered before it returns.
func (n *Node) Close() error {
	n.mu.Lock()
	first := !n.mu.closed
	n.mu.closed = true
	n.mu.Unlock()
	n.starts.Wait()
	if !first {
		n.wg.Wait()
		return nil
	}
	var mu sync.Mutex
	var errs []error
	var groups sync.WaitGroup
	for _, g := range n.running() {
		groups.Go(func() {
			if err := g.stop(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, fmt.Errorf("group %d: %w", g.id, err))
			}
		})
	}
	groups.Wait()
	n.stop()
	errs = append(errs, n.link.Close())
	n.wg.Wait()
	errs = append(errs, n.release())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("raftnode: close: %w", err)
	}
	return nil
}

// release lets go of what open took, in reverse order.
func (n *Node) release() error {
	var errs []error
	if n.link != nil {
		errs = append(errs, n.link.Close())
	}
	if n.kv != nil {
		errs = append(errs, n.kv.Close())
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

// fatal tells the owner, once, that the process must stop.
func (n *Node) fatal(err error) {
	if !n.died.CompareAndSwap(false, true) {
		return
	}
	if n.cfg.Events.Fatal != nil {
		n.cfg.Events.Fatal(err) // first: a log that cannot be written does not keep the process
	}
	n.log.Error("node must stop", "error", err)
}

// Cluster tells the cluster's id, empty when none is set, and the recovery epoch.
func (n *Node) Cluster() (id string, recoveryEpoch uint64) { return n.cat.cluster() }

// SetCluster sets the cluster's id for ever; another id later is ErrOtherCluster.
func (n *Node) SetCluster(id string) error {
	if err := n.cat.setCluster(id); err != nil {
		return fmt.Errorf("raftnode: set cluster: %w", err)
	}
	id, epoch := n.cat.cluster()
	n.link.SetCluster(link.Identity{Cluster: id, Epoch: epoch})
	return nil
}

// SetDirectory sets where peers' addresses come from. f must not block.
func (n *Node) SetDirectory(f func(node string) (addr string, ok bool)) { n.link.SetDirectory(f) }

// Forget closes the connections to and from a node that left the cluster.
func (n *Node) Forget(node string) {
	n.dropLane(node)
	n.link.Forget(node)
}

// Groups lists the replicas in the catalogue, by group.
func (n *Node) Groups() []GroupRecord { return n.cat.list() }

// SaveGroup records a replica durably without starting it. A record of another replica of the group
// must be removed first.
func (n *Node) SaveGroup(r GroupRecord) error {
	have, ok := n.cat.group(r.Group)
	if ok && have.Replica != r.Replica {
		return fmt.Errorf("raftnode: save group %d: %w as replica %d", r.Group, ErrExists, have.Replica)
	}
	if ok && have.Founder == r.Founder {
		return nil
	}
	have.Replica, have.Founder = r.Replica, r.Founder
	if err := n.cat.putGroup(r.Group, have); err != nil {
		return fmt.Errorf("raftnode: save group %d: %w", r.Group, err)
	}
	return nil
}

// PutMeta stores a small value durably; nil deletes it.
func (n *Node) PutMeta(key string, value []byte) error { return n.cat.putMeta(key, value) }

// GetMeta returns a copy of the value, nil when absent.
func (n *Node) GetMeta(key string) ([]byte, error) { return n.cat.getMeta(key) }

// Group returns a running group.
func (n *Node) Group(group uint32) (*Group, bool) {
	g, ok := n.table.Load().byID[group]
	return g, ok
}

// running lists the groups; the slice must not be changed.
func (n *Node) running() []*Group { return n.table.Load().list }

// Running lists the running groups in ascending order.
func (n *Node) Running() []*Group { return slices.Clone(n.running()) }

// Handle serves a class; call it before StartGroup.
func (n *Node) Handle(class Class, f Handler) {
	if class == ClassControl {
		n.upper.Store(&f)
		return
	}
	n.link.Handle(class, func(ctx context.Context, from string, req []byte) ([]byte, error) {
		reply, err := f(ctx, from, req)
		n.yield("raftnode.answer")
		return reply, err
	})
}

// yield is a place where a test may hold the goroutine, as a stopped process would be.
func (n *Node) yield(point string) {
	if err := n.h.Point(point); err != nil {
		n.cfg.Logger.Debug("fault injected", "point", point, "error", err)
	}
}

// control serves the control class, which this package shares with the layers above.
func (n *Node) control(ctx context.Context, from string, req []byte) ([]byte, error) {
	if len(req) == 0 {
		return nil, errMalformed
	}
	switch req[0] {
	case controlTermCheck:
		return n.answerTermCheck(req[1:])
	case controlUpper:
		if f := n.upper.Load(); f != nil {
			return (*f)(ctx, from, req[1:])
		}
	}
	return nil, link.ErrNoHandler
}

// Call asks a node of this cluster. It takes req over. The error wraps ErrNotSent when the request
// never left this node or was refused unseen, ErrLost when its fate is unknown, or is a *RemoteError.
func (n *Node) Call(ctx context.Context, node string, class Class, req []byte) ([]byte, error) {
	if class == ClassControl {
		return n.link.CallParts(ctx, node, class, [][]byte{{controlUpper}, req})
	}
	return n.link.Call(ctx, node, class, req)
}

// CallAddr asks whoever listens on addr; only for ClassJoin, ClassObserve and ClassControl.
func (n *Node) CallAddr(ctx context.Context, addr string, class Class, req []byte) ([]byte, error) {
	if class == ClassControl {
		req = append([]byte{controlUpper}, req...)
	}
	return n.link.CallAddr(ctx, addr, class, req)
}

// call sends a term check.
func (n *Node) call(ctx context.Context, node string, req []byte) ([]byte, error) {
	return n.link.Call(ctx, node, ClassControl, req)
}

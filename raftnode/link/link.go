// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
)

// Directory tells the peer address of a node. It must be quick.
type Directory func(node string) (addr string, ok bool)

// Link is one node's end of the peer link.
type Link struct {
	cfg      Config
	maxFrame int
	log      *slog.Logger
	stats    counters

	// ctx is the link's lifetime; stop ends it with ErrClosed.
	ctx  context.Context
	stop context.CancelCauseFunc
	wg   sync.WaitGroup

	directory atomic.Pointer[Directory]
	handlers  [maxClass + 1]atomic.Pointer[Handler]
	streams   [maxClass + 1]atomic.Pointer[StreamHandler]
	// greeting counts accepted connections that have not said hello.
	greeting atomic.Int64

	mu struct {
		sync.RWMutex
		closed   bool
		identity Identity
		ln       net.Listener
		peers    map[peerKey]*peer
		// conns holds every live connection, dialed and accepted; accepted the accepted ones that
		// named their sender.
		conns    map[*wire]connInfo
		accepted map[peerKey]*wire
		// nodes holds what is known of the processes of nodes that were connected once.
		nodes map[string]*presence
	}
}

type peerKey struct {
	node  string
	class Class
}

// connInfo is what a connection was agreed on.
type connInfo struct {
	peerKey
	identity Identity
	inbound  bool
	// presence of the node, nil before it is registered.
	presence *presence
}

// New makes a link that can dial but does not listen yet.
func New(cfg Config) (*Link, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := &Link{cfg: cfg, maxFrame: cfg.MaxFrame, log: cfg.Logger}
	if l.maxFrame == 0 {
		l.maxFrame = DefaultMaxFrame
	}
	l.ctx, l.stop = context.WithCancelCause(context.Background())
	l.mu.peers = make(map[peerKey]*peer)
	l.mu.conns = make(map[*wire]connInfo)
	l.mu.accepted = make(map[peerKey]*wire)
	l.mu.nodes = make(map[string]*presence)
	return l, nil
}

// Node returns this node's id.
func (l *Link) Node() string { return l.cfg.Node }

// MaxFrame returns the largest payload of a call, in bytes.
func (l *Link) MaxFrame() int { return l.maxFrame }

// SetCluster sets what other nodes must have in common with this one. Connections agreed on
// something else are closed.
func (l *Link) SetCluster(id Identity) {
	var stale []*wire
	l.mu.Lock()
	l.mu.identity = id
	for w, info := range l.mu.conns {
		if info.class != ClassJoin && info.identity != id {
			stale = append(stale, w)
		}
	}
	l.mu.Unlock()
	for _, w := range stale {
		w.fail(ErrOtherCluster)
	}
}

// Cluster returns what SetCluster set.
func (l *Link) Cluster() Identity {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mu.identity
}

// SetDirectory sets where addresses come from. A changed address matters at the next dial.
func (l *Link) SetDirectory(f Directory) { l.directory.Store(&f) }

// Handle sets who answers requests of a class; until then they are refused with ErrNoHandler.
func (l *Link) Handle(class Class, f Handler) { l.handlers[class].Store(&f) }

// HandleStream sets who answers streams of a class.
func (l *Link) HandleStream(class Class, f StreamHandler) { l.streams[class].Store(&f) }

// Call sends req to node and waits for its answer. It takes req over: the caller must not change
// it afterwards. Without a deadline in ctx, Deadline of the request's size applies.
func (l *Link) Call(ctx context.Context, node string, class Class, req []byte) ([]byte, error) {
	return l.call(ctx, node, class, outFrame{one: req, size: len(req)})
}

// CallParts is Call with a request in pieces, which saves joining large ones. It takes parts over.
func (l *Link) CallParts(ctx context.Context, node string, class Class, parts [][]byte) ([]byte, error) {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	return l.call(ctx, node, class, outFrame{parts: parts, size: size})
}

func (l *Link) call(ctx context.Context, node string, class Class, f outFrame) ([]byte, error) {
	f.kind = kindRequest
	reply, err := l.tryCall(ctx, node, class, f)
	l.count(err)
	return reply, err
}

func (l *Link) tryCall(ctx context.Context, node string, class Class, f outFrame) ([]byte, error) {
	if f.size > l.maxFrame {
		return nil, notSent(ErrTooLarge)
	}
	p, err := l.peer(node, class)
	if err != nil {
		return nil, notSent(err)
	}
	c, err := p.conn(ctx)
	if err != nil {
		return nil, notSent(err)
	}
	return c.roundTrip(ctx, f)
}

// CallAddr makes one call to whatever node answers at addr, over a connection of its own. class
// must be ClassJoin, ClassObserve or ClassControl.
func (l *Link) CallAddr(ctx context.Context, addr string, class Class, req []byte) ([]byte, error) {
	reply, err := l.callAddr(ctx, addr, class, req)
	l.count(err)
	return reply, err
}

func (l *Link) callAddr(ctx context.Context, addr string, class Class, req []byte) ([]byte, error) {
	if len(req) > l.maxFrame {
		return nil, notSent(ErrTooLarge)
	}
	c, err := l.dial(ctx, addr, peerKey{class: class})
	if err != nil {
		return nil, notSent(err)
	}
	if !l.spawn(c.serve) {
		c.w.fail(ErrClosed)
		return nil, notSent(ErrClosed)
	}
	defer c.w.fail(ErrClosed)
	return c.roundTrip(ctx, outFrame{kind: kindRequest, one: req, size: len(req)})
}

// Forget closes the connections to and from node and drops what is remembered about it.
func (l *Link) Forget(node string) {
	var gone []*wire
	l.mu.Lock()
	for w, info := range l.mu.conns {
		if info.node == node {
			gone = append(gone, w)
		}
	}
	for class := ClassRaft; class <= maxClass; class++ {
		delete(l.mu.peers, peerKey{node, class})
	}
	delete(l.mu.nodes, node)
	l.mu.Unlock()
	for _, w := range gone {
		w.fail(ErrUnknownNode)
	}
}

// Close ends every connection and call and waits until all goroutines of the link, running
// handlers included, have returned. Further calls fail with ErrClosed.
func (l *Link) Close() error {
	l.mu.Lock()
	first := !l.mu.closed
	l.mu.closed = true
	ln := l.mu.ln
	conns := make([]*wire, 0, len(l.mu.conns))
	for w := range l.mu.conns {
		conns = append(conns, w)
	}
	l.mu.Unlock()
	var err error
	if first {
		l.stop(ErrClosed)
		if ln != nil {
			err = ln.Close()
		}
	}
	for _, w := range conns {
		w.fail(ErrClosed)
	}
	l.wg.Wait()
	if err != nil {
		return fmt.Errorf("link: close: %w", err)
	}
	return nil
}

// spawn runs f on a goroutine that Close joins; false when the link is closed.
func (l *Link) spawn(f func()) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.mu.closed {
		return false
	}
	l.wg.Go(f)
	return true
}

// register enters a connection that has shaken hands. It replaces an older inbound one of the
// same sender and class.
func (l *Link) register(w *wire, info connInfo) error {
	var old *wire
	l.mu.Lock()
	defer func() {
		l.mu.Unlock()
		if old != nil {
			old.fail(ErrReplaced)
		}
	}()
	switch {
	case l.mu.closed:
		return ErrClosed
	case info.class != ClassJoin && info.identity != l.mu.identity:
		return ErrOtherCluster
	case info.inbound && len(l.mu.conns) >= maxAccepted:
		return ErrBusy
	}
	info.presence = l.cameLocked(info.node)
	l.mu.conns[w] = info
	if info.inbound && info.node != "" {
		old = l.mu.accepted[info.peerKey]
		l.mu.accepted[info.peerKey] = w
	}
	return nil
}

func (l *Link) unregister(w *wire) {
	l.mu.Lock()
	info, ok := l.mu.conns[w]
	delete(l.mu.conns, w)
	if l.mu.accepted[info.peerKey] == w {
		delete(l.mu.accepted, info.peerKey)
	}
	probe := ok && l.leftLocked(info.node, info.presence)
	l.mu.Unlock()
	if probe {
		l.spawn(func() { l.probe(info.node, info.presence) })
	}
}

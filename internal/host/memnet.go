// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// acceptBacklog is how many connections wait for Accept before a dial waits too.
	acceptBacklog = 128
	// firstEphemeral is the first port given out where none is asked for.
	firstEphemeral = 40000
)

// memAddr is "node:port".
type memAddr string

func (memAddr) Network() string  { return "tcp" }
func (a memAddr) String() string { return string(a) }

// memNet is the network between the nodes of a World. It has no goroutine: delays are arrival
// times that readers wait for.
type memNet struct {
	mu        sync.Mutex
	rng       *rand.Rand
	links     map[[2]string]*link // by from, to
	listeners map[memAddr]*memListener
	conns     map[*memConn]bool     // ends not closed yet
	orphans   map[string][]*memConn // ends of nodes that lost power silently, not yet reset
	nextPort  int
	gens      map[string]chan struct{} // per node: closed when its process dies
	changed   chan struct{}            // closed and replaced when links, listeners or lives change
	closed    bool
}

func newMemNet(seed uint64) *memNet {
	return &memNet{
		rng:       rand.New(rand.NewPCG(seed, 0x6e6574)),
		links:     make(map[[2]string]*link),
		listeners: make(map[memAddr]*memListener),
		conns:     make(map[*memConn]bool),
		orphans:   make(map[string][]*memConn),
		nextPort:  firstEphemeral,
		gens:      make(map[string]chan struct{}),
		changed:   make(chan struct{}),
	}
}

// announce wakes dials that wait for a better network; needs mu.
func (n *memNet) announce() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// link needs mu.
func (n *memNet) link(from, to string) *link {
	key := [2]string{from, to}
	l := n.links[key]
	if l == nil {
		l = &link{rng: rand.New(rand.NewPCG(n.rng.Uint64(), n.rng.Uint64())), halves: make(map[*half]bool)}
		n.links[key] = l
	}
	return l
}

// edit changes a link and carries the outcome to its connections and to waiting dials.
func (n *memNet) edit(from, to string, change func(*link)) {
	n.mu.Lock()
	l := n.link(from, to)
	n.mu.Unlock()
	l.apply(change)
	n.mu.Lock()
	n.announce()
	n.mu.Unlock()
}

func (n *memNet) allLinks() [][2]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.SortedFunc(maps.Keys(n.links), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
}

// memNetView is the network as one life of a node's process sees it.
type memNetView struct {
	net  *memNet
	node string
	dead chan struct{} // closed when the process dies
}

var _ Net = (*memNetView)(nil)

// alive needs net.mu.
func (v *memNetView) alive() error {
	select {
	case <-v.dead:
		return ErrCrashed
	default:
	}
	if v.net.closed {
		return net.ErrClosed
	}
	return nil
}

// resolve turns an address into the node and port it means on this node.
func (v *memNetView) resolve(addr string) (node string, port int, err error) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(p); err != nil || port < 0 || port > 65535 {
		return "", 0, &net.AddrError{Err: "invalid port", Addr: addr}
	}
	switch host {
	case "", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::":
		host = v.node
	}
	return host, port, nil
}

func (v *memNetView) Listen(addr string) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: memAddr(addr), Err: err}
	}
	node, port, err := v.resolve(addr)
	if err != nil {
		return fail(err)
	}
	if node != v.node {
		return fail(syscall.EADDRNOTAVAIL)
	}
	v.net.mu.Lock()
	defer v.net.mu.Unlock()
	if err := v.alive(); err != nil {
		return fail(err)
	}
	if port == 0 {
		port = v.net.freePort()
	}
	at := memAddr(net.JoinHostPort(node, strconv.Itoa(port)))
	if v.net.listeners[at] != nil {
		return fail(syscall.EADDRINUSE)
	}
	l := &memListener{net: v.net, node: node, addr: at, done: make(chan struct{}), changed: make(chan struct{})}
	v.net.listeners[at] = l
	return l, nil
}

// freePort needs mu.
func (n *memNet) freePort() int {
	n.nextPort++
	if n.nextPort > 65535 {
		n.nextPort = firstEphemeral
	}
	return n.nextPort
}

// Dial waits while a packet could not go there and back, then takes one round trip.
func (v *memNetView) Dial(ctx context.Context, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: memAddr(addr), Err: err}
	}
	node, port, err := v.resolve(addr)
	if err != nil {
		return fail(err)
	}
	at := memAddr(net.JoinHostPort(node, strconv.Itoa(port)))
	if err := v.roundTrip(ctx, node); err != nil {
		return fail(err)
	}
	v.net.mu.Lock()
	l := v.net.listeners[at]
	if l == nil {
		v.net.mu.Unlock()
		return fail(syscall.ECONNREFUSED)
	}
	if err := v.alive(); err != nil {
		v.net.mu.Unlock()
		return fail(err)
	}
	ours, theirs := v.net.pair(v.node, l)
	v.net.mu.Unlock()
	if err := l.enqueue(ctx, v.dead, theirs); err != nil {
		ours.shut()
		theirs.shut()
		v.net.forget(ours)
		v.net.forget(theirs)
		return fail(err)
	}
	return ours, nil
}

// roundTrip waits until both directions are open and a packet went and came back.
func (v *memNetView) roundTrip(ctx context.Context, node string) error {
	arrive := time.Time{}
	for {
		v.net.mu.Lock()
		if err := v.alive(); err != nil {
			v.net.mu.Unlock()
			return err
		}
		there, back, changed := v.net.link(v.node, node), v.net.link(node, v.node), v.net.changed
		v.net.mu.Unlock()
		if err := ctx.Err(); err != nil {
			return err
		}
		if there.isCut() || back.isCut() {
			arrive = time.Time{}
		} else if arrive.IsZero() {
			arrive = time.Now().Add(there.draw() + back.draw())
		}
		if !arrive.IsZero() && !arrive.After(time.Now()) {
			return nil
		}
		timer, stop := timerAt(arrive)
		select {
		case <-timer:
		case <-changed:
		case <-v.dead:
		case <-ctx.Done():
		}
		stop()
	}
}

// pair makes both ends of a connection; needs mu.
func (n *memNet) pair(from string, l *memListener) (dialled, accepted *memConn) {
	there, back := n.link(from, l.node), n.link(l.node, from)
	out, in := newHalf(there, back), newHalf(back, there)
	local := memAddr(net.JoinHostPort(from, strconv.Itoa(n.freePort())))
	dialled = newMemConn(n, from, local, l.addr, in, out)
	accepted = newMemConn(n, l.node, l.addr, local, out, in)
	dialled.dialled = true
	dialled.peer, accepted.peer = accepted, dialled
	n.conns[dialled], n.conns[accepted] = true, true
	return dialled, accepted
}

// forget drops a closed end; the last one takes the connection off the links.
func (n *memNet) forget(c *memConn) {
	n.mu.Lock()
	delete(n.conns, c)
	last := !n.conns[c.peer]
	n.mu.Unlock()
	if last {
		c.in.leave()
		c.out.leave()
	}
}

// take lists the connections that match and the listeners of the node, for a lever to act on
// without the lock.
func (n *memNet) take(match func(*memConn) bool, node string) (conns []*memConn, listeners []*memListener) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if match(c) {
			conns = append(conns, c)
		}
	}
	slices.SortFunc(conns, func(a, b *memConn) int {
		return strings.Compare(string(a.local+a.remote), string(b.local+b.remote))
	})
	for _, l := range n.listeners {
		if l.node == node {
			listeners = append(listeners, l)
		}
	}
	return conns, listeners
}

// live is the network of the node's present life.
func (n *memNet) live(node string) *memNetView {
	n.mu.Lock()
	dead := n.gens[node]
	if dead == nil {
		dead = make(chan struct{})
		n.gens[node] = dead
	}
	orphans := n.orphans[node]
	delete(n.orphans, node)
	n.mu.Unlock()
	for _, c := range orphans {
		c.out.end(syscall.ECONNRESET)
		c.in.stopReading(false)
		n.forget(c)
	}
	return &memNetView{net: n, node: node, dead: dead}
}

// crash ends the process of a node. A silent death leaves the far ends without news until the node
// lives again.
func (n *memNet) crash(node string, silent bool) {
	n.mu.Lock()
	if dead := n.gens[node]; dead != nil {
		close(dead)
		delete(n.gens, node)
	}
	n.mu.Unlock()
	conns, listeners := n.take(func(c *memConn) bool { return c.node == node }, node)
	for _, c := range conns {
		c.die(silent)
		if !silent {
			n.forget(c)
			continue
		}
		n.mu.Lock()
		n.orphans[node] = append(n.orphans[node], c)
		n.mu.Unlock()
	}
	for _, l := range listeners {
		_ = l.Close()
	}
	n.mu.Lock()
	n.announce()
	n.mu.Unlock()
}

// reset breaks the connections that one node dialled to another, at both ends at once.
func (n *memNet) reset(from, to string) {
	conns, _ := n.take(func(c *memConn) bool { return c.dialled && c.node == from && c.peer.node == to }, "")
	for _, c := range conns {
		c.in.fail(syscall.ECONNRESET)
		c.out.fail(syscall.ECONNRESET)
	}
}

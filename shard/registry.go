// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

// Limits and times of registries; WAITS.md says what for.
const (
	// maxTickets and maxTicketBytes bound the tickets of a registry and their keys.
	maxTickets     = 1 << 16
	maxTicketBytes = 64 << 20
	// maxWakes bounds the wakes of one frame.
	maxWakes = 1 << 10
	// wakeSilence is how long a ticket may be out.
	wakeSilence = 500 * time.Millisecond
	// sweepEvery is how often a registry looks for silent tickets and edges.
	sweepEvery = wakeSilence / 2
)

// registry is what this node knows, as the leader of a group, of the clients that wait for the group's keys. It is
// no part of the group's state. The applying goroutine calls Any and Touched with locks of slots held, so nobody
// looks at the state while holding mu.
type registry struct {
	r     *Router
	group uint32
	// n is len(mu.tickets), for Any.
	n atomic.Int32

	mu struct {
		sync.Mutex
		tickets map[ticketID]*ticket
		edges   map[string]*edge
		lines   map[string]*waitLine // by key
		out     map[*waitLine]struct{}
		bytes   int64
		timer   *time.Timer
		// ticking: the timer runs.
		ticking, closed bool
	}
}

type ticketID struct {
	node string
	id   uint64
}

// edge is a node with tickets here.
type edge struct {
	node                string
	incarnation, number uint64
	renewed             time.Time
	// wakes are to be sent; sending: a goroutine does.
	wakes   []wake
	sending bool
	// silent: the ticket of it that was out last did not come back in time. Tickets of other edges go first.
	silent bool
}

type ticketState uint8

const (
	// ticketArmed: may be woken.
	ticketArmed ticketState = iota
	// ticketOut: was woken, and its line waits for what becomes of it.
	ticketOut
	// ticketPassed: was woken, and its line does not wait for it.
	ticketPassed
)

type ticket struct {
	id     ticketID
	edge   *edge
	pops   fsm.Pops
	places []standing
	size   int64
	// since orders tickets.
	since time.Time
	// wake is the number of its last wake, at the time of it.
	wake  uint32
	at    time.Time
	state ticketState
	// missed: it was armed again though nothing became of its last wake. Others go first.
	missed bool
}

// standing is a ticket's place in one line; key is the first of the ticket's keys that is the line's.
type standing struct {
	line *waitLine
	key  uint32
}

// keyOf is the ticket's key that a line is of.
func (t *ticket) keyOf(l *waitLine) uint32 {
	return t.places[slices.IndexFunc(t.places, func(p standing) bool { return p.line == l })].key
}

// waitLine is who waits for one key, the oldest first.
type waitLine struct {
	key     string
	tickets []*ticket
	// out is the ticket of it that is out, or nil.
	out *ticket
	// newest is the ticket that came last.
	newest *ticket
}

var _ fsm.Waiters = (*registry)(nil)

func (g *registry) init(r *Router, group uint32) {
	g.r, g.group = r, group
	g.mu.tickets, g.mu.edges = make(map[ticketID]*ticket), make(map[string]*edge)
	g.mu.lines, g.mu.out = make(map[string]*waitLine), make(map[*waitLine]struct{})
}

// Any implements fsm.Waiters.
func (g *registry) Any() bool { return g.n.Load() > 0 }

// Touched implements fsm.Waiters.
func (g *registry) Touched(key []byte, holds fsm.Pops, popped bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	line := g.mu.lines[string(key)]
	if line == nil {
		return
	}
	if popped {
		g.passLocked(line)
	}
	g.wakeLocked(line, holds)
}

// passLocked stops waiting for who is out.
func (g *registry) passLocked(line *waitLine) {
	if line.out != nil {
		line.out.state, line.out = ticketPassed, nil
		delete(g.mu.out, line)
	}
}

// Opened implements fsm.Waiters.
func (g *registry) Opened() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.closed {
		return
	}
	keys := slices.Collect(maps.Keys(g.mu.lines))
	g.r.work.Add(1)
	go func() {
		defer g.r.work.Done()
		g.lookAgain(keys)
	}()
}

// wakeLocked wakes the next ticket of a line whose key has something, if nobody is out.
func (g *registry) wakeLocked(line *waitLine, holds fsm.Pops) {
	if line.out != nil || holds == fsm.PopsNothing || g.mu.closed {
		return
	}
	t := line.next(holds)
	if t == nil {
		return
	}
	t.state, t.at = ticketOut, time.Now()
	t.wake++
	line.out = t
	g.mu.out[line] = struct{}{}
	t.edge.wakes = append(t.edge.wakes, wake{ticket: t.id.id, number: t.wake, key: t.keyOf(line)})
	g.sendLocked(t.edge)
}

// next is the ticket to be woken: the first that may be expected to answer, else the one that was tried longest ago, so
// that those who do not answer hold up nobody behind them for longer than a round takes.
func (l *waitLine) next(holds fsm.Pops) (next *ticket) {
	for _, t := range l.tickets {
		switch {
		case t.state != ticketArmed || t.pops != holds:
		case !t.missed && !t.edge.silent:
			return t
		case next == nil || t.at.Before(next.at):
			next = t
		}
	}
	return next
}

// serveWaits takes what an edge tells of its tickets. It answers with a frame.
func (r *Router) serveWaits(from string, req []byte) []byte {
	q, err := parseWaits(req)
	if err != nil {
		return waitsReply(refusedInvalid, raftnode.Hint{})
	}
	local := r.localReplica(q.group)
	switch {
	case local == nil:
		return waitsReply(refusedNoReplica, raftnode.Hint{})
	case !local.IsLeader():
		return waitsReply(refusedNotLeader, local.Leader())
	}
	g := &r.route(q.group).registry
	unknown, full, lines, ok := g.take(from, &q)
	if !ok {
		return waitsReply(refusedOrder, raftnode.Hint{})
	}
	if !planted("wait-blind") {
		g.look(local, lines)
	}
	return waitsReply(answered, local.Leader(), unknown, full)
}

// take brings the registry up to date. unknown tickets must be told with their keys, full ones have no room; look is
// what keys to look at. ok is false for a frame that is out of date.
func (g *registry) take(from string, q *waitsRequest) (unknown, full []uint64, look []string, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e, look := g.edgeLocked(from, q)
	if e == nil {
		return nil, nil, look, false
	}
	for _, id := range q.ended {
		look = append(look, g.dropLocked(g.mu.tickets[ticketID{from, id}])...)
	}
	listed := make(map[uint64]struct{}, len(q.entries))
	for i := range q.entries {
		n := &q.entries[i]
		listed[n.ticket] = struct{}{}
		t := g.mu.tickets[ticketID{from, n.ticket}]
		switch {
		case t == nil && n.pops == fsm.PopsNothing:
			unknown = append(unknown, n.ticket)
			continue
		case t == nil:
			if t = g.addLocked(e, n); t == nil {
				full = append(full, n.ticket)
				continue
			}
		case !g.returnedLocked(t, n, q.whole):
			continue
		}
		for _, p := range t.places {
			look = append(look, p.line.key)
		}
	}
	if q.whole {
		for id, t := range g.mu.tickets {
			if _, ok := listed[id.id]; !ok && id.node == from {
				look = append(look, g.dropLocked(t)...)
			}
		}
	}
	g.tickLocked()
	return unknown, full, look, true
}

// edgeLocked finds the edge of a frame; nil when the frame is out of date. look is what to look at where the edge was
// there before it restarted.
func (g *registry) edgeLocked(from string, q *waitsRequest) (e *edge, look []string) {
	e = g.mu.edges[from]
	if e != nil && q.incarnation > e.incarnation {
		look = g.forgetLocked(e)
		e = nil
	}
	if e == nil {
		e = &edge{node: from, incarnation: q.incarnation}
		g.mu.edges[from] = e
	}
	if q.incarnation < e.incarnation || q.number <= e.number || g.mu.closed {
		return nil, look
	}
	e.number, e.renewed = q.number, time.Now()
	return e, look
}

// addLocked registers a ticket; nil when there is no room.
func (g *registry) addLocked(e *edge, n *waitEntry) *ticket {
	size := ticketSize(n.keys)
	if len(g.mu.tickets) >= maxTickets || g.mu.bytes+size > maxTicketBytes {
		return nil
	}
	t := &ticket{
		id: ticketID{e.node, n.ticket}, edge: e, pops: n.pops, wake: n.done, since: time.Now().Add(-n.age),
		size: size,
	}
	for i, key := range n.keys {
		line := g.mu.lines[string(key)]
		if line == nil {
			line = &waitLine{key: string(key)}
			g.mu.lines[line.key] = line
		}
		if line.newest == t { // a key that is named again
			continue
		}
		line.newest = t
		t.places = append(t.places, standing{line, uint32(i)})
		line.tickets = slices.Insert(line.tickets, line.placeOf(t), t)
	}
	g.mu.tickets[t.id] = t
	g.mu.bytes += size
	g.n.Store(int32(len(g.mu.tickets)))
	return t
}

func ticketSize(keys [][]byte) (n int64) {
	const each = 256 // of a ticket, and of its place in a line
	n = each
	for _, key := range keys {
		n += each + int64(len(key))
	}
	return n
}

// placeOf is where the line has t, or is to have it.
func (l *waitLine) placeOf(t *ticket) int {
	i, _ := slices.BinarySearchFunc(l.tickets, t, func(a, b *ticket) int {
		switch {
		case a == b:
			return 0
		case a.before(b):
			return -1
		}
		return 1
	})
	return i
}

// remove takes t out. The order is not strict where clocks differ, so t may be elsewhere than where it belongs.
func (l *waitLine) remove(t *ticket) {
	i := l.placeOf(t)
	if i == len(l.tickets) || l.tickets[i] != t {
		i = slices.Index(l.tickets, t)
	}
	l.tickets = slices.Delete(l.tickets, i, i+1)
	if l.newest == t {
		l.newest = nil
	}
}

// before orders by age, tickets of one edge by their numbers.
func (t *ticket) before(o *ticket) bool {
	if t.id.node == o.id.node {
		return t.id.id < o.id.id
	}
	return cmp.Or(t.since.Compare(o.since), cmp.Compare(t.id.node, o.id.node)) < 0
}

// returnedLocked arms a ticket that is done with its last wake, or that was not reached by it.
func (g *registry) returnedLocked(t *ticket, n *waitEntry, whole bool) bool {
	missed := whole && time.Since(t.at) > wakeSilence
	if told := n.pops != fsm.PopsNothing; t.state == ticketArmed && !told || n.done < t.wake && !missed && !told {
		return false
	}
	if answered := n.done >= t.wake; answered || missed {
		g.recallLocked(t)
		t.edge.silent = t.edge.silent && (!answered || t.state == ticketArmed)
		t.missed = !answered
		t.wake = max(t.wake, n.done)
		t.state = ticketArmed
	}
	return true
}

// recallLocked takes the ticket out of the place of who is out.
func (g *registry) recallLocked(t *ticket) {
	for _, p := range t.places {
		if p.line.out == t {
			g.passLocked(p.line)
		}
	}
}

// dropLocked forgets a ticket, nil for none, and tells which keys are to be looked at for those behind it.
func (g *registry) dropLocked(t *ticket) (look []string) {
	if t == nil {
		return nil
	}
	delete(g.mu.tickets, t.id)
	t.edge.silent = t.edge.silent && t.state == ticketArmed // or its edge told what became of it
	for _, p := range t.places {
		if p.line.out == t {
			g.passLocked(p.line)
			look = append(look, p.line.key)
		}
		p.line.remove(t)
		if len(p.line.tickets) == 0 {
			delete(g.mu.lines, p.line.key)
		}
	}
	g.mu.bytes -= t.size
	g.n.Store(int32(len(g.mu.tickets)))
	return look
}

// forgetLocked drops an edge with its tickets.
func (g *registry) forgetLocked(e *edge) (look []string) {
	for _, t := range g.mu.tickets {
		if t.edge == e {
			look = append(look, g.dropLocked(t)...)
		}
	}
	delete(g.mu.edges, e.node)
	return look
}

// look wakes the next of each line whose key has something now. Keys that this group does not own any more are sent
// to try: the try finds out where they are.
func (g *registry) look(local localGroup, keys []string) {
	for len(keys) > 0 {
		part := keys[:min(len(keys), maxWakes)]
		keys = keys[len(part):]
		cmds, out := make([]fsm.Command, len(part)), make([]fsm.Result, len(part))
		for i, key := range part {
			cmds[i] = fsm.Command{Op: fsm.OpType, Args: [][]byte{[]byte(key)}}
		}
		local.ReadStale(cmds, out, nil)
		g.mu.Lock()
		for i, key := range part {
			line := g.mu.lines[key]
			switch {
			case line == nil:
			case out[i].IsError():
				g.wakeLocked(line, line.tickets[0].pops)
			default:
				g.wakeLocked(line, fsm.PopsOf(out[i].Str))
			}
		}
		g.mu.Unlock()
	}
}

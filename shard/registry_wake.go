// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"time"

	"github.com/kvorum/kvorum/raftnode"
)

// sendLocked has a goroutine send an edge its wakes.
func (g *registry) sendLocked(e *edge) {
	if e.sending || g.mu.closed {
		return
	}
	e.sending = true
	g.r.work.Add(1)
	go g.send(e)
}

// send ends when there is nothing to send.
func (g *registry) send(e *edge) {
	defer g.r.work.Done()
	for {
		g.mu.Lock()
		n := min(len(e.wakes), maxWakes)
		q := wakeRequest{group: g.group, incarnation: e.incarnation, wakes: e.wakes[:n:n]}
		e.wakes = e.wakes[n:]
		if n == 0 || g.mu.closed {
			e.wakes, e.sending = nil, false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		gone, err := g.deliver(e.node, &q)
		if err != nil {
			for _, w := range q.wakes {
				gone = append(gone, w.ticket)
			}
		}
		g.lookAgain(g.unreached(e, gone, err == nil))
	}
}

func (g *registry) deliver(node string, q *wakeRequest) (gone []uint64, err error) {
	r := g.r
	if node == r.cfg.Self {
		return r.route(g.group).waits.wake(q.wakes), nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, wakeSilence)
	defer cancel()
	reply, err := r.cfg.Link.Call(ctx, node, raftnode.ClassForward, encodeWakes(q))
	if err == nil {
		_, err = parseWaitsReply(reply, &gone)
	}
	return gone, err
}

// serveWake hands wakes to the tickets of this node.
func (r *Router) serveWake(req []byte) []byte {
	q, err := parseWakes(req)
	switch {
	case err != nil:
		return waitsReply(refusedInvalid, raftnode.Hint{})
	case q.incarnation != r.cfg.Incarnation:
		gone := make([]uint64, len(q.wakes))
		for i := range q.wakes {
			gone[i] = q.wakes[i].ticket
		}
		return waitsReply(answered, raftnode.Hint{}, gone)
	}
	return waitsReply(answered, raftnode.Hint{}, r.route(q.group).waits.wake(q.wakes))
}

// unreached passes over tickets that were not woken, for good when they ended, and gives the keys to look at.
func (g *registry) unreached(e *edge, tickets []uint64, ended bool) (look []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range tickets {
		t := g.mu.tickets[ticketID{e.node, id}]
		switch {
		case t == nil || t.edge != e:
		case ended:
			look = append(look, g.dropLocked(t)...)
		default:
			look = append(look, g.passOverLocked(t)...)
		}
	}
	return look
}

// passOverLocked lets those behind a ticket that is out go on.
func (g *registry) passOverLocked(t *ticket) (look []string) {
	for _, p := range t.places {
		if p.line.out == t {
			g.passLocked(p.line)
			look = append(look, p.line.key)
		}
	}
	return look
}

// lookAgain looks at keys, if this node has a replica to look at.
func (g *registry) lookAgain(keys []string) {
	if local := g.r.localReplica(g.group); local != nil && len(keys) > 0 {
		g.look(local, keys)
	}
}

// tickLocked keeps the timer going while there are tickets.
func (g *registry) tickLocked() {
	if g.mu.ticking || g.mu.closed || len(g.mu.edges) == 0 {
		return
	}
	g.mu.ticking = true
	if g.mu.timer == nil {
		g.mu.timer = time.AfterFunc(sweepEvery, g.sweep)
	} else {
		g.mu.timer.Reset(sweepEvery)
	}
}

// sweep passes over silent tickets and forgets silent edges.
func (g *registry) sweep() {
	g.mu.Lock()
	g.mu.ticking = false
	if g.mu.closed {
		g.mu.Unlock()
		return
	}
	g.r.work.Add(1)
	defer g.r.work.Done()
	var look []string
	now := time.Now()
	for _, e := range g.mu.edges {
		if now.Sub(e.renewed) > waitLife {
			look = append(look, g.forgetLocked(e)...)
		}
	}
	for line := range g.mu.out {
		if now.Sub(line.out.at) > wakeSilence {
			line.out.edge.silent = true
			look = append(look, g.passOverLocked(line.out)...)
		}
	}
	g.tickLocked()
	g.mu.Unlock()
	g.lookAgain(look)
}

// close ends wakes; goroutines under way are joined by the Router.
func (g *registry) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.closed = true
	if g.mu.timer != nil {
		g.mu.timer.Stop()
	}
}

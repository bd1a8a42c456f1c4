// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"sync"
	"time"
)

// Pipeline issues commands without waiting for answers and keeps their order: commands on keys of one
// slot run in the order in which Do was called. Nothing is tried again, so that a command that fails
// cannot run behind later ones; its error says whether it was applied. Commands on several slots have
// no place in the order.
type Pipeline struct {
	c  *Client
	mu struct {
		sync.Mutex
		// lanes holds the connection of each slot that has commands in flight; noSlot is for commands
		// without one.
		lanes map[int32]*pipeLane
	}
}

const noSlot = -1

// pipeLane is a slot's connection while commands of it are in flight: another connection could
// overtake.
type pipeLane struct {
	m *mux
	n *node
	v *view
	// flying counts commands issued and not answered.
	flying int
}

// Pipeline returns a new pipeline over the client's connections. It needs no Close.
func (c *Client) Pipeline() *Pipeline {
	p := &Pipeline{c: c}
	p.mu.lanes = make(map[int32]*pipeLane)
	return p
}

// Do issues a command. It waits only while a connection is being made or as many commands are in
// flight as the server takes. Calls of Do at the same time are ordered by chance.
func (p *Pipeline) Do(ctx context.Context, cmd Cmd) *Future {
	f := p.c.newFuture(ctx, cmd, true)
	if err := p.c.over(ctx, &f.r); err != nil {
		f.resolve(Value{}, err)
		return f
	}
	slot := int32(noSlot)
	if f.r.slotted {
		slot = int32(f.r.slot)
	}
	f.v = p.c.view.Load()
	f.n = f.v.choose(&f.r, f.r.now)
	m, err := f.n.shared(ctx, 0)
	f.r.now = time.Now() // a connection may have been made
	if err != nil {
		f.k.answer = answer{err: err}
		f.arrived(&f.k)
		return f
	}
	p.mu.Lock()
	lane := p.mu.lanes[slot]
	if lane == nil || !lane.m.usable() {
		lane = &pipeLane{m: m, n: f.n, v: f.v}
		p.mu.lanes[slot] = lane
	}
	lane.flying++
	p.mu.Unlock()
	f.n, f.v = lane.n, lane.v
	f.over = func() { p.landed(slot, lane) }
	f.issue(lane.m)
	return f
}

// landed notes an answer. A lane without commands in flight is forgotten, so that the next command
// may go to a better node.
func (p *Pipeline) landed(slot int32, lane *pipeLane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if lane.flying--; lane.flying == 0 && p.mu.lanes[slot] == lane {
		delete(p.mu.lanes, slot)
	}
}

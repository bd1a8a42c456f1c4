// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/client/wire"
)

// viewPause is the least time between two questions for the topology.
const viewPause = 100 * time.Millisecond

// view is what the client knows of the cluster. It is immutable but for the leaders.
type view struct {
	version uint64
	// nodes are all that may be asked: the members, then seeds that are none of them. Members are
	// named by ids, in the same order.
	nodes []*node
	ids   []string
	// groups are in the order of the topology.
	groups []viewGroup
	// owners gives a slot's index in groups, -1 for none; empty before the cluster is founded.
	owners []int16
}

type viewGroup struct {
	leader   atomic.Pointer[node] // nil when unknown
	replicas []*node
}

// group returns a slot's group, nil when it is not known.
func (v *view) group(slot uint16) *viewGroup {
	if len(v.owners) == 0 || v.owners[slot] < 0 {
		return nil
	}
	return &v.groups[v.owners[slot]]
}

// learn notes the leader of a slot's group.
func (v *view) learn(slot uint16, id string) {
	g := v.group(slot)
	if g == nil {
		return
	}
	for i, known := range v.ids {
		if known == id {
			if g.leader.Load() != v.nodes[i] {
				g.leader.Store(v.nodes[i])
			}
			return
		}
	}
}

// served notes that a node answered for a slot without naming another leader: it leads, or knows no
// better.
func (v *view) served(slot uint16, n *node) {
	if g := v.group(slot); g != nil && g.leader.Load() != n {
		g.leader.Store(n)
	}
}

// forget drops a node as the leader of a slot's group.
func (v *view) forget(slot uint16, n *node) {
	if g := v.group(slot); g != nil {
		g.leader.CompareAndSwap(n, nil)
	}
}

// choose picks the node to ask: the leader of the slot's group, else one of its replicas, else any. A
// read that may be stale goes to any replica. Nodes that cannot be reached now, and avoid, come last.
func (v *view) choose(r *request, now time.Time) *node {
	if r.slotted {
		if g := v.group(r.slot); g != nil {
			if l := g.leader.Load(); l != nil && l != r.avoid && !r.cmd.stale && !l.failing(now) {
				return l
			}
			if n := anyOf(g.replicas, r.avoid, now); n != nil {
				return n
			}
		}
	}
	if n := anyOf(v.nodes, r.avoid, now); n != nil {
		return n
	}
	return v.nodes[mrand.N(len(v.nodes))]
}

// anyOf picks a node that seems well, beginning at a random one; nil when there is none.
func anyOf(list []*node, avoid *node, now time.Time) *node {
	if len(list) == 0 {
		return nil
	}
	start := mrand.N(len(list))
	for i := range list {
		if n := list[(start+i)%len(list)]; n != avoid && !n.failing(now) {
			return n
		}
	}
	return nil
}

// wantView asks for a newer view, soon.
func (c *Client) wantView() {
	select {
	case c.wanted <- struct{}{}:
	default:
	}
}

// keepView refreshes the view when asked, not too often.
func (c *Client) keepView() {
	for {
		select {
		case <-c.wanted:
		case <-c.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(c.ctx, c.o.dialTimeout+c.o.attemptTimeout)
		if err := c.refresh(ctx); err != nil {
			c.wantView() // the old view serves meanwhile
		}
		cancel()
		select {
		case <-time.After(viewPause):
		case <-c.ctx.Done():
			return
		}
	}
}

// refresh asks the nodes in turn, from a random one on, until one tells the topology.
func (c *Client) refresh(ctx context.Context) error {
	old := c.view.Load()
	start := mrand.N(len(old.nodes))
	var errs []error
	for i := range old.nodes {
		n := old.nodes[(start+i)%len(old.nodes)]
		t, err := c.askTopology(ctx, n)
		if err == nil {
			c.adopt(old, t)
			return nil
		}
		if errs = append(errs, err); ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("%w: %w", ErrNoNode, errors.Join(errs...))
}

func (c *Client) askTopology(ctx context.Context, n *node) (*wire.Topology, error) {
	m, err := n.shared(ctx, 0)
	if err != nil {
		return nil, err
	}
	k := c.newCall()
	id, err := m.issue(ctx, k, nil, c.o.attemptTimeout)
	if err != nil {
		return nil, err
	}
	if !c.wait(ctx, m, id, k) {
		return nil, context.Cause(ctx)
	}
	defer c.recycle(k)
	if k.err != nil {
		return nil, k.err
	}
	t, err := wire.ParseTopology(k.value.Str)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return t, nil
}

// adopt makes t the view, unless it is older than old. Leaders that t does not name are taken over
// from old.
func (c *Client) adopt(old *view, t *wire.Topology) {
	if t.Version < old.version {
		return
	}
	v := &view{version: t.Version, owners: t.Owners, groups: make([]viewGroup, len(t.Groups))}
	place := make([]*node, len(t.Nodes))
	member := make(map[*node]bool)
	for i, n := range t.Nodes {
		if n.Addr == "" {
			continue
		}
		place[i] = c.nodeAt(n.Addr)
		member[place[i]] = true
		v.nodes, v.ids = append(v.nodes, place[i]), append(v.ids, n.ID)
	}
	for i, g := range t.Groups {
		if g.Leader >= 0 {
			v.groups[i].leader.Store(place[g.Leader])
		}
		for _, r := range g.Replicas {
			if place[r] != nil {
				v.groups[i].replicas = append(v.groups[i].replicas, place[r])
			}
		}
	}
	for slot := range v.owners {
		if g, was := v.group(uint16(slot)), old.group(uint16(slot)); g != nil && was != nil && g.leader.Load() == nil {
			if l := was.leader.Load(); member[l] {
				g.leader.Store(l)
			}
		}
	}
	c.mu.Lock()
	for _, s := range c.mu.seeds {
		if !member[s] {
			v.nodes = append(v.nodes, s)
		}
	}
	c.mu.Unlock()
	c.view.Store(v)
}

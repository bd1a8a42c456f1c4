// SPDX-License-Identifier: Apache-2.0

package native

import (
	"maps"
	"slices"
	"time"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/shard"
)

// topology words the slot map for clients; when it is the one they know, its version alone.
func (h *Handler) topology(known uint64) *wire.Topology {
	m := h.cfg.Router.SlotMap()
	if m == nil || m.Epoch == 0 {
		return &wire.Topology{}
	}
	t := &wire.Topology{Version: m.Version, Epoch: m.Epoch}
	if m.Version == known {
		return t
	}
	nodes := slices.Sorted(maps.Keys(m.Nodes))
	nodes = nodes[:min(len(nodes), wire.MaxNodes)]
	index := make(map[string]int16, len(nodes))
	for i, id := range nodes {
		index[id] = int16(i)
		t.Nodes = append(t.Nodes, wire.TopologyNode{ID: id, Addr: m.Nodes[id].Addrs["native"]})
	}
	groups := slices.Sorted(maps.Keys(m.Groups))
	groups = groups[:min(len(groups), wire.MaxGroups)]
	place := make(map[uint32]int16, len(groups))
	for i, id := range groups {
		place[id] = int16(i)
		t.Groups = append(t.Groups, h.topologyGroup(id, m, index))
	}
	t.Owners = make([]int16, wire.Slots)
	for slot, group := range m.Slots {
		owner, ok := place[group]
		if !ok {
			owner = -1
		}
		t.Owners[slot] = owner
	}
	return t
}

func (h *Handler) topologyGroup(id uint32, m *shard.Map, index map[string]int16) wire.TopologyGroup {
	g := wire.TopologyGroup{ID: id, Leader: -1}
	if h.cfg.Leader != nil {
		if i, ok := index[h.cfg.Leader(id)]; ok {
			g.Leader = i
		}
	}
	for _, node := range m.Groups[id].Replicas {
		if i, ok := index[node]; ok {
			g.Replicas = append(g.Replicas, i)
		}
	}
	return g
}

// changed is called by the router with every new map.
func (h *Handler) changed(m *shard.Map) {
	h.version.Store(m.Version)
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// push tells subscribers of changes behind the version told, several changes at once when they come fast.
func (h *Handler) push(told uint64) {
	for {
		select {
		case <-h.kick:
		case <-h.closed:
			return
		}
		if v := h.version.Load(); v != told {
			told = v
			frame := wire.AppendPush(nil, wire.Push{Kind: wire.PushTopology, Version: v})
			h.mu.Lock()
			list := slices.Collect(maps.Keys(h.mu.subscribers))
			h.mu.Unlock()
			for _, s := range list {
				s.offer(frame)
			}
		}
		select {
		case <-time.After(pushInterval):
		case <-h.closed:
			return
		}
	}
}

func (h *Handler) subscribe(s *session2) {
	h.mu.Lock()
	h.mu.subscribers[s] = struct{}{}
	h.mu.Unlock()
}

func (h *Handler) unsubscribe(s *session2) {
	h.mu.Lock()
	delete(h.mu.subscribers, s)
	h.mu.Unlock()
}

// offer sends news without waiting.
func (s *session2) offer(frame []byte) {
	if s.out.offer(frame) && !s.spawn(s.out.flush) {
		s.out.flush() // closed meanwhile: the connection is gone or about to go
	}
}

// drain tells the client that the node is shutting down.
func (s *session2) drain() {
	s.mu.Lock()
	tell := s.mu.subscribed && !s.mu.toldEnd && !s.mu.closed
	s.mu.toldEnd = s.mu.toldEnd || tell
	s.mu.Unlock()
	if tell {
		s.offer(wire.AppendPush(nil, wire.Push{Kind: wire.PushClosing, Version: s.h.version.Load()}))
	}
}

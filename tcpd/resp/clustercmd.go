// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
)

// Texts of Redis Cluster.
const (
	textInvalidSlot = "ERR Invalid slot"
	textSlotUnowned = "CLUSTERDOWN Hash slot not served"
)

// scanSlotBits is where the slot stands in a cursor of SCAN.
const scanSlotBits = 48

func clusterCommands() []row {
	const f = flagStale
	return []row{
		container(
			"cluster", 0, nil,
			local("countkeysinslot", 3, f, runCountKeysInSlot),
			local("getkeysinslot", 4, f, runGetKeysInSlot),
			local("help", 2, f|flagLoading, help("CLUSTER", []string{
				"COUNTKEYSINSLOT <slot>", "    Return the number of keys in <slot>, wherever it is.",
				"GETKEYSINSLOT <slot> <count>", "    Return key names in <slot>, wherever it is.",
				"INFO", "    Return information about the cluster.", "KEYSLOT <key>", "    Return the hash slot for <key>.",
				"LINKS", "    Return the other nodes.", "MYID", "    Return the node id.", "NODES", "    Return the nodes and the slots they lead.",
				"SHARDS", "    Return the slots with the nodes that hold them.", "SLOTS", "    Return the slots with the nodes that hold them.",
			})),
			local("info", 2, f, runClusterInfo),
			local("keyslot", 3, f, func(_ context.Context, _ *session, args [][]byte) fsm.Result {
				return fsm.Int(int64(fsm.SlotOf(args[0])))
			}),
			local("links", 2, f, runClusterLinks),
			local("myid", 2, f, func(_ context.Context, s *session, _ [][]byte) fsm.Result { return bulk(s.h.cfg.NodeID) }),
			local("nodes", 2, f, runClusterNodes),
			local("shards", 2, f|flagLoading, runClusterShards),
			local("slots", 2, f|flagLoading, runClusterSlots),
		).in("cluster"),
		local("asking", 1, flagFast, func(_ context.Context, s *session, _ [][]byte) fsm.Result {
			s.asking = true
			return fsm.OK()
		}).in("cluster"),
		local("readonly", 1, flagFast|flagLoading|flagStale, stale(true)).in("cluster"),
		local("readwrite", 1, flagFast|flagLoading|flagStale, stale(false)).in("cluster"),
	}
}

// stale makes the connection's reads take the local replica, or the leader again.
func stale(on bool) runFunc {
	return func(_ context.Context, s *session, _ [][]byte) fsm.Result {
		s.caller.Stale = on
		s.card.with(func() { s.card.readonly = on })
		return fsm.OK()
	}
}

// nodes are the members with an address of this protocol, in the order of their ids.
func (h *Handler) nodes() (list []nodeAddr) {
	m := h.cfg.Router.SlotMap()
	if m == nil {
		return nil
	}
	for _, id := range slices.Sorted(maps.Keys(m.Nodes)) {
		if a, ok := addrIn(m, id); ok {
			list = append(list, a)
		}
	}
	return list
}

func addrIn(m *shard.Map, id string) (a nodeAddr, ok bool) {
	addrs := m.Nodes[id].Addrs
	a.id = id
	a.host, a.port = splitPort(addrs["resp"])
	_, a.peerPort = splitPort(addrs["peer"])
	return a, a.port != 0
}

// place is who serves some slots: the leader first, then the other replicas. led: the leader is known.
type place struct {
	nodes []nodeAddr
	led   bool
	key   string // equal for equal places
}

// slotRange is slots in a row that have one place.
type slotRange struct {
	first, last int
	place       *place
}

// ranges cuts the slots into runs of one place. Slots that nobody with an address serves are left out.
func (h *Handler) ranges() (list []slotRange) {
	m := h.cfg.Router.SlotMap()
	if !m.Initialised() {
		return nil
	}
	places := make(map[uint32]*place, len(m.Groups))
	for id := range m.Groups {
		places[id] = h.placeOf(m, id)
	}
	for slot, group := range m.Slots {
		p := places[group]
		if p == nil || len(p.nodes) == 0 {
			continue
		}
		if n := len(list); n > 0 && list[n-1].last == slot-1 && list[n-1].place.key == p.key {
			list[n-1].last = slot
			continue
		}
		list = append(list, slotRange{slot, slot, p})
	}
	return list
}

// placeOf puts a group's leader first; while none is known, the first replica stands in for it.
func (h *Handler) placeOf(m *shard.Map, group uint32) *place {
	leader := h.cfg.Router.Leader(group)
	p := &place{}
	if a, ok := addrIn(m, leader); ok && leader != "" {
		p.led = true
		p.nodes = append(p.nodes, a)
	}
	others := slices.Clone(m.Groups[group].Replicas)
	if p.led {
		slices.Sort(others)
	}
	for _, id := range others {
		if a, ok := addrIn(m, id); ok && !(p.led && id == leader) {
			p.nodes = append(p.nodes, a)
		}
	}
	var key strings.Builder
	fmt.Fprint(&key, p.led)
	for _, n := range p.nodes {
		key.WriteString(" " + n.id)
	}
	p.key = key.String()
	return p
}

func runClusterSlots(_ context.Context, s *session, _ [][]byte) fsm.Result {
	out := []fsm.Result{}
	for _, r := range s.h.ranges() {
		row := []fsm.Result{fsm.Int(int64(r.first)), fsm.Int(int64(r.last))}
		for _, n := range r.place.nodes {
			row = append(row, fsm.Array([]fsm.Result{bulk(n.host), fsm.Int(int64(n.port)), bulk(n.id), fsm.Array(nil)}))
		}
		out = append(out, fsm.Array(row))
	}
	return fsm.Array(out)
}

func runClusterShards(_ context.Context, s *session, _ [][]byte) fsm.Result {
	byPlace := make(map[string]*[]fsm.Result)
	var order []*place
	for _, r := range s.h.ranges() {
		slots := byPlace[r.place.key]
		if slots == nil {
			slots = new([]fsm.Result)
			byPlace[r.place.key] = slots
			order = append(order, r.place)
		}
		*slots = append(*slots, fsm.Int(int64(r.first)), fsm.Int(int64(r.last)))
	}
	out := []fsm.Result{}
	for _, p := range order {
		nodes := []fsm.Result{}
		for i, n := range p.nodes {
			role := "replica"
			if i == 0 {
				role = "master"
			}
			nodes = append(nodes, fsm.Map([]fsm.Result{
				bulk("id"), bulk(n.id), bulk("port"), fsm.Int(int64(n.port)), bulk("ip"), bulk(n.host), bulk("endpoint"), bulk(n.host),
				bulk("role"), bulk(role), bulk("replication-offset"), fsm.Int(0), bulk("health"), bulk("online"),
			}))
		}
		out = append(out, fsm.Map([]fsm.Result{bulk("slots"), fsm.Array(*byPlace[p.key]), bulk("nodes"), fsm.Array(nodes)}))
	}
	return fsm.Array(out)
}

// runClusterNodes calls every node a master, of the slots that it leads.
func runClusterNodes(_ context.Context, s *session, _ [][]byte) fsm.Result {
	led := make(map[string][]string)
	for _, r := range s.h.ranges() {
		id, text := r.place.nodes[0].id, strconv.Itoa(r.first)
		if r.last > r.first {
			text += "-" + strconv.Itoa(r.last)
		}
		led[id] = append(led[id], text)
	}
	epoch := uint64(0)
	if m := s.h.cfg.Router.SlotMap(); m != nil {
		epoch = m.Epoch
	}
	var b strings.Builder
	for _, n := range s.h.nodes() {
		flags := "master"
		if n.id == s.h.cfg.NodeID {
			flags = "myself,master"
		}
		fmt.Fprintf(&b, "%s %s@%d %s - 0 0 %d connected", n.id, n.String(), n.peerPort, flags, epoch)
		for _, r := range led[n.id] {
			b.WriteString(" " + r)
		}
		b.WriteString("\n")
	}
	return verbatim(b.String())
}

func runClusterInfo(_ context.Context, s *session, _ [][]byte) fsm.Result {
	assigned, served, epoch := 0, 0, uint64(0)
	masters := make(map[string]bool)
	if m := s.h.cfg.Router.SlotMap(); m != nil {
		epoch = m.Epoch
		for _, group := range m.Slots {
			if group != 0 {
				assigned++
			}
		}
	}
	for _, r := range s.h.ranges() {
		masters[r.place.nodes[0].id] = true
		if r.place.led {
			served += r.last - r.first + 1
		}
	}
	state := "ok"
	if served < shard.SlotCount {
		state = "fail"
	}
	var b strings.Builder
	put(
		&b, "cluster_state", state, "cluster_slots_assigned", assigned, "cluster_slots_ok", served, "cluster_slots_pfail", 0,
		"cluster_slots_fail", assigned-served, "cluster_known_nodes", len(s.h.nodes()), "cluster_size", len(masters),
		"cluster_current_epoch", epoch, "cluster_my_epoch", epoch, "cluster_stats_messages_sent", 0, "cluster_stats_messages_received", 0,
		"total_cluster_links_buffer_limit_exceeded", 0,
	)
	return verbatim(b.String())
}

func runClusterLinks(_ context.Context, s *session, _ [][]byte) fsm.Result {
	out := []fsm.Result{}
	for _, n := range s.h.nodes() {
		if n.id == s.h.cfg.NodeID {
			continue
		}
		for _, direction := range []string{"to", "from"} {
			out = append(out, fsm.Map([]fsm.Result{
				bulk("direction"), bulk(direction), bulk("node"), bulk(n.id), bulk("create-time"), fsm.Int(0), bulk("events"), bulk("rw"),
				bulk("send-buffer-allocated"), fsm.Int(0), bulk("send-buffer-used"), fsm.Int(0),
			}))
		}
	}
	return fsm.Array(out)
}

func parseSlot(b []byte) (uint16, fsm.Result) {
	n, ok := parseInt(b)
	switch {
	case !ok:
		return 0, fail(fsm.TextNotInteger)
	case n < 0 || n >= shard.SlotCount:
		return 0, fail(textInvalidSlot)
	}
	return uint16(n), fsm.Result{}
}

func runCountKeysInSlot(ctx context.Context, s *session, args [][]byte) fsm.Result {
	slot, res := parseSlot(args[0])
	if res.IsError() {
		return res
	}
	n := int64(0)
	if res := s.scanSlot(ctx, slot, func([]byte) bool { n++; return true }); res.IsError() {
		return res
	}
	return fsm.Int(n)
}

func runGetKeysInSlot(ctx context.Context, s *session, args [][]byte) fsm.Result {
	slot, res := parseSlot(args[0])
	if res.IsError() {
		return res
	}
	count, ok := parseInt(args[1])
	if !ok || count < 0 {
		return fail("ERR Invalid slot or number of keys")
	}
	keys, size := []fsm.Result{}, 0
	res = s.scanSlot(ctx, slot, func(key []byte) bool {
		if int64(len(keys)) == count || size > maxKeysReply {
			return false
		}
		keys = append(keys, fsm.Bulk(key))
		size += len(key) + fsm.ReplyOverhead
		return true
	})
	if res.IsError() {
		return res
	}
	return fsm.Array(keys)
}

// maxKeysReply bounds the keys of GETKEYSINSLOT, in bytes.
const maxKeysReply = 8 << 20

// scanSlot calls f with the keys of a slot until f has enough. An error is the command's.
func (s *session) scanSlot(ctx context.Context, slot uint16, f func(key []byte) bool) fsm.Result {
	cursor := strconv.AppendUint(nil, uint64(slot)<<scanSlotBits, 10)
	for {
		res := s.do(ctx, "SCAN", cursor, []byte("COUNT"), []byte("1000"))
		if res.IsError() {
			return res
		}
		if len(res.Elems) != 2 {
			return fail(failureText(nil))
		}
		for _, key := range res.Elems[1].Elems {
			if fsm.SlotOf(key.Str) == slot && !f(key.Str) {
				return fsm.Result{}
			}
		}
		cursor = res.Elems[0].Str
		if at, ok := fsm.ScanSlot([][]byte{cursor}); !ok || at != slot || string(cursor) == "0" {
			return fsm.Result{}
		}
	}
}

// servedHere tells whether this node may run a command under --redis-redirect, or what is answered
// instead.
func (h *Handler) servedHere(s *session, c *command, args [][]byte) (res fsm.Result, here bool) {
	if !c.arityFits(len(args) + 1) {
		return res, true
	}
	return h.slotHere(s, c.spec.Keys(args), !c.spec.Write)
}

// slotHere tells the same of the slot of keys, or of shard channels. reads: nothing is written there.
func (h *Handler) slotHere(s *session, keys iter.Seq2[int, []byte], reads bool) (res fsm.Result, here bool) {
	slot, first := uint16(0), true
	for _, key := range keys {
		at := fsm.SlotOf(key)
		if !first && at != slot {
			return fsm.Error(fsm.CodeCrossSlot, fsm.TextCrossSlot), false
		}
		slot, first = at, false
	}
	m := h.cfg.Router.SlotMap()
	if first || s.asking || !m.Initialised() {
		return res, true
	}
	group := m.Owner(slot)
	leader := h.cfg.Router.Leader(group)
	if leader == h.cfg.NodeID || s.caller.Stale && reads && slices.Contains(m.Groups[group].Replicas, h.cfg.NodeID) {
		return res, true
	}
	a, ok := addrIn(m, leader)
	if group == 0 || leader == "" || !ok {
		return fail(textSlotUnowned), false
	}
	return fsm.Errorf(fsm.CodeError, "MOVED %d %s", slot, a.String()), false
}

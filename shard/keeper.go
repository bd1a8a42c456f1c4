// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/raftnode"
)

const (
	// actWait bounds one membership change, transfer or control command of a keeper.
	actWait = 5 * time.Second
	// pingWait bounds the question whether voters are there.
	pingWait = time.Second
	// raftBackoff is how long raft may go on sleeping after a peer that was down is back: until then
	// it answers heartbeats and gets no entries, and a transfer to it would fail.
	raftBackoff = 11 * time.Second
	// detourAfter is how long a failed transfer to the preferred leader is left alone before
	// leadership goes to another voter, whose new term allows another try.
	detourAfter = 30 * time.Second
	// maxSteps bounds the steps that a keeper takes before it looks at its wake-ups again.
	maxSteps = 64
)

// keep is the keeper's loop of one replica: it acts while the replica leads its group.
func (n *Node) keep(r *replica) {
	tick := time.NewTicker(n.cfg.Tick)
	defer tick.Stop()
	k := &keeper{n: n, r: r}
	for {
		for range maxSteps {
			if n.ctx.Err() != nil || !k.step() {
				break
			}
		}
		select {
		case <-n.ctx.Done():
			return
		case <-r.stop:
			return
		case <-r.wake:
		case <-tick.C:
		}
	}
}

// keeper is what the loop remembers of one leadership; all of it is forgotten with the term.
type keeper struct {
	n *Node
	r *replica

	term  uint64
	since time.Time // when this leadership was first seen
	// good says since when a replica has been healthy without a break, down which were out of contact
	// after they had been in contact.
	good map[uint64]time.Time
	down map[uint64]bool
	// low says since when this node's disk is low, zero while it is not.
	low time.Time
	// tried holds nodes that a transfer in this term failed to reach, failed when the last one did.
	tried  map[string]bool
	failed time.Time
	// members was seen in Status; it is known to be committed once the log is committed up to mark,
	// which is 0 until a later look.
	members string
	mark    uint64
	pushed  pushedSettings
	// calm is the Revision at which the governor had nothing to do while calmUp were in contact.
	calm   uint64
	calmUp map[string]bool
	// holds is kept on the control group's leader.
	holds holdWatch
}

// step looks once and acts at most once; it reports whether to look again at once.
func (k *keeper) step() bool {
	st := k.r.group.Status()
	if !st.Leading {
		k.term = 0
		k.r.serving.Store(0)
		return false
	}
	if st.Term != k.term {
		*k = keeper{
			n: k.n, r: k.r, term: st.Term, since: time.Now(),
			good: map[uint64]time.Time{}, down: map[uint64]bool{}, tried: map[string]bool{}, holds: holdWatch{},
		}
		k.r.serving.Store(0)
	}
	v := k.n.view.Load()
	want, ok := v.Group(k.r.id)
	if !ok {
		return false
	}
	if k.r.id != controlGroup {
		k.push(v)
	}
	seen := k.look(&st, want)
	if move := keeperStep(seen); move.Action != actNone {
		return k.act(seen, move, st.ConfigIndex)
	}
	if k.r.id == controlGroup {
		return k.govern(v, &st)
	}
	return false
}

// look turns a Status into what keeperStep judges.
func (k *keeper) look(st *raftnode.GroupStatus, want GroupInfo) *groupSeen {
	now := time.Now()
	s := &groupSeen{Self: k.n.ID(), Want: want, Settled: now.Sub(k.since) >= k.n.cfg.LeaderSettle, Tried: k.tried}
	s.Detour = len(k.tried) > 0 && now.Sub(k.failed) >= detourAfter
	add := func(rs []raftnode.ReplicaStatus, voter bool) {
		for _, m := range rs {
			seen := memberSeen{Node: m.Node, Number: m.Replica, Voter: voter}
			seen.Alive = m.Node == k.n.ID() || m.Known && m.Contact < k.n.cfg.DownAfter
			seen.Low = m.LowDisk && seen.Alive
			seen.CaughtUp = m.Node == k.n.ID() || m.Known && m.Lag <= catchUpLag && m.LastLog-min(m.LastLog, m.Applied) <= catchUpLag
			if m.Known && !seen.Alive {
				k.down[m.Replica] = true
			}
			if !seen.healthy() {
				delete(k.good, m.Replica)
			} else if _, known := k.good[m.Replica]; !known {
				k.good[m.Replica] = now
			}
			if at, good := k.good[m.Replica]; good {
				seen.Stable = now.Sub(at) >= k.n.cfg.Stabilization
				seen.Settled = now.Sub(at) >= k.n.cfg.LeaderSettle
				seen.Reachable = !k.down[m.Replica] || now.Sub(at) >= raftBackoff
			}
			s.Members = append(s.Members, seen)
		}
	}
	add(st.Voters, true)
	add(st.Nonvoters, false)
	if !k.n.rn.LowDisk() {
		k.low = time.Time{}
	} else if k.low.IsZero() {
		k.low = now
	}
	s.LowLately = !k.low.IsZero() && now.Sub(k.low) < k.n.cfg.LeaderSettle
	s.Committed = k.committed(st, s.Members)
	return s
}

// committed tells whether the membership in st is committed. Status lists the newest membership in
// the log, which took effect when it was appended. Once the same list was seen before, it stands in
// the log at or below the log's present end; when that is committed, so is the list.
func (k *keeper) committed(st *raftnode.GroupStatus, members []memberSeen) bool {
	list := make([]byte, 0, 32*len(members))
	for _, m := range members {
		list = fmt.Appendf(list, "%s/%d %v,", m.Node, m.Number, m.Voter)
	}
	if string(list) != k.members {
		k.members, k.mark = string(list), 0
		return false
	}
	if k.mark == 0 {
		k.mark = st.LastLog
	}
	return st.Commit >= k.mark
}

// act carries out a move; false lets the next wake-up or tick look again.
func (k *keeper) act(s *groupSeen, m keeperMove, config uint64) bool {
	ctx, cancel := context.WithTimeout(k.n.ctx, actWait)
	defer cancel()
	if (m.Action == actPromote || m.Action == actDemote) && !k.confirmed(ctx, s, m) {
		return false
	}
	g := k.r.group
	var err error
	switch m.Action {
	case actAdd:
		err = g.AddNonvoter(ctx, m.Node, m.Number, config)
	case actRemove:
		err = g.Remove(ctx, m.Node, m.Number, config)
	case actPromote:
		err = g.Promote(ctx, m.Node, m.Number, config)
	case actDemote:
		err = g.Demote(ctx, m.Node, m.Number, config)
	case actTransfer:
		if err = g.Transfer(ctx, m.Node); err != nil {
			k.tried[m.Node], k.failed = true, time.Now()
		}
	case actForget:
		_, err = k.n.propose(ctx, &cmdForget{Group: k.r.id, Number: m.Number})
	case actRestart:
		k.failed = time.Now()
		k.r.restart.Store(true)
		k.n.kick()
	}
	if err != nil {
		k.n.log.Warn("group step failed", "group", k.r.id, "step", m.Action.String(), "node", m.Node, "replica", m.Number, "error", err)
		return false
	}
	k.n.log.Info("group step", "group", k.r.id, "step", m.Action.String(), "node", m.Node, "replica", m.Number)
	return true
}

// confirmed asks the nodes of those who vote after a change whether they are there at this moment,
// since a contact may be seconds old: a majority must answer, and who gets a vote must be among them.
func (k *keeper) confirmed(ctx context.Context, s *groupSeen, m keeperMove) bool {
	ctx, cancel := context.WithTimeout(ctx, pingWait)
	defer cancel()
	var voters []string
	for _, member := range s.Members {
		if member.Number == m.Number && m.Action == actPromote || member.Number != m.Number && member.Voter {
			voters = append(voters, member.Node)
		}
	}
	there := make([]bool, len(voters))
	var wg sync.WaitGroup
	for i, node := range voters {
		wg.Go(func() { there[i] = node == k.n.ID() || k.n.ask(ctx, node, opPing, nil, nil) == nil })
	}
	wg.Wait()
	count := 0
	for i, node := range voters {
		count += rank(there[i])
		if node == m.Node && !there[i] {
			return false
		}
	}
	return count >= majority(len(voters))
}

// govern takes the next step of the whole cluster; only on the control group's leader.
func (k *keeper) govern(v *View, st *raftnode.GroupStatus) bool {
	if v.Revision == 0 {
		return false
	}
	up := map[string]bool{k.n.ID(): true}
	for _, m := range append(st.Voters, st.Nonvoters...) {
		if m.Known && m.Contact < k.n.cfg.DownAfter {
			up[m.Node] = true
		}
	}
	var next any
	if silent := k.holds.silent(v, time.Now()); silent != nil {
		next = silent
	} else if v.Revision == k.calm && maps.Equal(up, k.calmUp) {
		return false
	} else {
		next = governorStep(v, up)
	}
	if next == nil {
		k.calm, k.calmUp = v.Revision, up
		return false
	}
	ctx, cancel := context.WithTimeout(k.n.ctx, actWait)
	defer cancel()
	if _, err := k.n.proposeHere(ctx, controlCommand(next)); err != nil {
		if !errors.Is(err, ErrConflict) {
			k.n.log.Warn("cluster step failed", "step", fmt.Sprintf("%T", next), "error", err)
		}
		return false
	}
	k.n.log.Info("cluster step", "step", fmt.Sprintf("%T", next), "detail", fmt.Sprintf("%+v", next))
	return true
}

// pushedSettings are what a leader has told its group in this term. Policy is empty before that.
type pushedSettings struct {
	memory uint64
	policy string
	ttl    int64
	// value is this node's limit of one value: every node of a cluster is configured alike.
	value int
}

// push tells the group what the control state says about it and the group may not know: slots,
// limits, default TTL. Repeating any of it is harmless.
func (k *keeper) push(v *View) {
	if k.r.mark.Swap(false) {
		k.pushed = pushedSettings{}
	}
	slots, missing := k.ownership(v)
	want := pushedSettings{
		memory: min(share(v.Settings.MaxMemory, slots), math.MaxInt64),
		policy: v.Settings.Policy, ttl: v.Settings.DefaultTTLMillis, value: k.n.cfg.Limits.MaxValue,
	}
	sub := new(fsm.Sub)
	add := func(cmd fsm.Command) {
		sub.Body = fsm.AppendCommand(sub.Body, &cmd)
		sub.Writes++
	}
	if len(missing) > 0 {
		add(fsm.Own(v.Epoch, missing))
	}
	if id, open := k.r.keyspace.Import(); open {
		if over, keep := v.importOver(id); over {
			add(fsm.ImportEnd(id, keep))
		}
	}
	if want != k.pushed {
		policy, _ := fsm.ParsePolicy(want.policy) // checked when it was set
		add(fsm.Limit(int64(want.memory), policy, want.value))
		add(fsm.DefaultTTL(want.ttl))
	}
	if sub.Writes > 0 {
		ctx, cancel := context.WithTimeout(k.n.ctx, actWait)
		defer cancel()
		if err := submitSub(ctx, k.r.group, sub); err != nil {
			k.n.log.Warn("settings not told to group", "group", k.r.id, "error", err)
			return
		}
		k.pushed = want
	}
	if k.r.serving.Swap(v.Epoch) != v.Epoch {
		k.n.replicasMoved.fire()
	}
}

// ownership counts the slots that are the group's in v, and lists those that it does not own yet. It
// looks once per term and epoch.
func (k *keeper) ownership(v *View) (slots int, missing []uint16) {
	checked := k.r.serving.Load() == v.Epoch
	var cover fsm.Cover
	if !checked {
		var out [1]fsm.Result
		k.r.machine.Query([]fsm.Command{{Op: fsm.OpKVStats}}, out[:], 0, nil)
		if w, ok := fsm.ParseWhole(&out[0]); ok {
			cover = w.Cover
		}
	}
	for s, g := range v.Slots {
		if g != k.r.id {
			continue
		}
		slots++
		if !checked && !cover.Has(uint16(s)) {
			missing = append(missing, uint16(s))
		}
	}
	return slots, missing
}

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"errors"
	"slices"

	"github.com/kvorum/kvorum/fsm"
)

// errPartly is the cause of an unknown outcome when some groups executed their part of a command
// and others did not. Such commands are not atomic across groups.
var errPartly = errors.New("executed in part: some groups did not take part")

// split is a command whose keys lie in several slots, on its way as one piece per group. Pieces are
// executed independently of one another.
type split struct {
	spec   *fsm.Spec
	cmd    *fsm.Command
	reply  *Reply
	pieces []*piece
}

// piece is the part of a split command for the keys of one group.
type piece struct {
	of    int // index of its split in the call
	group uint32
	cmd   fsm.Command
	reply Reply
	// keys are positions among the keys of the split command.
	keys []int32
}

// plan makes the items of a command that was admitted.
func (k *call) plan(s *fsm.Spec, cmd *fsm.Command, reply *Reply, m *Map) {
	it := item{cmd: cmd, reply: reply, spec: s}
	spread, met := false, false
	for _, key := range s.Keys(cmd.Args) {
		slot := fsm.SlotOf(key)
		switch {
		case !met:
			it.slot, met = slot, true
		case slot != it.slot:
			it.many = true
			spread = spread || m.Owner(slot) != m.Owner(it.slot)
		}
	}
	switch {
	case it.many && s.Join == fsm.JoinNone && len(m.Groups) != 1:
		it.crossSlot()
	case spread && s.Join != fsm.JoinNone:
		k.items = k.split(k.items, &it, m)
	default:
		k.items = append(k.items, it)
	}
}

func (it *item) crossSlot() {
	it.done = true
	*it.reply = Reply{Result: fsm.Error(fsm.CodeCrossSlot, fsm.TextCrossSlot)}
}

// split appends the items of it, which has several keys, one per owner.
func (k *call) split(items []item, it *item, m *Map) []item {
	n := len(k.splits)
	k.splits = append(k.splits, split{spec: it.spec, cmd: it.cmd, reply: it.reply})
	first, end, step := it.spec.KeyRange(len(it.cmd.Args))
	keys := make([]int32, 0, (end-first+step-1)/step)
	for i := first; i < end; i += step {
		keys = append(keys, int32(len(keys)))
	}
	return k.splits[n].deal(items, n, keys, m)
}

// deal makes pieces for the keys, one per owner in m, and appends their items.
func (sp *split) deal(items []item, n int, keys []int32, m *Map) []item {
	first, _, step := sp.spec.KeyRange(len(sp.cmd.Args))
	from := len(sp.pieces)
	byGroup := make(map[uint32]*piece)
	for _, key := range keys {
		at := first + int(key)*step
		group := m.Owner(fsm.SlotOf(sp.cmd.Args[at]))
		p := byGroup[group]
		if p == nil {
			p = &piece{of: n, group: group, cmd: fsm.Command{Op: sp.cmd.Op}}
			byGroup[group] = p
			sp.pieces = append(sp.pieces, p)
		}
		p.keys = append(p.keys, key)
		p.cmd.Args = append(p.cmd.Args, sp.cmd.Args[at:min(at+step, len(sp.cmd.Args))]...)
	}
	for _, p := range sp.pieces[from:] {
		items = append(items, item{
			cmd: &p.cmd, reply: &p.reply, spec: sp.spec, piece: p,
			slot: fsm.SlotOf(sp.cmd.Args[first+int(p.keys[0])*step]), many: len(p.keys) > 1,
		})
	}
	return items
}

// resplit deals the keys of commands anew that met a slot which their group does not own, in their
// place: later commands on the same slots must stay behind them.
func (k *call) resplit(m *Map) {
	if !slices.ContainsFunc(k.items, item.astray) {
		return
	}
	items := make([]item, 0, len(k.items)+1)
	for i := range k.items {
		it := &k.items[i]
		from := len(items)
		switch {
		case !it.astray():
			items = append(items, *it)
		case it.piece != nil:
			items = k.splits[it.piece.of].dealAgain(items, it.piece, m)
		case it.spec.Join != fsm.JoinNone:
			items = k.split(items, it, m)
		default:
			if len(m.Groups) != 1 {
				it.crossSlot()
			}
			items = append(items, *it)
		}
		for j := from; j < len(items); j++ {
			items[j].why = it.why
		}
	}
	k.items = items
}

// astray tells whether a command with keys in several slots met one that its group does not own.
func (it item) astray() bool {
	return it.many && !it.done && (it.why == retryMoved || it.why == refusedGone || it.why == refusedUnowned)
}

func (sp *split) dealAgain(items []item, p *piece, m *Map) []item {
	sp.pieces = slices.DeleteFunc(sp.pieces, func(q *piece) bool { return q == p })
	return sp.deal(items, p.of, p.keys, m)
}

// join writes the reply of a split command from those of its pieces.
func (sp *split) join() {
	replies := make([]*Reply, len(sp.pieces))
	for i, p := range sp.pieces {
		replies[i] = &p.reply
	}
	*sp.reply = Reply{}
	if len(replies) == 1 {
		sp.reply.Leader = replies[0].Leader
	}
	if joinFailures(sp.spec, replies, sp.reply) {
		return
	}
	switch sp.spec.Join {
	case fsm.JoinArray:
		sp.reply.Result = sp.array()
	default:
		sp.reply.Result = joinValues(sp.spec.Join, func(yield func(*fsm.Result)) {
			for _, r := range replies {
				yield(&r.Result)
			}
		})
	}
}

func (sp *split) array() fsm.Result {
	first, end, step := sp.spec.KeyRange(len(sp.cmd.Args))
	elems := make([]fsm.Result, (end-first+step-1)/step)
	for _, p := range sp.pieces {
		for i, key := range p.keys {
			if i < len(p.reply.Result.Elems) {
				elems[key] = p.reply.Result.Elems[i]
			}
		}
	}
	return fsm.Array(elems)
}

// joinFailures fills reply when some part failed. A write of which some parts were executed and
// others not is neither done nor safe to repeat: its outcome is unknown.
func joinFailures(s *fsm.Spec, parts []*Reply, reply *Reply) bool {
	var failed *Reply
	applied, unknown := 0, false
	for _, r := range parts {
		switch {
		case r.Err != nil:
			unknown = unknown || !NotApplied(r.Err)
		case r.Result.IsError() && r.Result.Code != fsm.CodeReplyDropped:
		default:
			applied++
			continue
		}
		if failed == nil || failed.Err == nil && r.Err != nil {
			failed = r
		}
	}
	switch {
	case failed == nil:
		return false
	case s.Write && (applied > 0 || unknown):
		var cause error
		if failed.Err != nil {
			cause = errors.Join(errPartly, failed.Err)
		} else {
			cause = errors.Join(errPartly, errors.New(string(failed.Result.Str)))
		}
		reply.Err = &Error{Kind: KindUnknown, Op: "write", Leader: failed.Leader, Err: cause}
	default:
		reply.Result, reply.Err, reply.Leader = failed.Result, failed.Err, failed.Leader
	}
	return true
}

// joinValues joins the values of parts that all succeeded. A dropped reply makes the joined one
// dropped too.
func joinValues(j fsm.Join, parts func(yield func(*fsm.Result))) fsm.Result {
	var joined fsm.Result
	n := 0
	parts(func(r *fsm.Result) {
		n++
		switch {
		case n == 1 || r.IsError():
			joined = *r
		case joined.IsError():
		case j == fsm.JoinConcat:
			joined.Elems = append(joined.Elems, r.Elems...)
		case j == fsm.JoinSum:
			joined.Int += r.Int
		case j == fsm.JoinStats:
			for i := range min(len(joined.Elems), len(r.Elems)) {
				joined.Elems[i].Int += r.Elems[i].Int
			}
		}
	})
	return joined
}

// SPDX-License-Identifier: Apache-2.0

package shard

import "github.com/kvorum/kvorum/fsm"

// Limits of a batch. One larger command is a batch of its own.
const (
	maxBatchBytes    = 256 << 10
	maxBatchCommands = 8192
	// outsideBytes is the size from which a unit is encoded before the line's lock is taken.
	outsideBytes = 32 << 10
	// keepBodyBytes is the largest body that is kept for the next batch.
	keepBodyBytes = 1 << 20
)

// unit is the part of a call that rides in one batch. It belongs to its call; while it is in a
// line, everything below line is guarded by the line's lock.
type unit struct {
	group uint32
	// first starts the chain of items, last ends it; n counts them, writes those that write.
	first, last, n, writes int32
	// full: the next items of this group wait for the next round. alone: it shares no batch, since a
	// growing command in it would get this unit refused for space once more.
	full, alone bool
	// wide: commands in it were short of room, so that it asks for more. turn: it may use left bytes of
	// its call's turn for replies. answers: writes in it answer with data.
	wide, turn, answers bool
	// size is the length of all commands in log encoding.
	size int64
	rt   *route
	left int64
	// line is nil while no line ever took it.
	line *line

	// call is nil once nobody awaits an answer.
	call *call
	// batch is nil while the unit is in no line.
	batch *batch
	// dead: its commands are to be taken out of the body before that is sent.
	dead bool
	// lo, hi are its stretch of the body; first… and n… its commands in the body and its attached
	// reads, among the batch's.
	lo, hi              int
	firstBody, nBody    int
	firstAttached, nAtt int
}

// batch is a Sub in the making, or under way, or a batch of reads for another node. Guarded by the
// lock of its line; sub belongs to the attempt while inFlight.
type batch struct {
	// sub.Seq is 0 while the batch has no number. In a batch of reads, Body holds the reads and
	// Writes counts them.
	sub   fsm.Sub
	units []*unit
	// args and argv back the arguments of attached reads. They only grow: earlier arguments stay
	// where they are.
	args []byte
	argv [][]byte
	// size is what the batch holds of the budgets.
	size int64
	// room is what the replies of its reads may take; frame is the length of the reply from another node
	// that they alias.
	room  fsm.Room
	frame int
	// dead counts units that are to be taken out.
	dead int
	// sealed: no other unit may join.
	sealed bool

	inFlight bool
	// unknown: some attempt may have reached a leader and was not answered (LANES.md, I1 and I5).
	unknown bool
	// refused is the last definite refusal that needs more than another try; answered when none.
	refused verdict
	// node is where the present attempt went, empty for this node; cancel ends it.
	node   string
	cancel func()
	// lane and answer serve local attempts: the callback is made once per batch.
	lane   *lane
	answer func(*fsm.Sub, error)
}

func (r *Router) newBatch() *batch {
	b, ok := r.batches.Get().(*batch)
	if !ok {
		b = &batch{}
		b.answer = func(_ *fsm.Sub, err error) { b.lane.settle(b, err) }
	}
	return b
}

// recycle keeps b's room for another batch. Nothing may refer to b any more.
func (r *Router) recycle(b *batch) {
	b.closeRoom(r)
	if cap(b.sub.Body) > keepBodyBytes || cap(b.args) > keepBodyBytes {
		return
	}
	clear(b.units)
	clear(b.argv)
	clear(b.sub.Reads)
	clear(b.sub.Results)
	clear(b.sub.ReadResults)
	*b = batch{
		sub: fsm.Sub{
			Body: b.sub.Body[:0], Reads: b.sub.Reads[:0], Results: b.sub.Results[:0], ReadResults: b.sub.ReadResults[:0],
		},
		units: b.units[:0], args: b.args[:0], argv: b.argv[:0], answer: b.answer,
	}
	r.batches.Put(b)
}

// commands counts the commands in b, attached reads included.
func (b *batch) commands() int { return b.sub.Writes + len(b.sub.Reads) }

// fits tells whether u may join b.
func (b *batch) fits(u *unit) bool {
	return !b.sealed && int64(len(b.sub.Body)+len(b.args))+u.size <= maxBatchBytes && b.commands()+int(u.n) <= maxBatchCommands
}

// add encodes u's commands behind those of b. The caller's arguments are copied here, once. With
// reads, the commands are reads and go into the body.
func (b *batch) add(u *unit, reads bool) {
	u.batch = b
	u.lo, u.firstBody, u.firstAttached = len(b.sub.Body), b.sub.Writes, len(b.sub.Reads)
	items := u.call.items
	for i := u.first; i >= 0; i = items[i].next {
		if it := &items[i]; it.spec.Write || reads {
			b.sub.Body = fsm.AppendCommand(b.sub.Body, it.cmd)
			b.sub.Writes++
		} else {
			if b.sub.Room == nil {
				b.sub.Room = b.openRoom(u.call.r)
			}
			b.attach(it.cmd)
		}
	}
	u.hi, u.nBody, u.nAtt = len(b.sub.Body), b.sub.Writes-u.firstBody, len(b.sub.Reads)-u.firstAttached
	b.size += u.size
	b.units = append(b.units, u)
}

func (b *batch) attach(cmd *fsm.Command) {
	first := len(b.argv)
	for _, a := range cmd.Args {
		lo := len(b.args)
		b.args = append(b.args, a...)
		b.argv = append(b.argv, b.args[lo:len(b.args):len(b.args)])
	}
	args := b.argv[first:len(b.argv):len(b.argv)]
	b.sub.Reads = append(b.sub.Reads, fsm.AttachedRead{After: b.sub.Writes, Cmd: fsm.Command{Op: cmd.Op, Args: args}})
}

// compact takes the dead units out; b is neither in flight nor unknown.
func (b *batch) compact() {
	if b.dead == 0 {
		return
	}
	body, reads, units, writes := b.sub.Body[:0], b.sub.Reads[:0], b.units[:0], 0
	for _, u := range b.units {
		if u.dead {
			u.batch = nil
			continue
		}
		shift := writes - u.firstBody
		attached := b.sub.Reads[u.firstAttached : u.firstAttached+u.nAtt]
		u.firstAttached = len(reads)
		for _, rd := range attached {
			rd.After += shift
			reads = append(reads, rd)
		}
		stretch := b.sub.Body[u.lo:u.hi]
		u.lo = len(body)
		body = append(body, stretch...)
		u.hi, u.firstBody = len(body), writes
		writes += u.nBody
		units = append(units, u)
	}
	clear(b.units[len(units):])
	clear(b.sub.Reads[len(reads):])
	b.sub.Body, b.sub.Reads, b.sub.Writes = body, reads, writes
	b.units, b.dead = units, 0
}

// abandoned tells whether nobody awaits b's answer.
func (b *batch) abandoned() bool {
	for _, u := range b.units {
		if u.call != nil {
			return false
		}
	}
	return true
}

// fate is what is to be told to the units of a batch that left its line.
type fate struct {
	b *batch
	// how is answered when the results are in b.sub, lost when the outcome is unknown, refusedNoSpace
	// when growing commands are refused; any other refusal returns the items to their calls, to be
	// routed anew, unless final.
	how   verdict
	final bool
}

// tell hands every unit its fate. The batch is no longer in its line and nobody else touches it.
func (l *line) tell(f fate) {
	for _, u := range f.b.units {
		switch {
		case u.call == nil:
		case f.how == answered:
			u.call.take(u, f.b)
		case f.how == lost || f.final:
			u.call.fail(u, f.how)
		default:
			u.call.giveBack(u, f.how)
		}
	}
	l.release(f.b.size)
	l.r.recycle(f.b)
}

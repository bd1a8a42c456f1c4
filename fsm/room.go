// SPDX-License-Identifier: Apache-2.0

package fsm

import "slices"

// Limits of replies, in bytes as ReplySize counts them.
const (
	// MaxReply bounds the reply of one command; a larger one is refused before it is made. Its encoding
	// fits into a frame of the peer link.
	MaxReply = 60 << 20
	// MaxBatchReply bounds the replies of one Query, and those of the writes of one Sub. The first one
	// always fits.
	MaxBatchReply = 32 << 20
	// WriteReply is the longest reply of a write whose sender made no more room (Command.Room).
	WriteReply = 64 << 10
	// ReplyOverhead is what a reply, or an element of one, costs beside its bytes.
	ReplyOverhead = 96
	// roomStep is how much a Room asks for at one time.
	roomStep = 256 << 10
)

// ReplySize tells how many bytes a result takes in memory, at most.
func ReplySize(r *Result) int64 {
	n := ReplyOverhead + int64(len(r.Str))
	for i := range r.Elems {
		n += ReplySize(&r.Elems[i])
	}
	return n
}

// Ledger is where a Room asks for memory. Try never waits; it is called with locks of the state held.
type Ledger interface {
	Try(n int64) bool
}

// Room is what the replies of one Query, or of the reads that go with one Sub, may take. It belongs to
// the goroutine that queries.
type Room struct {
	// Most bounds all replies together, below MaxBatchReply and what the first reply may take beyond
	// that. 0 means no other bound.
	Most int64
	// Free is what need not be asked for.
	Free int64
	// Ledger gives what goes beyond Free; nil gives nothing.
	Ledger Ledger

	// Used is what the replies take. Held was taken from the Ledger, and is to be given back by whoever
	// made the Room once the replies are gone.
	Used, Held int64
	// Short: some command found no room. It and all behind it were not answered (KindNone).
	Short bool
}

// take makes room for a reply of n bytes.
func (r *Room) take(n int64) bool {
	if r.Short || r.Used > 0 && r.Used+n > MaxBatchReply || r.Most > 0 && r.Used+n > r.Most {
		r.Short = true
		return false
	}
	if lack := r.Used + n - r.Free - r.Held; lack > 0 {
		step := max(lack, roomStep)
		if r.Ledger == nil || !r.Ledger.Try(step) {
			if step = lack; r.Ledger == nil || !r.Ledger.Try(step) {
				r.Short = true
				return false
			}
		}
		r.Held += step
	}
	r.Used += n
	return true
}

// writeRoom bounds the replies of one Sub's writes. It is a function of the log alone.
type writeRoom struct {
	// used is what the replies so far take, counting those that fits saw.
	used int64
	// cmd is what the sender of the present command made room for.
	cmd int64
	// held are the slots of commands that were refused for room: nothing behind them in the Sub may
	// overtake them.
	held []uint16
}

func (w *writeRoom) reset() { w.used, w.held = 0, w.held[:0] }

func (w *writeRoom) holds(slot uint16) bool {
	return len(w.held) > 0 && slices.Contains(w.held, slot)
}

// fits is asked before a reply of n bytes is made, and before the command changes anything. A non-nil
// result is the answer instead.
func (x *execution) fits(n int64) *Result {
	n += ReplyOverhead
	if n > MaxReply {
		res := Error(CodeTooBig, TextReplyTooBig)
		return &res
	}
	if x.bundle != nil && x.bundle.quiet {
		return nil
	}
	if x.bundle != nil {
		return x.fitsBundle(n)
	}
	if !x.spec.Write {
		if room := x.ctx.room; room != nil && !room.take(n) {
			return new(Result)
		}
		return nil
	}
	w := &x.ctx.writes
	if n > max(w.cmd, WriteReply) {
		return w.refuse(x.locks, CodeReplyRoom)
	}
	if w.used > 0 && w.used+n > MaxBatchReply {
		return w.refuse(x.locks, CodeSlotFrozen)
	}
	w.used += n
	return nil
}

// refuse answers a command that did not find room, and holds its slots.
func (w *writeRoom) refuse(slots []uint16, code Code) *Result {
	w.held = append(w.held, slots...)
	res := Error(code, TextReplyRoom)
	return &res
}

// bulk is the reply with a copy of b, unless there is no room for it.
func (x *execution) bulk(b []byte) Result {
	if bad := x.fits(int64(len(b))); bad != nil {
		return *bad
	}
	return Bulk(clone(b))
}

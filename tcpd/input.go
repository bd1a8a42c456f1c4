// SPDX-License-Identifier: Apache-2.0

package tcpd

import (
	"context"
	"time"
)

// input is the unread bytes of one connection: buf[r:w]. It belongs to the connection's goroutine.
type input struct {
	buf  []byte
	r, w int
	// asked is how many bytes were asked of the budget for the present buffer, taken is how many it gave: less only
	// where the budget as a whole is smaller. most is what a command may have: no buffer needs more.
	asked, taken, most int64
	budget             *Budget
	// grow: the last read filled the buffer, so the next one gets more room.
	grow bool
	// waited is how long reads into a buffer of the budget took, and got what they brought.
	waited time.Duration
	got    int64
	// quiet counts reads in a row that needed little room.
	quiet int
}

func (in *input) unread() []byte { return in.buf[in.r:in.w:in.w] }

// consume drops n bytes off the front.
func (in *input) consume(n int) {
	in.r += n
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// room makes free space behind the unread bytes. need is how many unread bytes the session wants to
// see in all, 0 when it cannot say. Buffers grow with the bytes that came, never with the bytes that
// were promised, but the whole promise is taken from the budget first.
func (in *input) room(ctx context.Context, need int) error {
	have := in.w - in.r
	if need <= have {
		need = have + 1
		if have >= BaseBuffer {
			need = min(2*have, max(need, int(in.most)))
		}
	}
	if have == 0 {
		in.rest(need)
	}
	if len(in.buf)-in.r >= need && in.w < len(in.buf) {
		return nil
	}
	if in.r > 0 {
		copy(in.buf, in.buf[in.r:in.w])
		in.r, in.w = 0, have
	}
	if len(in.buf) >= need {
		return nil
	}
	if need > BaseBuffer && int64(need) > in.asked {
		if err := in.ask(ctx, int64(need)); err != nil {
			return err
		}
	}
	size := len(in.buf)
	if have == size {
		size = max(2*size, MinBuffer)
	}
	size = min(max(size, min(need, BaseBuffer)), max(need, BaseBuffer))
	if size > len(in.buf) {
		next := make([]byte, size)
		copy(next, in.buf[:have])
		in.buf = next
	}
	return nil
}

// ask takes what is missing to need bytes from the budget.
func (in *input) ask(ctx context.Context, need int64) error {
	more := need - in.asked
	if in.taken == 0 {
		n, err := in.budget.Take(ctx, more)
		if err == nil {
			in.asked, in.taken = need, n
		}
		return err
	}
	n, err := in.budget.Grow(ctx, more, in.most-in.asked)
	if err == nil {
		in.asked, in.taken = in.asked+n, in.taken+n
	}
	return err
}

// took notes that n bytes were read and adapts the size that the next empty buffer gets: a read that
// filled it doubles it, a long run of small ones shrinks it.
func (in *input) took(n int) {
	in.w += n
	in.grow = in.w == len(in.buf)
	if n > len(in.buf)/4 {
		in.quiet = 0
	} else {
		in.quiet++
	}
}

// rest adapts the size of an empty buffer.
func (in *input) rest(need int) {
	size := len(in.buf)
	switch {
	case size > BaseBuffer && need <= BaseBuffer:
		in.drop()
	case in.grow && size < BaseBuffer:
		in.buf = make([]byte, min(max(2*size, MinBuffer), BaseBuffer))
	case in.quiet >= shrinkAfter && size > MinBuffer && size <= BaseBuffer:
		in.buf, in.quiet = make([]byte, MinBuffer), 0
	}
	in.grow = false
}

// drop gives buffer and budget back.
func (in *input) drop() {
	in.buf, in.r, in.w = nil, 0, 0
	in.budget.Give(in.taken)
	in.asked, in.taken = 0, 0
	in.waited, in.got = 0, 0
}

// patience is how long the next read into a buffer of the budget may take: the peer has to send at a least rate, or it
// could keep for ever what others wait for. stall is the time for each readChunk.
func (in *input) patience(stall time.Duration) time.Duration {
	return min(stall, stall*time.Duration(1+in.got/readChunk)-in.waited)
}

// Lease is a read buffer that a Session took over. Release it exactly once, from any goroutine, when
// nothing aliases it any more.
type Lease struct {
	taken  int64
	budget *Budget
}

// Release gives the buffer's share of the budget back.
func (l *Lease) Release() {
	if l.taken > 0 {
		l.budget.Give(l.taken)
		l.taken = 0
	}
}

// leave gives the buffer up: it stays with whoever holds the Lease. Unread bytes move to a new one.
func (in *input) leave() {
	tail := in.unread()
	in.buf = make([]byte, max(min(len(in.buf), BaseBuffer), len(tail)))
	in.asked, in.taken, in.waited, in.got = 0, 0, 0, 0
	in.r, in.w = 0, copy(in.buf, tail)
}

// settle gives back what a large buffer has beyond its unread bytes.
func (in *input) settle() {
	tail := in.unread()
	if len(in.buf) <= BaseBuffer {
		return
	}
	next := make([]byte, max(MinBuffer, len(tail)))
	n := copy(next, tail)
	var kept int64
	if n > BaseBuffer {
		kept = min(in.taken, int64(n))
		in.taken -= kept
	}
	in.drop()
	in.buf, in.w = next, n
	in.asked, in.taken = kept, kept
}

// ahead makes room behind the unread bytes without asking the budget; false when there are as many as that allows.
func (in *input) ahead() bool {
	switch have := in.w - in.r; {
	case have >= BaseBuffer:
		return false
	case in.w < len(in.buf):
		return true
	case in.r > 0:
		copy(in.buf, in.buf[in.r:in.w])
		in.r, in.w = 0, have
		return true
	}
	next := make([]byte, min(max(2*len(in.buf), MinBuffer), BaseBuffer))
	copy(next, in.buf)
	in.buf = next
	return true
}

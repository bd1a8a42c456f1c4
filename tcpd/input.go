// SPDX-License-Identifier: Apache-2.0

package tcpd

import "context"

// input is the unread bytes of one connection: buf[r:w]. It belongs to the connection's goroutine.
type input struct {
	buf  []byte
	r, w int
	// asked is how many bytes were asked of the budget for the present buffer, taken is how many it
	// gave: less only where the budget as a whole is smaller.
	asked, taken int64
	budget       *Budget
	// grow: the last read filled the buffer, so the next one gets more room.
	grow bool
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
			need = 2 * have
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
		n, err := in.budget.Take(ctx, int64(need)-in.asked)
		if err != nil {
			return err
		}
		in.asked, in.taken = int64(need), in.taken+n
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
	in.asked, in.taken = 0, 0
	in.r, in.w = 0, copy(in.buf, tail)
}

// ahead makes room behind the unread bytes while a Session looks at them, so without moving them; false when there
// are as many as are kept without asking the budget.
func (in *input) ahead() bool {
	if in.w < len(in.buf) {
		return true
	}
	if len(in.buf) >= BaseBuffer {
		return false
	}
	next := make([]byte, min(max(2*len(in.buf), MinBuffer), BaseBuffer))
	copy(next, in.buf)
	in.buf = next
	return true
}

// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// body is the receiving end of a stream: at most streamWindow bytes that arrived and were not read.
type body struct {
	w   *wire
	id  uint64
	ctx context.Context
	// wake has room for one token: something has changed.
	wake chan struct{}

	mu struct {
		sync.Mutex
		chunks [][]byte
		// have counts the bytes in chunks; owed those read and not yet given back as credit.
		have, owed int
		// complete: the other side has ended the body. dropped: nobody reads any more.
		complete, dropped bool
	}
}

func newBody(ctx context.Context, w *wire, id uint64) *body {
	return &body{w: w, id: id, ctx: ctx, wake: make(chan struct{}, 1)}
}

// feed adds what arrived; p is taken over.
func (b *body) feed(p []byte, end bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.complete:
		return fmt.Errorf("%w: body goes on after its end", ErrProtocol)
	case b.mu.have+b.mu.owed+len(p) > streamWindow:
		return fmt.Errorf("%w: body overruns its credit", ErrProtocol)
	}
	b.mu.complete = end
	if b.mu.dropped {
		return nil
	}
	if len(p) > 0 {
		b.mu.chunks = append(b.mu.chunks, p)
		b.mu.have += len(p)
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return nil
}

// drop discards what is and will be unread.
func (b *body) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.dropped = true
	b.mu.chunks, b.mu.have = nil, 0
}

// Read implements io.Reader for the one goroutine that reads the body.
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, credit, err := b.take(p)
		if credit > 0 {
			more := binary.BigEndian.AppendUint32(nil, uint32(credit))
			b.w.sendSmall(outFrame{kind: kindCredit, id: b.id, one: more, size: len(more)})
		}
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-b.wake:
		case <-b.ctx.Done():
			return 0, fmt.Errorf("link: stream body: %w", context.Cause(b.ctx))
		}
	}
}

// take copies what is there and says how much credit is due.
func (b *body) take(p []byte) (n, credit int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.dropped {
		return 0, 0, io.ErrClosedPipe
	}
	for n < len(p) && len(b.mu.chunks) > 0 {
		m := copy(p[n:], b.mu.chunks[0])
		n += m
		if b.mu.chunks[0] = b.mu.chunks[0][m:]; len(b.mu.chunks[0]) == 0 {
			b.mu.chunks[0] = nil
			b.mu.chunks = b.mu.chunks[1:]
		}
	}
	b.mu.have -= n
	b.mu.owed += n
	if b.mu.owed >= streamWindow/4 && !b.mu.complete {
		credit, b.mu.owed = b.mu.owed, 0
	}
	if n == 0 && b.mu.complete {
		err = io.EOF
	}
	return n, credit, err
}

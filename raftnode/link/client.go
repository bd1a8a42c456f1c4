// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bufio"
	"context"
	"fmt"
	"sync"
	"time"
)

// readBuffer is the read buffer of a connection; larger payloads are read around it.
const readBuffer = 16 << 10

// phase of a call; it only grows. Guarded by the lock of the connection's wire.
type phase uint8

const (
	// phaseQueued: the frame is in the queue.
	phaseQueued phase = iota
	// phaseTaken: the writer has the frame; it may have left.
	phaseTaken
	// phaseUnsent: the frame did not leave whole, and the connection is dead.
	phaseUnsent
	// phaseAbandoned: the caller went away before the writer took the frame.
	phaseAbandoned
)

// call is a request waiting for its answer. A call is delivered to exactly once, while it is in
// the connection's table.
type call struct {
	id    uint64
	phase phase
	// done has room for the one result.
	done  chan result
	timer *time.Timer
	// stream is set on calls with a body.
	stream *Stream
}

type result struct {
	reply []byte
	err   error
}

// clientConn is a connection this node dialed.
type clientConn struct {
	l    *Link
	w    *wire
	info connInfo
	// ended, when set, is called once the connection is over.
	ended func(*clientConn)

	// Guarded by w.mu.
	calls   map[uint64]*call
	streams int
	lastID  uint64
	free    []*call
}

func newClientConn(l *Link, w *wire, info connInfo) *clientConn {
	return &clientConn{l: l, w: w, info: info, calls: make(map[uint64]*call)}
}

// serve reads answers until the connection dies, then settles what is left.
func (c *clientConn) serve() {
	var writer sync.WaitGroup
	writer.Go(func() { c.w.run(c.waiting) })
	c.w.fail(c.readLoop())
	writer.Wait()
	c.settle()
	c.l.unregister(c.w)
	if c.ended != nil {
		c.ended(c)
	}
}

func (c *clientConn) waiting() bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return len(c.calls) > 0
}

func (c *clientConn) readLoop() error {
	br := bufio.NewReaderSize(c.w, readBuffer)
	head := make([]byte, frameHeader)
	for {
		k, id, payload, err := readFrame(br, head, c.l.maxFrame)
		if err != nil {
			return err
		}
		switch k {
		case kindResponse:
			c.deliver(id, result{reply: payload})
		case kindError:
			c.deliver(id, result{err: remoteFailure(payload)})
		case kindCredit:
			c.credit(id, payload)
		case kindPong:
		default:
			return fmt.Errorf("%w: frame of kind %d from the acceptor", ErrProtocol, k)
		}
	}
}

// deliver gives res to the call with this id. An answer nobody waits for any more is dropped.
func (c *clientConn) deliver(id uint64, res result) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	ca := c.calls[id]
	if ca == nil {
		return
	}
	if ca.phase == phaseQueued {
		// An answer to a request that was never written: the other side is broken. The caller
		// learns nothing from it.
		return
	}
	c.finishLocked(ca, res)
}

func (c *clientConn) finishLocked(ca *call, res result) {
	delete(c.calls, ca.id)
	if ca.stream != nil {
		c.streams--
	}
	ca.done <- res
}

// settle ends all calls of a dead connection. The writer has ended, so phases are final.
func (c *clientConn) settle() {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	for _, ca := range c.calls {
		err := lost(c.w.mu.err)
		if ca.phase != phaseTaken {
			err = notSent(c.w.mu.err)
		}
		c.finishLocked(ca, result{err: err})
	}
	c.w.mu.queue, c.w.mu.queued = nil, 0
}

// start queues f as a new call.
func (c *clientConn) start(f outFrame, s *Stream) (*call, error) {
	w := c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.mu.err != nil:
		return nil, notSent(w.mu.err)
	case len(c.calls) >= maxCallsPerConn, s != nil && c.streams >= maxStreamsPerConn,
		!w.fitsLocked(f.wireSize()):
		return nil, notSent(ErrBusy)
	}
	var ca *call
	if n := len(c.free); n > 0 {
		ca, c.free = c.free[n-1], c.free[:n-1]
		ca.phase = phaseQueued
	} else {
		ca = &call{done: make(chan result, 1)}
	}
	c.lastID++
	ca.id, ca.stream = c.lastID, s
	if s != nil {
		c.streams++
	}
	c.calls[ca.id] = ca
	f.id, f.call = ca.id, ca
	w.pushLocked(f)
	return ca, nil
}

// release puts a call whose result was received back for reuse.
func (c *clientConn) release(ca *call) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	// A call answered while the writer still holds its frame would be marked by it: leave it.
	if ca.phase == phaseTaken && len(c.free) < maxFreeCalls {
		ca.stream = nil
		c.free = append(c.free, ca)
	}
}

// maxFreeCalls bounds the calls kept for reuse by one connection.
const maxFreeCalls = 64

// roundTrip sends f and waits for the answer, the deadline, or the end of ctx.
func (c *clientConn) roundTrip(ctx context.Context, f outFrame) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, notSent(err)
	}
	limit, own := timeAllowed(ctx, int64(f.size))
	f.left = milliseconds(limit)
	ca, err := c.start(f, nil)
	if err != nil {
		return nil, err
	}
	c.w.kick()
	var expired <-chan time.Time
	if own {
		expired = ca.arm(limit)
	}
	var res result
	select {
	case res = <-ca.done:
	case <-ctx.Done():
		res = c.abandon(ca, context.Cause(ctx))
	case <-expired:
		res = c.abandon(ca, errExpired)
	}
	if own {
		ca.timer.Stop()
	}
	if res.err == nil {
		c.release(ca)
	}
	return res.reply, res.err
}

func (ca *call) arm(d time.Duration) <-chan time.Time {
	if ca.timer == nil {
		ca.timer = time.NewTimer(d)
	} else {
		ca.timer.Reset(d)
	}
	return ca.timer.C
}

// abandon gives a call up and says what is known about it. An answer that is here already wins.
func (c *clientConn) abandon(ca *call, cause error) result {
	c.w.mu.Lock()
	if c.calls[ca.id] != ca {
		c.w.mu.Unlock()
		return <-ca.done
	}
	delete(c.calls, ca.id)
	if ca.stream != nil {
		c.streams--
	}
	queued := ca.phase == phaseQueued
	if queued {
		ca.phase = phaseAbandoned
	}
	c.w.mu.Unlock()
	if queued {
		return result{err: notSent(cause)}
	}
	c.w.sendSmall(outFrame{kind: kindCancel, id: ca.id})
	return result{err: lost(cause)}
}

// timeAllowed returns how long a call may take, and whether the caller of this function has to
// watch that itself because ctx has no deadline.
func timeAllowed(ctx context.Context, size int64) (limit time.Duration, own bool) {
	if at, ok := ctx.Deadline(); ok {
		return time.Until(at), false
	}
	return Deadline(size), true
}

// milliseconds rounds up, so that a short time left is not sent as "no deadline".
func milliseconds(d time.Duration) uint32 {
	ms := (max(d, 0) + time.Millisecond - 1) / time.Millisecond
	return uint32(min(max(ms, 1), 1<<32-1))
}

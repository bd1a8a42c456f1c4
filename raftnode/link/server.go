// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// serverConn is a connection another node dialed.
type serverConn struct {
	l    *Link
	w    *wire
	info connInfo
	// ctx is the connection's lifetime and the parent of its requests'.
	ctx  context.Context
	stop context.CancelCauseFunc
	wg   sync.WaitGroup
	// lastID belongs to the reader.
	lastID uint64

	// Guarded by w.mu.
	running map[uint64]*request
	streams int
	bytes   int
}

// request is one being handled.
type request struct {
	requestContext
	id      uint64
	payload []byte
	// body is set on streams.
	body *body
}

func newServerConn(l *Link, w *wire, info connInfo) *serverConn {
	c := &serverConn{l: l, w: w, info: info, running: make(map[uint64]*request)}
	c.ctx, c.stop = context.WithCancelCause(l.ctx)
	return c
}

// serve reads requests until the connection dies and joins their handlers.
func (c *serverConn) serve() {
	c.wg.Go(func() { c.w.run(nil) })
	err := c.readLoop()
	c.w.fail(err)
	c.stop(c.w.cause())
	c.wg.Wait()
	c.l.unregister(c.w)
}

func (c *serverConn) readLoop() error {
	br := bufio.NewReaderSize(c.w, readBuffer)
	head := make([]byte, frameHeader)
	for {
		k, id, payload, err := readFrame(br, head, c.l.maxFrame)
		if err != nil {
			return err
		}
		switch k {
		case kindRequest, kindOpen:
			if id <= c.lastID {
				return fmt.Errorf("%w: request id %d after %d", ErrProtocol, id, c.lastID)
			}
			c.lastID = id
			c.accept(k, id, payload)
		case kindCancel:
			if r := c.find(id); r != nil {
				r.end()
			}
		case kindData, kindEnd:
			if err := c.feed(k, id, payload); err != nil {
				return err
			}
		case kindPing:
			c.w.sendSmall(outFrame{kind: kindPong})
		default:
			return fmt.Errorf("%w: frame of kind %d from the dialer", ErrProtocol, k)
		}
	}
}

func (c *serverConn) find(id uint64) *request {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return c.running[id]
}

// feed gives a piece of body to its stream. Pieces for a stream that was answered are dropped.
func (c *serverConn) feed(k kind, id uint64, payload []byte) error {
	r := c.find(id)
	if r == nil {
		return nil
	}
	if r.body == nil {
		return fmt.Errorf("%w: body for a request without one", ErrProtocol)
	}
	return r.body.feed(payload, k == kindEnd)
}

// accept starts the handler of a request, or refuses it.
func (c *serverConn) accept(k kind, id uint64, payload []byte) {
	r := &request{id: id, payload: payload[timeLeft:]}
	r.parent = c.ctx
	if ms := binary.BigEndian.Uint32(payload); ms > 0 {
		r.deadline = now().Add(time.Duration(ms) * time.Millisecond)
	}
	run, code := c.route(k, r)
	if code == 0 && !c.admit(r) {
		code = errorBusy
	}
	if code != 0 {
		c.l.stats.refusedCalls.Add(1)
		refusal := appendErrorPayload(nil, code, "")
		c.w.sendSmall(outFrame{kind: kindError, id: id, one: refusal, size: len(refusal)})
		return
	}
	c.l.stats.handled.Add(1)
	c.wg.Go(func() { c.handle(r, run) })
}

// route finds the handler; code is not 0 if there is none.
func (c *serverConn) route(k kind, r *request) (run func(*request) ([]byte, error), code byte) {
	from := c.info.node
	if k == kindOpen {
		h := c.l.streams[c.info.class].Load()
		if h == nil {
			return nil, errorNoHandler
		}
		r.body = newBody(r, c.w, r.id)
		return func(r *request) ([]byte, error) { return (*h)(r, from, r.payload, r.body) }, 0
	}
	h := c.l.handlers[c.info.class].Load()
	if h == nil {
		return nil, errorNoHandler
	}
	return func(r *request) ([]byte, error) { return (*h)(r, from, r.payload) }, 0
}

// admit enters r among the running ones if the bounds allow it.
func (c *serverConn) admit(r *request) bool {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	switch {
	case len(c.running) >= maxHandlersPerConn,
		r.body != nil && c.streams >= 2*maxStreamsPerConn,
		c.bytes > 0 && c.bytes+len(r.payload) > maxHandledBytes:
		return false
	}
	c.running[r.id] = r
	c.bytes += len(r.payload)
	if r.body != nil {
		c.streams++
	}
	return true
}

// handle runs the handler and queues its answer; the request counts as running until the answer
// found room in the queue.
func (c *serverConn) handle(r *request, run func(*request) ([]byte, error)) {
	size := len(r.payload)
	reply, err := run(r)
	code := byte(errorHandler)
	if err != nil && r.expired() {
		code = errorExpired
	}
	r.end()
	f := outFrame{kind: kindResponse, id: r.id, one: reply, size: len(reply)}
	if err == nil && len(reply) > c.l.maxFrame {
		err = ErrTooLarge
	}
	if err != nil {
		text := appendErrorPayload(nil, code, err.Error())
		f = outFrame{kind: kindError, id: r.id, one: text, size: len(text)}
	}
	if r.body != nil {
		r.body.drop()
	}
	// It fails only with the connection, whose caller then knows.
	_ = c.w.send(nil, f)
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	delete(c.running, r.id)
	c.bytes -= size
	if r.body != nil {
		c.streams--
	}
}

// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"errors"
	"sync"

	"github.com/kvorum/kvorum/client/wire"
	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/shard"
	"github.com/kvorum/kvorum/tcpd"
)

// concurrent runs the requests of a session2 at the same time. Requests that came together are split
// by what could make one wait for another (group, write, terms); each part is one router call on a
// goroutine of its own. Ordered requests form one queue that one goroutine at a time works off.
type concurrent struct {
	s    *session2
	gate gate
	// parts are the batches of the present read; empty between calls of serve.
	parts []*batch
	room  [][]byte // for the arguments of one request
	lane  lane
}

// splitKey is what the commands of one part have in common.
type splitKey struct {
	terms terms
	group uint32
	write bool
}

// wholeGroup stands for commands without a single key to go by.
const wholeGroup = ^uint32(0)

// lane is the queue of ordered requests.
type lane struct {
	mu      sync.Mutex
	waiting *batch // nil when empty
	running bool
}

func newConcurrent(s *session2) *concurrent {
	m := &concurrent{s: s}
	m.gate.max, m.gate.less = s.h.cfg.MaxInFlight, make(chan struct{}, 1)
	return m
}

// serve starts every complete request and returns without waiting for any, unless too many are in
// flight.
func (m *concurrent) serve(ctx context.Context, in []byte) (n, need int, err error) {
	for {
		free, err := m.gate.wait(ctx)
		if err != nil {
			return n, 0, err
		}
		size, more, again, err := m.round(ctx, in[n:], free, n == 0)
		n += size
		if err != nil {
			if serr := m.s.out.send(appendBroken(nil, err)); serr != nil {
				return n, 0, serr
			}
			return n, 0, tcpd.ErrEnd
		}
		if !again {
			return n, more, nil
		}
	}
}

// round starts at most free requests. again tells that complete frames are left.
func (m *concurrent) round(ctx context.Context, in []byte, free int, first bool) (n, need int, again bool, err error) {
	requests := 0
	for !again {
		f, size, more, perr := wire.ParseFrame(in[n:], m.s.h.maxFrame)
		if perr != nil {
			err = perr
			break
		}
		if size == 0 {
			need = more
			break
		}
		if f.Type == wire.FrameRequest {
			requests++
			again = requests == free
		}
		n += size
	}
	if n == 0 {
		return 0, need, false, err
	}
	// Only the first round of a call may take the read buffer over, and only whole.
	own := &sharedInput{buf: in[:n]}
	if first && !again && n > copyBelow {
		own.lease = m.s.c.Keep()
	} else {
		own.buf = append(make([]byte, 0, n), in[:n]...)
	}
	own.refs.Store(1)
	defer own.release()
	if berr := m.deal(own); berr != nil {
		err = berr
	}
	m.start(ctx)
	return n, need, again, err
}

// deal puts the requests of own into parts and the lane, and answers everything else.
func (m *concurrent) deal(own *sharedInput) error {
	slots := m.s.h.cfg.Router.SlotMap()
	var out []byte
	var broken error
	for at := 0; at < len(own.buf) && broken == nil; {
		f, size, _, err := wire.ParseFrame(own.buf[at:], m.s.h.maxFrame)
		if err != nil {
			return err
		}
		at += size
		if f.Type != wire.FrameRequest {
			out, broken = m.s.answerBare(out, f)
			continue
		}
		out, broken = m.request(own, f, size, slots, out)
	}
	clear(m.room[:cap(m.room)])
	if len(out) > 0 {
		if err := m.s.out.send(out); err != nil {
			return err
		}
	}
	return broken
}

// request puts one request where it belongs, or appends its answer to out when there is no such
// command.
func (m *concurrent) request(own *sharedInput, f wire.Frame, size int, slots *shard.Map, out []byte) ([]byte, error) {
	q, room, err := wire.ParseRequest(f.Body, m.room[:0])
	if err != nil || f.ID == 0 {
		return out, errors.Join(wire.ErrMalformed, err)
	}
	if m.room = room; cap(room) > 8*maxBatch {
		m.room = nil
	}
	spec, res := m.s.h.lookup(&q)
	if spec == nil {
		return m.s.h.appendReply(out, f.ID, &shard.Reply{Result: res}, false), nil
	}
	m.gate.enter(size)
	if !q.Ordered {
		m.part(keyOf(&q, spec, slots)).take(own, f.ID, q, spec, size)
		return out, nil
	}
	m.lane.mu.Lock()
	defer m.lane.mu.Unlock()
	if m.lane.waiting == nil {
		m.lane.waiting = m.s.h.newBatch()
	}
	m.lane.waiting.take(own, f.ID, q, spec, size)
	return out, nil
}

// take adopts a request that aliases own.
func (b *batch) take(own *sharedInput, id uint64, q wire.Request, spec *fsm.Spec, size int) {
	b.adopt(id, q, spec)
	b.size += size
	if k := len(b.inputs); k == 0 || b.inputs[k-1] != own {
		own.refs.Add(1)
		b.inputs = append(b.inputs, own)
	}
}

// keyOf finds what a request may have to wait for.
func keyOf(q *wire.Request, spec *fsm.Spec, slots *shard.Map) splitKey {
	k := splitKey{terms: termsOf(q), group: wholeGroup, write: spec.Write}
	if spec.FirstKey > 0 && slots != nil && len(q.Args) >= spec.FirstKey {
		k.group = slots.Owner(fsm.SlotOf(q.Args[spec.FirstKey-1]))
	}
	return k
}

func (m *concurrent) part(k splitKey) *batch {
	for _, b := range m.parts {
		if b.key == k {
			return b
		}
	}
	b := m.s.h.newBatch()
	b.key = k
	m.parts = append(m.parts, b)
	return b
}

// start runs the parts and wakes the lane.
func (m *concurrent) start(ctx context.Context) {
	for i, b := range m.parts {
		m.parts[i] = nil
		m.s.spawn(func() { m.run(ctx, b) })
	}
	m.parts = m.parts[:0]
	m.lane.mu.Lock()
	wake := m.lane.waiting != nil && !m.lane.running
	m.lane.running = m.lane.running || wake
	m.lane.mu.Unlock()
	if wake {
		m.s.spawn(func() { m.drainLane(ctx) })
	}
}

func (m *concurrent) drainLane(ctx context.Context) {
	for {
		m.lane.mu.Lock()
		b := m.lane.waiting
		m.lane.waiting = nil
		m.lane.running = b != nil
		m.lane.mu.Unlock()
		if b == nil {
			return
		}
		m.run(ctx, b)
	}
}

// run answers one batch. A write error is kept by the outbox and ends the connection: the reader is
// woken by the closed socket.
func (m *concurrent) run(ctx context.Context, b *batch) {
	if err := m.s.h.run(ctx, m.s.caller, b, &m.s.out); err == nil {
		_ = b.flush()
	}
	m.gate.leave(len(b.cmds), b.size)
	m.s.h.recycle(b)
}

// gate counts requests in flight.
type gate struct {
	max  int
	mu   sync.Mutex
	n    int // requests
	size int // their bytes
	// less holds one signal: something left.
	less chan struct{}
}

// wait returns how many requests may enter, which is 1 at least. One goroutine waits.
func (g *gate) wait(ctx context.Context) (int, error) {
	for {
		g.mu.Lock()
		free := g.max - g.n
		if g.size >= maxInFlightBytes {
			free = 0
		}
		g.mu.Unlock()
		if free > 0 {
			return free, nil
		}
		select {
		case <-g.less:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (g *gate) enter(size int) {
	g.mu.Lock()
	g.n++
	g.size += size
	g.mu.Unlock()
}

func (g *gate) leave(n, size int) {
	g.mu.Lock()
	g.n -= n
	g.size -= size
	g.mu.Unlock()
	select {
	case g.less <- struct{}{}:
	default:
	}
}

// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kvorum/kvorum/client/wire"
)

// call is one try of one request on a shared connection. It belongs to the mux from issue until it
// is completed or abandoned.
type call struct {
	answer
	// expires is when the mux gives it up.
	expires time.Time
	// done gets one signal on completion; nil when notify is called instead, on the reader's
	// goroutine: it must be quick and must not wait.
	done   chan struct{}
	notify func(*call)
}

func (c *call) complete() {
	if c.notify != nil {
		c.notify(c)
		return
	}
	c.done <- struct{}{}
}

// mux is a connection that any number of calls share. One goroutine writes what has gathered, one
// reads; both end when the connection fails, and every call is completed exactly once by then.
type mux struct {
	l       *link
	attempt time.Duration
	// room holds a token for each request in flight: as many as the server allows.
	room chan struct{}
	kick chan struct{} // wakes the writer
	gone chan struct{} // closed when the connection failed
	// news is called with every push, by the reader.
	news func(wire.Push)
	wg   sync.WaitGroup

	mu struct {
		sync.Mutex
		out, spare []byte
		pending    map[uint64]*call
		// lastID is the newest request's; those up to sentID were given to the socket.
		lastID, sentID uint64
		// heard is when the server was heard last, or when the connection became busy.
		heard time.Time
		// closing: the server is shutting down; nothing new is sent.
		closing bool
		err     error
	}
}

// newMux takes l over.
func newMux(l *link, attempt time.Duration, news func(wire.Push)) *mux {
	m := &mux{
		l: l, attempt: attempt, news: news, room: make(chan struct{}, max(1, l.welcome.MaxInFlight)),
		kick: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	m.mu.pending = make(map[uint64]*call)
	m.wg.Go(m.write)
	m.wg.Go(m.read)
	return m
}

// usable tells whether new requests may be sent here.
func (m *mux) usable() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.err == nil && !m.mu.closing
}

// issue sends q; nil asks for the topology. c is completed later unless an error is returned, which
// says that q was not sent. After left, or up to an eighth of the attempt timeout later, it is given
// up.
func (m *mux) issue(ctx context.Context, c *call, q *wire.Request, left time.Duration) (id uint64, err error) {
	if q != nil {
		if err := fits(q, &m.l.welcome); err != nil {
			return 0, err
		}
	}
	select {
	case m.room <- struct{}{}:
	default:
		select {
		case m.room <- struct{}{}:
		case <-m.gone:
			return 0, m.failure()
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	m.mu.Lock()
	if m.mu.err != nil || m.mu.closing {
		err := m.mu.err
		m.mu.Unlock()
		<-m.room
		if err == nil {
			err = fmt.Errorf("%w: the node is shutting down", ErrConnLost)
		}
		return 0, err
	}
	m.mu.lastID++
	id = m.mu.lastID
	now := time.Now()
	c.expires = now.Add(left)
	if len(m.mu.pending) == 0 {
		m.mu.heard = now
	}
	m.mu.pending[id] = c
	wake := len(m.mu.out) == 0
	if q != nil {
		m.mu.out = wire.AppendRequest(m.mu.out, id, q)
	} else {
		m.mu.out = wire.AppendTopologyRequest(m.mu.out, id, 0)
	}
	m.mu.Unlock()
	if wake {
		m.wake()
	}
	return id, nil
}

func (m *mux) wake() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// abandon takes a call back; false when it is completed, or about to be.
func (m *mux) abandon(id uint64) bool {
	m.mu.Lock()
	_, ok := m.mu.pending[id]
	delete(m.mu.pending, id)
	m.mu.Unlock()
	if ok {
		<-m.room
	}
	return ok
}

func (m *mux) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.err
}

// write sends what has gathered, and gives up calls that are not answered in time.
func (m *mux) write() {
	tick := max(m.attempt/8, time.Millisecond)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	armed := true
	var until time.Time
	for {
		select {
		case <-m.gone:
			return
		case <-timer.C:
			if armed = m.expire(time.Now()); armed {
				timer.Reset(tick)
			}
			continue
		case <-m.kick:
		}
		m.mu.Lock()
		b := m.mu.out
		m.mu.out, m.mu.spare = m.mu.spare[:0], nil
		m.mu.sentID = m.mu.lastID
		m.mu.Unlock()
		if len(b) == 0 {
			continue
		}
		if !armed {
			timer.Reset(tick)
			armed = true
		}
		// The deadline is moved only when half of it is gone.
		if now := time.Now(); until.Sub(now) < m.attempt {
			until = now.Add(2 * m.attempt)
			if err := m.l.nc.SetWriteDeadline(until); err != nil {
				m.fail(fmt.Errorf("%w: %w", ErrConnLost, err))
				return
			}
		}
		if _, err := m.l.nc.Write(b); err != nil {
			m.fail(fmt.Errorf("%w: %w", ErrConnLost, err))
			return
		}
		if cap(b) <= keepBuffer {
			m.mu.Lock()
			m.mu.spare = b[:0]
			m.mu.Unlock()
		}
	}
}

// expire completes the calls whose time is over, and fails a connection that is silent although
// calls wait. It tells whether calls are left.
func (m *mux) expire(now time.Time) bool {
	var late []*call
	m.mu.Lock()
	for id, c := range m.mu.pending {
		if !now.Before(c.expires) {
			delete(m.mu.pending, id)
			c.err, c.sent = ErrTimeout, id <= m.mu.sentID
			late = append(late, c)
		}
	}
	left := len(m.mu.pending) > 0
	silent := len(late) > 0 && now.Sub(m.mu.heard) >= m.attempt
	m.mu.Unlock()
	for _, c := range late {
		<-m.room
		c.complete()
	}
	if silent {
		m.fail(ErrTimeout)
	}
	return left
}

// arrival is one answer on its way from the buffer to its call.
type arrival struct {
	id uint64
	a  answer
	c  *call
}

// read takes answers and news until the connection fails. All that one read brought is looked up
// under one lock.
func (m *mux) read() {
	var batch []arrival
	for {
		err := m.l.fill()
		if err != nil {
			m.fail(fmt.Errorf("%w: %w", ErrConnLost, err))
			return
		}
		batch, err = m.parse(batch[:0])
		m.deliver(batch)
		clear(batch)
		if err != nil {
			m.fail(err)
			return
		}
	}
}

func (m *mux) parse(batch []arrival) ([]arrival, error) {
	for {
		f, ok, err := m.l.next()
		if err != nil || !ok {
			return batch, err
		}
		if f.Type == wire.FramePush {
			p, err := wire.ParsePush(f.Body)
			if err != nil {
				return batch, fmt.Errorf("%w: %w", ErrProtocol, err)
			}
			m.news(p)
			if p.Kind == wire.PushClosing {
				m.retire()
			}
			continue
		}
		if f.ID == 0 {
			return batch, unasked(f)
		}
		at := arrival{id: f.ID}
		if f.Type == wire.FrameView {
			at.a.value = Value{Kind: wire.KindBulk, Str: f.Body}
		} else if err := at.a.parse(f); err != nil {
			return batch, err
		}
		own(&at.a.value)
		batch = append(batch, at)
	}
}

// deliver completes the calls that were answered. Answers to calls given up meanwhile are dropped.
func (m *mux) deliver(batch []arrival) {
	if len(batch) == 0 {
		return
	}
	m.mu.Lock()
	for i := range batch {
		c, ok := m.mu.pending[batch[i].id]
		if ok {
			delete(m.mu.pending, batch[i].id)
			batch[i].c = c
		}
	}
	m.mu.heard = time.Now()
	over := m.mu.closing && len(m.mu.pending) == 0
	m.mu.Unlock()
	for i := range batch {
		if c := batch[i].c; c != nil {
			<-m.room
			c.answer = batch[i].a
			c.sent = true
			c.complete()
		}
	}
	if over {
		m.fail(ErrConnLost)
	}
}

// retire lets nothing new in; the connection ends with its last answer.
func (m *mux) retire() {
	m.mu.Lock()
	m.mu.closing = true
	over := len(m.mu.pending) == 0
	m.mu.Unlock()
	if over {
		m.fail(ErrConnLost)
	}
}

// fail ends the connection and completes all its calls.
func (m *mux) fail(err error) {
	m.mu.Lock()
	if m.mu.err != nil {
		m.mu.Unlock()
		return
	}
	m.mu.err = err
	pending, sent := m.mu.pending, m.mu.sentID
	m.mu.pending, m.mu.out = nil, nil
	m.mu.Unlock()
	close(m.gone)
	_ = m.l.nc.Close()
	for id, c := range pending {
		<-m.room
		c.err, c.sent = err, id <= sent
		c.complete()
	}
}

// close ends the connection and waits for its goroutines.
func (m *mux) close() {
	m.fail(ErrClosed)
	m.wg.Wait()
}

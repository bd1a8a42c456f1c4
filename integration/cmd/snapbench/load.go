// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/client"
)

const (
	// burst bounds the writes that a connection sends at once when it is behind.
	burst = 256
	// grain is the time whose writes a connection sends at once, the same for all, so that the load takes little of the
	// processors that it shares with the node. The wait counts as latency.
	grain = time.Millisecond
	// warmTime of load is measured by nobody.
	warmTime = 3 * time.Second
	// stuckTime bounds one answer, snapshotTime one snapshot.
	stuckTime    = 30 * time.Second
	snapshotTime = 5 * time.Minute
)

// load is connections that write at a steady rate. A write is due at a time of the plan and its
// latency counts from then, also when the connection waited for the answer to an earlier one.
type load struct {
	s     *settings
	conns []*client.Conn
	seeds atomic.Uint64
}

func dialLoad(ctx context.Context, addr string, s *settings) (*load, error) {
	l := &load{s: s}
	for range s.conns {
		conn, err := client.DialConn(ctx, addr, client.WithTimeout(stuckTime))
		if err != nil {
			l.close()
			return nil, err
		}
		l.conns = append(l.conns, conn)
	}
	return l, nil
}

func (l *load) close() {
	for _, c := range l.conns {
		c.Close()
	}
}

// during writes until f is done, and gives the latencies of all writes that were due meanwhile.
func (l *load) during(ctx context.Context, f func(ctx context.Context) error) (*phase, error) {
	began := time.Now()
	var end atomic.Int64 // ns since began, 0 before it is known
	parts := make([]writer, len(l.conns))
	g, ctx := newCrew(ctx)
	theft := watchTheft(began)
	for i, conn := range l.conns {
		w := &parts[i]
		*w = writer{l: l, conn: conn, value: make([]byte, valueSize)}
		w.every = time.Duration(float64(time.Second) * float64(len(l.conns)) / float64(l.s.rate))
		w.due = w.every * time.Duration(i) / time.Duration(len(l.conns))
		g.run(func() error { return w.run(ctx, began, &end) })
	}
	g.run(func() error {
		defer func() { end.Store(int64(time.Since(began))) }()
		return f(ctx)
	})
	err := g.wait()
	thefts, terr := theft.stop()
	p := newPhase(began, thefts)
	for i := range parts {
		for _, w := range parts[i].done {
			p.add(w)
		}
	}
	return p, errors.Join(err, terr)
}

// writer is one connection's part of a plan. Times are since the plan began.
type writer struct {
	l          *load
	conn       *client.Conn
	due, every time.Duration
	value      []byte
	done       []write
}

// write is one that was answered: when it was due, since the plan began, and how long after that the answer came.
type write struct{ due, late time.Duration }

func (w *writer) run(ctx context.Context, began time.Time, end *atomic.Int64) error {
	for {
		now := time.Since(began)
		if over := end.Load(); over != 0 && w.due >= time.Duration(over) {
			return nil
		}
		if w.due > now {
			if err := sleep(ctx, max(w.due-now, grain-now%grain)); err != nil {
				return err
			}
			continue
		}
		first, n := w.due, 0
		for ; w.due <= now && n < burst; n++ {
			seed := mix(w.l.seeds.Add(1))
			fillValue(w.value, seed)
			if err := w.conn.Send(client.Set(w.l.s.set.key(int(seed%uint64(w.l.s.set.keys))), w.value)); err != nil {
				return err
			}
			w.due += w.every
		}
		if err := w.conn.Flush(ctx); err != nil {
			return err
		}
		for i := range n {
			if _, err := w.conn.Receive(ctx); err != nil {
				return err
			}
			due := first + time.Duration(i)*w.every
			w.done = append(w.done, write{due: due, late: time.Since(began) - due})
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

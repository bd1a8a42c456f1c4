// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/kvorum/kvorum/tcpd"
)

// Limits of pushes, in bytes.
const (
	// maxPushes may wait for a peer that does not read, or one larger frame; beyond it the connection
	// ends.
	maxPushes = 8 << 20
	// maxAllPushes may wait for all peers of a node; beyond it those end for which more than fewPushes
	// would wait.
	maxAllPushes = 256 << 20
	fewPushes    = 64 << 10
	// pushChunk is the size up to which small frames are gathered; larger ones are queued as they are.
	pushChunk = 16 << 10
)

// errPushes ends a connection whose peer does not read what is pushed to it.
var errPushes = errors.New("resp: peer does not read its pushes")

// writer lets pushes of other goroutines go between the replies of the session. Nobody holds the mutex
// across a write. A push goes ahead of the replies that the session writes later.
type writer struct {
	c  *tcpd.Conn
	wg sync.WaitGroup // goroutines that write pushes
	// all counts what waits for all peers of the node.
	all *atomic.Int64

	mu   sync.Mutex
	free sync.Cond // busy became false
	// busy: some goroutine is in c.Write, or between the pieces of one reply.
	busy bool
	// wanted: the session waits for busy to end; whoever writes pushes lets it go ahead.
	wanted bool
	closed bool // no goroutine starts any more
	// queue waits, queued bytes of it. own: the last of it is the writer's and has room.
	queue  []pushed
	queued int
	own    bool
	flying int // bytes of pushes that are being written
	err    error
}

// pushed is bytes that wait: of the writer's own, or of a frame that others hold as well.
type pushed struct {
	bytes  []byte
	shared *frame
}

// frame is bytes that never change again. Those that wait for many peers are there once, and are counted once.
type frame struct {
	bytes []byte
	refs  atomic.Int32 // of queues
}

// count notes in all that p begins to wait.
func (p *pushed) count(all *atomic.Int64) {
	if p.shared == nil || p.shared.refs.Add(1) == 1 {
		all.Add(int64(len(p.bytes)))
	}
}

// uncount notes in all that p waits no more.
func (p *pushed) uncount(all *atomic.Int64) {
	if p.shared == nil || p.shared.refs.Add(-1) == 0 {
		all.Add(-int64(len(p.bytes)))
	}
}

func newWriter(c *tcpd.Conn, all *atomic.Int64) *writer {
	w := &writer{c: c, all: all}
	w.free.L = &w.mu
	return w
}

// hold makes the session the only one that writes, until release, and writes what was pushed before.
// After an error there is nothing to release.
func (w *writer) hold() error {
	w.mu.Lock()
	w.wanted = true
	for w.busy && w.err == nil {
		w.free.Wait()
	}
	w.wanted = false
	err, pushed := w.err, len(w.queue) > 0
	w.busy = w.busy || err == nil
	w.mu.Unlock()
	if err == nil && pushed {
		if err = w.drain(); err != nil {
			return w.release(err)
		}
	}
	return err
}

// drain writes what waits now. It is called by whom busy is about.
func (w *writer) drain() error {
	w.mu.Lock()
	batch, size, err := w.queue, w.queued, w.err
	w.queue, w.queued, w.own, w.flying = nil, 0, false, size
	w.mu.Unlock()
	for i := range batch {
		if err == nil {
			err = w.c.Write(batch[i].bytes)
		}
		batch[i].uncount(w.all)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying = 0
	if w.err == nil {
		w.err = err
	}
	return w.err
}

// release lets others write: a goroutine takes over what was pushed meanwhile. err is that of the pieces
// before.
func (w *writer) release(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	if w.err == nil && len(w.queue) > 0 && !w.closed {
		w.wg.Go(w.pushes)
		return nil
	}
	w.letGoLocked()
	return w.err
}

func (w *writer) letGoLocked() {
	w.busy = false
	w.free.Broadcast()
}

// pushes writes until nothing waits, or the session wants to write.
func (w *writer) pushes() {
	for {
		err := w.drain() // it is kept, and ends the session's next write
		w.mu.Lock()
		if err != nil || w.wanted || len(w.queue) == 0 {
			w.letGoLocked()
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
	}
}

// write sends whole replies.
func (w *writer) write(b []byte) error {
	if err := w.hold(); err != nil {
		return err
	}
	return w.release(w.c.Write(b))
}

// push sends whole frames and never waits: any goroutine may call it. b is the caller's again when it
// returns. It fails when the connection has failed, or when too much waits already, which ends it.
func (w *writer) push(b []byte) error { return w.enqueue(b, nil) }

// share is push for a frame that many peers' queues may hold.
func (w *writer) share(f *frame) error { return w.enqueue(f.bytes, f) }

// takes tells whether n more bytes may be pushed. If not, that fails, too, and the connection ends.
func (w *writer) takes(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.takesLocked(n)
}

func (w *writer) takesLocked(n int) bool {
	if w.err == nil && !w.closed && !w.fitsLocked(n) {
		w.err = errPushes
		w.c.Cut()
		w.free.Broadcast()
	}
	return w.err == nil && !w.closed
}

func (w *writer) enqueue(b []byte, shared *frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.takesLocked(len(b)) {
		return errors.Join(w.err, errWriterClosed)
	}
	w.queued += len(b)
	switch last := len(w.queue) - 1; {
	case shared != nil && len(b) >= pushChunk:
		p := pushed{b, shared}
		p.count(w.all)
		w.queue, w.own = append(w.queue, p), false
	case w.own && len(w.queue[last].bytes)+len(b) <= pushChunk:
		w.all.Add(int64(len(b)))
		w.queue[last].bytes = append(w.queue[last].bytes, b...)
	default:
		w.all.Add(int64(len(b)))
		w.queue, w.own = append(w.queue, pushed{bytes: append([]byte(nil), b...)}), true
	}
	if !w.busy {
		w.busy = true
		w.wg.Go(w.pushes)
	}
	return nil
}

// fitsLocked tells whether n more bytes may wait.
func (w *writer) fitsLocked(n int) bool {
	waiting := w.flying + w.queued
	if w.all.Load() > maxAllPushes {
		return waiting+n <= fewPushes
	}
	return waiting == 0 || waiting+n <= maxPushes
}

// errWriterClosed is what a push to a connection that is gone fails with.
var errWriterClosed = errors.New("resp: connection is closed")

// close ends pushes and joins their goroutines.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wg.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.queue {
		w.queue[i].uncount(w.all)
	}
	w.queue, w.queued = nil, 0
}

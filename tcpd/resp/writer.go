// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"errors"
	"sync"

	"github.com/kvorum/kvorum/tcpd"
)

// maxPushes is how many bytes of pushes may wait for a peer that does not read; beyond it the
// connection ends.
const maxPushes = 8 << 20

// errPushes ends a connection whose peer does not read what is pushed to it.
var errPushes = errors.New("resp: peer does not read its pushes")

// writer lets pushes of other goroutines go between the replies of the session. Nobody holds the mutex
// across a write.
type writer struct {
	c  *tcpd.Conn
	wg sync.WaitGroup // goroutines that write pushes

	mu   sync.Mutex
	free sync.Cond // busy became false
	// busy: some goroutine is in c.Write, or between the pieces of one reply; it writes what is queued
	// before it lets go.
	busy   bool
	closed bool // no goroutine starts any more
	queue  []byte
	flying int // bytes of pushes that are being written
	err    error
}

func newWriter(c *tcpd.Conn) *writer {
	w := &writer{c: c}
	w.free.L = &w.mu
	return w
}

// hold makes the session the only one that writes, until release. After an error there is nothing to
// release.
func (w *writer) hold() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.busy && w.err == nil {
		w.free.Wait()
	}
	if w.err != nil {
		return w.err
	}
	w.busy = true
	return nil
}

// release writes what was pushed meanwhile and lets others write. err is that of the pieces before.
func (w *writer) release(err error) error {
	for {
		w.mu.Lock()
		if w.err == nil {
			w.err = err
		}
		b := w.queue
		w.queue, w.flying = nil, len(b)
		if w.err != nil || len(b) == 0 {
			err = w.err
			w.busy = false
			w.free.Broadcast()
			w.mu.Unlock()
			return err
		}
		w.mu.Unlock()
		err = w.c.Write(b)
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
func (w *writer) push(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && w.flying+len(w.queue)+len(b) > maxPushes {
		w.err = errPushes
		w.c.Cut()
		w.free.Broadcast()
	}
	if w.err != nil || w.closed {
		return errors.Join(w.err, errWriterClosed)
	}
	w.queue = append(w.queue, b...)
	if !w.busy {
		w.busy = true
		w.wg.Go(func() { _ = w.release(nil) }) // the error is kept and ends the session's next write
	}
	return nil
}

// errWriterClosed is what a push to a connection that is gone fails with.
var errWriterClosed = errors.New("resp: connection is closed")

// close ends pushes and joins their goroutines.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wg.Wait()
}

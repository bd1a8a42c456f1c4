// SPDX-License-Identifier: Apache-2.0

package native

import (
	"sync"

	"github.com/kvorum/kvorum/tcpd"
)

// outbox lets several goroutines answer on one connection. Whoever finds nobody writing writes, and
// goes on writing what others put down meanwhile; nobody holds the mutex across a write.
type outbox struct {
	c  *tcpd.Conn
	mu struct {
		sync.Mutex
		// writing: some goroutine is in Write and will look at buf again.
		writing bool
		// buf waits behind the write under way; spare is an empty buffer for it.
		buf, spare []byte
		// large counts those that have, or wait for, the connection for a reply in pieces.
		large int
		// less is closed when buf was taken or the connection failed; nil when nobody waits.
		less chan struct{}
		err  error
	}
}

// send writes b, or leaves a copy to the goroutine that is writing. It waits while too much is left
// already. b is the caller's again when it returns.
func (o *outbox) send(b []byte) error {
	o.mu.Lock()
	for o.mu.err == nil && (o.mu.writing && len(o.mu.buf) >= maxOutbox || o.mu.large > 0) {
		o.awaitLocked()
	}
	if o.mu.err != nil || o.mu.writing {
		o.mu.buf = append(o.mu.buf, b...)
		err := o.mu.err
		o.mu.Unlock()
		return err
	}
	o.mu.writing = true
	o.mu.Unlock()
	return o.write(b)
}

// awaitLocked waits until something changed.
func (o *outbox) awaitLocked() {
	if o.mu.less == nil {
		o.mu.less = make(chan struct{})
	}
	less := o.mu.less
	o.mu.Unlock()
	<-less
	o.mu.Lock()
}

// claim waits until nobody writes, and makes the caller the one who does: pieces of one frame follow
// each other through o.c.Write, and the last one goes through release. After an error there is nothing
// to release.
func (o *outbox) claim() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.large++
	for o.mu.err == nil && o.mu.writing {
		o.awaitLocked()
	}
	if o.mu.err != nil {
		o.mu.large--
		return o.mu.err
	}
	o.mu.writing = true
	return nil
}

// release sends the last piece, and what was left meanwhile. err is that of the pieces before.
func (o *outbox) release(last []byte, err error) error {
	o.mu.Lock()
	o.mu.large--
	if err != nil {
		o.mu.err = err
	}
	o.mu.Unlock()
	return o.write(last)
}

// write sends b and then everything that was left meanwhile. The caller has set writing.
func (o *outbox) write(b []byte) error {
	own := false // b came from buf
	for {
		err := o.c.Write(b)
		o.mu.Lock()
		if own && cap(b) <= tcpd.KeepBuffer {
			o.mu.spare = b[:0]
		}
		if err != nil {
			o.mu.err = err
		}
		if o.mu.less != nil {
			close(o.mu.less)
			o.mu.less = nil
		}
		if o.mu.err != nil || len(o.mu.buf) == 0 {
			if o.mu.err != nil {
				o.mu.buf = nil
			}
			o.mu.writing = false
			err = o.mu.err
			o.mu.Unlock()
			return err
		}
		b, own = o.mu.buf, true
		o.mu.buf, o.mu.spare = o.mu.spare, nil
		o.mu.Unlock()
	}
}

// offer is send for news: it never waits. When nobody is writing it returns true, and the caller
// lets a goroutine call flush. News is dropped when too much is waiting already.
func (o *outbox) offer(b []byte) (flush bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.err != nil || len(o.mu.buf) >= maxOutbox {
		return false
	}
	o.mu.buf = append(o.mu.buf, b...)
	if o.mu.writing {
		return false
	}
	o.mu.writing = true
	return true
}

// flush writes what offer left.
func (o *outbox) flush() {
	o.mu.Lock()
	b := o.mu.buf
	o.mu.buf = nil
	o.mu.Unlock()
	_ = o.write(b) // the error is kept and ends the session's next send
}

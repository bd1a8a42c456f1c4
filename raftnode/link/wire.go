// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// batchBytes ends a batch: the frames of one are handed to the kernel in one write.
	batchBytes = 1 << 20
	// byReference is the payload size from which a part is not copied into the batch buffer.
	byReference = 16 << 10
	// keepBuffer is the largest batch buffer kept between batches.
	keepBuffer = 128 << 10

	// keepaliveTick is the rhythm of looking for life while calls are in flight; a peer silent
	// for one tick is pinged, and given up after silentTicks more.
	keepaliveTick = time.Second
	silentTicks   = 5
)

// outFrame is a frame waiting to be written. The payload is one or parts, preceded by the time
// field if the kind has one.
type outFrame struct {
	kind  kind
	id    uint64
	left  uint32
	one   []byte
	parts [][]byte
	// size counts payload bytes without the time field.
	size int
	// call is told how far the frame came; nil for frames nobody waits for.
	call *call
}

func (f *outFrame) timed() bool { return f.kind == kindRequest || f.kind == kindOpen }

func (f *outFrame) wireSize() int {
	n := frameHeader + f.size
	if f.timed() {
		n += timeLeft
	}
	return n
}

// wire is the sending half of a connection: a bounded queue and the one goroutine that writes it.
// Whatever queues up during a write leaves in the next one, so frames share writes under load and
// never wait for a timer.
type wire struct {
	nc    net.Conn
	stats *counters
	// wake has room for one token: there is something in the queue.
	wake chan struct{}
	// dead is closed once err is set.
	dead chan struct{}
	// received counts the bytes read from nc.
	received atomic.Uint64

	// mu also guards the tables of the connection that owns this wire.
	mu struct {
		sync.Mutex
		queue  []outFrame
		queued int
		// space is closed when a batch has left; nil while nobody waits.
		space chan struct{}
		err   error
	}
}

func newWire(nc net.Conn, stats *counters) *wire {
	return &wire{nc: nc, stats: stats, wake: make(chan struct{}, 1), dead: make(chan struct{})}
}

// Read reads from the connection, counting.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.nc.Read(p)
	w.received.Add(uint64(n))
	return n, err
}

// fail ends the connection; the first cause stays.
func (w *wire) fail(cause error) {
	w.mu.Lock()
	first := w.mu.err == nil
	if first {
		w.mu.err = cause
		close(w.dead)
	}
	w.mu.Unlock()
	if first {
		_ = w.nc.Close()
	}
}

// cause is why the connection ended; nil while it lives.
func (w *wire) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.err
}

// fitsLocked tells whether n more bytes may be queued.
func (w *wire) fitsLocked(n int) bool {
	return w.mu.queued == 0 || w.mu.queued+n <= maxQueuedBytes
}

func (w *wire) pushLocked(f outFrame) {
	w.mu.queue = append(w.mu.queue, f)
	w.mu.queued += f.wireSize()
}

func (w *wire) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// send queues f, waiting for room until done is closed or the connection dies.
func (w *wire) send(done <-chan struct{}, f outFrame) error {
	for {
		w.mu.Lock()
		if err := w.mu.err; err != nil {
			w.mu.Unlock()
			return err
		}
		if w.fitsLocked(f.wireSize()) {
			w.pushLocked(f)
			w.mu.Unlock()
			w.kick()
			return nil
		}
		if w.mu.space == nil {
			w.mu.space = make(chan struct{})
		}
		space := w.mu.space
		w.mu.Unlock()
		select {
		case <-space:
		case <-w.dead:
		case <-done:
			return context.Canceled
		}
	}
}

// sendSmall queues a frame of the protocol itself. It never waits: a peer that makes us queue
// more than the bound is cut off.
func (w *wire) sendSmall(f outFrame) {
	w.mu.Lock()
	if w.mu.err != nil {
		w.mu.Unlock()
		return
	}
	fits := w.mu.queued+f.wireSize() <= 2*maxQueuedBytes+DefaultMaxFrame
	if fits {
		w.pushLocked(f)
	}
	w.mu.Unlock()
	if !fits {
		w.fail(ErrProtocol)
		return
	}
	w.kick()
}

// take moves frames worth about batchBytes from the queue to batch, leaving out calls that were
// given up, and marks the rest as on their way.
func (w *wire) take(batch []outFrame) []outFrame {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.err != nil {
		return batch
	}
	n, bytes := 0, 0
	for n < len(w.mu.queue) && bytes < batchBytes {
		f := &w.mu.queue[n]
		n++
		size := f.wireSize()
		w.mu.queued -= size
		if f.call != nil {
			if f.call.phase == phaseAbandoned {
				continue
			}
			f.call.phase = phaseTaken
		}
		bytes += size
		batch = append(batch, *f)
	}
	rest := copy(w.mu.queue, w.mu.queue[n:])
	clear(w.mu.queue[rest:])
	w.mu.queue = w.mu.queue[:rest]
	if w.mu.space != nil && n > 0 {
		close(w.mu.space)
		w.mu.space = nil
	}
	return batch
}

// pulse is what the writer asks every keepaliveTick; nil on the acceptor's side.
type pulse func() (waiting bool)

// run writes until the connection dies. It is the writer goroutine.
func (w *wire) run(waiting pulse) {
	tick := time.NewTimer(time.Hour)
	tick.Stop()
	defer tick.Stop()
	var (
		out  batchWriter
		life keepalive
	)
	for {
		select {
		case <-w.dead:
			return
		case <-tick.C:
			life.armed = false
			if err := life.look(w); err != nil {
				w.fail(err)
				return
			}
		case <-w.wake:
		}
		for {
			out.frames = w.take(out.frames[:0])
			if len(out.frames) == 0 {
				break
			}
			if err := out.write(w); err != nil {
				w.fail(err)
				return
			}
			clear(out.frames)
		}
		if waiting == nil || life.armed {
			continue
		}
		if life.armed = waiting(); life.armed {
			tick.Reset(keepaliveTick)
		} else {
			life = keepalive{}
		}
	}
}

// keepalive notices a peer that went silent while calls wait for it. It belongs to the writer.
type keepalive struct {
	armed  bool
	seen   uint64
	pinged bool
	silent int
}

func (k *keepalive) look(w *wire) error {
	received := w.received.Load()
	if received != k.seen {
		k.seen, k.pinged, k.silent = received, false, 0
		return nil
	}
	if k.pinged {
		k.silent++
		if k.silent >= silentTicks {
			return ErrUnresponsive
		}
		return nil
	}
	k.pinged, k.silent = true, 0
	var ping [frameHeader]byte
	putFrameHeader(ping[:], kindPing, 0, 0)
	_ = w.nc.SetWriteDeadline(now().Add(Deadline(frameHeader)))
	_, err := w.nc.Write(ping[:])
	return err
}

// batchWriter turns a batch of frames into one write. It belongs to the writer goroutine.
type batchWriter struct {
	frames []outFrame
	buf    []byte
	vec    net.Buffers
}

// write hands the batch to the connection. After an error the calls whose frames did not leave
// whole know it: the other side never acts on part of a frame.
func (b *batchWriter) write(w *wire) error {
	b.buf, b.vec = b.buf[:0], b.vec[:0]
	start, total := 0, 0
	for i := range b.frames {
		f := &b.frames[i]
		total += f.wireSize()
		b.appendHead(f)
		for _, part := range f.parts {
			start = b.appendPart(part, start)
		}
		start = b.appendPart(f.one, start)
	}
	if len(b.buf) > start {
		b.vec = append(b.vec, b.buf[start:])
	}
	_ = w.nc.SetWriteDeadline(now().Add(Deadline(int64(total))))
	var n int64
	var err error
	if len(b.vec) == 1 {
		var m int
		m, err = w.nc.Write(b.vec[0])
		n = int64(m)
	} else {
		vec := b.vec
		n, err = vec.WriteTo(w.nc)
	}
	clear(b.vec[:cap(b.vec)])
	if cap(b.buf) > keepBuffer {
		b.buf = nil
	}
	w.stats.writes.Add(1)
	w.stats.framesOut.Add(uint64(len(b.frames)))
	w.stats.bytesOut.Add(uint64(n))
	if err != nil {
		b.markUnsent(w, n)
	}
	return err
}

func (b *batchWriter) appendHead(f *outFrame) {
	var head [frameHeader + timeLeft]byte
	n := frameHeader
	payload := f.size
	if f.timed() {
		payload += timeLeft
		n += timeLeft
		head[frameHeader] = byte(f.left >> 24)
		head[frameHeader+1] = byte(f.left >> 16)
		head[frameHeader+2] = byte(f.left >> 8)
		head[frameHeader+3] = byte(f.left)
	}
	putFrameHeader(head[:], f.kind, f.id, payload)
	b.buf = append(b.buf, head[:n]...)
}

// appendPart copies a small part behind buf[start:] and refers to a large one; it returns where
// the not yet referred part of buf begins.
func (b *batchWriter) appendPart(part []byte, start int) int {
	if len(part) < byReference {
		b.buf = append(b.buf, part...)
		return start
	}
	if len(b.buf) > start {
		b.vec = append(b.vec, b.buf[start:len(b.buf):len(b.buf)])
	}
	b.vec = append(b.vec, part)
	return len(b.buf)
}

// markUnsent notes which calls' frames lie wholly or partly beyond the first n bytes.
func (b *batchWriter) markUnsent(w *wire, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	end := int64(0)
	for i := range b.frames {
		end += int64(b.frames[i].wireSize())
		if c := b.frames[i].call; c != nil && end > n && c.phase == phaseTaken {
			c.phase = phaseUnsent
		}
	}
}

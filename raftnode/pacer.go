// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"sync"
	"time"
)

const (
	// pacerShare: of the time of the goroutine that writes a snapshot, at most one part in so many is work.
	// What is runnable all the time keeps the Go scheduler from looking at the network, for up to 10 ms.
	pacerShare = 4
	// pacerGrain is the shortest pause; shorter ones add up.
	pacerGrain = 200 * time.Microsecond
)

// pacer bounds what the snapshots that a node writes take of its disk and processors, over all its groups,
// so that those who write meanwhile do not notice. Disks do not share fairly: one that is kept busy with
// a snapshot lets the log's next sync wait for tens of milliseconds.
type pacer struct {
	// rate is in bytes a second, 0 for no bound of either kind.
	rate int64
	mu   sync.Mutex
	// free is when all that was written would have been written at that pace.
	free time.Time
}

// spent notes that n bytes were written, at a cost of some time, and returns how long to pause.
func (p *pacer) spent(n int, work time.Duration) time.Duration {
	if p.rate == 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	begun := monotonic().Add(-work)
	if p.free.Before(begun) {
		p.free = begun
	}
	p.free = p.free.Add(max(time.Duration(float64(n)/float64(p.rate)*float64(time.Second)), pacerShare*work))
	if wait := time.Until(p.free); wait >= pacerGrain {
		return wait
	}
	return 0
}

// removePause is how long the disk is left alone between two pieces of an old snapshot that is removed.
const removePause = 5 * time.Millisecond

// pause waits, and returns false as soon as the group's raft is being stopped, or the node needs space.
func (g *Group) pause(d time.Duration) bool {
	if g.n.low.Load() {
		return false
	}
	var stop chan struct{}
	if in := g.inst.Load(); in != nil {
		stop = in.stop
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-stop:
		return false
	}
}

// pacedSink is a snapshot that this node's machine writes.
type pacedSink struct {
	*snapSink
	pacer *pacer
	// last is when the last write returned.
	last time.Time
}

// Write implements io.Writer. It pauses behind each write; a pause ends when the instance stops.
func (s *pacedSink) Write(p []byte) (int, error) {
	n, err := s.snapSink.Write(p)
	if err != nil {
		return n, err
	}
	if wait := s.pacer.spent(n, monotonic().Sub(s.last)); wait > 0 {
		s.store.g.pause(wait)
	}
	s.last = monotonic()
	return n, nil
}

// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync"
	"sync/atomic"
)

// slotLock is a lock for many readers or one writer that costs one atomic step to take and one to leave
// while nobody waits: a read or write of one key is not much longer than that. The zero slotLock is free.
//
// The state is the number of readers, plus lockWriter while a writer has it, plus lockWaiting while somebody
// is parked. A reader counts itself first and looks then: when it finds a writer or somebody parked it does not
// have the lock, and takes its count back below mu. So
//
//   - a writer takes the lock from state 0 only, and adds and takes no more than its own bit;
//   - lockWaiting is set and cleared below mu, and set only while somebody holds the lock or has a count to take
//     back; whoever leaves the state at lockWaiting alone clears it and wakes all;
//   - who finds lockWaiting parks too, so that a writer waits for the readers of the moment only.
type slotLock struct{ state atomic.Int32 }

const (
	lockWriter  = 1 << 29
	lockWaiting = 1 << 30
)

// parking is where goroutines wait for slots; several slots share one. The waiting bit of a slot is set and
// cleared below its mu.
type parking struct {
	mu   sync.Mutex
	cond sync.Cond
}

// parkings is the number of places to wait.
const parkings = 16

// Lock takes a slot for writing.
func (s *Store) Lock(slot uint16) {
	if !s.slots[slot].mu.state.CompareAndSwap(0, lockWriter) {
		s.parkWriter(slot)
	}
}

// Unlock ends Lock.
func (s *Store) Unlock(slot uint16) {
	if !s.slots[slot].mu.state.CompareAndSwap(lockWriter, 0) {
		s.leaveWriter(slot)
	}
}

// RLock takes a slot for reading. It is not to be taken twice by one goroutine: a writer may wait in between.
func (s *Store) RLock(slot uint16) {
	if s.slots[slot].mu.state.Add(1) >= lockWriter {
		s.parkReader(slot)
	}
}

// RUnlock ends RLock.
func (s *Store) RUnlock(slot uint16) {
	if s.slots[slot].mu.state.Add(-1) == lockWaiting {
		s.wake(slot)
	}
}

func (s *Store) parking(slot uint16) *parking { return &s.parkings[slot%parkings] }

// parkWriter takes the lock, waiting as long as that takes.
func (s *Store) parkWriter(slot uint16) {
	l, p := &s.slots[slot].mu, s.parking(slot)
	p.mu.Lock()
	defer p.mu.Unlock()
	for !l.state.CompareAndSwap(0, lockWriter) {
		if n := l.state.Load(); n != 0 && l.marked(n) {
			p.cond.Wait()
		}
	}
}

// parkReader takes the lock for a reader that counted itself and found it taken, or others waiting.
func (s *Store) parkReader(slot uint16) {
	l, p := &s.slots[slot].mu, s.parking(slot)
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.state.Load() < lockWriter {
		return // free since: the count stands
	}
	if l.state.Add(-1) == lockWaiting {
		p.release(l)
	}
	for {
		n := l.state.Load()
		if n < lockWriter {
			if l.state.CompareAndSwap(n, n+1) {
				return
			}
		} else if l.marked(n) {
			p.cond.Wait()
		}
	}
}

// marked sees to it that state n, which is not free, has lockWaiting. It is false when the state is another by
// now.
func (l *slotLock) marked(n int32) bool {
	return n&lockWaiting != 0 || l.state.CompareAndSwap(n, n|lockWaiting)
}

// leaveWriter ends Lock when somebody waits, or counted itself.
func (s *Store) leaveWriter(slot uint16) {
	l, p := &s.slots[slot].mu, s.parking(slot)
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.state.Add(-lockWriter) == lockWaiting {
		p.release(l)
	}
}

// wake is called by the last reader that leaves while somebody waits.
func (s *Store) wake(slot uint16) {
	p := s.parking(slot)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(&s.slots[slot].mu)
}

// release wakes those who wait, unless another did so or has yet to take its count back, and then does it.
func (p *parking) release(l *slotLock) {
	if l.state.CompareAndSwap(lockWaiting, 0) {
		p.cond.Broadcast()
	}
}

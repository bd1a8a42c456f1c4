// SPDX-License-Identifier: Apache-2.0

package store

import (
	"sync"
	"sync/atomic"
)

// slotLock is a lock for many readers or one writer that costs one atomic step to take and one to leave
// while nobody waits: a read or write of one key is not much longer than that. The zero slotLock is free.
//
// The state is the number of readers, or lockWriter; lockWaiting is added to either while somebody is
// parked. Who finds it set parks too, so that a writer waits for the readers of the moment only; who leaves
// the lock free under it clears it and wakes all.
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
	if l := &s.slots[slot].mu; !l.state.CompareAndSwap(0, lockWriter) {
		l.park(s.parking(slot), lockWriter)
	}
}

// Unlock ends Lock.
func (s *Store) Unlock(slot uint16) {
	if l := &s.slots[slot].mu; !l.state.CompareAndSwap(lockWriter, 0) {
		l.wake(s.parking(slot), lockWriter)
	}
}

// RLock takes a slot for reading. It is not to be taken twice by one goroutine: a writer may wait in between.
func (s *Store) RLock(slot uint16) {
	l := &s.slots[slot].mu
	if n := l.state.Load(); n >= lockWriter || !l.state.CompareAndSwap(n, n+1) {
		l.park(s.parking(slot), 1)
	}
}

// RUnlock ends RLock.
func (s *Store) RUnlock(slot uint16) {
	if l := &s.slots[slot].mu; l.state.Add(-1) == lockWaiting {
		l.wake(s.parking(slot), 0)
	}
}

func (s *Store) parking(slot uint16) *parking { return &s.parkings[slot%parkings] }

// park takes the lock by adding want to its state, waiting as long as that takes.
func (l *slotLock) park(p *parking, want int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		s := l.state.Load()
		if free := s < lockWriter && (want == 1 || s == 0); free {
			if l.state.CompareAndSwap(s, s+want) {
				return
			}
			continue
		}
		if s&lockWaiting == 0 && !l.state.CompareAndSwap(s, s|lockWaiting) {
			continue
		}
		p.cond.Wait()
	}
}

// wake leaves the lock by taking held from its state, which is then free, and wakes those who wait.
func (l *slotLock) wake(p *parking, held int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.state.Add(-held - lockWaiting)
	p.cond.Broadcast()
}

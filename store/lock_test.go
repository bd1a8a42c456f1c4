// SPDX-License-Identifier: Apache-2.0

package store

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Goal: writers exclude everybody, readers only writers, nobody is left parked, and writers get their turn
// beside readers that overlap without end. Method: two slots that share a parking; who is inside is counted, and
// everybody yields inside and between, so that they meet in all orders; the writers have a number of rounds, the
// readers go on until they are done.
func TestSlotLock(t *testing.T) {
	const writers, readers, rounds = 3, 4, 4000
	s := New(Config{})
	slots := []uint16{3, 3 + parkings}
	var inside [2]struct{ readers, writers atomic.Int32 }
	var plain [2]int // the race detector's
	var done atomic.Bool
	var wrote, read sync.WaitGroup
	for w := range writers {
		wrote.Go(func() {
			for i := range rounds {
				at := (w + i) % 2
				s.Lock(slots[at])
				if n := inside[at].writers.Add(1); n != 1 || inside[at].readers.Load() != 0 {
					t.Errorf("a writer is not alone: %d writers, %d readers", n, inside[at].readers.Load())
				}
				plain[at]++
				if i%3 == 0 {
					runtime.Gosched()
				}
				inside[at].writers.Add(-1)
				s.Unlock(slots[at])
				if i%5 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	for r := range readers {
		read.Go(func() {
			for i := r; !done.Load(); i++ {
				at := i / 7 % 2
				s.RLock(slots[at])
				inside[at].readers.Add(1)
				if inside[at].writers.Load() != 0 {
					t.Error("a reader beside a writer")
				}
				_ = plain[at]
				if i%2 == 0 {
					runtime.Gosched()
				}
				inside[at].readers.Add(-1)
				s.RUnlock(slots[at])
			}
		})
	}
	wrote.Wait()
	done.Store(true)
	read.Wait()
	for _, slot := range slots {
		if n := s.slots[slot].mu.state.Load(); n != 0 {
			t.Errorf("slot %d is left in state %#x", slot, n)
		}
	}
	if plain[0]+plain[1] != writers*rounds {
		t.Errorf("%d writes, want %d", plain[0]+plain[1], writers*rounds)
	}
}

// Goal: every path to and from the lock ends where the invariants say. Method: all interleavings of the atomic
// steps of up to two readers and two writers, each taking and leaving the lock once, over a model of the same steps.
func TestSlotLockInterleavings(t *testing.T) {
	for _, procs := range [][]bool{{false, true}, {true, true}, {false, false, true}, {false, true, true}, {false, false, true, true}} {
		start := lockWorld{n: len(procs)}
		for i, writes := range procs {
			start.procs[i].writes = writes
		}
		seen := map[lockWorld]bool{}
		todo := []lockWorld{start}
		ended := 0
		for len(todo) > 0 {
			w := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if seen[w] {
				continue
			}
			seen[w] = true
			if bad := w.check(); bad != "" {
				t.Fatalf("%+v: %s", w, bad)
			}
			moved := false
			for i := range w.n {
				if next := w; next.step(i) {
					todo = append(todo, next)
					moved = true
				}
			}
			if !moved {
				if ended++; !w.over() {
					t.Fatalf("%+v: nobody can go on", w)
				}
			}
		}
		if ended == 0 {
			t.Error("no end was reached")
		}
	}
}

// lockWorld is a lock and up to four goroutines at it.
type lockWorld struct {
	state int32
	mu    int8 // who has the parking's mutex, from 1; 0 is nobody
	n     int
	procs [4]lockProc
}

// lockProc is a goroutine between two atomic steps of lock.go.
type lockProc struct {
	writes bool
	at     lockStep
	n      int32 // the state it loaded last
}

type lockStep int8

const (
	stepEnter    lockStep = iota // first step of Lock or RLock
	stepPark                     // wants mu in parkWriter or parkReader
	stepFresh                    // parkReader: loads the state the first time
	stepBack                     // parkReader: takes its count back
	stepRelease                  // release within parkReader
	stepLoad                     // the loop's load, for a writer after a failed swap
	stepDecide                   // what it does about the state it loaded
	stepAsleep                   // in cond.Wait, mu let go
	stepAwake                    // woken, wants mu
	stepDropMu                   // has the lock, lets go of mu
	stepInside                   // has the lock; next is the first step of Unlock or RUnlock
	stepWantMu                   // leaveWriter or wake: wants mu
	stepLeave                    // leaveWriter: takes its bit
	stepRelease2                 // release within leaveWriter or wake
	stepDropMu2                  // lets go of mu
	stepOver
)

func (w *lockWorld) over() bool {
	for _, p := range w.procs[:w.n] {
		if p.at != stepOver {
			return false
		}
	}
	return w.state == 0
}

func (w *lockWorld) check() string {
	readers, writers := 0, 0
	for _, p := range w.procs[:w.n] {
		if p.at == stepInside || p.at == stepDropMu {
			if p.writes {
				writers++
			} else {
				readers++
			}
		}
	}
	if writers > 1 || writers == 1 && readers > 0 {
		return "a writer is not alone"
	}
	if w.state < 0 {
		return "a count was taken twice"
	}
	return ""
}

func (w *lockWorld) cas(old, now int32) bool {
	if w.state != old {
		return false
	}
	w.state = now
	return true
}

func (w *lockWorld) lock(i int) bool {
	if w.mu != 0 {
		return false
	}
	w.mu = int8(i + 1)
	return true
}

// release is one atomic step, and the waking that follows it below mu.
func (w *lockWorld) release() {
	if w.cas(lockWaiting, 0) {
		for i := range w.procs {
			if w.procs[i].at == stepAsleep {
				w.procs[i].at = stepAwake
			}
		}
	}
}

// step lets goroutine i do its next atomic step; false when it must wait or is over.
func (w *lockWorld) step(i int) bool {
	p := &w.procs[i]
	if p.at >= stepInside {
		return w.leaving(i, p)
	}
	switch p.at {
	case stepEnter:
		if p.writes {
			p.at = choose(w.cas(0, lockWriter), stepInside, stepPark)
		} else {
			w.state++
			p.at = choose(w.state < lockWriter, stepInside, stepPark)
		}
	case stepPark:
		if !w.lock(i) {
			return false
		}
		p.at = choose(p.writes, stepLoad, stepFresh)
	case stepFresh:
		p.at = choose(w.state < lockWriter, stepDropMu, stepBack)
	case stepBack:
		w.state--
		p.at = choose(w.state == lockWaiting, stepRelease, stepLoad)
	case stepRelease:
		w.release()
		p.at = stepLoad
	case stepLoad:
		if p.writes && w.cas(0, lockWriter) {
			p.at = stepDropMu
			return true
		}
		p.n, p.at = w.state, stepDecide
	case stepDecide:
		w.decide(p)
	case stepAwake:
		if !w.lock(i) {
			return false
		}
		p.at = stepLoad
	case stepDropMu:
		w.mu, p.at = 0, stepInside
	default: // asleep
		return false
	}
	if p.at != stepDecide {
		p.n = 0
	}
	return true
}

// decide is what the loops of parkWriter and parkReader do about a state.
func (w *lockWorld) decide(p *lockProc) {
	p.at = stepLoad
	switch {
	case !p.writes && p.n < lockWriter:
		if w.cas(p.n, p.n+1) {
			p.at = stepDropMu
		}
	case p.writes && p.n == 0:
	case p.n&lockWaiting != 0 || w.cas(p.n, p.n|lockWaiting):
		w.mu, p.at = 0, stepAsleep
	}
}

// leaving is step behind the lock.
func (w *lockWorld) leaving(i int, p *lockProc) bool {
	switch p.at {
	case stepInside:
		if p.writes {
			p.at = choose(w.cas(lockWriter, 0), stepOver, stepWantMu)
		} else {
			w.state--
			p.at = choose(w.state == lockWaiting, stepWantMu, stepOver)
		}
	case stepWantMu:
		if !w.lock(i) {
			return false
		}
		p.at = choose(p.writes, stepLeave, stepRelease2)
	case stepLeave:
		w.state -= lockWriter
		p.at = choose(w.state == lockWaiting, stepRelease2, stepDropMu2)
	case stepRelease2:
		w.release()
		p.at = stepDropMu2
	case stepDropMu2:
		w.mu, p.at = 0, stepOver
	default:
		return false
	}
	return true
}

func choose(ok bool, yes, no lockStep) lockStep {
	if ok {
		return yes
	}
	return no
}

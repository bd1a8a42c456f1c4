// SPDX-License-Identifier: Apache-2.0

package host

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStopwatch: work and waiting count, also in the middle of many pieces; what others did with the processor meanwhile
// does not.
func TestStopwatch(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := func() time.Duration {
		turn, ok := thisTurn()
		if !ok {
			t.Fatal("the system tells nothing of the thread")
		}
		return turn.cpu
	}
	work := func(d time.Duration) func() {
		return func() {
			for end := thread() + d; thread() < end; {
			}
		}
	}
	var watch Stopwatch
	run := func(f func()) time.Duration {
		watch.Start()
		f()
		return watch.Stop()
	}
	measure := func(f func()) time.Duration {
		watch.Reset()
		return run(f)
	}
	if got := measure(work(20 * time.Millisecond)); got < 20*time.Millisecond {
		t.Errorf("20 ms of work count as %v", got)
	}
	wait := func() {
		_ = unix.Nanosleep(&unix.Timespec{Nsec: int64(5 * time.Millisecond)}, nil)
	}
	if got := measure(wait); got < 5*time.Millisecond {
		t.Errorf("5 ms of waiting count as %v", got)
	}
	for i := range 2 * busyEvery {
		if got := run(work(time.Millisecond)); got < time.Millisecond {
			t.Errorf("run %d: 1 ms of work counts as %v", i, got)
		}
		work(100 * time.Microsecond)()
	}

	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Skip(err)
	}
	cpu := 0
	for !all.IsSet(cpu) {
		cpu++
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Skip(err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	var stop atomic.Bool
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // not unlocked: the thread ends with its affinity
		_ = unix.SchedSetaffinity(0, &one)
		close(ready)
		for !stop.Load() {
		}
	}()
	<-ready
	const calls = 200 // each shorter than a turn of the Go scheduler, whose end counts as waiting
	const least = calls * time.Millisecond
	near := false
	for i := 0; i < 10 && !near; i++ { // one round of ten: a machine that stops for a while is no other thread
		var got time.Duration
		began := time.Now()
		for range calls {
			got += measure(work(time.Millisecond))
		}
		wall := time.Since(began)
		t.Logf("%v of work beside a thread that wants the same processor count as %v of %v", least, got, wall)
		if got < least {
			t.Error("less than was done")
		}
		near = got <= least+(wall-least)/2
	}
	stop.Store(true)
	<-done
	if !near {
		t.Error("what the other thread did counts")
	}
}

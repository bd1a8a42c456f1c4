// SPDX-License-Identifier: Apache-2.0

package host

import (
	"time"

	"golang.org/x/sys/unix"
)

// busyShort is how long a call may take without a look at what the system did meanwhile.
const busyShort = 50 * time.Microsecond

// turn is what the system knows of the calling thread.
type turn struct {
	thread int
	// given counts how often the thread gave its processor up.
	given int64
	cpu   time.Duration
}

func thisTurn() (t turn, ok bool) {
	var used unix.Rusage
	var cpu unix.Timespec
	if unix.Getrusage(unix.RUSAGE_THREAD, &used) != nil || unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &cpu) != nil {
		return turn{}, false
	}
	return turn{unix.Gettid(), used.Nvcsw, time.Duration(cpu.Nano())}, true
}

// Stopwatch measures pieces of work that are short and many, such as those of one entry: to ask the system what it did
// takes longer than such a piece, so it is asked before every busyEvery-th and behind one that took long. The zero
// Stopwatch is ready; it belongs to one goroutine.
type Stopwatch struct {
	last  turn
	known bool
	runs  int
	began time.Time
}

// busyEvery is the number of pieces between two questions to the system.
const busyEvery = 64

// Reset makes the next Start ask the system first: what was before it can then not be taken for its own.
func (w *Stopwatch) Reset() { w.runs = 0 }

// Pieces counts those begun since Reset.
func (w *Stopwatch) Pieces() int { return w.runs }

// Start begins a piece.
func (w *Stopwatch) Start() {
	if w.runs%busyEvery == 0 {
		w.last, w.known = thisTurn()
	}
	w.runs++
	w.began = time.Now()
}

// Stop ends the piece and tells how long it took. Time for which the processor was taken away from the thread, by the
// system for another thread or by the host of a virtual machine for another machine, is left out where that can be told:
// where the thread did not wait for anything since the system was asked last. It tells too much sometimes, never too
// little.
func (w *Stopwatch) Stop() time.Duration {
	took := time.Since(w.began)
	if took < busyShort || !w.known {
		return took
	}
	before := w.last
	w.last, w.known = thisTurn()
	if w.known && w.last.thread == before.thread && w.last.given == before.given {
		return min(took, w.last.cpu-before.cpu)
	}
	return took
}

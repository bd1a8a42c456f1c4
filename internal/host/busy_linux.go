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
	// given and taken count how often the thread gave its processor up, and how often it was taken away from it.
	given, taken int64
	cpu          time.Duration
}

func thisTurn() (t turn, ok bool) {
	var used unix.Rusage
	var cpu unix.Timespec
	if unix.Getrusage(unix.RUSAGE_THREAD, &used) != nil || unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &cpu) != nil {
		return turn{}, false
	}
	return turn{unix.Gettid(), used.Nvcsw, used.Nivcsw, time.Duration(cpu.Nano())}, true
}

// Busy runs f and tells how long that took. Time for which the system took the processor away from the thread, to
// give it to another one, is left out where that can be told: where f did not wait for anything as well.
func Busy(f func()) time.Duration {
	before, known := thisTurn()
	began := time.Now()
	f()
	took := time.Since(began)
	if took < busyShort || !known {
		return took
	}
	after, known := thisTurn()
	if known && after.thread == before.thread && after.given == before.given && after.taken != before.taken {
		return min(took, after.cpu-before.cpu)
	}
	return took
}

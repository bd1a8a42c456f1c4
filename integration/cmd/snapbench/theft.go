// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// A virtual machine does not always run: its host takes the processors away, for the processes of others or because
// the machine used up what it may. The system counts that time, which it calls stolen.
const (
	// theftGrain is how often the count is looked at.
	theftGrain = 50 * time.Millisecond
	// theftLeast is how much must be stolen, of all processors together, between two looks to be a theft. The count moves
	// in steps of 10 ms for each processor.
	theftLeast = 20 * time.Millisecond
	// tick is the unit of /proc/stat: USER_HZ is 100 on all that Go runs on.
	tick = 10 * time.Millisecond
)

// theft is a time in which the processors were taken away, since the plan began.
type theft struct{ from, to time.Duration }

// watch looks for thefts until it is stopped.
type watch struct {
	began  time.Time
	end    chan struct{}
	done   chan struct{}
	thefts []theft
	err    error
}

func watchTheft(began time.Time) *watch {
	w := &watch{began: began, end: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

// stop ends the watch and gives what it saw, in order of time. A system that does not count gives nothing.
func (w *watch) stop() ([]theft, error) {
	close(w.end)
	<-w.done
	if errors.Is(w.err, os.ErrNotExist) {
		return nil, nil
	}
	return w.thefts, w.err
}

func (w *watch) run() {
	defer close(w.done)
	f, err := os.Open("/proc/stat")
	if err != nil {
		w.err = err
		return
	}
	defer f.Close()
	t := time.NewTicker(theftGrain)
	defer t.Stop()
	was, err := stolen(f)
	at := time.Since(w.began)
	for err == nil {
		select {
		case <-w.end:
			return
		case <-t.C:
		}
		var is time.Duration
		is, err = stolen(f)
		now := time.Since(w.began)
		w.saw(at, now, is-was)
		was, at = is, now
	}
	w.err = err
}

// saw notes what was stolen between two looks. The count may be a step behind, so that a theft may have begun a look
// earlier.
func (w *watch) saw(from, to, took time.Duration) {
	if took < theftLeast {
		return
	}
	from = max(0, from-theftGrain)
	if n := len(w.thefts); n > 0 && from <= w.thefts[n-1].to {
		w.thefts[n-1].to = to
		return
	}
	w.thefts = append(w.thefts, theft{from: from, to: to})
}

// stolen is how much was stolen since the system began, of all processors together.
func stolen(f io.ReaderAt) (time.Duration, error) {
	line := make([]byte, 256)
	n, err := f.ReadAt(line, 0)
	if n == 0 {
		return 0, err
	}
	fields := strings.Fields(string(line[:n]))
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat: %q", line[:n])
	}
	ticks, err := strconv.ParseInt(fields[8], 10, 64)
	return time.Duration(ticks) * tick, err
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime/pprof"
	"time"
)

// fatalCloseTime bounds how long a node closes after a fatal condition, fatalDrainTime included. A slot that a broken
// entry left locked or a disk that never answers holds closing up for ever, while the node's other groups still lead:
// their peers elect others as soon as the process is gone, and what is on disk is whole at any moment.
const fatalCloseTime = 5 * time.Second

// boundClosing calls abort, on a goroutine of its own, when closed was not called within fatalCloseTime of a
// fatal cause of ctx's end. After any other cause it waits for ever: an operator who is in a hurry has a second signal.
// What holds the node up is said in stacks, which are written to stderr first.
func boundClosing(ctx context.Context, log *slog.Logger, stderr io.Writer, abort func(error)) (closed func()) {
	done, over := make(chan struct{}), make(chan struct{})
	unused := context.AfterFunc(ctx, func() {
		defer close(over)
		err, ok := errors.AsType[*fatalError](context.Cause(ctx))
		if !ok {
			return
		}
		timer := time.NewTimer(fatalCloseTime)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			log.Error("the node does not close; the process ends", slog.Duration("after", fatalCloseTime))
			_ = pprof.Lookup("goroutine").WriteTo(stderr, 1) // there is nothing left to tell an error to
			abort(err)
		}
	})
	return func() {
		close(done)
		if !unused() {
			<-over
		}
	}
}

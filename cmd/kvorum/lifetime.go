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

const (
	// fatalCloseTime bounds how long a node closes after a fatal condition, fatalDrainTime included. A slot that a
	// broken entry left locked or a disk that never answers holds closing up for ever, while the node's other groups
	// still lead: their peers elect others as soon as the process is gone, and what is on disk is whole at any moment.
	fatalCloseTime = 5 * time.Second
	// fatalTellTime bounds how long it takes to tell of that: stderr may lie on the same disk.
	fatalTellTime = time.Second
)

// lifetime is how long a node runs: until its context ends, for a reason. Once a fatal condition is among the reasons,
// be it the first or one met while the node closes, closing is bounded.
type lifetime struct {
	ctx, fatal  context.Context
	stop        context.CancelCauseFunc
	fatalStop   context.CancelCauseFunc
	log         *slog.Logger
	stderr      io.Writer
	exit        func()
	closed      chan struct{}
	over        chan struct{}
	unwatchable func() bool
}

// newLifetime begins one within ctx. exit ends the process; it is called by a goroutine of the lifetime when
// closed was not called within fatalCloseTime of a fatal condition. After any other reason closing may take its time: an
// operator who is in a hurry has a second signal.
func newLifetime(ctx context.Context, log *slog.Logger, stderr io.Writer, exit func()) *lifetime {
	l := &lifetime{log: log, stderr: stderr, exit: exit, closed: make(chan struct{}), over: make(chan struct{})}
	l.ctx, l.stop = context.WithCancelCause(ctx)
	l.fatal, l.fatalStop = context.WithCancelCause(context.WithoutCancel(ctx))
	l.unwatchable = context.AfterFunc(l.fatal, l.watch)
	return l
}

// end is a context.CancelCauseFunc. Any goroutine; the first reason counts, but for the bound.
func (l *lifetime) end(reason error) {
	l.stop(reason)
	if _, ok := errors.AsType[*fatalError](reason); ok {
		l.fatalStop(reason)
	}
}

// close is called once, when all is closed. It joins the goroutine.
func (l *lifetime) close() {
	close(l.closed)
	if !l.unwatchable() {
		<-l.over
	}
	l.stop(nil)
	l.fatalStop(nil)
}

func (l *lifetime) watch() {
	defer close(l.over)
	timer := time.NewTimer(fatalCloseTime)
	defer timer.Stop()
	select {
	case <-l.closed:
		return
	case <-timer.C:
	}
	told := make(chan struct{})
	go func() { // joined by nobody if stderr never takes it: the process ends
		defer close(told)
		l.tell()
	}()
	timer.Reset(fatalTellTime)
	select {
	case <-told:
	case <-timer.C:
	}
	l.exit()
}

// tell says why the process ends, and in stacks what held it up.
func (l *lifetime) tell() {
	l.log.Error("the node does not close; the process ends", slog.Duration("after", fatalCloseTime))
	_ = pprof.Lookup("goroutine").WriteTo(l.stderr, 1) // there is nobody left to tell an error to
	printError(l.stderr, plainError{context.Cause(l.fatal)})
}

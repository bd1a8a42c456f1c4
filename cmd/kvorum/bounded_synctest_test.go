// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBoundClosing: a node that closes for ever after a fatal condition is ended by force, with its reason and with the
// stacks of what held it up; one that was told to stop has all the time it takes, and one that closed is left alone.
func TestBoundClosing(t *testing.T) {
	bad := errors.New("a defect")
	for _, c := range []struct {
		name    string
		cause   error
		closes  time.Duration // after the cause
		aborted time.Duration // after the cause; 0 for never
	}{
		{"a fatal condition, and closing hangs", &fatalError{bad}, time.Hour, fatalCloseTime},
		{"a fatal condition, closed in time", &fatalError{bad}, fatalCloseTime - time.Millisecond, 0},
		{"a signal, and closing takes long", context.Canceled, time.Hour, 0},
		{"never stopped", nil, time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				said := newTranscript()
				began := time.Now()
				var aborted time.Duration
				var reason error
				closed := boundClosing(ctx, slog.New(slog.DiscardHandler), said, func(err error) { aborted, reason = time.Since(began), err })
				if c.cause != nil {
					stop(c.cause)
				}
				time.Sleep(c.closes)
				closed()
				if aborted != c.aborted {
					t.Errorf("aborted after %v instead of %v", aborted, c.aborted)
				}
				if c.aborted != 0 && (!errors.Is(reason, bad) || !strings.Contains(said.String(), "TestBoundClosing")) {
					t.Errorf("ended with %v and the stacks\n%s", reason, said)
				}
			})
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLifetimeBoundsClosing: a node that closes for ever after a fatal condition is ended by force, with its reason and with
// the stacks of what held it up, also when a signal came first; one that was told to stop has all the time it takes, and
// one that closed is left alone.
func TestLifetimeBoundsClosing(t *testing.T) {
	bad := &fatalError{errors.New("a defect")}
	type after map[time.Duration]error
	for _, c := range []struct {
		name   string
		ends   after         // reasons, by when they come
		closes time.Duration // after the beginning
		exited time.Duration // 0 for never
	}{
		{"a fatal condition, and closing hangs", after{0: bad}, time.Hour, fatalCloseTime},
		{"a fatal condition, closed in time", after{0: bad}, fatalCloseTime - time.Millisecond, 0},
		{"a signal, and closing takes long", after{0: context.Canceled}, time.Hour, 0},
		{"a signal, a fatal condition while closing", after{0: context.Canceled, time.Minute: bad}, time.Hour, time.Minute + fatalCloseTime},
		{"two fatal conditions", after{0: bad, time.Second: bad}, time.Hour, fatalCloseTime},
		{"never stopped", nil, time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				said := newTranscript()
				began := time.Now()
				var exited time.Duration
				l := newLifetime(t.Context(), slog.New(slog.DiscardHandler), said, func() { exited = time.Since(began) })
				for when, reason := range c.ends {
					time.AfterFunc(when, func() { l.end(reason) })
				}
				time.Sleep(c.closes)
				if stopped := l.ctx.Err() != nil; stopped != (c.ends != nil) {
					t.Errorf("stopped: %t", stopped)
				}
				l.close()
				if exited != c.exited {
					t.Errorf("ended by force after %v instead of %v", exited, c.exited)
				}
				if text := said.String(); c.exited != 0 && (!strings.Contains(text, "a defect") || !strings.Contains(text, "TestLifetimeBoundsClosing")) {
					t.Errorf("told\n%s", text)
				}
			})
		})
	}
}

// stuck is where nothing can be written, as on the disk that failed.
type stuck struct{ until <-chan struct{} }

func (s stuck) Write([]byte) (int, error) {
	<-s.until
	return 0, io.ErrClosedPipe
}

// TestLifetimeEndsUntold: that nobody takes what is to be told keeps no process.
func TestLifetimeEndsUntold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		began := time.Now()
		var exited time.Duration
		l := newLifetime(t.Context(), slog.New(slog.NewTextHandler(stuck{free}, nil)), stuck{free}, func() { exited = time.Since(began) })
		l.end(&fatalError{errors.New("a disk that never answers")})
		time.Sleep(time.Hour)
		close(free)
		l.close()
		if want := fatalCloseTime + fatalTellTime; exited != want {
			t.Errorf("ended after %v instead of %v", exited, want)
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	barWidth = 30
	// barEvery is the least time between two drawings.
	barEvery = 100 * time.Millisecond
)

// bar is a progress bar on a terminal; elsewhere it draws nothing. Any goroutine.
type bar struct {
	w     io.Writer // nil draws nothing
	what  string
	began time.Time

	mu    sync.Mutex
	drawn time.Time
	over  bool
}

// newBar begins a bar on w if somebody looks at it.
func newBar(w io.Writer, what string) *bar {
	if f, ok := w.(*os.File); !ok || !terminal(f) {
		w = nil
	}
	return &bar{w: w, what: what, began: time.Now()}
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// set draws how far it is, from 0 to 1, with a note of what is done.
func (b *bar) set(done float64, note string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.w == nil || b.over || now.Sub(b.drawn) < barEvery {
		return
	}
	b.drawn = now
	fmt.Fprintf(b.w, "\r\033[K%s", barLine(b.what, done, note, now.Sub(b.began)))
}

// end wipes the bar.
func (b *bar) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.w != nil && !b.over && !b.drawn.IsZero() {
		fmt.Fprint(b.w, "\r\033[K")
	}
	b.over = true
}

// barLine is one drawing; took is the time since the beginning.
func barLine(what string, done float64, note string, took time.Duration) string {
	done = min(max(done, 0), 1)
	full := int(done * barWidth)
	line := fmt.Sprintf("%s [%s%s] %3.0f%%  %s", what, strings.Repeat("#", full), strings.Repeat("-", barWidth-full), 100*done, note)
	if done > 0.02 && done < 1 && took > time.Second {
		line += fmt.Sprintf("  %v left", time.Duration(float64(took)*(1-done)/done).Round(time.Second))
	}
	return line
}

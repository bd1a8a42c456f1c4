// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package host

import "time"

// Stopwatch measures pieces of work. The zero Stopwatch is ready; it belongs to one goroutine.
type Stopwatch struct {
	runs  int
	began time.Time
}

// Reset lets Pieces begin at 0.
func (w *Stopwatch) Reset() { w.runs = 0 }

// Pieces counts those begun since Reset.
func (w *Stopwatch) Pieces() int { return w.runs }

// Start begins a piece.
func (w *Stopwatch) Start() {
	w.runs++
	w.began = time.Now()
}

// Stop ends the piece and tells how long it took.
func (w *Stopwatch) Stop() time.Duration { return time.Since(w.began) }

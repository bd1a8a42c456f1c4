// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package host

import "time"

// Stopwatch measures pieces of work. The zero Stopwatch is ready; it belongs to one goroutine.
type Stopwatch struct{ began time.Time }

// Reset does nothing here.
func (*Stopwatch) Reset() {}

// Start begins a piece.
func (w *Stopwatch) Start() { w.began = time.Now() }

// Stop ends the piece and tells how long it took.
func (w *Stopwatch) Stop() time.Duration { return time.Since(w.began) }

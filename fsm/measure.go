// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// stopwatched is a frozen state that measures what it costs the writer.
type stopwatched interface {
	Measure(watch store.Stopwatch)
	Held() int64
}

func (f *frozenKeyspace) Measure(watch store.Stopwatch) { f.view.Measure(watch) }
func (f *frozenKeyspace) Held() int64                   { return f.view.Held() }

// Measure sets a stopwatch for what the view makes the applying goroutine do. The machine makes nothing of what it
// tells. On the applying goroutine, before the next Apply.
func (v *View) Measure(watch store.Stopwatch) {
	if f, ok := v.frozen.(stopwatched); ok {
		f.Measure(watch)
	}
}

// Held is what the stopwatch told, in all, while the view held up the applying goroutine, which may call it.
func (v *View) Held() int64 {
	if f, ok := v.frozen.(stopwatched); ok {
		return f.Held()
	}
	return 0
}

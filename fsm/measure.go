// SPDX-License-Identifier: Apache-2.0

package fsm

// stopwatched is a frozen state that measures what it costs the writer.
type stopwatched interface {
	Measure(watch func() int64)
	Held() int64
}

func (f *frozenKeyspace) Measure(watch func() int64) { f.view.Measure(watch) }
func (f *frozenKeyspace) Held() int64                { return f.view.Held() }

// Measure sets a stopwatch, in any unit, that measures for how long the view holds up the applying goroutine. The
// machine makes nothing of what it shows. On the applying goroutine, before the next Apply.
func (v *View) Measure(watch func() int64) {
	if f, ok := v.frozen.(stopwatched); ok {
		f.Measure(watch)
	}
}

// Held is what the stopwatch showed, in all, while the view held up the applying goroutine, which may call it.
func (v *View) Held() int64 {
	if f, ok := v.frozen.(stopwatched); ok {
		return f.Held()
	}
	return 0
}

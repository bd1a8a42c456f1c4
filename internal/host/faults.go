// SPDX-License-Identifier: Apache-2.0

package host

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Hook runs when an armed fault point is reached, on the goroutine that reached it. It may sleep,
// crash the node through a World, or return an error that the point's owner must treat as a
// failure of the step it was about to take.
type Hook func(point string) error

// Faults is a table of armed fault points. The zero value is an empty table ready for use. Arming
// may race with points being reached: a point sees the table either before or after.
type Faults struct {
	mu    sync.Mutex                        // serialises writers of armed
	armed atomic.Pointer[map[string]*armed] // never mutated once stored
}

type armed struct {
	hook Hook
	hits atomic.Uint64
}

// Arm makes every later reach of the point run hook, replacing an earlier one.
func (f *Faults) Arm(point string, hook Hook) {
	f.edit(func(m map[string]*armed) { m[point] = &armed{hook: hook} })
}

// ArmOnce fails the next reach of the point with err and lets all later ones pass.
func (f *Faults) ArmOnce(point string, err error) {
	var used atomic.Bool
	f.Arm(point, func(string) error {
		if used.Swap(true) {
			return nil
		}
		return err
	})
}

// Disarm removes the hook of a point, if there is one.
func (f *Faults) Disarm(point string) {
	f.edit(func(m map[string]*armed) { delete(m, point) })
}

// Hits tells how often the point was reached since it was armed, 0 when it is not armed.
func (f *Faults) Hits(point string) uint64 {
	if m := f.armed.Load(); m != nil {
		if a := (*m)[point]; a != nil {
			return a.hits.Load()
		}
	}
	return 0
}

func (f *Faults) edit(change func(map[string]*armed)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := make(map[string]*armed)
	if old := f.armed.Load(); old != nil {
		maps.Copy(next, *old)
	}
	change(next)
	f.armed.Store(&next)
}

// Point marks a named place where a test may inject a fault: nil unless the point is armed. No
// lock is held while a hook runs.
func (h *Host) Point(name string) error {
	if h.Faults == nil {
		return nil
	}
	m := h.Faults.armed.Load()
	if m == nil {
		return nil
	}
	a := (*m)[name]
	if a == nil {
		return nil
	}
	a.hits.Add(1)
	return a.hook(name)
}

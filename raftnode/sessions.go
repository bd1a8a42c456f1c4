// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"slices"
	"sync"
	"time"
)

const (
	// sessionSilence is how long a session must be silent before its leader closes it.
	sessionSilence = 10 * time.Minute
	// sessionSweep is how often the leader looks.
	sessionSweep = time.Minute
)

// sessionWatch remembers when each session was last heard, by the leader's monotonic time. It is not
// replicated: a new leader starts counting afresh, which only lets sessions live longer. Closing
// itself is an entry, so all replicas forget a session at the same place of the log.
type sessionWatch struct {
	mu struct {
		sync.Mutex
		heard map[uint64]time.Time
		swept time.Time
	}
}

func (w *sessionWatch) heard(session uint64) {
	if session == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.heard != nil {
		w.mu.heard[session] = monotonic()
	}
}

// reset begins a leadership.
func (w *sessionWatch) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.heard = make(map[uint64]time.Time)
	w.mu.swept = monotonic()
}

// silent returns up to maxCloses of the machine's sessions that were silent for too long, at most
// once per sessionSweep. open lists the machine's sessions.
func (w *sessionWatch) silent(open func() []uint64) []uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := monotonic()
	if w.mu.heard == nil || now.Sub(w.mu.swept) < sessionSweep {
		return nil
	}
	w.mu.swept = now
	known := make(map[uint64]time.Time)
	var out []uint64
	for _, id := range open() {
		last, ok := w.mu.heard[id]
		if !ok {
			last = now
		}
		if now.Sub(last) >= sessionSilence && len(out) < maxCloses {
			out = append(out, id)
			continue
		}
		known[id] = last
	}
	// A session opened by an entry that is still on its way is not listed yet: keep its time.
	for id, last := range w.mu.heard {
		if _, ok := known[id]; !ok && now.Sub(last) < sessionSilence {
			known[id] = last
		}
	}
	w.mu.heard = known
	return out
}

// unheard drops from ids the sessions that were heard since silent named them.
func (w *sessionWatch) unheard(ids []uint64) []uint64 {
	if len(ids) == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(ids, func(id uint64) bool {
		_, ok := w.mu.heard[id]
		return ok
	})
}

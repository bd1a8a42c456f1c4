// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Why a script was ended. Its effects are dropped.
var (
	// ErrTime: it ran longer than it may.
	ErrTime = errors.New("ERR script exceeded its time limit and was ended: nothing was applied")
	// ErrMemory: it took more memory than it may.
	ErrMemory = errors.New("ERR script exceeded its memory limit and was ended: nothing was applied")
	// ErrKilled: SCRIPT KILL.
	ErrKilled = errors.New("ERR script was killed by SCRIPT KILL: nothing was applied")
	// ErrDefect: the engine itself failed, and what the script did may be half done.
	ErrDefect = errors.New("ERR script failed by a defect of the engine and was ended: nothing was applied")
	// ErrGone: whoever asked is gone.
	ErrGone = errors.New("ERR script was ended: nobody waits for it")
)

// Stop ends a run from another goroutine.
type Stop struct{ killed atomic.Bool }

// Kill ends the run soon.
func (s *Stop) Kill() { s.killed.Store(true) }

// meter is the context that a script runs under: the interpreter asks for Done at every instruction, and what is written in
// Go tells it what it does. It belongs to the run's goroutine.
type meter struct {
	ctx    context.Context
	stop   *Stop
	until  time.Duration
	began  time.Time
	ledger *ledger

	// steps counts instructions and what is worth one, due is the step of the next look, weight what an instruction
	// counts: more when there are values so large that a single one may take long.
	steps, due, weight int64
	// taken is what the script may have taken of the heap since the last look at it, total since it was found within
	// its limit, all since it began. base is the lowest size of the heap since then, without much of the garbage.
	taken, total, all int64
	base              int64

	end  error
	over chan struct{} // closed
}

// ledger has what each run of an engine may have taken, so that none answers for another.
type ledger struct {
	mu    sync.Mutex
	taken map[*meter]int64
}

// note keeps what a run has taken, at most maxHeap, and gives what all others have.
func (g *ledger) note(m *meter, n int64) (others int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.taken == nil {
		g.taken = make(map[*meter]int64)
	}
	g.taken[m] = min(n, maxHeap)
	for other, n := range g.taken {
		if other != m {
			others += n
		}
	}
	return others
}

func (g *ledger) forget(m *meter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.taken, m)
}

func newMeter(ctx context.Context, g *ledger, stop *Stop, until time.Duration) *meter {
	m := &meter{ctx: ctx, ledger: g, stop: stop, until: until, over: make(chan struct{}), due: lookEvery, weight: 1}
	m.began = time.Now() //nolint:forbidigo // the start of a duration
	close(m.over)
	m.base = min(heapBytes(heapObjects), heapBytes(heapLive)+maxHeap/2) // most of the rest is garbage
	return m
}

// Deadline implements context.Context.
func (m *meter) Deadline() (time.Time, bool) { return time.Time{}, false }

// Err implements context.Context.
func (m *meter) Err() error { return m.end }

// Value implements context.Context.
func (m *meter) Value(any) any { return nil }

// Done counts an instruction. It is nil, which never comes, until the script is to end.
func (m *meter) Done() <-chan struct{} {
	m.taken += stepBytes
	if m.steps += m.weight; m.steps >= m.due {
		m.look()
	}
	if m.end != nil {
		return m.over
	}
	return nil
}

// work notes that one step looks at n bytes.
func (m *meter) work(n int) {
	if m.steps += 1 + int64(n)>>6; m.steps >= m.due {
		m.look()
	}
}

// charge notes n bytes that one step takes.
func (m *meter) charge(n int) {
	m.taken += int64(n)
	m.work(n)
}

// large notes that there is a value of n bytes: an instruction may walk over all of it.
func (m *meter) large(n int) { m.weight = max(m.weight, 1+int64(n)>>17) }

// look looks at the clock, and now and then at the heap.
func (m *meter) look() {
	m.due = m.steps + lookEvery
	if m.taken >= heapEvery {
		m.weigh()
	}
	switch {
	case m.end != nil:
	case time.Since(m.began) > m.until:
		m.end = ErrTime
	case m.stop != nil && m.stop.killed.Load():
		m.end = ErrKilled
	case m.ctx.Err() != nil:
		m.end = ErrGone
	}
}

// weigh looks at the heap. It is the process', so a script is only suspected when it may have taken a good part of what it
// may, other scripts may have the rest of theirs, and it is only ended when the garbage is gone and the heap is still as
// large. Garbage is collected for that when it was not for a while; a script that makes much meanwhile waits.
func (m *meter) weigh() {
	m.total += m.taken
	m.all += m.taken
	m.taken = 0
	most := m.ledger.note(m, m.all) + maxHeap
	heap := heapBytes(heapObjects)
	m.base = min(m.base, heap)
	if m.total < maxHeap/doubt || heap-m.base < most {
		return
	}
	var s debug.GCStats
	debug.ReadGCStats(&s)
	rest := collectEvery - time.Since(s.LastGC)
	switch much := heap-m.base >= most+most/4; {
	case heapBytes(heapLive)-m.base >= 2*most: // more than what others may have held who ended since
		m.end = firstError(m.end, ErrMemory)
		return
	case rest > 0 && !much:
		return
	case rest > 0:
		m.wait(min(rest, collectEvery))
	}
	runtime.GC()
	if heapBytes(heapLive)-m.base >= most {
		m.end = firstError(m.end, ErrMemory)
	}
	m.total = 0
}

// wait holds the script up.
func (m *meter) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.ctx.Done():
	}
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// What there is on the heap, and what of it the last collection found in use.
const (
	heapObjects = "/memory/classes/heap/objects:bytes"
	heapLive    = "/gc/heap/live:bytes"
)

func heapBytes(name string) int64 {
	s := [1]metrics.Sample{{Name: name}}
	metrics.Read(s[:])
	return int64(s[0].Value.Uint64())
}

// spend is asked before one step takes n bytes, and raises when the script is to end.
func (r *run) spend(l *lua.LState, n int) {
	r.meter.charge(n)
	r.stopped(l)
}

// work is spend of a step that only looks at n bytes.
func (r *run) work(l *lua.LState, n int) {
	r.meter.work(n)
	r.stopped(l)
}

// stopped raises when the script is to end.
func (r *run) stopped(l *lua.LState) {
	if r.meter.end != nil {
		r.raise(l, "%s", r.meter.end)
	}
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	// collectEvery is the least that is allocated between two cycles of the garbage collector, in bytes. It keeps
	// them rare while the heap is small.
	collectEvery = 12 << 20
	// dataShare: nor do cycles come before garbage is one part in so many of the data, which the collector does
	// not know of.
	dataShare = 48
	// goMinimum is Go's least heap goal at GOGC=100.
	goMinimum = 4 << 20
	mostGOGC  = collectEvery * 100 / goMinimum
)

// paceCollector lets the garbage collector run when as much was allocated as it would have to look through,
// and at least collectEvery and dataShare. What holds no pointers, such as the log's tail, is not looked through, so it does
// not earn itself as much garbage again. data tells how many bytes lie outside of the heap. Whoever sets GOGC or GOMEMLIMIT is obeyed instead. stop ends it.
func paceCollector(getenv func(string) string, data func() int64) (stop func()) {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	p := &collectorPace{data: data, samples: []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}}
	before := debug.SetGCPercent(mostGOGC)
	p.percent = mostGOGC
	p.next()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.stopped = true
		debug.SetGCPercent(before)
	}
}

// collectorPace is driven by the goroutine that runs finalizers. mu orders it and the end.
type collectorPace struct {
	mu      sync.Mutex
	data    func() int64
	samples []metrics.Sample
	percent int
	stopped bool
}

// cycleEnd is garbage at once: its finalizer runs behind each cycle.
type cycleEnd struct{ p *collectorPace }

func (p *collectorPace) next() { runtime.SetFinalizer(&cycleEnd{p}, (*cycleEnd).run) }

func (c *cycleEnd) run() {
	p := c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return
	}
	metrics.Read(p.samples)
	size := func(i int) uint64 { return p.samples[i].Value.Uint64() }
	live, roots := size(0), size(2)+size(3)
	percent := gcPercent(live, roots, size(1)+roots, uint64(p.data()))
	// Setting it stops the world for some microseconds: small changes are not worth that.
	if d := percent - p.percent; d*20 > p.percent || -d*20 > p.percent {
		p.percent = percent
		debug.SetGCPercent(percent)
	}
	p.next()
}

// gcPercent is the GOGC with which the next cycle begins the largest of scan, collectEvery and a part of data above
// live, where Go counts the roots as if they were live too.
func gcPercent(live, roots, scan, data uint64) int {
	headroom := max(scan, collectEvery, data/dataShare)
	return int(min(max(headroom*100/max(live+roots, 1), 1), mostGOGC))
}

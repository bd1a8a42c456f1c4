// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sort"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// histogram of microseconds, up to a minute, three digits.
	histMax    = 60_000_000
	histDigits = 3
	// wake is how long behind a theft writes do not count: as long as a machine with a third of its time to spare takes
	// to do what was left lying for half of that.
	wake = 250 * time.Millisecond
	// maxLost is the part of a phase's writes that may not count.
	maxLost = 0.5
)

// phase is the latencies of the writes of a phase: of all, and of those that count. A write does not while it is due
// within a theft or less than wake behind it, or is answered within one: the hypervisor had the processors, and what the
// node would have done tells nothing.
type phase struct {
	all, counted *hdrhistogram.Histogram
	thefts       []theft // in order of time
}

func newPhase(thefts []theft) *phase {
	return &phase{all: hdrhistogram.New(1, histMax, histDigits), counted: hdrhistogram.New(1, histMax, histDigits), thefts: thefts}
}

func (p *phase) add(w write) {
	us := min(max(w.late.Microseconds(), 1), histMax)
	_ = p.all.RecordValue(us) // within the histogram's range
	next := sort.Search(len(p.thefts), func(i int) bool { return w.due < p.thefts[i].to+wake })
	if next < len(p.thefts) && w.due+w.late >= p.thefts[next].from {
		return
	}
	_ = p.counted.RecordValue(us)
}

// p999 is that of the writes that count.
func (p *phase) p999() time.Duration { return p999(p.counted) }

func p999(h *hdrhistogram.Histogram) time.Duration {
	return time.Duration(h.ValueAtQuantile(99.9)) * time.Microsecond
}

// lost is the part of the writes that do not count.
func (p *phase) lost() float64 {
	return 1 - float64(p.counted.TotalCount())/float64(max(1, p.all.TotalCount()))
}

func (p *phase) report(name string) {
	ms := func(v int64) float64 { return float64(v) / 1000 }
	fmt.Printf("%-6s %9d writes   p50 %8.3f ms   p99 %8.3f ms   p99.9 %8.3f ms   max %8.3f ms\n", name, p.all.TotalCount(),
		ms(p.all.ValueAtQuantile(50)), ms(p.all.ValueAtQuantile(99)), ms(p.all.ValueAtQuantile(99.9)), ms(p.all.Max()))
	if len(p.thefts) > 0 {
		fmt.Printf("  without the %.1f %% that met with one of %d thefts of the machine:  p99 %8.3f ms   p99.9 %8.3f ms   max %8.3f ms\n",
			100*p.lost(), len(p.thefts), ms(p.counted.ValueAtQuantile(99)), ms(p.counted.ValueAtQuantile(99.9)), ms(p.counted.Max()))
	}
}

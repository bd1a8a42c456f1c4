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
	// maxLost is the part of a phase's writes that may not count, lest the phase does not.
	maxLost = 0.5
)

// phase is the latencies of the writes of a phase: of all, and of those that count. A write does not while it is due
// within a theft or less than wake behind it, or is answered within one: the hypervisor had the processors, and what the
// node would have done tells nothing.
type phase struct {
	began        time.Time
	all, counted *hdrhistogram.Histogram
	thefts       []theft // in order of time
	robbed       int     // number of thefts, of all that were joined
}

func newPhase(began time.Time, thefts []theft) *phase {
	return &phase{began: began, all: hdrhistogram.New(1, histMax, histDigits), counted: hdrhistogram.New(1, histMax, histDigits), thefts: thefts, robbed: len(thefts)}
}

// joined has the latencies of all.
func joined(all []*phase) *phase {
	j := newPhase(time.Time{}, nil)
	for _, p := range all {
		j.all.Merge(p.all)
		j.counted.Merge(p.counted)
		j.robbed += p.robbed
	}
	return j
}

func (p *phase) add(w write) {
	us := min(max(w.late.Microseconds(), 1), histMax)
	_ = p.all.RecordValue(us) // within the histogram's range
	if !p.met(w.due, w.due+w.late) {
		_ = p.counted.RecordValue(us)
	}
}

// met tells whether what went on meanwhile met with a theft.
func (p *phase) met(from, to time.Duration) bool {
	next := sort.Search(len(p.thefts), func(i int) bool { return from < p.thefts[i].to+wake })
	return next < len(p.thefts) && to >= p.thefts[next].from
}

// stolen is met by the clock.
func (p *phase) stolen(from, to time.Time) bool { return p.met(from.Sub(p.began), to.Sub(p.began)) }

// p999 is that of the writes that count.
func (p *phase) p999() time.Duration {
	return time.Duration(p.counted.ValueAtQuantile(99.9)) * time.Microsecond
}

// lost is the part of the writes that do not count.
func (p *phase) lost() float64 {
	return 1 - float64(p.counted.TotalCount())/float64(max(1, p.all.TotalCount()))
}

// String is p99.9 in a line.
func (p *phase) String() string {
	return fmt.Sprintf("p99.9 %8.3f ms, of the %3.0f %% that count %8.3f ms", ms(p.all.ValueAtQuantile(99.9)), 100*(1-p.lost()), ms(p.counted.ValueAtQuantile(99.9)))
}

func (p *phase) report(name string) {
	fmt.Printf("%-7s %9d writes   p50 %8.3f ms   p99 %8.3f ms   p99.9 %8.3f ms   max %8.3f ms\n", name, p.all.TotalCount(),
		ms(p.all.ValueAtQuantile(50)), ms(p.all.ValueAtQuantile(99)), ms(p.all.ValueAtQuantile(99.9)), ms(p.all.Max()))
	if p.robbed > 0 {
		fmt.Printf("  without the %.1f %% that met with one of %d thefts of the machine:  p99 %8.3f ms   p99.9 %8.3f ms   max %8.3f ms\n",
			100*p.lost(), p.robbed, ms(p.counted.ValueAtQuantile(99)), ms(p.counted.ValueAtQuantile(99.9)), ms(p.counted.Max()))
	}
}

func ms(us int64) float64 { return float64(us) / 1000 }

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		live, roots, scan, data uint64
		want                    int
	}{
		{0, 0, 0, 0, mostGOGC},
		{3 << 20, 2 << 20, 3 << 20, 16 << 20, 240},
		{15 << 20, 1 << 20, 8 << 20, 768 << 20, 100},
		{15 << 20, 1 << 20, 12 << 20, 512 << 20, 75},
		{63 << 20, 1 << 20, 4 << 20, 0, 18}, // a tail of 60 MiB without pointers
		{63 << 20, 1 << 20, 4 << 20, 3 << 30, 100},
		{127 << 20, 1 << 20, 128 << 20, 0, 100}, // all of it has pointers: Go's own rule
		{1 << 40, 0, 0, 0, 1},
	} {
		if got := gcPercent(c.live, c.roots, c.scan, c.data); got != c.want {
			t.Errorf("live %d, roots %d, scan %d, data %d: %d, want %d", c.live, c.roots, c.scan, c.data, got, c.want)
		}
	}
}

// TestPaceCollector: the pace follows a heap without pointers, what the user sets is left alone, and the end
// restores what was.
func TestPaceCollector(t *testing.T) {
	current := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	none := func() int64 { return 0 }
	before := current()
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		stop := paceCollector(func(n string) string { return map[string]string{name: "200"}[n] }, none)
		if got := current(); got != before {
			t.Errorf("with %s GOGC is %d, was %d", name, got, before)
		}
		stop()
	}
	stop := paceCollector(func(string) string { return "" }, none)
	if got := current(); got != mostGOGC {
		t.Errorf("GOGC is %d at first", got)
	}
	tail := make([]byte, 256<<20)
	for i := 0; current() > 20 && i < 1000; i++ {
		runtime.GC()
		runtime.Gosched()
	}
	if got := current(); got > 20 {
		t.Errorf("GOGC is %d over 256 MiB without pointers", got)
	}
	runtime.KeepAlive(tail)
	stop()
	if got := current(); got != before {
		t.Errorf("GOGC is %d in the end, was %d", got, before)
	}
}

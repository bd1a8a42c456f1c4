// SPDX-License-Identifier: Apache-2.0

package store

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

var sizeKeys = flag.Int("size-keys", 1_000_000, "keys of TestBytesPerKey; the promise is for ten million")

// fixedBytes is what a store takes however little it holds, which shows when there are few keys.
const fixedBytes = 12 << 20

// Goal: a key of 16 bytes with a value of 100 costs at most 40 bytes more, while they are set one by one the
// process is never over one and a half times that, and the garbage collector does not see them. Method: resident memory
// before and after, its peak, and the processor time of a forced collection.
func TestBytesPerKey(t *testing.T) {
	if testing.Short() {
		t.Skip("sets millions of keys")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	n := *sizeKeys
	s := New(Config{HashKey: testHashKey, Memory: host.Mapped()})
	debug.FreeOSMemory()
	before := resident(t)
	peak := before
	value := make([]byte, 100)
	for i := range n {
		key := fmt.Appendf(make([]byte, 0, 16), "key:%012d", i)
		s.SetString(SlotOf(key), key, value, Meta{Version: uint64(i + 1)})
		if i%100_000 == 0 {
			peak = max(peak, resident(t))
		}
	}
	after := resident(t)
	peak = max(peak, after)
	if n < 10_000_000 {
		before += fixedBytes
	}
	per, most := float64(after-before)/float64(n), float64(peak-before)/float64(n)
	used := cpuTime(t)
	runtime.GC()
	took := cpuTime(t) - used
	t.Logf("%d keys: %.1f bytes a key over key and value, peak %.1f bytes a key in all, a collection %v of processor time", n, per-116, most, took)
	if per > 116+40+raceBytes || most > 1.5*(116+40+raceBytes) {
		t.Errorf("a key of 116 bytes takes %.1f, at the peak %.1f", per, most)
	}
	if took > 50*time.Millisecond {
		t.Errorf("a forced collection took %v of processor time", took)
	}
	runtime.KeepAlive(s)
}

func resident(t *testing.T) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc/self/statm here")
	}
	var total, pages int64
	if _, err := fmt.Fscan(strings.NewReader(string(data)), &total, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
)

// until calls f again and again until stop is closed.
func until(stop <-chan struct{}, f func()) {
	for {
		select {
		case <-stop:
			return
		default:
			f()
		}
	}
}

// TestReadsBesideApply runs queries, planning and snapshots beside the applying goroutine. The race
// detector watches; besides, a transfer between two keys of one slot is never seen half done, and the
// clock seen never goes back.
func TestReadsBesideApply(t *testing.T) {
	tm := newOwner(t)
	policy, _ := ParsePolicy("allkeys-lru")
	tm.must(Limit(1<<20, policy, 0))
	tm.do("MSET", "{t}a", "1000", "{t}b", "1000", "far1", "0", "far2", "0")
	stop := make(chan struct{})
	var readers sync.WaitGroup
	reader := func(f func()) { readers.Go(func() { until(stop, f) }) }
	for range 2 {
		reader(func() {
			out := make([]Result, 2)
			tm.m.Query([]Command{{Op: OpMGet, Args: bytesOf("{t}a", "{t}b")}, {Op: OpMGet, Args: bytesOf("far2", "far1")}}, out, testClock*2, nil)
			a, _ := parseInt(out[0].Elems[0].Str)
			b, _ := parseInt(out[0].Elems[1].Str)
			if a+b != 2000 {
				t.Errorf("%d + %d", a, b)
			}
			if !bytes.Equal(out[1].Elems[0].Str, out[1].Elems[1].Str) {
				t.Errorf("MSET over slots was seen half done: %s", show(out[1]))
			}
		})
	}
	reader(func() {
		out := make([]Result, 3)
		tm.m.Query([]Command{{Op: OpScan, Args: bytesOf("0", "COUNT", "50")}, {Op: OpDBSize}, {Op: OpKVStats}}, out, testClock, nil)
		tm.m.PlanEvictions(1 << 20)
		tm.m.Sessions()
		if at := tm.m.Clock(); at > tm.m.Clock() {
			t.Error("the clock went back")
		}
		_, _ = tm.m.Applied()
		tm.m.NextDeadline()
	})
	written := make(chan struct{}, 1) // holds one while no view is open
	written <- struct{}{}
	for i := range 300 {
		tm.clock += 10
		n := fmt.Sprint(i)
		tm.do("MSET", "{t}a", fmt.Sprint(1000-i), "{t}b", fmt.Sprint(1000+i))
		tm.do("MSET", "far1", n, "far2", n)
		tm.do("SET", "x"+n, n, "PX", "50")
		tm.open()
		if i%50 != 0 {
			continue
		}
		<-written
		v, err := tm.m.View()
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			_ = writeView(t, v)
			written <- struct{}{}
		})
		tm.must(Own(1, []uint16{1, 2}))
	}
	close(stop)
	readers.Wait()
}

// SPDX-License-Identifier: Apache-2.0

package logstoretest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
	"pgregory.net/rapid"
)

// policies are the ways to crash: a power cut that loses the cache, two in the middle of writing it
// back, one right after, and the death of the process alone.
func policies() []host.CrashPolicy {
	return []host.CrashPolicy{{}, {Survive: 0.3}, {Survive: 0.7}, {Survive: 1}, {ProcessOnly: true}}
}

// op is one call of a script. It tells the model the call would make, and whether it returned
// without error.
type op struct {
	name string
	run  func(b *bench) (after *model, err error)
}

func opAppend(n, size int, start uint64) op {
	return op{fmt.Sprintf("append %d of %d bytes", n, size), func(b *bench) (*model, error) {
		logs := b.m.batch(n, size, start)
		after := b.m.clone()
		after.store(logs)
		return after, b.s.StoreLogs(logs)
	}}
}

// opDelete deletes from first+lo to last-hi.
func opDelete(lo, hi uint64) op {
	return op{fmt.Sprintf("delete +%d..-%d", lo, hi), func(b *bench) (*model, error) {
		from, to := b.m.first+lo, b.m.last-hi
		after := b.m.clone()
		after.delete(from, to)
		return after, b.s.DeleteRange(from, to)
	}}
}

func opOpen() op {
	return op{"open", func(b *bench) (*model, error) {
		s, err := b.sub.Open()
		if err == nil {
			b.s = s
		}
		return b.m, err
	}}
}

func opReopen() op {
	return op{"reopen", func(b *bench) (*model, error) {
		if err := b.sub.Close(b.s); err != nil {
			return b.m, err
		}
		return opOpen().run(b)
	}}
}

// script meets every kind of change of a segmented log; the caller's segments should be of a few
// KiB, so that it closes some.
func script() []op {
	return []op{
		opAppend(3, 100, 1), opAppend(1, 0, 1), opAppend(5, 900, 1), // fills a segment
		opAppend(2, 300, 1), opDelete(7, 0), opAppend(2, 200, 1), // cuts a suffix, goes on
		opReopen(), opAppend(4, 700, 1), opDelete(0, 4), // cuts a prefix over segments
		opAppend(2, 4000, 1), opDelete(1, 0), opAppend(1, 50, 1),
		opDelete(0, 0), opAppend(3, 100, 1000), // everything goes, far index comes
		opReopen(), opDelete(1, 0), opAppend(3, 1500, 1), opAppend(1, 10, 1),
	}
}

// CrashEveryStep runs a fixed script once for each step that its calls take on the disk, the making of
// the log included, and crashes at that step; then the same with a second crash at each step of the
// recovery. What the log held is then lost to no power cut, whether the next life appends first or not.
func CrashEveryStep(t *testing.T, fresh Fresh) {
	for _, policy := range policies() {
		for _, first := range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v/append=%v", policy, first), func(t *testing.T) {
				for at := int64(1); ; at++ {
					if !crashAt(t, fresh, at, policy, first) {
						t.Logf("%d steps", at-1)
						return
					}
				}
			})
		}
	}
}

// crashAt is false when the script ended before the step.
func crashAt(t *testing.T, fresh Fresh, at int64, policy host.CrashPolicy, first bool) bool {
	t.Helper()
	b := &bench{sub: fresh(t), m: newModel()}
	if b.sub.Disk == nil {
		t.Skip("the store's disk cannot crash")
	}
	crashed := arm(b.sub.Disk, at, policy)
	may := []*model{b.m}
	where := ""
	for _, o := range append([]op{opOpen()}, script()...) {
		if may, where = b.play(t, o, crashed), o.name; crashed.Load() {
			break
		}
	}
	if !crashed.disarm(b.sub.Disk) {
		b.close(t)
		return false
	}
	name := fmt.Sprintf("step %d, in %q", at, where)
	for again := int64(1); ; again++ {
		crashed := arm(b.sub.Disk, again, policy)
		s, err := b.sub.Open()
		if !crashed.disarm(b.sub.Disk) {
			if err != nil {
				t.Fatalf("%s: open after the crash: %v", name, err)
			}
			b.s = s
			break
		}
	}
	recovered(t, b, may, name, first)
	return true
}

// play runs one call and returns what the log may hold if a crash came: what an acknowledged call
// made, else that or what was there before.
func (b *bench) play(t fataler, o op, crashed *armed) (may []*model) {
	t.Helper()
	after, err := o.run(b)
	switch {
	case err == nil:
		b.m = after
	case crashed.Load():
		return []*model{b.m, after}
	default:
		t.Fatalf("%s: %v", o.name, err)
	}
	return []*model{b.m}
}

// armed is a crash that is to come, or came.
type armed struct {
	*atomic.Bool // that it came
	mu           sync.Mutex
	left         int64 // steps, 0 when it came or was called off
}

// arm crashes the disk at the step-th step from now, before it is taken. Steps may be taken by
// several goroutines.
func arm(disk *host.MemFS, step int64, policy host.CrashPolicy) *armed {
	a := &armed{Bool: new(atomic.Bool), left: step}
	disk.OnStep(func(string, string) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.left == 0 {
			return nil
		}
		if a.left--; a.left == 0 {
			a.Store(true)
			disk.Crash(policy)
		}
		return nil
	})
	return a
}

// disarm calls it off unless it came, which it tells. A goroutine that was about to take a step takes it unharmed.
func (a *armed) disarm(disk *host.MemFS) (crashed bool) {
	disk.OnStep(nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = 0
	return a.Load()
}

// recovered checks that an opened store holds one of the models, keeps holding it through a power
// cut, and works on; with first it works before the cut too.
func recovered(t fataler, b *bench, may []*model, name string, first bool) {
	t.Helper()
	var errs []error
	b.m = nil
	for _, m := range may {
		err := m.diff(b.s)
		if err == nil {
			b.m = m
			break
		}
		errs = append(errs, err)
	}
	if b.m == nil {
		t.Fatalf("%s: the store holds neither the log before nor the one after: %v", name, errs)
	}
	if first {
		b.append(t, 2, 100, 1)
	}
	b.sub.Disk.Crash(host.CrashPolicy{})
	b.open(t)
	if err := b.m.diff(b.s); err != nil {
		t.Fatalf("%s: what was read after the crash is gone after the next: %v", name, err)
	}
	b.append(t, 2, 100, 1)
	b.append(t, 1, 5000, 1)
	b.delete(t, 0, b.m.first)
	b.settle(t)
	b.close(t)
}

// CrashRandom plays any sequence of calls with a crash at any step, over and over on one log.
func CrashRandom(t *testing.T, fresh Fresh) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t, fresh)
		if b.sub.Disk == nil {
			t.Skip("the store's disk cannot crash")
		}
		for range rapid.IntRange(1, 6).Draw(rt, "crashes") {
			crashRound(rt, b)
		}
		b.close(rt)
	})
}

func crashRound(t *rapid.T, b *bench) {
	policy := rapid.SampledFrom(policies()).Draw(t, "policy")
	crashed := arm(b.sub.Disk, rapid.Int64Range(1, 60).Draw(t, "step"), policy)
	may, where := []*model{b.m}, "idle"
	for !crashed.Load() && b.m.made < 3000 {
		o := drawOp(t, b)
		may, where = b.play(t, o, crashed), o.name
	}
	if !crashed.disarm(b.sub.Disk) {
		b.sub.Disk.Crash(policy)
	}
	b.open(t)
	recovered(t, b, may, where, rapid.Bool().Draw(t, "append first"))
	b.open(t)
}

func drawOp(t *rapid.T, b *bench) op {
	switch k := rapid.IntRange(0, 9).Draw(t, "op"); {
	case k < 6 || b.m.last == 0:
		return opAppend(rapid.IntRange(1, 8).Draw(t, "n"), rapid.IntRange(0, 2500).Draw(t, "size"), rapid.Uint64Range(1, 300).Draw(t, "start"))
	case k == 6:
		return opReopen()
	case k == 7:
		return opDelete(rapid.Uint64Range(0, b.m.last-b.m.first).Draw(t, "from"), 0)
	default:
		return opDelete(0, rapid.Uint64Range(0, b.m.last-b.m.first).Draw(t, "keep"))
	}
}

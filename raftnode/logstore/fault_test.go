// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
	"pgregory.net/rapid"
)

// rig is a wal on an in-memory disk, with the entries it must hold.
type rig struct {
	disk        *host.MemFS
	s           logstore.Store
	fatals      *atomic.Int64 // of s
	first, next uint64
	after       [2]uint64 // first and next if the call under way takes effect
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{disk: host.NewMemFS(1), first: 1, next: 1}
	if err := r.open(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) open() (err error) {
	fatals := new(atomic.Int64)
	r.fatals = fatals
	r.s, err = logstore.OpenWAL(r.disk.FS(), "/log", logstore.Options{
		SegmentBytes: smallSegments, TailBytes: 500,
		Fatal: func(error) { fatals.Add(1) },
	})
	return err
}

func (r *rig) entry(i uint64) []byte {
	return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 100+int(i%300))
}

// append stores n entries and counts them only when that succeeds.
func (r *rig) append(n int) error {
	logs := make([]*raft.Log, n)
	for i := range logs {
		logs[i] = &raft.Log{Index: r.next + uint64(i), Term: 1, Data: r.entry(r.next + uint64(i))}
	}
	r.after = [2]uint64{r.first, r.next + uint64(n)}
	return r.took(r.s.StoreLogs(logs))
}

func (r *rig) deletePrefix(to uint64) error {
	r.after = [2]uint64{to + 1, r.next}
	return r.took(r.s.DeleteRange(r.first, to))
}

func (r *rig) deleteSuffix(from uint64) error {
	r.after = [2]uint64{r.first, from}
	return r.took(r.s.DeleteRange(from, r.next-1))
}

// took counts a call that succeeded.
func (r *rig) took(err error) error {
	if err == nil {
		r.first, r.next = r.after[0], r.after[1]
	}
	return err
}

func (r *rig) check(t fataler) {
	t.Helper()
	first, err1 := r.s.FirstIndex()
	last, err2 := r.s.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatalf("bounds: %v", err)
	}
	if r.first == r.next {
		if first != 0 || last != 0 {
			t.Fatalf("bounds %d..%d of an empty log", first, last)
		}
		return
	}
	if first != r.first || last != r.next-1 {
		t.Fatalf("bounds %d..%d, want %d..%d", first, last, r.first, r.next-1)
	}
	var bytesHeld uint64
	for i := r.first; i < r.next; i++ {
		var l raft.Log
		if err := r.s.GetLog(i, &l); err != nil || l.Index != i || !bytes.Equal(l.Data, r.entry(i)) {
			t.Fatalf("entry %d: index %d, %d bytes, %v", i, l.Index, len(l.Data), err)
		}
		bytesHeld += uint64(len(l.Data))
	}
	if got := r.s.Bytes(); got < bytesHeld || got > bytesHeld+100*(r.next-r.first) {
		t.Fatalf("store tells %d bytes for %d of data", got, bytesHeld)
	}
}

func (r *rig) reopen(t fataler) {
	t.Helper()
	if err := r.s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := r.open(); err != nil {
		t.Fatalf("open: %v", err)
	}
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// stepper counts the disk's steps, which a rotation takes in the background, and remembers some.
type stepper struct {
	mu    sync.Mutex
	taken int
	notes string
}

func (s *stepper) take() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken++
	return s.taken
}

func (s *stepper) note(op, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes += op + " " + name + "; "
}

func (s *stepper) noted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notes
}

// plan is a run of calls that rotates and deletes; each is tried until it succeeds or gives up.
func (r *rig) plan() []func() error {
	return []func() error{
		func() error { return r.append(3) },
		func() error { return r.append(20) }, // seals a segment
		func() error { return r.append(1) },
		func() error { return r.append(30) },
		func() error { return r.deletePrefix(25) },
		func() error { return r.append(2) },
		func() error { return r.deleteSuffix(r.next - 3) },
		func() error { return r.append(4) },
		func() error { return r.append(30) },
		func() error { return r.deletePrefix(r.next - 1) },
		func() error { return r.append(5) },
	}
}

// TestWALIOErrorPoisons fails each disk step of a run with a real I/O error, once. The call either
// is unharmed or poisons the store for good, Fatal is called once, and after a power cut all that
// was acknowledged is there.
func TestWALIOErrorPoisons(t *testing.T) {
	poisoned := 0
	for at := 1; ; at++ {
		r := newRig(t)
		var steps stepper
		r.disk.OnStep(func(op, name string) error {
			if steps.take() != at {
				return nil
			}
			steps.note(op, name)
			if strings.HasPrefix(op, "sync") {
				r.disk.FailNextSync(syscall.EIO) // loses the bytes too
				return nil
			}
			return syscall.EIO
		})
		var failed error
		for _, call := range r.plan() {
			if failed = call(); failed != nil {
				break
			}
		}
		r.disk.OnStep(nil)
		hit := steps.noted()
		if hit == "" {
			if failed != nil {
				t.Fatal(failed)
			}
			break
		}
		if failed == nil {
			failed = r.s.Err() // a rotation in the background
		}
		if failed == nil {
			r.check(t)
			continue
		}
		poisoned++
		r.checkPoisoned(t, fmt.Sprintf("step %d, %s", at, hit), failed)
	}
	if poisoned < 20 {
		t.Errorf("only %d steps poisoned the store", poisoned)
	}
}

// checkPoisoned looks at a poisoned store, and at what is left of it after a power cut.
func (r *rig) checkPoisoned(t *testing.T, when string, failed error) {
	t.Helper()
	after := r.after
	for end := time.Now().Add(10 * time.Second); r.fatals.Load() == 0 && time.Now().Before(end); {
		runtime.Gosched() // a rotation tells of its failure in the background
	}
	if !errors.Is(failed, logstore.ErrPoisoned) || !errors.Is(failed, syscall.EIO) {
		t.Fatalf("%s: %v", when, failed)
	}
	if r.fatals.Load() != 1 {
		t.Fatalf("%s: fatal was called %d times", when, r.fatals.Load())
	}
	var l raft.Log
	_, err1 := r.s.FirstIndex()
	_, err2 := r.s.LastIndex()
	for i, err := range []error{
		r.s.Err(), r.append(1), r.s.DeleteRange(1, 1), r.s.GetLog(r.first, &l), err1, err2, r.s.StoreLogs(nil),
	} {
		if !errors.Is(err, logstore.ErrPoisoned) {
			t.Fatalf("%s: call %d on a poisoned store: %v", when, i, err)
		}
	}
	if r.fatals.Load() != 1 {
		t.Fatalf("%s: fatal was called %d times", when, r.fatals.Load())
	}
	r.disk.Crash(host.CrashPolicy{})
	if err := r.open(); err != nil {
		t.Fatalf("%s: open: %v", when, err)
	}
	if last, _ := r.s.LastIndex(); last+1 == after[1] || after[0] == after[1] && last == 0 {
		r.first, r.next = after[0], after[1] // the failed call took effect
		if first, _ := r.s.FirstIndex(); last != 0 && first < r.first {
			r.first = first // a prefix that it did not delete
		}
	}
	r.check(t)
}

// TestWALFullDiskStep fails each disk step of a run for lack of space until the call has failed,
// then frees space: the call has had no effect, nothing is poisoned, and it succeeds when tried
// again in place.
func TestWALFullDiskStep(t *testing.T) {
	refused := 0
	for at := 1; ; at++ {
		r := newRig(t)
		var steps stepper
		r.disk.OnStep(func(op, name string) error {
			if op == "sync" || op == "syncdir" || op == "truncate" || op == "remove" {
				return nil // need no space, or fail as I/O errors do
			}
			if steps.take() < at {
				return nil
			}
			steps.note(op, name)
			return syscall.ENOSPC
		})
		for i, call := range r.plan() {
			err := call()
			if err == nil {
				continue
			}
			if !errors.Is(err, logstore.ErrNoSpace) || errors.Is(err, logstore.ErrPoisoned) || r.s.Err() != nil {
				t.Fatalf("call %d, after %s: %v, %v", i, steps.noted(), err, r.s.Err())
			}
			refused++
			r.check(t)
			if err := call(); !errors.Is(err, logstore.ErrNoSpace) {
				t.Fatalf("call %d, tried again on the full disk: %v", i, err)
			}
			r.check(t)
			r.disk.OnStep(nil)
			if err := call(); err != nil {
				t.Fatalf("call %d, tried again with space after %s: %v", i, steps.noted(), err)
			}
			r.check(t)
		}
		r.disk.OnStep(nil)
		r.check(t)
		r.reopen(t)
		r.check(t)
		if r.fatals.Load() != 0 {
			t.Fatalf("fatal was called after %s", steps.noted())
		}
		if steps.noted() == "" {
			break
		}
	}
	if refused < 10 {
		t.Errorf("only %d calls were refused", refused)
	}
}

// TestWALFullDiskRandom lets the disk run full at any byte, with crashes in between. Deletions go
// on while it is full, and appends when there is space again.
func TestWALFullDiskRandom(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t)
		full := false
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				err := r.append(rapid.IntRange(1, 20).Draw(t, "n"))
				if err != nil && !(full && errors.Is(err, logstore.ErrNoSpace)) {
					t.Fatalf("append: %v", err)
				}
			},
			"fill": func(t *rapid.T) {
				r.disk.SetQuota(r.disk.Used() + int64(rapid.IntRange(1, 9000).Draw(t, "room")))
				full = true
			},
			"free": func(t *rapid.T) {
				r.disk.SetQuota(0)
				full = false
				if err := r.append(1); err != nil {
					t.Fatalf("append with space: %v", err)
				}
			},
			"prefix": func(t *rapid.T) {
				if r.first == r.next {
					t.Skip()
				}
				if err := r.deletePrefix(rapid.Uint64Range(r.first, r.next-1).Draw(t, "to")); err != nil {
					t.Fatalf("delete: %v", err)
				}
			},
			"suffix": func(t *rapid.T) {
				if r.first == r.next {
					t.Skip()
				}
				if err := r.deleteSuffix(rapid.Uint64Range(r.first, r.next-1).Draw(t, "from")); err != nil {
					t.Fatalf("delete: %v", err)
				}
			},
			"reopen": func(t *rapid.T) { r.reopen(t) },
			"crash": func(t *rapid.T) {
				r.disk.Crash(host.CrashPolicy{Survive: rapid.SampledFrom([]float64{0, 0.5, 1}).Draw(t, "survive")})
				if err := r.open(); err != nil {
					t.Fatalf("open after a crash: %v", err)
				}
			},
			"": func(t *rapid.T) {
				r.check(t)
				if r.fatals.Load() != 0 {
					t.Fatalf("poisoned: %v", r.s.Err())
				}
			},
		})
	})
}

// TestWALNoSpaceFromSyncPoisons: a sync that finds no room may have dropped the bytes.
func TestWALNoSpaceFromSyncPoisons(t *testing.T) {
	r := newRig(t)
	r.disk.FailNextSync(syscall.ENOSPC)
	if err := r.append(1); !errors.Is(err, logstore.ErrPoisoned) || errors.Is(err, logstore.ErrNoSpace) {
		t.Errorf("append: %v", err)
	}
}

func TestWALReadErrorPoisons(t *testing.T) {
	r := newRig(t)
	for range 50 {
		if err := r.append(1); err != nil {
			t.Fatal(err)
		}
	}
	names, err := r.disk.FS().ReadDir("/log")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.disk.Edit("/log/"+names[0], func(b []byte) []byte { b[100] ^= 4; return b }); err != nil {
		t.Fatal(err)
	}
	var l raft.Log
	if err := r.s.GetLog(1, &l); !errors.Is(err, logstore.ErrPoisoned) || r.fatals.Load() != 1 {
		t.Errorf("read of a damaged entry: %v, fatal called %d times", err, r.fatals.Load())
	}
}

// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

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
	if err := r.s.StoreLogs(logs); err != nil {
		return err
	}
	r.next += uint64(n)
	return nil
}

func (r *rig) deletePrefix(to uint64) error {
	if err := r.s.DeleteRange(r.first, to); err != nil {
		return err
	}
	r.first = to + 1
	return nil
}

func (r *rig) deleteSuffix(from uint64) error {
	if err := r.s.DeleteRange(from, r.next-1); err != nil {
		return err
	}
	r.next = from
	return nil
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
		step, hit := 0, ""
		r.disk.OnStep(func(op, name string) error {
			if step++; step != at {
				return nil
			}
			hit = op + " " + name
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
		if !errors.Is(failed, logstore.ErrPoisoned) || !errors.Is(failed, syscall.EIO) {
			t.Fatalf("step %d, %s: %v", at, hit, failed)
		}
		if r.fatals.Load() != 1 {
			t.Fatalf("step %d, %s: fatal was called %d times", at, hit, r.fatals.Load())
		}
		var l raft.Log
		_, err1 := r.s.FirstIndex()
		_, err2 := r.s.LastIndex()
		for i, err := range []error{
			r.s.Err(), r.append(1), r.s.DeleteRange(1, 1), r.s.GetLog(r.first, &l), err1, err2, r.s.StoreLogs(nil),
		} {
			if !errors.Is(err, logstore.ErrPoisoned) {
				t.Fatalf("step %d, %s: call %d on a poisoned store: %v", at, hit, i, err)
			}
		}
		if r.fatals.Load() != 1 {
			t.Fatalf("step %d, %s: fatal was called %d times", at, hit, r.fatals.Load())
		}
		r.disk.Crash(host.CrashPolicy{})
		if err := r.open(); err != nil {
			t.Fatalf("step %d, %s: open: %v", at, hit, err)
		}
		// The failed call may have taken effect.
		first, _ := r.s.FirstIndex()
		last, _ := r.s.LastIndex()
		for i := max(r.first, first); i <= min(r.next-1, last); i++ {
			if err := r.s.GetLog(i, &l); err != nil || !bytes.Equal(l.Data, r.entry(i)) {
				t.Fatalf("step %d, %s: entry %d: %v", at, hit, i, err)
			}
		}
	}
	if poisoned < 20 {
		t.Errorf("only %d steps poisoned the store", poisoned)
	}
}

// TestWALFullDiskStep fails each disk step of a run for lack of space until the call has failed,
// then frees space: the call has had no effect, nothing is poisoned, and it succeeds when tried
// again in place.
func TestWALFullDiskStep(t *testing.T) {
	refused := 0
	for at := 1; ; at++ {
		r := newRig(t)
		step, hit := 0, ""
		r.disk.OnStep(func(op, name string) error {
			if op == "sync" || op == "syncdir" || op == "truncate" || op == "remove" {
				return nil // need no space, or fail as I/O errors do
			}
			if step++; step < at {
				return nil
			}
			hit += op + " " + name + "; "
			return syscall.ENOSPC
		})
		for i, call := range r.plan() {
			err := call()
			if err == nil {
				continue
			}
			if !errors.Is(err, logstore.ErrNoSpace) || errors.Is(err, logstore.ErrPoisoned) || r.s.Err() != nil {
				t.Fatalf("call %d, after %s: %v, %v", i, hit, err, r.s.Err())
			}
			refused++
			r.check(t)
			if err := call(); !errors.Is(err, logstore.ErrNoSpace) {
				t.Fatalf("call %d, tried again on the full disk: %v", i, err)
			}
			r.check(t)
			r.disk.OnStep(nil)
			if err := call(); err != nil {
				t.Fatalf("call %d, tried again with space after %s: %v", i, hit, err)
			}
			r.check(t)
		}
		r.disk.OnStep(nil)
		r.check(t)
		r.reopen(t)
		r.check(t)
		if r.fatals.Load() != 0 {
			t.Fatalf("fatal was called after %s", hit)
		}
		if hit == "" {
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

// TestWALDamage edits the files of a closed log. Whatever took away something acknowledged must be
// refused with advice; the rest must be as it was.
func TestWALDamage(t *testing.T) {
	isSegment := func(name string) bool { return strings.HasSuffix(name, ".wal") }
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 0x10; return b }
	}
	cases := []struct {
		name string
		// pick returns the file of the sorted segments to damage.
		pick   func(segments []string) string
		edit   func([]byte) []byte // nil = remove
		fine   bool
		sealed bool // the last append closed a segment
	}{
		{"entry of the first segment", func(s []string) string { return s[0] }, flip(200), false, false},
		{"frame header of the first segment", func(s []string) string { return s[0] }, flip(32), false, false},
		{"file header of the first segment", func(s []string) string { return s[0] }, flip(9), false, false},
		{"first segment cut", func(s []string) string { return s[0] }, func(b []byte) []byte { return b[:500] }, false, false},
		{"first segment emptied", func(s []string) string { return s[0] }, func([]byte) []byte { return nil }, false, false},
		{"first segment missing", func(s []string) string { return s[0] }, nil, false, false},
		{"entry of the last segment", func(s []string) string { return s[len(s)-1] }, flip(100), false, false},
		{"frame header of the last segment", func(s []string) string { return s[len(s)-1] }, flip(36), false, false},
		{"file header of the last segment", func(s []string) string { return s[len(s)-1] }, flip(1), false, false},
		{"last segment emptied", func(s []string) string { return s[len(s)-1] }, func([]byte) []byte { return nil }, false, false},
		{"last segment zeroed", func(s []string) string { return s[len(s)-1] }, func(b []byte) []byte { clear(b); return b }, false, false},
		{"last segment missing", func(s []string) string { return s[len(s)-1] }, nil, false, false},
		{"list missing", func([]string) string { return "segments" }, nil, false, false},
		{"list cut", func([]string) string { return "segments" }, func(b []byte) []byte { return b[:1000] }, false, false},
		{"list wiped", func([]string) string { return "segments" }, func(b []byte) []byte { clear(b); return b }, false, false},
		{"older slot of the list", func([]string) string { return "segments" }, flipSlot(false), true, false},
		{"newer slot of the list", func([]string) string { return "segments" }, flipSlot(true), true, false}, // nothing new in it
		{"newer slot of the list after a rotation", func([]string) string { return "segments" }, flipSlot(true), false, true},
		{"older slot of the list after a rotation", func([]string) string { return "segments" }, flipSlot(false), true, true},
		{"garbage behind the last append", func(s []string) string { return s[len(s)-1] }, func(b []byte) []byte {
			return append(bytes.TrimRight(b, "\x00"), bytes.Repeat([]byte{0, 0, 0, 0, 1, 0, 0, 0, 200, 1, 0, 0, 3, 0, 0, 0}, 50)...)
		}, true, false},
		{"nothing", func(s []string) string { return s[0] }, func(b []byte) []byte { return b }, true, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			for range 60 {
				if err := r.append(1); err != nil {
					t.Fatal(err)
				}
			}
			if c.sealed {
				if err := r.append(30); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.s.Close(); err != nil {
				t.Fatal(err)
			}
			names, err := r.disk.FS().ReadDir("/log")
			if err != nil {
				t.Fatal(err)
			}
			var segments []string
			for _, n := range names {
				if isSegment(n) {
					segments = append(segments, n)
				}
			}
			victim := "/log/" + c.pick(segments)
			if c.edit == nil {
				err = r.disk.FS().Remove(victim)
			} else {
				err = r.disk.Edit(victim, c.edit)
			}
			if err != nil {
				t.Fatal(err)
			}
			err = r.open()
			if c.fine {
				if err != nil {
					t.Fatal(err)
				}
				r.check(t)
				return
			}
			var damage *logstore.DamageError
			if !errors.As(err, &damage) || !strings.Contains(err.Error(), "wipe its data folder") {
				t.Fatalf("open: %v", err)
			}
		})
	}
}

// flipSlot damages one of the two slots of the list of segments, told apart by their sequence.
func flipSlot(newer bool) func([]byte) []byte {
	return func(b []byte) []byte {
		half := len(b) / 2
		at := 0
		if (b[5] < b[half+5]) == newer {
			at = half
		}
		b[at+20] ^= 1
		return b
	}
}

// TestWALTornTail cuts the last append at each byte and spoils it at each byte: open keeps what
// came before and goes on.
func TestWALTornTail(t *testing.T) {
	for at := range 300 {
		for _, how := range []string{"cut", "spoil"} {
			r := newRig(t)
			if err := r.append(1); err != nil {
				t.Fatal(err)
			}
			if err := r.append(2); err != nil {
				t.Fatal(err)
			}
			names, _ := r.disk.FS().ReadDir("/log")
			err := r.disk.Edit("/log/"+names[0], func(b []byte) []byte {
				used := len(bytes.TrimRight(b, "\x00"))
				if how == "cut" {
					return b[:used-1-at]
				}
				b[used-1-at] ^= 0x40
				return b
			})
			if err != nil {
				t.Fatal(err)
			}
			r.disk.Crash(host.CrashPolicy{})
			if err := r.open(); err != nil {
				t.Fatalf("%s at -%d: %v", how, at, err)
			}
			r.next = 2
			r.check(t)
			if err := r.append(3); err != nil {
				t.Fatal(err)
			}
			r.reopen(t)
			r.check(t)
		}
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t)
	if err := r.s.StoreLog(&raft.Log{Index: 1, Data: make([]byte, logstore.MaxEntryBytes)}); err != nil {
		t.Errorf("entry at the limit: %v", err)
	}
	if err := r.s.StoreLog(&raft.Log{Index: 2, Data: make([]byte, logstore.MaxEntryBytes), Extensions: []byte{1}}); !errors.Is(err, logstore.ErrTooLarge) {
		t.Errorf("entry above the limit: %v", err)
	}
	for _, size := range []int{-1, logstore.MaxSegmentBytes + 1} {
		if _, err := logstore.OpenWAL(r.disk.FS(), "/other", logstore.Options{SegmentBytes: size}); err == nil {
			t.Errorf("segments of %d bytes were taken", size)
		}
	}
	if err := r.s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	for i, err := range []error{r.append(1), r.s.GetLog(1, new(raft.Log)), r.s.DeleteRange(1, 1)} {
		if !errors.Is(err, logstore.ErrClosed) {
			t.Errorf("call %d on a closed store: %v", i, err)
		}
	}
}

// TestTailServesReaders: what the tail holds is read without the disk, down to its limit in bytes.
func TestTailServesReaders(t *testing.T) {
	disk := host.NewMemFS(1)
	const entry = 1000
	for _, limit := range []int64{1, 10 * (entry + 100), 1 << 20} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			s, err := logstore.OpenWAL(disk.FS(), fmt.Sprint("/log", limit), logstore.Options{TailBytes: limit})
			if err != nil {
				t.Fatal(err)
			}
			data := make([][]byte, 101)
			for i := 1; i <= 100; i++ {
				data[i] = make([]byte, entry)
				if err := s.StoreLog(&raft.Log{Index: uint64(i), Data: data[i]}); err != nil {
					t.Fatal(err)
				}
			}
			held := 0
			for i := 1; i <= 100; i++ {
				var l raft.Log
				if err := s.GetLog(uint64(i), &l); err != nil {
					t.Fatal(err)
				}
				if &l.Data[0] == &data[i][0] { // the same memory: not read back
					held++
				} else if held > 0 {
					t.Fatalf("entry %d is not held, an older one is", i)
				}
			}
			want := int(min(100, max(1, limit/(entry+49))))
			if held != want {
				t.Errorf("%d entries held, want %d", held, want)
			}
			if n := s.StoreCalls(); n != 100 {
				t.Errorf("%d store calls", n)
			}
			if allocs := testing.AllocsPerRun(100, func() {
				var l raft.Log
				_ = s.GetLog(100, &l)
			}); allocs > 1 {
				t.Errorf("%v allocations a read", allocs)
			}
		})
	}
}

// TestWALSyncsPerAppend: an append costs one sync; the first one of a segment two more.
func TestWALSyncsPerAppend(t *testing.T) {
	disk := host.NewMemFS(1)
	s, err := logstore.OpenWAL(disk.FS(), "/log", logstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.StoreLog(&raft.Log{Index: 1, Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	before := disk.Syncs()
	for i := uint64(2); i <= 101; i++ {
		if err := s.StoreLog(&raft.Log{Index: i, Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := disk.Syncs() - before; n != 100 {
		t.Errorf("%d syncs for 100 appends", n)
	}
}

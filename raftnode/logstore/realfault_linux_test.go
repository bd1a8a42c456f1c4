// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
	"golang.org/x/sys/unix"
)

const (
	smallImage  = 48 << 20
	faultEntry  = 20 << 10
	faultAtMost = 10_000 // entries until a disk must have refused
)

// faulty is a log on a real disk that has or gets faults, with the entries it must hold.
type faulty struct {
	t           *testing.T
	disk        *loopDisk
	open        func(opts logstore.Options) (logstore.Store, error)
	s           logstore.Store
	fatals      atomic.Int32
	first, next uint64
}

// onFaulty runs a test for both stores on an ext4 in a file of the folder, which may be limited.
func onFaulty(t *testing.T, folder func(t *testing.T) string, f func(l *faulty)) {
	for _, store := range []string{"wal", "bolt"} {
		t.Run(store, func(t *testing.T) {
			l := &faulty{t: t, disk: newLoopDisk(t, folder(t), smallImage), first: 1, next: 1}
			dir := filepath.Join(l.disk.at, "log")
			l.open = func(opts logstore.Options) (logstore.Store, error) {
				if store == "bolt" {
					return logstore.OpenBolt(dir, opts)
				}
				return logstore.OpenWAL(host.Real().FS, dir, opts)
			}
			l.start()
			f(l)
			l.check()
			if err := l.s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func (l *faulty) start() {
	l.t.Helper()
	s, err := l.open(logstore.Options{SegmentBytes: 1 << 20, TailBytes: 1, Fatal: func(error) { l.fatals.Add(1) }})
	if err != nil {
		l.t.Fatal(err)
	}
	l.s = s
}

func (l *faulty) entry(i uint64) []byte {
	b := make([]byte, faultEntry)
	for at := range b {
		b[at] = byte(uint64(at) * i >> 3)
	}
	return b
}

func (l *faulty) append() error {
	err := l.s.StoreLog(&raft.Log{Index: l.next, Term: 1, Data: l.entry(l.next)})
	if err == nil {
		l.next++
	}
	return err
}

// untilRefused appends until the disk has had enough.
func (l *faulty) untilRefused() error {
	l.t.Helper()
	for range faultAtMost {
		if err := l.append(); err != nil {
			return err
		}
	}
	l.t.Fatal("the disk never refused")
	return nil
}

// check reads every entry and the bounds.
func (l *faulty) check() {
	l.t.Helper()
	first, err1 := l.s.FirstIndex()
	last, err2 := l.s.LastIndex()
	if err := errors.Join(err1, err2); err != nil || first != l.first || last != l.next-1 {
		l.t.Fatalf("bounds %d..%d, want %d..%d: %v", first, last, l.first, l.next-1, err)
	}
	for i := first; i <= last; i++ {
		var e raft.Log
		if err := l.s.GetLog(i, &e); err != nil || string(e.Data) != string(l.entry(i)) {
			l.t.Fatalf("entry %d: %d bytes, %v", i, len(e.Data), err)
		}
	}
}

// fill takes the rest of the disk that name lies on, down to the last block.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := int64(0)
	for size := int64(16 << 20); size >= 4<<10; {
		switch err := unix.Fallocate(int(f.Fd()), 0, at, size); {
		case err == nil:
			at += size
		case errors.Is(err, unix.ENOSPC):
			size /= 2
		case !errors.Is(err, unix.EINTR):
			t.Fatal(err)
		}
	}
}

// TestRealDiskFull fills a real disk to the last block, again and again: appends are refused, nothing
// is poisoned, reads go on, deletions work or are refused, and freed space makes appends work in place.
func TestRealDiskFull(t *testing.T) {
	onFaulty(t, func(t *testing.T) string { return t.TempDir() }, func(l *faulty) {
		filler := filepath.Join(l.disk.at, "filler")
		for round := range 4 {
			for range 30 {
				if err := l.append(); err != nil {
					l.t.Fatal(err)
				}
			}
			fill(l.t, filler)
			if err := l.untilRefused(); !errors.Is(err, logstore.ErrNoSpace) {
				l.t.Fatalf("round %d: append on a full disk: %v", round, err)
			}
			l.check()
			switch err := l.s.DeleteRange(l.first, l.first+20); {
			case err == nil:
				l.first += 21
			case !errors.Is(err, logstore.ErrNoSpace):
				l.t.Fatalf("round %d: delete on a full disk: %v", round, err)
			}
			l.check()
			if err := os.Remove(filler); err != nil {
				l.t.Fatal(err)
			}
			if err := l.append(); err != nil {
				l.t.Fatalf("round %d: append with space again: %v", round, err)
			}
			if round%2 == 1 {
				if err := l.s.Close(); err != nil {
					l.t.Fatal(err)
				}
				l.start()
			}
			l.check()
		}
		if err := l.s.Err(); err != nil || l.fatals.Load() != 0 {
			l.t.Errorf("poisoned: %v", err)
		}
	})
}

// limited is a folder whose size limit sets: a disk in a sparse file of it meets real I/O
// errors when it grows beyond.
func limited(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		reduced(t, "mounting needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		reduced(t, "mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// limit bounds what such a folder holds, in bytes; 0 = nothing does.
func limit(t *testing.T, dir string, bytes int64) {
	t.Helper()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Fatalf("limit %s: %v", dir, err)
	}
}

// TestRealDiskError lets the blocks below a file system run out, so that a sync fails with a real I/O
// error: the store is poisoned for good and says so once, and when the disk is well again the next
// life finds all that was acknowledged.
func TestRealDiskError(t *testing.T) {
	var below string
	onFaulty(t, func(t *testing.T) string { below = limited(t); return below }, func(l *faulty) {
		for range 30 {
			if err := l.append(); err != nil {
				l.t.Fatal(err)
			}
		}
		var st unix.Statfs_t
		if err := unix.Statfs(below, &st); err != nil {
			l.t.Fatal(err)
		}
		limit(l.t, below, int64(st.Blocks-st.Bfree)*st.Bsize+256<<10)
		err := l.untilRefused()
		if !errors.Is(err, logstore.ErrPoisoned) || errors.Is(err, logstore.ErrNoSpace) {
			l.t.Fatalf("append on a broken disk: %v", err)
		}
		l.t.Logf("after %d appends: %v", l.next-1, err)
		for i, err := range []error{l.s.Err(), l.append(), l.s.DeleteRange(1, 1), l.s.GetLog(1, new(raft.Log))} {
			if !errors.Is(err, logstore.ErrPoisoned) {
				l.t.Errorf("call %d on a poisoned store: %v", i, err)
			}
		}
		if n := l.fatals.Load(); n != 1 {
			l.t.Errorf("fatal was called %d times", n)
		}
		_ = l.s.Close()
		limit(l.t, below, 0)
		if err := l.disk.Restore(); err != nil {
			l.t.Fatal(err)
		}
		l.start()
		if last, err := l.s.LastIndex(); err == nil && last == l.next {
			l.next++ // the append that failed is there
		}
		l.check()
		if err := l.append(); err != nil {
			l.t.Fatal(err)
		}
	})
}

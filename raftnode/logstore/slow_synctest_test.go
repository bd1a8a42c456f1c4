// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

// TestSlowDiskBlocksNobodyElse runs appends that rotate, deletions and reads beside each other on a
// disk whose every sync takes 10 ms. In a bubble this hangs if anybody waits for a slow sync on a
// mutex; the elapsed time tells that each append costs one sync.
func TestSlowDiskBlocksNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := host.NewMemFS(1)
		s, err := logstore.OpenWAL(disk.FS(), "/log", logstore.Options{SegmentBytes: smallSegments, TailBytes: 2000})
		if err != nil {
			t.Fatal(err)
		}
		disk.SetSyncDelay(10 * time.Millisecond)
		const appends = 300
		start := time.Now()
		done := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			defer close(done)
			for i := uint64(1); i <= appends; i++ {
				if err := s.StoreLog(&raft.Log{Index: i, Term: 1, Data: make([]byte, 300)}); err != nil {
					t.Errorf("append %d: %v", i, err)
					return
				}
			}
		})
		every := func(d time.Duration, f func() error) {
			for {
				select {
				case <-done:
					return
				case <-time.After(d):
				}
				if err := f(); err != nil && !errors.Is(err, raft.ErrLogNotFound) {
					t.Error(err)
				}
			}
		}
		wg.Go(func() {
			every(100*time.Millisecond, func() error {
				last, err := s.LastIndex()
				return errors.Join(err, s.DeleteRange(0, last/2))
			})
		})
		for range 2 {
			wg.Go(func() {
				every(time.Millisecond, func() error {
					first, err := s.FirstIndex()
					return errors.Join(err, s.GetLog(first, new(raft.Log)))
				})
			})
		}
		wg.Wait()
		if d := time.Since(start); d > 3*appends*10*time.Millisecond {
			t.Errorf("%d appends took %v", appends, d)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRunningAndOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := host.NewMemFS(1)
		s, err := logstore.OpenWAL(disk.FS(), "/log", logstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := s.Running(); ok || s.Overdue(0) {
			t.Error("an append runs on an idle store")
		}
		disk.SetSyncDelay(time.Hour)
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.StoreLog(&raft.Log{Index: 1, Data: make([]byte, 2*logstore.OverdueRate)}); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		wg.Go(func() {
			if err := s.StoreLog(&raft.Log{Index: 2, Data: []byte("x")}); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		since, bytes, ok := s.Running()
		if !ok || !since.Equal(start) || bytes < 2*logstore.OverdueRate || bytes > 2*logstore.OverdueRate+100 {
			t.Errorf("running since %v with %d bytes, %v", since.Sub(start), bytes, ok)
		}
		time.Sleep(999 * time.Millisecond) // 2.999 s for two seconds' worth of bytes
		if s.Overdue(time.Second) {
			t.Error("overdue too early")
		}
		time.Sleep(2 * time.Millisecond)
		if !s.Overdue(time.Second) {
			t.Error("not overdue in time")
		}
		disk.SetSyncDelay(0)
		wg.Wait()
		if _, _, ok := s.Running(); ok || s.Overdue(0) {
			t.Error("an append still runs")
		}
		if n := s.StoreCalls(); n != 2 {
			t.Errorf("%d store calls", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCrashEndsWaiters: a call that hangs on a dead disk returns when the node crashes, and no
// goroutine of the store is left behind.
func TestCrashEndsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := host.NewMemFS(1)
		s, err := logstore.OpenWAL(disk.FS(), "/log", logstore.Options{SegmentBytes: smallSegments})
		if err != nil {
			t.Fatal(err)
		}
		disk.SetSyncDelay(time.Hour)
		var wg sync.WaitGroup
		for _, call := range []func() error{
			func() error { return s.StoreLog(&raft.Log{Index: 1, Data: make([]byte, 2*smallSegments)}) },
			func() error { return s.StoreLog(&raft.Log{Index: 2}) },
			func() error { return s.DeleteRange(1, 1) },
		} {
			wg.Go(func() {
				if err := call(); !errors.Is(err, logstore.ErrPoisoned) {
					t.Errorf("call on a dead disk: %v", err)
				}
			})
			synctest.Wait()
		}
		disk.Crash(host.CrashPolicy{})
		wg.Wait()
		_ = s.Close() // its files are gone with the process
	})
}

// TestSpareSegment: when a segment is half full, the next one's file is made away from the appends, one of which gives
// it its name later. None is left behind when the log is closed, and one that a crash left is removed.
func TestSpareSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := host.NewMemFS(1)
		fs := disk.FS()
		const spare = "/log/next.tmp"
		if err := errors.Join(fs.MkdirAll("/log", 0o700), leave(fs, spare)); err != nil {
			t.Fatal(err)
		}
		s, err := logstore.OpenWAL(fs, "/log", logstore.Options{SegmentBytes: smallSegments, TailBytes: 2000})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fs.Stat(spare); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what a crash left: %v", err)
		}
		made, renamed := 0, 0
		disk.OnStep(func(op, name string) error { // no two steps at once: each append waits for what it began
			switch {
			case op == "create" && strings.HasSuffix(name, ".wal"):
				made++
			case op == "rename" && name == spare:
				renamed++
			}
			return nil
		})
		for i := uint64(1); i <= 300; i++ {
			if err := s.StoreLog(&raft.Log{Index: i, Term: 1, Data: make([]byte, 300)}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if made != 0 || renamed < 3 {
			t.Errorf("%d segments were made by appends, %d before", made, renamed)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := fs.Stat(spare); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("behind the log's end: %v", err)
		}
	})
}

func leave(fs host.FS, name string) error {
	f, err := fs.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

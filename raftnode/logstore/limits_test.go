// SPDX-License-Identifier: Apache-2.0

package logstore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
	"github.com/kvorum/kvorum/raftnode/logstore"
)

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
	for _, limit := range []int64{1, 10 * (entry + 300), 1 << 20} {
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
			want := int(min(100, max(1, limit/(entry+49+192))))
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

// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/kvorum/kvorum/internal/host"
)

// TestBoltMendsTheCache: the sync of a meta page failed, so the cache shows a transaction that no disk
// holds. The next life reads it and must make it durable.
func TestBoltMendsTheCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	var states [2][]byte
	for i := range states {
		s, err := OpenBolt(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.StoreLog(&raft.Log{Index: uint64(i + 1), Data: []byte("entry")}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if states[i], err = os.ReadFile(filepath.Join(dir, boltName)); err != nil {
			t.Fatal(err)
		}
	}
	disk := host.NewMemFS(1)
	f, err := disk.FS().OpenFile("/"+boltName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	meta := int64(2 * os.Getpagesize())
	write := func(b []byte, at int64) {
		t.Helper()
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	write(states[0], 0)
	write(states[1][meta:], meta)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := disk.FS().SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	write(states[1][:meta], 0)
	disk.FailNextSync(syscall.EIO)
	if err := f.Sync(); err == nil {
		t.Fatal("the sync went well")
	}
	for _, crash := range []host.CrashPolicy{{ProcessOnly: true}, {}} {
		disk.Crash(crash)
		b, err := mendBolt(disk.FS(), "/"+boltName)
		if err != nil || b != (boltBounds{1, 2}) {
			t.Fatalf("after %+v: %+v, %v", crash, b, err)
		}
	}
}

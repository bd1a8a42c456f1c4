// SPDX-License-Identifier: Apache-2.0

package host_test

import (
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

// TestMemFSSyncDelay: a slow disk delays syncs alone, and a hung one lets go when it recovers or crashes.
func TestMemFSSyncDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := host.NewMemFS(1)
		fsys := disk.FS()
		put(t, fsys, "/f", "x")
		f, err := fsys.OpenFile("/f", os.O_RDWR, 0)
		must(t, err)
		disk.SetSyncDelay(20 * time.Millisecond)
		start := time.Now()
		must(t, f.Sync())
		if d := time.Since(start); d != 20*time.Millisecond {
			t.Errorf("sync took %v", d)
		}
		disk.SetSyncDelay(time.Hour) // a hung disk
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := f.Sync(); err != nil {
				t.Errorf("sync: %v", err)
			}
		})
		time.Sleep(time.Second)
		if _, err := f.Write([]byte("reads and writes go on")); err != nil {
			t.Error(err)
		}
		start = time.Now()
		disk.SetSyncDelay(0)
		wg.Wait()
		if d := time.Since(start); d != 0 {
			t.Errorf("sync went on for %v after the disk recovered", d)
		}
		disk.SetSyncDelay(time.Hour)
		wg.Go(func() {
			if err := f.Sync(); !errors.Is(err, host.ErrCrashed) {
				t.Errorf("sync of the dead: %v", err)
			}
		})
		synctest.Wait()
		disk.Crash(host.CrashPolicy{})
		wg.Wait()
	})
}

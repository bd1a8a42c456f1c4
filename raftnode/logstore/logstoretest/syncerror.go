// SPDX-License-Identifier: Apache-2.0

package logstoretest

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/kvorum/kvorum/internal/host"
)

// SyncErrorEveryStep runs the script of CrashEveryStep once for each sync that its calls take, and
// lets that sync fail with EIO: as on Linux its bytes count as clean from then on, are seen by every
// reader and never reach the disk by themselves. The store must refuse the call under way and every
// later one. Then the process dies, alone or with the machine, and what the next one reads must
// survive a power cut: a log that believes the cache would have a replica acknowledge what no disk
// holds.
func SyncErrorEveryStep(t *testing.T, fresh Fresh) {
	for _, policy := range []host.CrashPolicy{{ProcessOnly: true}, {}} {
		t.Run(fmt.Sprintf("%+v", policy), func(t *testing.T) {
			failed := 0
			for at := int64(1); ; at++ {
				met, refused := syncErrorAt(t, fresh, at, policy)
				if refused {
					failed++
				}
				if !met {
					t.Logf("%d syncs, %d calls refused", at-1, failed)
					return
				}
			}
		})
	}
}

// syncErrorAt fails the at-th sync; met is false when the script has fewer.
func syncErrorAt(t *testing.T, fresh Fresh, at int64, policy host.CrashPolicy) (met, refused bool) {
	t.Helper()
	b := newBench(t, fresh)
	if b.sub.Disk == nil {
		t.Skip("the store's disk cannot fail")
	}
	hit := failSync(b.sub.Disk, at)
	may, where := []*model{b.m}, ""
	for _, o := range script() {
		after, err := o.run(b)
		where = o.name
		if err != nil {
			if !hit.Load() {
				t.Fatalf("%s: %v", o.name, err)
			}
			may, refused = []*model{b.m, after}, true
			break
		}
		b.m = after
		may = []*model{b.m}
	}
	b.sub.Disk.OnStep(nil)
	name := fmt.Sprintf("sync %d, in %q", at, where)
	if refused {
		if err := b.s.StoreLogs(b.m.batch(1, 1, 1)); err == nil {
			t.Fatalf("%s: an append was taken after %v", name, err)
		}
	}
	b.sub.Disk.Crash(policy)
	b.open(t)
	recovered(t, b, may, name, at%2 == 0)
	return hit.Load(), refused
}

// failSync makes the at-th sync of a file or folder from now fail.
func failSync(disk *host.MemFS, at int64) *atomic.Bool {
	hit, left := new(atomic.Bool), new(atomic.Int64)
	left.Store(at)
	disk.OnStep(func(op, _ string) error {
		if strings.HasPrefix(op, "sync") && left.Add(-1) == 0 {
			hit.Store(true)
			disk.FailNextSync(syscall.EIO)
		}
		return nil
	})
	return hit
}

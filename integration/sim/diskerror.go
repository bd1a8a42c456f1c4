// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/kvorum/kvorum/internal/host"
)

// errDisk is what a disk of the bench answers when it fails.
var errDisk = fmt.Errorf("sim: disk error: %w", syscall.EIO)

// stopTime bounds the wait for a node that met a disk error to want to stop. It does not always: what
// failed may have been something that is tried again, as a snapshot is.
const stopTime = time.Second

// diskError lets one sync of a node fail: as on Linux its bytes are seen from then on and never reach
// the disk by themselves. The process ends, as it says it must, and starts again on what it sees.
// Sometimes the machine loses its power with it, or a moment after the process came back: then what is
// not on the disk shows.
func (m *nemesis) diskError(ctx context.Context) {
	n := m.node()
	if n.shard() == nil {
		return
	}
	m.c.world.FS(n.name).FailNextSync(errDisk)
	for end := time.Now().Add(stopTime); !n.wantsStop() && time.Now().Before(end) && ctx.Err() == nil; {
		pause(ctx, 5*time.Millisecond)
	}
	if n.wantsStop() {
		m.count["stopped for a disk error"]++
	}
	m.c.kill(n, host.CrashPolicy{ProcessOnly: m.rng.IntN(4) > 0})
	pause(ctx, m.some(0, 500*time.Millisecond))
	m.restart(n)
	if m.rng.IntN(2) == 0 {
		pause(ctx, m.some(0, time.Second))
		m.c.kill(n, host.CrashPolicy{})
		m.restart(n)
	}
}

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"log/slog"
	"sync"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// defectPause is the least time between two reads whose defect is told in full: a client can send such a read as often
// as it likes, and each stack is some kilobytes of log.
const defectPause = time.Minute

// defects tells the log of reads that met a defect. The zero defects is ready; any goroutine may tell.
type defects struct {
	mu     sync.Mutex
	told   time.Time // zero before the first
	untold int       // defects since told
}

// tell is fsm.Options.Defect.
func (d *defects) tell(log *slog.Logger) func(*fsm.DefectError) {
	return func(err *fsm.DefectError) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if now := time.Now(); d.told.IsZero() || now.Sub(d.told) >= defectPause {
			log.Error("a read met a defect and was refused; please report it", slog.Any("error", err),
				slog.Int("untold", d.untold), slog.String("stack", string(err.Stack)))
			d.told, d.untold = now, 0
			return
		}
		d.untold++
	}
}

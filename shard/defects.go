// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"log/slog"
	"sync"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// defectPause is the least time between two reads of one kind whose defect is told in full: a client can send such a read
// as often as it likes, and each stack is some kilobytes of log.
const defectPause = time.Minute

// defects tells the log of reads that met a defect. The zero defects is ready; any goroutine may tell.
type defects struct {
	mu sync.Mutex
	// by what was under way, of which there are no more kinds than commands.
	kinds map[string]*toldDefect
}

type toldDefect struct {
	last   time.Time
	untold int // defects since last
}

// tell is fsm.Options.Defect.
func (d *defects) tell(log *slog.Logger) func(*fsm.DefectError) {
	return func(err *fsm.DefectError) {
		d.mu.Lock()
		defer d.mu.Unlock()
		kind, known := d.kinds[err.Doing]
		if !known {
			kind = new(toldDefect)
			if d.kinds == nil {
				d.kinds = make(map[string]*toldDefect)
			}
			d.kinds[err.Doing] = kind
		}
		now := time.Now()
		if known && now.Sub(kind.last) < defectPause {
			kind.untold++
			return
		}
		log.Error("a read met a defect and was refused; please report it", slog.Any("error", err),
			slog.Int("untold", kind.untold), slog.String("stack", string(err.Stack)))
		*kind = toldDefect{last: now}
	}
}

// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/tcpd"
)

// pause is CLIENT PAUSE: commands of this node's connections wait until its end.
type pause struct {
	on atomic.Bool // quick look; mu has the truth
	mu sync.Mutex
	// until is zero when there is none; writes: reads go on.
	until  time.Time
	writes bool
	// moved is closed and replaced with every change.
	moved chan struct{}
}

func (p *pause) init() { p.moved = make(chan struct{}) }

// begin starts a pause, or makes the present one longer or stricter, never shorter or milder.
func (p *pause) begin(d time.Duration, writes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if running := p.until.After(now); !running {
		p.until, p.writes = now.Add(d), writes
	} else {
		p.writes = p.writes && writes
		if at := now.Add(d); at.After(p.until) {
			p.until = at
		}
	}
	p.on.Store(true)
	p.changedLocked()
}

func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Time{}
	p.on.Store(false)
	p.changedLocked()
}

func (p *pause) changedLocked() {
	close(p.moved)
	p.moved = make(chan struct{})
}

// holds tells whether c may have to wait. CLIENT itself never has: it ends pauses.
func (p *pause) holds(c *command) bool { return p.on.Load() && !strings.HasPrefix(c.name, "client|") }

// left is how long c has to wait, and what tells of a change.
func (p *pause) left(c *command) (time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := time.Until(p.until)
	if d <= 0 {
		p.on.Store(false)
		return 0, nil
	}
	if p.writes && c.flags&(flagWrite|flagMayReplicate) == 0 {
		return 0, nil
	}
	return d, p.moved
}

// wait holds a command back while there is a pause. What came before it is answered first.
func (s *session) wait(ctx context.Context, c *command) error {
	for {
		d, moved := s.h.pause.left(c)
		if d <= 0 {
			return nil
		}
		if err := firstError(s.run(ctx), s.flush()); err != nil {
			return err
		}
		s.h.pauses.Add(1)
		timer := time.NewTimer(d)
		select {
		case <-moved:
		case <-timer.C:
		case <-s.gone:
			timer.Stop()
			return tcpd.ErrEnd
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		timer.Stop()
	}
}

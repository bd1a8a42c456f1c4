// SPDX-License-Identifier: Apache-2.0

package tcpd

import (
	"errors"
	"os"
	"sync"
	"time"
)

// parking is how a Session's goroutine waits, behind Serve, for something other than its peer's bytes.
type parking struct {
	// full is since when there was no room for more of them, zero when there is.
	full time.Time
	// calls holds at most one Interrupt that no Await has seen.
	calls chan struct{}

	mu sync.Mutex
	// parked: the goroutine is in Await, and the read deadline is Await's.
	parked bool
}

// past is a deadline that ends a read at once.
func past() time.Time { return time.Unix(1, 0) }

// Await waits, in a function given to After, by its goroutine, until Interrupt is called, or was called since the last
// Await, or until the time until, zero for none; it may also return early. Meanwhile it reads, so that it notices when the
// peer is gone, which is the error. What it reads is served afterwards. A peer that sends more than BaseBuffer bytes
// cannot be watched any more, and has stalled after StallTimeout. IdleTimeout does not count.
func (c *Conn) Await(until time.Time) error {
	if !c.park(until) {
		return nil
	}
	defer c.unpark()
	for c.in.ahead() {
		n, err := c.nc.Read(c.in.buf[c.in.w:])
		if n > 0 {
			c.srv.stats.bytesIn.Add(uint64(n))
			c.in.took(n)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	now := time.Now()
	if c.parking.full.IsZero() {
		c.parking.full = now
	}
	stalled := c.parking.full.Add(c.srv.cfg.StallTimeout)
	stall := until.IsZero() || stalled.Before(until)
	if stall {
		until = stalled
	}
	over := time.NewTimer(until.Sub(now))
	defer over.Stop()
	select {
	case <-c.parking.calls:
	case <-over.C:
		if stall {
			return ErrStalled
		}
	}
	return nil
}

// park makes reads end at until or by Interrupt; false when that was called already.
func (c *Conn) park(until time.Time) bool {
	c.parking.mu.Lock()
	defer c.parking.mu.Unlock()
	select {
	case <-c.parking.calls:
		return false
	default:
	}
	c.parking.parked = true
	_ = c.nc.SetReadDeadline(until) // where that fails, reads do
	if c.draining.Load() {
		_ = c.nc.SetReadDeadline(c.drainAt)
	}
	return true
}

// unpark takes Await's deadline away.
func (c *Conn) unpark() {
	c.parking.mu.Lock()
	defer c.parking.mu.Unlock()
	c.parking.parked, c.armed = false, false
	select {
	case <-c.parking.calls:
	default:
	}
	_ = c.nc.SetReadDeadline(time.Time{})
	if c.draining.Load() {
		_ = c.nc.SetReadDeadline(c.drainAt)
	}
}

// Interrupt ends the present Await, or the next one if there is none. Any goroutine.
func (c *Conn) Interrupt() {
	c.parking.mu.Lock()
	defer c.parking.mu.Unlock()
	select {
	case c.parking.calls <- struct{}{}:
	default:
	}
	if c.parking.parked {
		_ = c.nc.SetReadDeadline(past())
	}
}

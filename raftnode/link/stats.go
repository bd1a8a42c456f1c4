// SPDX-License-Identifier: Apache-2.0

package link

import "sync/atomic"

// Stats counts since the link was made.
type Stats struct {
	Dials, DialFailures   uint64
	Accepted, Refused     uint64
	Calls, NotSent, Lost  uint64
	FramesOut, Writes     uint64
	BytesOut              uint64
	Handled, RefusedCalls uint64
}

type counters struct {
	dials, dialFailures   atomic.Uint64
	accepted, refused     atomic.Uint64
	calls, notSent, lost  atomic.Uint64
	framesOut, writes     atomic.Uint64
	bytesOut              atomic.Uint64
	handled, refusedCalls atomic.Uint64
}

// Stats returns the counts so far.
func (l *Link) Stats() Stats {
	c := &l.stats
	return Stats{
		Dials: c.dials.Load(), DialFailures: c.dialFailures.Load(),
		Accepted: c.accepted.Load(), Refused: c.refused.Load(),
		Calls: c.calls.Load(), NotSent: c.notSent.Load(), Lost: c.lost.Load(),
		FramesOut: c.framesOut.Load(), Writes: c.writes.Load(), BytesOut: c.bytesOut.Load(),
		Handled: c.handled.Load(), RefusedCalls: c.refusedCalls.Load(),
	}
}

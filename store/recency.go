// SPDX-License-Identifier: Apache-2.0

package store

import "sync/atomic"

// Recency is leader-local knowledge for the choice of victims: no part of the digest, and nothing
// but Sample, and what asks for an entry's Idle or Frequency, reads it. An entry's word of 32 bits holds
//
//	bits 0–23   tick of the last touch
//	bits 24–31  logarithmic access counter
//
// The counter follows Redis' LFU: it starts at frequencyStart, grows with probability
// 1/((counter-frequencyStart)×frequencyFactor+1) a touch, and loses one every frequencyDecay ticks.
const (
	// TickMillis is the unit of ticks in milliseconds. Ticks wrap around after 12 days: an entry that was
	// idle for longer looks younger than it is.
	TickMillis = 64

	tickBits = 24
	tickMask = 1<<tickBits - 1

	// ticksAhead is how far the clock of one who touches may be ahead of that of one who asks: an hour.
	ticksAhead = 3_600_000 / TickMillis

	frequencyStart  = 5
	frequencyFactor = 10
	frequencyMax    = 255
	frequencyDecay  = 60_000 / TickMillis
)

// recencyClock is how writes stamp the entries they touch.
type recencyClock struct {
	tick      atomic.Uint32
	frequency atomic.Bool
	// dice decides about the growth of counters.
	dice atomic.Uint64
}

// SetTick tells the present tick, with which all later writes stamp the entries they touch. Any
// goroutine.
func (s *Store) SetTick(tick uint32) { s.clock.tick.Store(tick & tickMask) }

// CountAccesses turns the access counters of the frequency policies on or off. While off, Touch
// costs a store at most once a tick. Any goroutine.
func (s *Store) CountAccesses(on bool) { s.clock.frequency.Store(on) }

// Touch notes that a key was used at tick. Needs the slot's lock; a read lock will do.
func (s *Store) Touch(slot uint16, key []byte, tick uint32) {
	if r, ok := s.Lookup(slot, key); ok {
		s.TouchRef(r, tick)
	}
}

// TouchRef is Touch for an entry at hand.
func (s *Store) TouchRef(r Ref, tick uint32) {
	if word := r.b.recency(); s.stale(word, tick) {
		s.note(word, tick)
	}
}

// stale tells whether a use of an entry at tick is to be noted. It is small enough to become part of the caller.
func (s *Store) stale(word *atomic.Uint32, tick uint32) bool {
	return (word.Load()^tick)&tickMask != 0 || s.clock.frequency.Load()
}

func (s *Store) touch(n node, tick uint32) { s.note(n.recency(), tick) }

// note writes the recency of an entry.
func (s *Store) note(word *atomic.Uint32, tick uint32) {
	was := word.Load()
	tick &= tickMask
	if !s.clock.frequency.Load() {
		if was&tickMask != tick {
			word.CompareAndSwap(was, was&^tickMask|tick)
		}
		return
	}
	count := frequencyAt(was, tick)
	base := uint64(max(count, frequencyStart) - frequencyStart)
	if count < frequencyMax && mix(s.clock.dice.Add(1))%(base*frequencyFactor+1) == 0 {
		count++
	}
	// A lost race loses one touch of an estimate.
	word.CompareAndSwap(was, tick|uint32(count)<<tickBits)
}

// fresh is the word of a new entry.
func (c *recencyClock) fresh() uint32 { return c.tick.Load() | frequencyStart<<tickBits }

// idleAt is the number of ticks from the last touch until tick; 0 when it was touched after tick.
func idleAt(word, tick uint32) uint32 {
	idle := (tick - word) & tickMask
	if idle > tickMask-ticksAhead {
		return 0
	}
	return idle
}

// frequencyAt is the access counter of a word, decayed until tick.
func frequencyAt(word, tick uint32) uint8 {
	count := uint8(word >> tickBits)
	return count - uint8(min(uint32(count), idleAt(word, tick)/frequencyDecay))
}

// Idle is how many ticks of TickMillis the entry was not used until tick; Frequency its access counter then.
func (r Ref) Idle(tick uint32) uint32 { return idleAt(r.b.recency().Load(), tick&tickMask) }

// Frequency: see Idle. It means something while CountAccesses is on.
func (r Ref) Frequency(tick uint32) uint8 { return frequencyAt(r.b.recency().Load(), tick&tickMask) }

// mix is the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

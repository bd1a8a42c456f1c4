// SPDX-License-Identifier: Apache-2.0

package store

import "sync/atomic"

// Recency is leader-local knowledge for the choice of victims: no part of the digest, and nothing
// but Sample reads it. An entry's word holds
//
//	bits 0–31   tick of the last touch
//	bits 32–39  logarithmic access counter
//	bits 40–63  number of touches mod 2^24, the source of the counter's dice
//
// The counter follows Redis' LFU: it starts at frequencyStart, grows with probability
// 1/((counter-frequencyStart)×frequencyFactor+1) a touch, and loses one every frequencyDecay ticks.
const (
	// TickMillis is the unit of ticks in milliseconds. Ticks wrap around after 8 years.
	TickMillis = 64

	frequencyStart  = 5
	frequencyFactor = 10
	frequencyMax    = 255
	frequencyDecay  = 60_000 / TickMillis
)

// recencyClock is how writes stamp the entries they touch.
type recencyClock struct {
	tick      atomic.Uint32
	frequency atomic.Bool
}

// SetTick tells the present tick, with which all later writes stamp the entries they touch. Any
// goroutine.
func (s *Store) SetTick(tick uint32) { s.clock.tick.Store(tick) }

// CountAccesses turns the access counters of the frequency policies on or off. While off, Touch
// costs a store at most once a tick. Any goroutine.
func (s *Store) CountAccesses(on bool) { s.clock.frequency.Store(on) }

// Touch notes that a key was used at tick. Needs the slot's lock; a read lock will do.
func (s *Store) Touch(slot uint16, key []byte, tick uint32) {
	if nd := s.lookup(slot, key); nd != nil {
		s.touch(nd, tick)
	}
}

// TouchRef is Touch for an entry at hand.
func (s *Store) TouchRef(r Ref, tick uint32) { s.touch(r.nd, tick) }

func (s *Store) touch(nd *node[entry], tick uint32) {
	word := &nd.val.recency
	was := word.Load()
	if !s.clock.frequency.Load() {
		if uint32(was) != tick {
			word.CompareAndSwap(was, was&^0xffffffff|uint64(tick))
		}
		return
	}
	count := frequencyAt(was, tick)
	touches := (was>>40 + 1) & 0xffffff
	base := uint64(max(count, frequencyStart) - frequencyStart)
	if count < frequencyMax && mix(nd.hash^touches<<40^uint64(tick))%(base*frequencyFactor+1) == 0 {
		count++
	}
	// A lost race loses one touch of an estimate.
	word.CompareAndSwap(was, uint64(tick)|uint64(count)<<32|touches<<40)
}

// stamp marks a new entry.
func (s *Store) stamp(nd *node[entry]) {
	nd.val.recency.Store(uint64(s.clock.tick.Load()) | frequencyStart<<32)
}

// frequencyAt is the access counter of a word, decayed until tick.
func frequencyAt(word uint64, tick uint32) uint8 {
	count := uint8(word >> 32)
	idle := (tick - uint32(word)) & 0x7fffffff
	if idle > 1<<30 {
		idle = 0 // touched after tick, by a caller whose clock is ahead
	}
	return count - uint8(min(uint32(count), idle/frequencyDecay))
}

// mix is the finaliser of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

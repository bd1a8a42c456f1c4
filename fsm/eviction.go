// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"sync"

	"github.com/kvorum/kvorum/store"
)

// full tells whether growing commands are refused now: over the limit, and nobody may be evicted; or over the
// ceiling. Under a policy that evicts, the proposer makes room instead. A function of replicated state alone.
func (k *Keyspace) full(set *settings) bool {
	if set.maxMemory == 0 {
		return false
	}
	over := k.st.Totals().LogicalBytes - set.maxMemory
	if planted("refuse-early") {
		return over > -set.maxMemory/8
	}
	switch {
	case over <= 0:
		return false
	case over > set.overshoot():
		return true
	}
	return set.policy == store.NoEviction || set.policy.Volatile() && k.st.NextDeadline() == 0
}

// overshoot is how far memory may be over its limit under a policy that evicts. The proposer makes room for
// what it expects, and what comes besides goes with the next entry; but a few bytes of SETRANGE grow a value
// to its largest size, and an entry holds thousands of them.
func (set *settings) overshoot() int64 { return set.maxMemory/8 + int64(set.limits.MaxValue) }

// evict removes a victim whose version still matches.
func (k *Keyspace) evict(v *Victim) (gone bool) {
	k.planned.remove(v)
	k.st.Lock(v.Slot) // and not unlocked behind a panic, as DefectError says
	if s := &k.slots[v.Slot]; s.owned && !s.frozen {
		if ref, ok := k.st.Lookup(v.Slot, v.Key); ok && (ref.Version() == v.Version || planted("evict-other-version")) {
			gone = k.st.Delete(v.Slot, v.Key)
		}
	}
	k.st.Unlock(v.Slot)
	return gone
}

const (
	// maxEntryVictims bounds the victims of one entry: more than an entry of usual length can make new keys,
	// by MSET too, so that evictions keep up, and come back to a limit that was lowered.
	maxEntryVictims = 64 * store.MaxVictims
	// maxVictimBytes bounds their keys, but for the last, in bytes: twice those of an entry's commands.
	maxVictimBytes = 512 << 10
	// maxSamples bounds the looks around for one entry's victims.
	maxSamples = 96
	// maxPlanned bounds the victims remembered as named.
	maxPlanned = 4 * maxEntryVictims
)

// plannedVictims remembers, on the leader, who was named and is not gone yet, so that nobody is named twice and
// what they hold is not made room for again. Versions are unique in a slot. It is a hint: with a new term all
// are forgotten, since entries of earlier ones may be lost, and so they are when there are too many.
type plannedVictims struct {
	mu    sync.Mutex
	named map[plannedKey]int64 // the bytes that each holds
	bytes int64                // of all
	term  uint64
	round uint64
}

type plannedKey struct {
	slot    uint16
	version uint64
}

// applied notes the term of an entry.
func (p *plannedVictims) applied(term uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.term != term {
		p.term, p.named, p.bytes = term, nil, 0
	}
}

// forget is for a state that entries unseen here led to: they may have removed whom this one named.
func (p *plannedVictims) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.named, p.bytes = nil, 0
}

// remove takes a victim out before it goes, so that its bytes are never missing twice.
func (p *plannedVictims) remove(v *Victim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := plannedKey{v.Slot, v.Version}
	p.bytes -= p.named[key]
	delete(p.named, key)
}

func (p *plannedVictims) has(slot uint16, version uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.named[plannedKey{slot, version}]
	return ok
}

func (p *plannedVictims) add(vs []Victim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.named == nil || len(p.named)+len(vs) > maxPlanned {
		p.named, p.bytes = make(map[plannedKey]int64), 0
	}
	for i := range vs {
		p.named[plannedKey{vs[i].Slot, vs[i].Version}] = vs[i].Bytes
		p.bytes += vs[i].Bytes
	}
}

// leaving is what those hold who were named and are not gone.
func (p *plannedVictims) leaving() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// nextRound varies the sampler's draws. It needs no chance: which keys are looked at is no secret, and
// the answer travels in the log.
func (p *plannedVictims) nextRound() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round++
	return p.round
}

// PlanEvictions implements State.
func (k *Keyspace) PlanEvictions(growth int64) []Victim {
	set := k.settings.Load()
	policy := set.policy
	switch {
	case planted("evict-nobody"):
		policy = store.NoEviction
	case planted("evict-anyway"):
		policy = store.AllKeysLRU
	}
	if set.maxMemory == 0 || policy == store.NoEviction {
		return nil
	}
	if _, open := k.Import(); open {
		return nil // frozen slots evict nobody
	}
	over := k.st.Totals().LogicalBytes - set.maxMemory // before leaving: see remove
	over -= k.planned.leaving()
	over = max(over, min(over+growth, set.overshoot())) // what would be beyond the ceiling is refused
	var victims []Victim
	size := 0
	for range maxSamples {
		if over <= 0 || len(victims) >= maxEntryVictims || size >= maxVictimBytes {
			break
		}
		found := k.st.Sample(store.SampleRequest{
			Policy:  policy,
			Bytes:   over,
			Tick:    k.tick.Load(),
			Seed:    k.planned.nextRound(),
			Exclude: func(slot uint16, _ []byte, version uint64) bool { return k.planned.has(slot, version) },
		})
		if len(found) == 0 {
			break
		}
		from := len(victims)
		for _, f := range found {
			if size >= maxVictimBytes {
				break
			}
			victims = append(victims, Victim{Slot: f.Slot, Key: f.Key, Version: f.Version, Bytes: f.Bytes})
			size += len(f.Key)
			over -= f.Bytes
		}
		k.planned.add(victims[from:])
	}
	return victims
}

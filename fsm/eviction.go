// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"sync"

	"github.com/kvorum/kvorum/store"
)

// full tells whether growing commands are refused now: over the limit, and nobody may be evicted. Under a
// policy that evicts, the proposer makes room instead. A function of replicated state alone.
func (k *Keyspace) full(set *settings) bool {
	if set.maxMemory == 0 || k.st.Totals().LogicalBytes <= set.maxMemory {
		return false
	}
	return set.policy == store.NoEviction || set.policy.Volatile() && k.st.NextDeadline() == 0
}

// evict removes a victim whose version still matches.
func (k *Keyspace) evict(v *Victim) {
	k.planned.remove(v)
	k.st.Lock(v.Slot)
	defer k.st.Unlock(v.Slot)
	if s := &k.slots[v.Slot]; !s.owned || s.frozen {
		return
	}
	if ref, ok := k.st.Lookup(v.Slot, v.Key); ok && ref.Version() == v.Version {
		k.st.Delete(v.Slot, v.Key)
	}
}

// maxPlanned bounds the victims remembered as named.
const maxPlanned = 4 * store.MaxVictims

// plannedVictims remembers, on the leader, who was named and is not gone yet, so that nobody is named
// twice. Versions are unique in a slot. It is a hint: victims whose entry was lost stay out until the
// memory is full and starts anew.
type plannedVictims struct {
	mu    sync.Mutex
	named map[plannedKey]struct{}
	round uint64
}

type plannedKey struct {
	slot    uint16
	version uint64
}

func (p *plannedVictims) remove(v *Victim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.named, plannedKey{v.Slot, v.Version})
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
		p.named = make(map[plannedKey]struct{})
	}
	for i := range vs {
		p.named[plannedKey{vs[i].Slot, vs[i].Version}] = struct{}{}
	}
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
	if set.maxMemory == 0 || set.policy == store.NoEviction {
		return nil
	}
	if _, open := k.Import(); open {
		return nil // frozen slots evict nobody
	}
	over := k.st.Totals().LogicalBytes + growth - set.maxMemory
	if over <= 0 {
		return nil
	}
	found := k.st.Sample(store.SampleRequest{
		Policy:  set.policy,
		Bytes:   over,
		Tick:    k.tick.Load(),
		Seed:    k.planned.nextRound(),
		Exclude: func(slot uint16, _ []byte, version uint64) bool { return k.planned.has(slot, version) },
	})
	victims := make([]Victim, len(found))
	for i, f := range found {
		victims[i] = Victim{Slot: f.Slot, Key: f.Key, Version: f.Version, Bytes: f.Bytes}
	}
	k.planned.add(victims)
	return victims
}

// growthSlack is how much more than its encoding a write may add to the logical bytes: a new entry with
// a deadline and the first field of a collection.
const growthSlack = store.EntryOverhead + store.DeadlineOverhead + store.CollectionOverhead + store.FieldOverhead

// GrowthBound tells how many logical bytes a Sub's writes add, usually less: what the proposer reckons
// with before the Sub is applied.
func GrowthBound(s *Sub) int64 { return int64(len(s.Body)) + int64(s.Writes)*growthSlack }

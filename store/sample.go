// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"slices"
	"sort"
	"sync"

	"github.com/kvorum/kvorum/store/arena"
)

// Policy says which entries may be evicted and which of them go first. Numbers are stable: they
// are written to logs.
type Policy uint8

// The policies, named as in Redis.
const (
	NoEviction     Policy = 0
	AllKeysLRU     Policy = 1
	VolatileLRU    Policy = 2
	AllKeysLFU     Policy = 3
	VolatileLFU    Policy = 4
	AllKeysRandom  Policy = 5
	VolatileRandom Policy = 6
	VolatileTTL    Policy = 7
)

// Valid tells whether p is a policy.
func (p Policy) Valid() bool { return p <= VolatileTTL }

// Volatile tells whether only entries with a deadline may go.
func (p Policy) Volatile() bool {
	return p == VolatileLRU || p == VolatileLFU || p == VolatileRandom || p == VolatileTTL
}

// Frequency tells whether p needs CountAccesses.
func (p Policy) Frequency() bool { return p == AllKeysLFU || p == VolatileLFU }

// String names the policy as Redis does.
func (p Policy) String() string {
	switch p {
	case NoEviction:
		return "noeviction"
	case AllKeysLRU:
		return "allkeys-lru"
	case VolatileLRU:
		return "volatile-lru"
	case AllKeysLFU:
		return "allkeys-lfu"
	case VolatileLFU:
		return "volatile-lfu"
	case AllKeysRandom:
		return "allkeys-random"
	case VolatileRandom:
		return "volatile-random"
	case VolatileTTL:
		return "volatile-ttl"
	}
	return "unknown"
}

// ParsePolicy is the inverse of Policy.String.
func ParsePolicy(name string) (Policy, bool) {
	for p := NoEviction; p.Valid(); p++ {
		if p.String() == name {
			return p, true
		}
	}
	return 0, false
}

const (
	// sampleDraws is how many entries Sample looks at for each victim it needs, sampleMax how many
	// at most in one call.
	sampleDraws = 16
	sampleMax   = 8192
	// sampleReuse is how many calls one look at all slots serves, while the number of keys stays within
	// one part in sampleDrift.
	sampleReuse = 64
	sampleDrift = 32
	// segmentTries bounds the search for a random entry in a slot whose segments are empty, or nearly
	// without deadlines.
	segmentTries = 64
)

// SampleRequest asks for victims.
type SampleRequest struct {
	Policy Policy
	// Bytes is the logical size wanted; Max bounds the number of victims, 0 means MaxVictims.
	Bytes int64
	Max   int
	// Tick is the present tick.
	Tick uint32
	// Seed feeds the dice.
	Seed uint64
	// Skip, when set, excludes slots; Exclude excludes entries, such as those named before and not
	// yet gone. Both are called with no lock held but the slot's, and must not call the store.
	Skip    func(slot uint16) bool
	Exclude func(slot uint16, key []byte, version uint64) bool
}

// Victim names an entry to evict. It is to be removed only while it still has Version.
type Victim struct {
	Slot    uint16
	Key     []byte // the receiver's
	Version uint64
	// Bytes is the logical size that its removal frees.
	Bytes int64
}

// sampler is Sample's scratch: weights sums the candidates per slot.
type sampler struct {
	mu      sync.Mutex
	weights []int64
	// What weights were made for: they serve sampleReuse calls as long as the number of keys stays near.
	volatile bool
	keys     int64
	left     int
	found    []candidate
	names    []byte // the candidates' keys
}

type candidate struct {
	// ref tells candidates apart; it is not to be followed. key lies in sampler.names.
	ref     arena.Ref
	key     span
	slot    uint16
	version uint64
	bytes   int64
	// score is higher for those that should go earlier; tie breaks evenly.
	score, tie uint64
}

type span struct{ lo, hi int }

// Sample chooses victims of at least r.Bytes in all, fewer if there are not enough: the best by
// r.Policy among sampleDraws random entries for each one needed, or among all entries when there
// are few. It holds the read lock of one slot at a time, for as long as looking at its draws takes.
// Any goroutine, with no slot lock held. The answer depends on recency, so it is no function of the
// replicated state: it must reach other replicas as data.
func (s *Store) Sample(r SampleRequest) []Victim {
	if r.Policy == NoEviction || !r.Policy.Valid() || r.Bytes <= 0 {
		return nil
	}
	if r.Max <= 0 || r.Max > MaxVictims {
		r.Max = MaxVictims
	}
	p := &s.probe
	p.mu.Lock()
	defer p.mu.Unlock()
	total := p.weigh(s, &r)
	if total == 0 {
		return nil
	}
	p.found, p.names = p.found[:0], p.names[:0]
	logical, keys := s.total.logical.Load(), max(s.total.keys.Load(), 1)
	need := min(int64(r.Max), r.Bytes/max(logical/keys, 1)+1)
	if draws := min(need*sampleDraws, sampleMax); total <= draws {
		p.left = 0
		p.all(s, &r)
	} else {
		p.draw(s, &r, total, int(draws))
	}
	return p.choose(&r)
}

// weigh fills weights with running sums of the entries that may go, slot by slot. What it found a few calls
// ago will do: a choice at random need not be quite even.
func (p *sampler) weigh(s *Store, r *SampleRequest) (total int64) {
	if p.weights == nil {
		p.weights = make([]int64, Slots)
	}
	volatile, keys := r.Policy.Volatile(), s.total.keys.Load()
	if near := max(keys-p.keys, p.keys-keys) <= p.keys/sampleDrift; near && p.left > 0 && volatile == p.volatile && r.Skip == nil {
		p.left--
		return p.weights[Slots-1]
	}
	p.volatile, p.keys, p.left = volatile, keys, sampleReuse
	if r.Skip != nil {
		p.left = 0
	}
	for i := range s.slots {
		n := &s.slots[i].keys
		if volatile {
			n = &s.slots[i].timed
		}
		if w := int64(n.Load()); w > 0 && (r.Skip == nil || !r.Skip(uint16(i))) {
			total += w
		}
		p.weights[i] = total
	}
	return total
}

func (p *sampler) all(s *Store, r *SampleRequest) {
	dice := r.Seed
	var before int64
	for i, sum := range p.weights {
		if sum == before {
			continue
		}
		before = sum
		slot := uint16(i)
		s.RLock(slot)
		if t := s.slots[slot].t; t != nil {
			s.ascend(t, func(g *segment, i int, _ node) bool {
				dice++
				p.consider(r, slot, s.at(g, i), mix(dice))
				return true
			})
		}
		s.RUnlock(slot)
	}
}

func (p *sampler) draw(s *Store, r *SampleRequest, total int64, draws int) {
	dice := mix(r.Seed)
	points := make([]int64, draws)
	for i := range points {
		dice++
		points[i] = int64(mix(dice) % uint64(total))
	}
	slices.Sort(points)
	for i := 0; i < draws; {
		at := sort.Search(Slots, func(j int) bool { return p.weights[j] > points[i] })
		slot := uint16(at)
		s.RLock(slot)
		for ; i < draws && points[i] < p.weights[at]; i++ {
			dice++
			if ref, ok := s.random(slot, r.Policy.Volatile(), mix(dice)); ok {
				p.consider(r, slot, ref, mix(^dice))
			}
		}
		s.RUnlock(slot)
	}
}

// random returns an entry of the slot, each about equally likely: a segment that has split twice as often
// as another is met half as often, and holds half as much.
func (s *Store) random(slot uint16, volatile bool, dice uint64) (Ref, bool) {
	t := s.slots[slot].t
	if t == nil || t.n == 0 || volatile && len(t.due) == 0 {
		return Ref{}, false
	}
	for range segmentTries {
		dice = mix(dice)
		g := t.at(dice)
		if volatile {
			g = t.due[dice%uint64(len(t.due))]
		}
		if len(g.words) == 0 {
			continue
		}
		dice = mix(dice)
		if i := int(dice % uint64(len(g.words))); !volatile || g.due[i] != 0 {
			return s.at(g, i), true
		}
	}
	return Ref{}, false
}

func (p *sampler) consider(r *SampleRequest, slot uint16, e Ref, tie uint64) {
	if r.Policy.Volatile() && e.ExpireAt() == 0 {
		return
	}
	key, version := e.Key(), e.Version()
	if r.Exclude != nil && r.Exclude(slot, key, version) {
		return
	}
	at := len(p.names)
	p.names = append(p.names, key...)
	c := candidate{
		ref: refOf(e.g.words[e.i]), key: span{at, len(p.names)}, slot: slot, version: version, tie: tie,
		bytes: e.LogicalBytes(),
	}
	word := e.node().recency().Load()
	idle := uint64(idleAt(word, r.Tick&tickMask))
	switch r.Policy {
	case AllKeysLRU, VolatileLRU:
		c.score = idle
	case AllKeysLFU, VolatileLFU:
		c.score = uint64(frequencyMax-frequencyAt(word, r.Tick&tickMask))<<tickBits + idle
	case VolatileTTL:
		c.score = ^uint64(e.ExpireAt())
	case AllKeysRandom, VolatileRandom, NoEviction:
	}
	p.found = append(p.found, c)
}

// choose takes the best candidates until they suffice.
func (p *sampler) choose(r *SampleRequest) []Victim {
	slices.SortFunc(p.found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.tie, a.tie))
	})
	var out []Victim
	seen := make(map[arena.Ref]bool)
	var sum int64
	for i := range p.found {
		if sum >= r.Bytes || len(out) >= r.Max {
			break
		}
		c := &p.found[i]
		if seen[c.ref] {
			continue
		}
		seen[c.ref] = true
		out = append(out, Victim{Slot: c.slot, Key: slices.Clone(p.names[c.key.lo:c.key.hi]), Version: c.version, Bytes: c.bytes})
		sum += c.bytes
	}
	return out
}

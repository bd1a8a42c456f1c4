// SPDX-License-Identifier: Apache-2.0

package store

import (
	"container/list"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kvorum/kvorum/internal/host/racing"
)

// exactLRU is the oracle: a list in order of use.
type exactLRU struct {
	room, used int64
	order      *list.List
	at         map[uint64]*list.Element
}

// get tells whether key is there, and puts it there.
func (c *exactLRU) get(key uint64, size int64) bool {
	if e, ok := c.at[key]; ok {
		c.order.MoveToFront(e)
		return true
	}
	c.at[key] = c.order.PushFront(key)
	for c.used += size; c.used > c.room; c.used -= size {
		last := c.order.Back()
		delete(c.at, c.order.Remove(last).(uint64))
	}
	return false
}

// cache is a store used as a leader uses it: victims are planned for a batch of writes at once.
type cache struct {
	s    *Store
	room int64
	now  int64 // microseconds
	seed uint64
	keys [][]byte
}

func (c *cache) get(policy Policy, i uint64, value []byte) bool {
	key := c.keys[i]
	slot := SlotOf(key)
	tick := uint32(c.now / 1000 / TickMillis)
	if r, ok := c.s.Lookup(slot, key); ok {
		c.s.TouchRef(r, tick)
		return true
	}
	c.s.SetTick(tick)
	c.s.SetString(slot, key, value, Meta{Version: i + 1})
	if over := c.s.Totals().LogicalBytes - c.room; over > 0 {
		c.seed++
		for _, v := range c.s.Sample(SampleRequest{Policy: policy, Bytes: over, Tick: tick, Seed: c.seed}) {
			c.s.Delete(v.Slot, v.Key)
		}
	}
	return false
}

// hitRates plays one trace against the store and an exact LRU of the same room: draws by Zipf's law over
// five times as many keys as there is room for, at 20,000 a second.
func hitRates(exponent float64, policy Policy, room, draws int) (sampled, exact float64) {
	const size = 16 + 100 + EntryOverhead
	rng := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(rng, exponent, 1, uint64(5*room-1))
	c := cache{s: New(Config{HashKey: testHashKey}), room: int64(room) * size, keys: make([][]byte, 5*room)}
	for i := range c.keys {
		c.keys[i] = fmt.Appendf(nil, "key:%012d", i)
	}
	c.s.CountAccesses(policy.Frequency())
	lru := exactLRU{room: int64(room) * size, order: list.New(), at: map[uint64]*list.Element{}}
	value := make([]byte, 100)
	var hits, best, count int
	for i := range draws {
		key := zipf.Uint64()
		c.now += 50
		a, b := c.get(policy, key, value), lru.get(key, size)
		if i < draws/4 {
			continue // until both are full
		}
		count++
		if a {
			hits++
		}
		if b {
			best++
		}
	}
	return 100 * float64(hits) / float64(count), 100 * float64(best) / float64(count)
}

// Goal: sampled eviction is nearly as good as the real thing. Method: hit rates over Zipf traces, beside
// an exact LRU of the same size.
func TestHeavyHitRate(t *testing.T) {
	racing.Heavy(t)
	for _, exponent := range []float64{1.01, 1.2} {
		for _, policy := range []Policy{AllKeysLRU, AllKeysLFU} {
			sampled, exact := hitRates(exponent, policy, 10_000, 300_000)
			t.Logf("Zipf %.2f, %v: %.2f %%, exact LRU %.2f %%", exponent, policy, sampled, exact)
			if sampled < exact-2 {
				t.Errorf("Zipf %.2f, %v: %.2f %% of reads hit, with an exact LRU %.2f %%", exponent, policy, sampled, exact)
			}
		}
	}
}

// BenchmarkHitRate reports the hit rates over a larger cache, in percent.
func BenchmarkHitRate(b *testing.B) {
	for b.Loop() {
		sampled, exact := hitRates(1.01, AllKeysLRU, 100_000, 5_000_000)
		b.ReportMetric(sampled, "%sampled")
		b.ReportMetric(exact, "%exact")
	}
}

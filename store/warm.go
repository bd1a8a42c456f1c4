// SPDX-License-Identifier: Apache-2.0

package store

// WarmMax is the largest number of places that one Warm looks at.
const WarmMax = 16

// Place is a key that is about to be written. Hash and node are Warm's.
type Place struct {
	Slot uint16
	Key  []byte

	hash uint64
	t    *slotTable
	nd   *node[entry]
}

// Warm reads what a write of each place will read, level by level for all of them. A key is at the end
// of a chain of loads, slot, table, bucket, node, value, each of which waits for memory on a large
// store; the loads of one level do not depend on one another, so the processor has them under way at
// the same time. It changes nothing and takes no lock: only the goroutine that writes may call it. The
// sum means nothing; using it keeps the loads.
func (s *Store) Warm(places []Place) (sum uint64) {
	places = places[:min(len(places), WarmMax)]
	for i := range places {
		p := &places[i]
		p.t, p.nd = s.slots[p.Slot].t, nil
	}
	for i := range places {
		if p := &places[i]; p.t != nil && p.t.n > 0 {
			p.hash = s.hash.sum(p.Key)
			p.nd = p.t.buckets[p.hash>>p.t.shift]
		}
	}
	for i := range places {
		p := &places[i]
		for p.nd != nil && p.nd.hash < p.hash {
			p.nd = p.nd.next
		}
	}
	for i := range places {
		nd := places[i].nd
		if nd == nil {
			continue
		}
		if n := len(nd.key); n > 0 {
			sum += uint64(nd.key[n-1])
		}
		for at := 0; at < min(len(nd.val.str), warmBytes); at += cacheLine {
			sum += uint64(nd.val.str[at])
		}
	}
	return sum
}

const (
	cacheLine = 64
	// warmBytes bounds what is read of a value.
	warmBytes = 4 * cacheLine
)

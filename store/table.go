// SPDX-License-Identifier: Apache-2.0

package store

import "bytes"

const (
	tableMin = 4 // buckets of the smallest table
	// positionBits is the width of a scan position: the high bits of the keyed hash.
	positionBits = 48
)

// node is one key of a table. Its address is stable for its life; key is never changed in place.
type node[V any] struct {
	next *node[V]
	hash uint64
	key  []byte
	val  V
}

// table is a chained hash table whose buckets are the high bits of the hash and whose chains are
// sorted by (hash, key): walking it bucket by bucket meets all keys in keyed-hash order whatever
// its size, so growth never disturbs a scan. The zero table is empty.
type table[V any] struct {
	buckets []*node[V] // length a power of two, or nil
	shift   uint       // 64 - log2(len(buckets))
	n       int
}

func (t *table[V]) find(hash uint64, key []byte) *node[V] {
	if t.n == 0 {
		return nil
	}
	for nd := t.buckets[hash>>t.shift]; nd != nil; nd = nd.next {
		if nd.hash == hash && bytes.Equal(nd.key, key) {
			return nd
		}
		if nd.hash > hash {
			return nil
		}
	}
	return nil
}

// insert adds a key that is known to be absent and returns its node with a zero value. The table
// keeps key.
func (t *table[V]) insert(hash uint64, key []byte) *node[V] {
	if t.n >= len(t.buckets) {
		t.grow()
	}
	nd := &node[V]{hash: hash, key: key}
	at := &t.buckets[hash>>t.shift]
	for *at != nil && ((*at).hash < hash || (*at).hash == hash && bytes.Compare((*at).key, key) < 0) {
		at = &(*at).next
	}
	nd.next = *at
	*at = nd
	t.n++
	return nd
}

// remove takes out a node of this table.
func (t *table[V]) remove(nd *node[V]) {
	at := &t.buckets[nd.hash>>t.shift]
	for *at != nd {
		at = &(*at).next
	}
	*at = nd.next
	nd.next = nil
	t.n--
	if len(t.buckets) > tableMin && t.n < len(t.buckets)/8 {
		t.shrink()
	}
}

// grow doubles the buckets: bucket i splits into 2i and 2i+1 at the first node of its sorted chain
// that has the new bit.
func (t *table[V]) grow() {
	if t.buckets == nil {
		t.buckets = make([]*node[V], tableMin)
		t.shift = 62
		return
	}
	wide := make([]*node[V], 2*len(t.buckets))
	bit := uint64(1) << (t.shift - 1)
	for i, nd := range t.buckets {
		wide[2*i] = nd
		at := &wide[2*i]
		for *at != nil && (*at).hash&bit == 0 {
			at = &(*at).next
		}
		wide[2*i+1] = *at
		*at = nil
	}
	t.buckets = wide
	t.shift--
}

func (t *table[V]) shrink() {
	narrow := make([]*node[V], len(t.buckets)/2)
	for i := range narrow {
		narrow[i] = t.buckets[2*i]
		at := &narrow[i]
		for *at != nil {
			at = &(*at).next
		}
		*at = t.buckets[2*i+1]
	}
	t.buckets = narrow
	t.shift++
}

// ascend calls f for every node whose hash is at least from, in (hash, key) order, until f returns
// false. f must not change the table.
func (t *table[V]) ascend(from uint64, f func(nd *node[V]) bool) {
	if t.n == 0 {
		return
	}
	for i := from >> t.shift; i < uint64(len(t.buckets)); i++ {
		for nd := t.buckets[i]; nd != nil; nd = nd.next {
			if nd.hash >= from && !f(nd) {
				return
			}
		}
	}
}

// scan visits about count nodes from a position on and returns the position to go on from, 0 at the
// end. Nodes that share a position are never split over two calls, so a position names a place in
// the order for ever: every node present from the first call to the last is visited at least once.
func (t *table[V]) scan(position uint64, count int, f func(nd *node[V])) (next uint64) {
	if position>>positionBits != 0 {
		return 0
	}
	const low = 64 - positionBits
	seen := 0
	t.ascend(position<<low, func(nd *node[V]) bool {
		if at := nd.hash >> low; seen >= count && at >= next {
			return false
		}
		seen++
		next = nd.hash>>low + 1
		f(nd)
		return true
	})
	if seen == 0 || next>>positionBits != 0 || !t.any(next<<low) {
		return 0
	}
	return next
}

// any tells whether a node has a hash of at least from.
func (t *table[V]) any(from uint64) (found bool) {
	t.ascend(from, func(*node[V]) bool {
		found = true
		return false
	})
	return found
}

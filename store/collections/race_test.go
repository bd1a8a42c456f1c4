// SPDX-License-Identifier: Apache-2.0

package collections

import (
	"fmt"
	"sync"
	"testing"
)

// Goal: one goroutine may read an object without a lock while another writes its fork. Method: under the race
// detector, readers walk objects while the writer forks and changes them on and on.
func TestForkIsReadWithoutLock(t *testing.T) {
	l, h, z := new(ListEdit), NewHashEdit(testHasher()), NewZSetEdit(testHasher())
	list, hash, zset := newBigList(), hashOf(2000).o, newBigZSet(testHasher())
	for i := range 2000 {
		list.pushBack(fmt.Appendf(nil, "element %d", i))
		zset.put(fmt.Appendf(nil, "member %d", i), float64(i), 0, false, &z.item)
	}
	for round := range 20 {
		sums := [][2]uint64{list.Sum(), hash.Sum(), zset.Sum()}
		shared := []any{list, hash, zset}
		var wg sync.WaitGroup
		wg.Go(func() {
			read := [][2]uint64{readAgain(shared[0]), readAgain(shared[1]), readAgain(shared[2])}
			for i := range sums {
				if read[i] != sums[i] {
					t.Errorf("round %d: a fork changed", round)
				}
			}
		})
		l.BeginLarge(list.Fork())
		h.BeginLarge(hash.Fork())
		z.BeginLarge(zset.Fork())
		for i := range 300 {
			name := fmt.Appendf(nil, "field:%07d", i*7)
			l.PushFront(name)
			l.PopBack()
			l.Set(i*3, name)
			h.Set(name, name)
			z.Add(fmt.Appendf(nil, "member %d", i*5), float64(i+round))
			if i%4 == 0 {
				h.Delete(name)
			}
		}
		_, _, list = l.End()
		_, _, hash = h.End()
		_, _, zset = z.End()
		wg.Wait()
	}
}

// readAgain takes the sum of an object from its items.
func readAgain(o any) [2]uint64 {
	switch o := o.(type) {
	case *BigList:
		poly := newPolynomial()
		n := 0
		LargeList(o).Range(0, o.n, func(v []byte) bool {
			poly.pushBack(n, hashElement(v))
			n++
			return true
		})
		return poly.sum.words()
	case *BigHash:
		return sumOf(&o.t).words()
	case *BigZSet:
		return sumOf(&o.byMember).words()
	}
	return [2]uint64{}
}

func sumOf(t *tree) (sum sum128) {
	t.walk(0, t.n, func(_ uint64, item []byte) bool {
		sum.add(hashItem(item))
		return true
	})
	return sum
}

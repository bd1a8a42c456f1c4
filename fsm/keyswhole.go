// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"
	"slices"

	"github.com/kvorum/kvorum/store"
)

// keysAtOnce is how many keys of a slot are visited while writers wait.
const keysAtOnce = 64

// eachKey visits the live keys of some slots, until f returns false. Each slot is looked at by itself. Frozen ones are
// looked at, too: nothing changes in them, and the cover tells when another group has them as well.
func (x *execution) eachKey(c *Cover, f func(key []byte, r store.Ref) bool) {
	more := true
	for slot := range uint16(Slots) {
		if !more {
			return
		}
		if !c.Has(slot) {
			continue
		}
		for position := uint64(0); more; {
			if position = x.someKeys(slot, position, &more, f); position == 0 {
				break
			}
		}
	}
}

// someKeys visits live keys of a slot from a position on, and returns the next position, 0 at the end. It sets more to
// what f returned. What f meets may be a defect that only its read is to fail by: the slot is free again behind it.
func (x *execution) someKeys(slot uint16, position uint64, more *bool, f func(key []byte, r store.Ref) bool) uint64 {
	x.k.st.RLock(slot)
	defer x.k.st.RUnlock(slot)
	now := x.ctx.Now()
	return x.k.st.Scan(slot, position, keysAtOnce, func(key []byte, r store.Ref) {
		if *more && !r.Dead(now) {
			x.ctx.NoteDue(r.ExpireAt())
			*more = f(key, r)
		}
	})
}

// seen is covered for what takes long: ownership may change meanwhile, and the command is then tried again. Nothing is
// to be seen while an import goes on.
func (k *Keyspace) seen(f func(c *Cover) Result) Result {
	c := k.coverNow()
	if k.importing.Load()&1 != 0 {
		return Error(CodeSlotFrozen, TextSlotFrozen)
	}
	w := Whole{Cover: *c}
	w.Value = f(c)
	switch {
	case w.Value.IsError() || w.Value.Kind == KindNone:
		return w.Value
	case k.coverNow() != c:
		return Error(CodeSlotFrozen, TextSlotFrozen)
	}
	return w.result()
}

func (k *Keyspace) coverNow() *Cover {
	k.whole.RLock()
	defer k.whole.RUnlock()
	return k.whole.cover
}

// runKeys visits twice: no memory is taken before the size of the reply is known. It sees the slots one after the
// other, not all at one moment.
func runKeys(x *execution, args [][]byte) Result {
	return x.k.seen(func(c *Cover) Result {
		size := int64(0)
		x.eachKey(c, func(key []byte, _ store.Ref) bool {
			if globMatch(args[0], key) {
				size += ReplyOverhead + int64(len(key))
			}
			return size <= MaxReply
		})
		if bad := x.fits(size); bad != nil {
			return *bad
		}
		elems := []Result{}
		x.eachKey(c, func(key []byte, _ store.Ref) bool {
			if globMatch(args[0], key) {
				elems = append(elems, Bulk(clone(key)))
				size -= ReplyOverhead + int64(len(key))
			}
			return size >= 0
		})
		if size < 0 && x.ctx.room != nil { // more came meanwhile than there is room for
			x.ctx.room.Short = true
			return Result{}
		}
		return Array(elems)
	})
}

const (
	// randomTries is how often RANDOMKEY draws before it takes the first live key.
	randomTries = 64
	// randomWalk is how many keys of a slot are counted to find one; in a slot of more the hash decides.
	randomWalk = 256
)

// runRandomKey answers with the number of keys, a number that was drawn and a key: see RandomOf.
func runRandomKey(x *execution, _ [][]byte) Result {
	return x.k.seen(func(c *Cover) Result {
		d := x.readDraws()
		drawn := int64(d.next() & math.MaxInt64)
		slots, ends := x.keysBySlot(c)
		key := []byte(nil)
		for i := 0; i < randomTries && key == nil && len(slots) > 0; i++ {
			place := d.below(ends[len(ends)-1])
			at, found := slices.BinarySearch(ends, place)
			if found {
				at++
			}
			key = x.keyAt(slots[at], ends[at]-1-place, d.next()>>(64-store.PositionBits))
		}
		if key == nil {
			x.eachKey(c, func(first []byte, _ store.Ref) bool {
				key = clone(first)
				return false
			})
		}
		if key == nil {
			return Array([]Result{Int(0), Int(drawn), Null()})
		}
		if bad := x.fits(3*ReplyOverhead + int64(len(key))); bad != nil {
			return *bad
		}
		most := 1
		if len(ends) > 0 {
			most = ends[len(ends)-1]
		}
		return Array([]Result{Int(int64(most)), Int(drawn), Bulk(key)})
	})
}

// keysBySlot gives the slots that hold keys, and how many keys these and the slots before them hold.
func (x *execution) keysBySlot(c *Cover) (slots []uint16, ends []int) {
	total := 0
	for slot := range uint16(Slots) {
		if !c.Has(slot) {
			continue
		}
		x.k.st.RLock(slot)
		n := int(x.k.st.Stats(slot).Keys)
		x.k.st.RUnlock(slot)
		if n > 0 {
			total += n
			slots, ends = append(slots, slot), append(ends, total)
		}
	}
	return slots, ends
}

// keyAt gives a copy of the key at a place of a slot, or, in a large one, of the first key from a position on, in the
// circle; nil when it is dead.
func (x *execution) keyAt(slot uint16, place int, position uint64) (found []byte) {
	x.k.st.RLock(slot)
	defer x.k.st.RUnlock(slot)
	now, met := x.ctx.Now(), false
	take := func(key []byte, r store.Ref) {
		if met = true; found == nil && !r.Dead(now) {
			x.ctx.NoteDue(r.ExpireAt())
			found = clone(key)
		}
	}
	if x.k.st.Stats(slot).Keys <= randomWalk {
		x.k.st.Each(slot, func(key []byte, r store.Ref) bool {
			if place--; place < 0 {
				take(key, r)
			}
			return !met
		})
		return found
	}
	if x.k.st.Scan(slot, position, 1, take); !met {
		x.k.st.Scan(slot, 0, 1, take)
	}
	return found
}

// RandomOf joins what groups answered to RANDOMKEY: the key of one of them, of each as often as it has keys.
func RandomOf(values []Result) Result {
	total, drawn := int64(0), uint64(0)
	for i := range values {
		if len(values[i].Elems) == 3 {
			total += values[i].Elems[0].Int
			drawn += uint64(values[i].Elems[1].Int)
		}
	}
	if total <= 0 {
		return Null()
	}
	place := int64(drawn % uint64(total))
	for i := range values {
		if len(values[i].Elems) != 3 {
			continue
		}
		if place -= values[i].Elems[0].Int; place < 0 {
			return values[i].Elems[2]
		}
	}
	return Null()
}

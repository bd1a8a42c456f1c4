// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"math/bits"
)

// Cover is a set of slots at an epoch. A zero Cover is empty.
type Cover struct {
	// Bits has slot s in byte s/8, bit s%8.
	Bits [Slots / 8]byte
	// Epoch is the highest at which a slot's ownership changed in the group.
	Epoch uint64
}

// Has tells whether the slot is in the set.
func (c *Cover) Has(slot uint16) bool { return c.Bits[slot/8]&(1<<(slot%8)) != 0 }

// Add puts a slot into the set.
func (c *Cover) Add(slot uint16) { c.Bits[slot/8] |= 1 << (slot % 8) }

// Remove takes a slot out of the set.
func (c *Cover) Remove(slot uint16) { c.Bits[slot/8] &^= 1 << (slot % 8) }

// Len counts the set.
func (c *Cover) Len() int {
	n := 0
	for _, b := range c.Bits {
		n += bits.OnesCount8(b)
	}
	return n
}

// Whole is what one group answers to a whole-keyspace command (Spec.Whole, but SCAN): the value for the
// slots of Cover alone. The router joins the values of groups whose covers are disjoint and together
// complete.
type Whole struct {
	Cover Cover
	Value Result
}

func (w *Whole) result() Result {
	return Array([]Result{Bulk(clone(w.Cover.Bits[:])), Int(int64(w.Cover.Epoch)), w.Value})
}

// ParseWhole takes apart the result of a whole-keyspace command; false when res is none, such as an
// error.
func ParseWhole(res *Result) (Whole, bool) {
	var w Whole
	if res.Kind != KindArray || len(res.Elems) != 3 || len(res.Elems[0].Str) != len(w.Cover.Bits) {
		return w, false
	}
	copy(w.Cover.Bits[:], res.Elems[0].Str)
	w.Cover.Epoch = uint64(res.Elems[1].Int)
	w.Value = res.Elems[2]
	return w, true
}

// appendSlots encodes ascending slots as runs: gap since the last run's end, length.
func appendSlots(dst []byte, slots []uint16) []byte {
	end := 0
	for i := 0; i < len(slots); {
		j := i + 1
		for j < len(slots) && slots[j] == slots[j-1]+1 {
			j++
		}
		dst = binary.AppendUvarint(dst, uint64(int(slots[i])-end))
		dst = binary.AppendUvarint(dst, uint64(j-i))
		end = int(slots[j-1]) + 1
		i = j
	}
	return dst
}

// parseSlots is the reverse of appendSlots.
func parseSlots(src []byte) ([]uint16, bool) {
	r := reader{src: src}
	var slots []uint16
	end := uint64(0)
	for r.err == nil && r.rest() > 0 {
		gap, n := r.uint(Slots, "slot gap"), r.uint(Slots, "slot run")
		if r.err != nil || n == 0 || end+gap+n > Slots || gap == 0 && end != 0 {
			return nil, false
		}
		for s := end + gap; s < end+gap+n; s++ {
			slots = append(slots, uint16(s))
		}
		end += gap + n
	}
	return slots, r.err == nil && len(slots) > 0
}

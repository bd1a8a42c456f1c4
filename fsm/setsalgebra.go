// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// members visits members until f returns false.
type members func(f func(member []byte) bool)

// manyOperands is the number of operands beyond which a combination remembers members instead of looking for
// each of them in all operands, so that its work is bounded by what the operands hold.
const manyOperands = 8

// operands are the sets of a command, of which the first is key number from of the command, in the order of its
// keys; those that are absent are empty. A set named again adds nothing, but for the first of a difference, and
// is left out. Nothing is removed: what was found stays valid.
func (x *execution) operands(keys [][]byte, from int) ([]store.Set, *Result) {
	sets := make([]store.Set, 0, min(len(keys), manyOperands))
	seen := make(map[string]struct{}, min(len(keys), manyOperands))
	for i, key := range keys {
		if _, again := seen[string(key)]; again {
			continue
		}
		if i > 0 || !x.differs() {
			seen[string(key)] = struct{}{}
		}
		x.slot = x.keySlots[from+i]
		set, bad := x.setOf(key)
		if bad != nil {
			return nil, bad
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// differs: the command takes the other operands off the first one.
func (x *execution) differs() bool { return x.spec.Op == OpSDiff || x.spec.Op == OpSDiffStore }

func intersection(sets []store.Set) members {
	least := 0
	for i := range sets {
		if sets[i].Len() < sets[least].Len() {
			least = i
		}
	}
	return func(f func(member []byte) bool) {
		sets[least].Each(func(member []byte) bool {
			for i := range sets {
				if i != least && !sets[i].Has(member) {
					return true
				}
			}
			return f(member)
		})
	}
}

// union takes no memory for what was visited while the sets are few: a member belongs to the first set that has
// it.
func union(sets []store.Set) members {
	return func(f func(member []byte) bool) {
		had := func(i int, member []byte) bool { return anyHas(sets[:i], member) }
		if len(sets) > manyOperands {
			seen := make(map[string]struct{})
			had = func(_ int, member []byte) bool { return !remember(seen, member) }
		}
		more := true
		for i := 0; i < len(sets) && more; i++ {
			sets[i].Each(func(member []byte) bool {
				if !had(i, member) {
					more = f(member)
				}
				return more
			})
		}
	}
}

func without(sets []store.Set) members {
	return func(f func(member []byte) bool) {
		gone := elsewhere(len(sets), func(i int, member []byte) bool { return sets[i].Has(member) },
			func(i int, f func(member []byte) bool) { sets[i].Each(f) })
		sets[0].Each(func(member []byte) bool { return gone(member) || f(member) })
	}
}

// elsewhere tells of a member of the first of n operands whether it is in another one too. has looks for a
// member in an operand, each visits all of one.
func elsewhere(n int, has func(i int, member []byte) bool, each func(i int, f func(member []byte) bool)) func(member []byte) bool {
	if n <= manyOperands {
		return func(member []byte) bool {
			for i := 1; i < n; i++ {
				if has(i, member) {
					return true
				}
			}
			return false
		}
	}
	seen := make(map[string]struct{})
	for i := 1; i < n; i++ {
		each(i, func(member []byte) bool {
			if has(0, member) {
				remember(seen, member)
			}
			return true
		})
	}
	return func(member []byte) bool {
		_, ok := seen[string(member)]
		return ok
	}
}

// remember tells whether a member is new.
func remember(seen map[string]struct{}, member []byte) bool {
	if _, ok := seen[string(member)]; ok {
		return false
	}
	seen[string(member)] = struct{}{}
	return true
}

func anyHas(sets []store.Set, member []byte) bool {
	for i := range sets {
		if sets[i].Has(member) {
			return true
		}
	}
	return false
}

// combined is what the command makes of its sets.
func (x *execution) combined(sets []store.Set) members {
	switch x.spec.Op {
	case OpSInter, OpSInterStore:
		return intersection(sets)
	case OpSUnion, OpSUnionStore:
		return union(sets)
	}
	return without(sets)
}

// runSetAlgebra visits twice what may be large: no memory is taken before the size of the reply is known.
func runSetAlgebra(x *execution, args [][]byte) Result {
	sets, bad := x.operands(args, 0)
	if bad != nil {
		return *bad
	}
	each := x.combined(sets)
	most, size, n := int64(0), int64(0), 0
	for i := range sets {
		most += setSize(sets[i])
	}
	var found [][]byte // used while the reply cannot be large
	each(func(member []byte) bool {
		if most <= WriteReply {
			found = append(found, member)
		}
		n++
		size += ReplyOverhead + int64(len(member))
		return size <= MaxReply
	})
	if bad := x.fits(size); bad != nil {
		return *bad
	}
	elems := make([]Result, 0, n)
	if found != nil {
		each = func(f func(member []byte) bool) {
			for _, member := range found {
				f(member)
			}
		}
	}
	each(func(member []byte) bool {
		elems = append(elems, Bulk(clone(member)))
		return true
	})
	return Result{Kind: KindSet, Elems: elems}
}

func runSetStore(x *execution, args [][]byte) Result {
	sets, bad := x.operands(args[1:], 1)
	if bad != nil {
		return *bad
	}
	var p pile
	x.combined(sets)(func(member []byte) bool {
		p.add(member)
		return true
	})
	x.replace(args[0], len(p.ends), func() {
		x.editSet(args[0], func(m *store.SetEdit) {
			for i := range p.ends {
				m.Add(p.at(i))
			}
		})
	})
	return Int(int64(len(p.ends)))
}

// replace puts n members into the first key of the command, whatever was there before.
func (x *execution) replace(key []byte, n int, fill func()) {
	x.replaceAt(x.keySlots[0], key, n, fill)
}

// replaceAt is replace for any key of the command, with its slot.
func (x *execution) replaceAt(slot uint16, key []byte, n int, fill func()) {
	x.slot = slot
	if _, found := x.take(key); found {
		x.k.st.Delete(x.slot, key)
	}
	if n > 0 {
		fill()
		x.settle(key, false)
	}
}

// pile is a copy of members, with which a key can be made while those it is made from go.
type pile struct {
	data []byte
	ends []int
}

func (p *pile) add(member []byte) {
	p.data = append(p.data, member...)
	p.ends = append(p.ends, len(p.data))
}

func (p *pile) at(i int) []byte {
	start := 0
	if i > 0 {
		start = p.ends[i-1]
	}
	return p.data[start:p.ends[i]]
}

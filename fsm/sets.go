// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"

	"github.com/kvorum/kvorum/store"
)

func setRows() []Spec {
	return []Spec{
		one(OpSAdd, "SADD", -3, CatSet|CatFast, runSAdd).grows(),
		one(OpSRem, "SREM", -3, CatSet|CatFast, runSRem).write(),
		one(OpSMembers, "SMEMBERS", 2, CatSet|CatSlow, runSMembers).read(),
		one(OpSIsMember, "SISMEMBER", 3, CatSet|CatFast, runSIsMember).read(),
		one(OpSMIsMember, "SMISMEMBER", -3, CatSet|CatFast, runSMIsMember).read(),
		one(OpSCard, "SCARD", 2, CatSet|CatFast, runSCard).read(),
		one(OpSPop, "SPOP", -2, CatSet|CatFast, runSPop).write().replies().chance().verified(verifySPop),
		one(OpSRandMember, "SRANDMEMBER", -2, CatSet|CatSlow, runSRandMember).read().chance().verified(verifySRandMember),
		two(OpSMove, "SMOVE", 4, CatSet|CatFast, runSMove).write(),
		many(OpSInter, "SINTER", -2, 1, CatSet|CatSlow, runSetAlgebra).read(),
		many(OpSInterStore, "SINTERSTORE", -3, 1, CatSet|CatSlow, runSetStore).grows(),
		counted(OpSInterCard, "SINTERCARD", -3, 1, CatSet|CatSlow, runSInterCard).read().verified(verifySInterCard),
		many(OpSUnion, "SUNION", -2, 1, CatSet|CatSlow, runSetAlgebra).read(),
		many(OpSUnionStore, "SUNIONSTORE", -3, 1, CatSet|CatSlow, runSetStore).grows(),
		many(OpSDiff, "SDIFF", -2, 1, CatSet|CatSlow, runSetAlgebra).read(),
		many(OpSDiffStore, "SDIFFSTORE", -3, 1, CatSet|CatSlow, runSetStore).grows(),
		one(OpSScan, "SSCAN", -3, CatSet|CatSlow, runSScan).read().verified(verifyMemberScan),
	}
}

func (x *execution) editSet(key []byte, f func(m *store.SetEdit)) {
	x.k.st.EditSet(x.slot, key, x.ctx.NextVersion(), f)
}

// setOf is the set at a key for reading; an absent one is empty.
func (x *execution) setOf(key []byte) (m store.Set, bad *Result) {
	ref, found, bad := x.getTyped(key, store.TypeSet)
	if found && bad == nil {
		m = ref.Set()
	}
	return m, bad
}

func truth(is bool) Result {
	if is {
		return Int(1)
	}
	return Int(0)
}

// count is how many of some members f took.
func count(members [][]byte, f func(member []byte) bool) int64 {
	n := int64(0)
	for _, member := range members {
		if f(member) {
			n++
		}
	}
	return n
}

func runSAdd(x *execution, args [][]byte) Result {
	_, found, bad := x.takeTyped(args[0], store.TypeSet)
	if bad != nil {
		return *bad
	}
	created := int64(0)
	x.editSet(args[0], func(m *store.SetEdit) {
		created = count(args[1:], m.Add)
	})
	x.settle(args[0], found)
	return Int(created)
}

func runSRem(x *execution, args [][]byte) Result {
	_, found, bad := x.takeTyped(args[0], store.TypeSet)
	if bad != nil {
		return *bad
	}
	if !found {
		return Int(0)
	}
	n := int64(0)
	x.editSet(args[0], func(m *store.SetEdit) {
		n = count(args[1:], m.Remove)
	})
	return Int(n)
}

func runSMembers(x *execution, args [][]byte) Result {
	m, bad := x.setOf(args[0])
	if bad != nil {
		return *bad
	}
	if bad := x.fits(setSize(m)); bad != nil {
		return *bad
	}
	return Result{Kind: KindSet, Elems: allMembers(m)}
}

// setSize is the size of a reply with all members.
func setSize(m store.Set) int64 { return int64(m.Len())*ReplyOverhead + m.Bytes() }

func allMembers(m store.Set) []Result {
	elems := make([]Result, 0, m.Len())
	m.Each(func(member []byte) bool {
		elems = append(elems, Bulk(clone(member)))
		return true
	})
	return elems
}

func runSIsMember(x *execution, args [][]byte) Result {
	m, bad := x.setOf(args[0])
	if bad != nil {
		return *bad
	}
	return truth(m.Has(args[1]))
}

func runSMIsMember(x *execution, args [][]byte) Result {
	m, bad := x.setOf(args[0])
	if bad != nil {
		return *bad
	}
	if bad := x.fits(int64(len(args)) * ReplyOverhead); bad != nil {
		return *bad
	}
	elems := make([]Result, 0, len(args)-1)
	for _, member := range args[1:] {
		elems = append(elems, truth(m.Has(member)))
	}
	return Array(elems)
}

func runSCard(x *execution, args [][]byte) Result {
	m, bad := x.setOf(args[0])
	if bad != nil {
		return *bad
	}
	return Int(int64(m.Len()))
}

// runSMove first removes what is dead, since that would invalidate what was found.
func runSMove(x *execution, args [][]byte) Result {
	from, to, member := x.keySlots[0], x.keySlots[1], args[2]
	x.k.st.DeleteDead(from, args[0], x.now)
	x.k.st.DeleteDead(to, args[1], x.now)
	x.slot = to
	_, kept, wrong := x.takeTyped(args[1], store.TypeSet)
	x.slot = from
	ref, found, bad := x.takeTyped(args[0], store.TypeSet)
	switch {
	case bad != nil:
		return *bad
	case !found:
		return Int(0)
	case wrong != nil:
		return *wrong
	case string(args[0]) == string(args[1]) || !ref.Set().Has(member):
		return truth(ref.Set().Has(member))
	}
	x.editSet(args[0], func(m *store.SetEdit) { m.Remove(member) })
	x.slot = to
	x.editSet(args[1], func(m *store.SetEdit) { m.Add(member) })
	x.settle(args[1], kept)
	return Int(1)
}

func verifySPop(args [][]byte, _ *Limits) (Result, bool) {
	if len(args) > 2 {
		return fail(TextSyntax)
	}
	return verifyPopCount(args)
}

// verifyPopCount checks the count that may stand behind the key.
func verifyPopCount(args [][]byte) (Result, bool) {
	if len(args) > 1 {
		if n, ok := parseInt(args[1]); !ok || n < 0 {
			return fail(TextNotPositive)
		}
	}
	return Result{}, true
}

func runSPop(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeSet)
	if bad != nil {
		return *bad
	}
	var m store.Set
	if found {
		m = ref.Set()
	}
	n := 1
	if len(args) > 1 {
		count, _ := parseInt(args[1])
		if n = int(min(count, int64(m.Len()))); n == 0 {
			return Result{Kind: KindSet, Elems: []Result{}}
		}
	} else if !found {
		return Null()
	}
	d := x.writeDraws()
	drawn, bad := x.drawMembers(m, d.distinct(m.Len(), n))
	if bad != nil {
		return *bad
	}
	x.editSet(args[0], func(m *store.SetEdit) {
		for i := range drawn {
			m.Remove(drawn[i].Str)
		}
	})
	if len(args) == 1 {
		return drawn[0]
	}
	return Result{Kind: KindSet, Elems: drawn}
}

// drawMembers gives the members at some places.
func (x *execution) drawMembers(m store.Set, places []int) ([]Result, *Result) {
	size := int64(0)
	for _, i := range places {
		if size += ReplyOverhead + int64(len(m.At(i))); size > MaxReply {
			break
		}
	}
	if bad := x.fits(size); bad != nil {
		return nil, bad
	}
	elems := make([]Result, len(places))
	for i, at := range places {
		elems[i] = Bulk(clone(m.At(at)))
	}
	return elems, nil
}

func verifySRandMember(args [][]byte, _ *Limits) (Result, bool) {
	if len(args) > 2 {
		return fail(TextSyntax)
	}
	return verifyDrawCount(args)
}

// verifyDrawCount checks the count that may stand behind the key.
func verifyDrawCount(args [][]byte) (Result, bool) {
	if len(args) < 2 {
		return Result{}, true
	}
	switch n, ok := parseInt(args[1]); {
	case !ok:
		return fail(TextNotInteger)
	case n == math.MinInt64:
		return fail(TextDrawRange)
	}
	return Result{}, true
}

func runSRandMember(x *execution, args [][]byte) Result {
	m, bad := x.setOf(args[0])
	if bad != nil {
		return *bad
	}
	d := x.readDraws()
	if len(args) == 1 {
		if m.Len() == 0 {
			return Null()
		}
		return x.bulk(m.At(d.below(m.Len())))
	}
	count, _ := parseInt(args[1])
	places, bad := x.drawPlaces(&d, m.Len(), count, ReplyOverhead)
	if bad != nil {
		return *bad
	}
	elems, bad := x.drawMembers(m, places)
	if bad != nil {
		return *bad
	}
	return Array(elems)
}

func verifySInterCard(args [][]byte, _ *Limits) (Result, bool) {
	_, text := parseSInterCard(args)
	if text != "" {
		return fail(text)
	}
	return Result{}, true
}

// parseSInterCard gives the limit, 0 for none.
func parseSInterCard(args [][]byte) (limit int64, text string) {
	n, ok := parseInt(args[0])
	switch {
	case !ok || n < 1:
		return 0, TextNumKeys
	case n > int64(len(args)-1):
		return 0, TextManyKeys
	}
	for rest := args[1+n:]; len(rest) > 0; rest = rest[2:] {
		if !EqualFold(rest[0], "LIMIT") || len(rest) < 2 {
			return 0, TextSyntax
		}
		if limit, ok = parseInt(rest[1]); !ok || limit < 0 {
			return 0, TextLimit
		}
	}
	return limit, ""
}

func runSInterCard(x *execution, args [][]byte) Result {
	limit, _ := parseSInterCard(args)
	first, end := x.spec.CountedKeys(args)
	sets, bad := x.operands(args[first:end], 0)
	if bad != nil {
		return *bad
	}
	n := int64(0)
	intersection(sets)(func([]byte) bool {
		n++
		return n != limit
	})
	return Int(n)
}

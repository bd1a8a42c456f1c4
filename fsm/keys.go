// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

func keyRows() []Spec {
	whole := func(s Spec, j Join) Spec {
		s.Whole, s.Join = true, j
		return s
	}
	return []Spec{
		many(OpDel, "DEL", -2, 1, CatKeyspace|CatSlow, runDel).write().joined(JoinSum),
		many(OpUnlink, "UNLINK", -2, 1, CatKeyspace|CatFast, runDel).write().joined(JoinSum),
		many(OpExists, "EXISTS", -2, 1, CatKeyspace|CatFast, runExists).read().joined(JoinSum),
		many(OpTouch, "TOUCH", -2, 1, CatKeyspace|CatFast, runExists).read().joined(JoinSum),
		one(OpType, "TYPE", 2, CatKeyspace|CatFast, runType).read(),
		whole(Spec{Op: OpScan, Name: "SCAN", Arity: -2, Categories: CatKeyspace | CatSlow, Verify: verifyScan, run: runScan}.read(), JoinCursor),
		whole(Spec{Op: OpKeys, Name: "KEYS", Arity: 2, Categories: CatKeyspace | CatSlow | CatDangerous, run: runKeys}.read(), JoinConcat),
		whole(Spec{Op: OpRandomKey, Name: "RANDOMKEY", Arity: 1, Categories: CatKeyspace | CatSlow, run: runRandomKey}.read().chance(), JoinRandom),
		whole(Spec{Op: OpDBSize, Name: "DBSIZE", Arity: 1, Categories: CatKeyspace | CatFast, run: runDBSize}.read(), JoinSum),
		whole(Spec{
			Op: OpFlushAll, Name: "FLUSHALL", Arity: -1, Categories: CatKeyspace | CatSlow | CatDangerous,
			Verify: verifyFlushAll, run: runFlushAll,
		}.write(), JoinStatus),
	}
}

func runDel(x *execution, args [][]byte) Result {
	n := int64(0)
	for i, key := range args {
		x.slot = x.keySlots[i]
		if _, found := x.take(key); found {
			x.k.st.Delete(x.slot, key)
			n++
		}
	}
	return Int(n)
}

func runExists(x *execution, args [][]byte) Result {
	n := int64(0)
	for i, key := range args {
		x.slot = x.keySlots[i]
		if _, found := x.get(key); found {
			n++
		}
	}
	return Int(n)
}

func runType(x *execution, args [][]byte) Result {
	ref, found := x.get(args[0])
	if !found {
		return Status(store.TypeNone.String())
	}
	return Status(ref.Type().String())
}

// covered calls f with the slots owned now, which stay so until it returned.
func (k *Keyspace) covered(f func(c *Cover) Result) Result {
	k.whole.RLock()
	defer k.whole.RUnlock()
	w := Whole{Cover: *k.whole.cover}
	w.Value = f(k.whole.cover)
	return w.result()
}

// runDBSize relies on slots that are not owned being empty.
func runDBSize(x *execution, _ [][]byte) Result {
	return x.k.covered(func(*Cover) Result { return Int(x.k.st.Totals().Keys) })
}

func runKVStats(x *execution, _ [][]byte) Result {
	return x.k.covered(func(*Cover) Result {
		t := x.k.st.Totals()
		return Array([]Result{Int(t.Keys), Int(t.KeyBytes), Int(t.ValueBytes), Int(t.LogicalBytes)})
	})
}

func verifyFlushAll(args [][]byte, _ *Limits) (Result, bool) {
	if len(args) > 1 || len(args) == 1 && !EqualFold(args[0], "ASYNC") && !EqualFold(args[0], "SYNC") {
		return fail(TextSyntax)
	}
	return Result{}, true
}

// runFlushAll empties the owned slots one by one: a reader may see some before others. Tokens stay.
func runFlushAll(x *execution, _ [][]byte) Result {
	return x.k.covered(func(c *Cover) Result {
		for slot := range uint16(Slots) {
			if c.Has(slot) && x.k.slots[slot].frozen {
				return Error(CodeSlotFrozen, TextSlotFrozen)
			}
		}
		for slot := range uint16(Slots) {
			if c.Has(slot) {
				x.k.st.Lock(slot)
				x.k.st.Clear(slot)
				x.k.st.Unlock(slot)
			}
		}
		return OK()
	})
}

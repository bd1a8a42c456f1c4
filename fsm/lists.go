// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"math"

	"github.com/kvorum/kvorum/store"
)

func listRows() []Spec {
	return []Spec{
		one(OpLPush, "LPUSH", -3, CatList|CatFast, runPush).grows(),
		one(OpRPush, "RPUSH", -3, CatList|CatFast, runPush).grows(),
		one(OpLPop, "LPOP", -2, CatList|CatFast, runPop).write().replies().verified(verifyPop("lpop")),
		one(OpRPop, "RPOP", -2, CatList|CatFast, runPop).write().replies().verified(verifyPop("rpop")),
		one(OpLLen, "LLEN", 2, CatList|CatFast, runLLen).read(),
		one(OpLRange, "LRANGE", 4, CatList|CatSlow, runLRange).read().verified(ints(1, 2)),
		one(OpLIndex, "LINDEX", 3, CatList|CatSlow, runLIndex).read(),
		one(OpLSet, "LSET", 4, CatList|CatSlow, runLSet).grows(),
		one(OpLRem, "LREM", 4, CatList|CatSlow, runLRem).write().verified(ints(1)),
		one(OpLTrim, "LTRIM", 4, CatList|CatSlow, runLTrim).write().verified(ints(1, 2)),
	}
}

func (x *execution) editList(key []byte, f func(l *store.ListEdit)) {
	x.k.st.EditList(x.slot, key, x.ctx.NextVersion(), f)
}

func runPush(x *execution, args [][]byte) Result {
	_, found, bad := x.takeTyped(args[0], store.TypeList)
	if bad != nil {
		return *bad
	}
	n := 0
	x.editList(args[0], func(l *store.ListEdit) {
		for _, v := range args[1:] {
			if x.spec.Op == OpLPush || x.spec.Op == OpLPushX {
				l.PushFront(v)
			} else {
				l.PushBack(v)
			}
		}
		n = l.Len()
	})
	x.settle(args[0], found)
	return Int(int64(n))
}

func verifyPop(name string) func([][]byte, *Limits) (Result, bool) {
	return func(args [][]byte, _ *Limits) (Result, bool) {
		if len(args) > 2 {
			return Errorf(CodeArity, "ERR wrong number of arguments for '%s' command", name), false
		}
		if len(args) == 2 {
			if n, ok := parseInt(args[1]); !ok || n < 0 {
				return fail(TextNotPositive)
			}
		}
		return Result{}, true
	}
}

func runPop(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeList)
	if bad != nil {
		return *bad
	}
	if !found {
		return Null()
	}
	count := int64(1)
	if len(args) == 2 {
		if count, _ = parseInt(args[1]); count == 0 {
			return Array([]Result{})
		}
	}
	elems, bad := x.popMany(args[0], ref.List(), count, x.spec.Op == OpRPop, 0)
	if bad != nil {
		return *bad
	}
	if len(args) == 1 {
		return elems[0]
	}
	return Array(elems)
}

func runLLen(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeList)
	if bad != nil {
		return *bad
	}
	if !found {
		return Int(0)
	}
	return Int(int64(ref.List().Len()))
}

// span turns two inclusive indexes of Redis into [lo, hi) within n elements; lo >= hi when empty.
func span(start, stop []byte, n int) (lo, hi int) {
	a, _ := parseInt(start)
	b, _ := parseInt(stop)
	if b < 0 {
		b += int64(n)
	}
	a = clampRange(a, int64(n))
	if a > b || a >= int64(n) {
		return 0, 0
	}
	return int(a), int(min(b, int64(n)-1)) + 1
}

func runLRange(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeList)
	if bad != nil {
		return *bad
	}
	if !found {
		return Array([]Result{})
	}
	l := ref.List()
	lo, hi := span(args[1], args[2], l.Len())
	if bad := x.fits(rangeSize(l, lo, hi)); bad != nil {
		return *bad
	}
	elems := make([]Result, 0, hi-lo)
	l.Range(lo, hi, func(v []byte) bool {
		elems = append(elems, Bulk(clone(v)))
		return true
	})
	return Array(elems)
}

// rangeSize is the size of a reply with the elements of [lo, hi).
func rangeSize(l store.List, lo, hi int) (n int64) {
	l.Range(lo, hi, func(v []byte) bool {
		n += ReplyOverhead + int64(len(v))
		return true
	})
	return n
}

// position finds the element that an index of Redis names. Redis reads the index only after it found
// the list, so it is no matter of Verify.
func position(arg []byte, n int) (i int, inside bool, bad *Result) {
	v, ok := parseInt(arg)
	if !ok {
		res := Error(CodeNotInteger, TextNotInteger)
		return 0, false, &res
	}
	if v < 0 {
		v += int64(n)
	}
	return int(v), v >= 0 && v < int64(n), nil
}

func runLIndex(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeList)
	if bad != nil {
		return *bad
	}
	if !found {
		return Null()
	}
	i, inside, bad := position(args[1], ref.List().Len())
	if bad != nil {
		return *bad
	}
	if !inside {
		return Null()
	}
	return x.bulk(ref.List().Index(i))
}

func runLSet(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeList)
	if bad != nil {
		return *bad
	}
	if !found {
		return Error(CodeNoSuchKey, TextNoSuchKey)
	}
	i, inside, bad := position(args[1], ref.List().Len())
	if bad != nil {
		return *bad
	}
	if !inside {
		return Error(CodeOutOfRange, TextIndexRange)
	}
	x.editList(args[0], func(l *store.ListEdit) { l.Set(i, args[2]) })
	return OK()
}

func runLRem(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeList)
	if bad != nil {
		return *bad
	}
	if !found || !listHas(ref.List(), args[2]) {
		return Int(0)
	}
	count, _ := parseInt(args[1])
	count = max(min(count, math.MaxInt32), math.MinInt32)
	removed := 0
	x.editList(args[0], func(l *store.ListEdit) { removed = l.RemoveEqual(args[2], int(count)) })
	return Int(int64(removed))
}

func listHas(l store.List, v []byte) (found bool) {
	l.Range(0, l.Len(), func(elem []byte) bool {
		found = bytes.Equal(elem, v)
		return !found
	})
	return found
}

func runLTrim(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeList)
	if bad != nil {
		return *bad
	}
	if !found {
		return OK()
	}
	n := ref.List().Len()
	if lo, hi := span(args[1], args[2], n); lo != 0 || hi != n {
		x.editList(args[0], func(l *store.ListEdit) { l.Trim(lo, hi) })
	}
	return OK()
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"

	"github.com/kvorum/kvorum/store"
)

func stringRows() []Spec {
	return []Spec{
		one(OpGet, "GET", 2, CatString|CatFast, runGet).read(),
		one(OpSet, "SET", -3, CatString|CatSlow, runSet).grows().replies().verified(verifySet),
		one(OpGetDel, "GETDEL", 2, CatString|CatFast, runGetDel).write().replies(),
		one(OpGetEx, "GETEX", -2, CatString|CatFast, runGetEx).write().replies().verified(verifyGetEx),
		many(OpMGet, "MGET", -2, 1, CatString|CatFast, runMGet).read().joined(JoinArray),
		many(OpMSet, "MSET", -3, 2, CatString|CatSlow, runMSet).grows().joined(JoinStatus).verified(verifyPairs("mset")),
		one(OpIncr, "INCR", 2, CatString|CatFast, runIncr).grows(),
		one(OpDecr, "DECR", 2, CatString|CatFast, runDecr).grows(),
		one(OpIncrBy, "INCRBY", 3, CatString|CatFast, runIncrBy).grows().verified(ints(1)),
		one(OpDecrBy, "DECRBY", 3, CatString|CatFast, runDecrBy).grows().verified(verifyDecrBy),
		one(OpAppend, "APPEND", 3, CatString|CatFast, runAppend).grows(),
		one(OpStrLen, "STRLEN", 2, CatString|CatFast, runStrLen).read(),
		one(OpGetRange, "GETRANGE", 4, CatString|CatSlow, runGetRange).read().verified(ints(1, 2)),
		one(OpSetRange, "SETRANGE", 4, CatString|CatSlow, runSetRange).grows().verified(verifySetRange),
		one(OpSetEx, "SETEX", 4, CatString|CatSlow, runSetEx).grows().verified(verifySetEx("SETEX", ttlEX)),
		one(OpPSetEx, "PSETEX", 4, CatString|CatSlow, runSetEx).grows().verified(verifySetEx("PSETEX", ttlPX)),
		one(OpSetNX, "SETNX", 3, CatString|CatFast, runSetNX).grows(),
		one(OpGetSet, "GETSET", 3, CatString|CatFast, runGetSet).grows().replies(),
		many(OpMSetNX, "MSETNX", -3, 2, CatString|CatSlow, runMSetNX).grows().verified(verifyPairs("msetnx")),
		two(OpLCS, "LCS", -3, CatString|CatSlow, runLCS).read(),
		one(OpSubStr, "SUBSTR", 4, CatString|CatSlow, runGetRange).read().verified(ints(1, 2)),
		one(OpIncrByFloat, "INCRBYFLOAT", 3, CatString|CatFast, runIncrByFloat).grows().replies(),
	}
}

func runGet(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeString)
	if bad != nil {
		return *bad
	}
	if !found {
		return Null()
	}
	return x.bulk(ref.Bytes())
}

func runGetDel(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeString)
	if bad != nil {
		return *bad
	}
	if !found {
		return Null()
	}
	res := x.bulk(ref.Bytes())
	if !res.IsError() {
		x.k.st.Delete(x.slot, args[0])
	}
	return res
}

func runMGet(x *execution, args [][]byte) Result {
	size := int64(0)
	x.refs = x.refs[:0]
	for i, key := range args {
		x.slot = x.keySlots[i]
		ref, found := x.get(key)
		if size += ReplyOverhead; found && ref.Type() == store.TypeString {
			size += int64(len(ref.Bytes()))
		} else {
			ref = store.Ref{}
		}
		x.refs = append(x.refs, ref)
	}
	defer clear(x.refs)
	if bad := x.fits(size); bad != nil {
		return *bad
	}
	elems := make([]Result, len(args))
	for i, ref := range x.refs {
		if elems[i] = Null(); ref != (store.Ref{}) {
			elems[i] = Bulk(clone(ref.Bytes()))
		}
	}
	return Array(elems)
}

func verifyPairs(name string) func([][]byte, *Limits) (Result, bool) {
	return func(args [][]byte, _ *Limits) (Result, bool) {
		if len(args)%2 != 0 {
			return Errorf(CodeArity, "ERR wrong number of arguments for '%s' command", name), false
		}
		return Result{}, true
	}
}

// put stores a string as SET does: without flags, with the default deadline.
func (x *execution) put(key, value []byte) {
	x.k.st.DeleteDead(x.slot, key, x.now)
	x.k.st.SetString(x.slot, key, value, store.Meta{Version: x.ctx.NextVersion(), ExpireAt: x.fresh()})
}

func runMSet(x *execution, args [][]byte) Result {
	for i := 0; i < len(args); i += 2 {
		x.slot = x.keySlots[i/2]
		x.put(args[i], args[i+1])
	}
	return OK()
}

func runMSetNX(x *execution, args [][]byte) Result {
	for i := 0; i < len(args); i += 2 {
		x.slot = x.keySlots[i/2]
		if _, found := x.take(args[i]); found {
			return Int(0)
		}
	}
	runMSet(x, args)
	return Int(1)
}

func runSetNX(x *execution, args [][]byte) Result {
	if _, found := x.take(args[0]); found {
		return Int(0)
	}
	x.put(args[0], args[1])
	return Int(1)
}

func runGetSet(x *execution, args [][]byte) Result {
	old := runGet(x, args)
	if !old.IsError() {
		x.put(args[0], args[1])
	}
	return old
}

func runIncr(x *execution, args [][]byte) Result { return x.incr(args[0], 1) }

func runDecr(x *execution, args [][]byte) Result { return x.incr(args[0], -1) }

func runIncrBy(x *execution, args [][]byte) Result {
	by, _ := parseInt(args[1])
	return x.incr(args[0], by)
}

func runDecrBy(x *execution, args [][]byte) Result {
	by, _ := parseInt(args[1])
	return x.incr(args[0], -by)
}

func verifyDecrBy(args [][]byte, l *Limits) (Result, bool) {
	if res, ok := ints(1)(args, l); !ok {
		return res, ok
	}
	if by, _ := parseInt(args[1]); by == math.MinInt64 {
		return fail(TextDecrOverflow)
	}
	return Result{}, true
}

// addOverflows tells whether a+b leaves the range of int64.
func addOverflows(a, b int64) bool {
	return b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b
}

func (x *execution) incr(key []byte, by int64) Result {
	ref, found, bad := x.takeTyped(key, store.TypeString)
	if bad != nil {
		return *bad
	}
	m := store.Meta{ExpireAt: x.fresh()}
	var n int64
	if found {
		m = ref.Meta()
		var ok bool
		if n, ok = parseInt(ref.Bytes()); !ok {
			return Error(CodeNotInteger, TextNotInteger)
		}
	}
	if addOverflows(n, by) {
		return Error(CodeOverflow, TextOverflow)
	}
	n += by
	m.Version = x.ctx.NextVersion()
	x.k.st.SetString(x.slot, key, formatInt(n), m)
	return Int(n)
}

func runAppend(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeString)
	if bad != nil {
		return *bad
	}
	if found && len(ref.Bytes())+len(args[1]) > x.set.limits.MaxValue {
		return Error(CodeTooBig, TextStringTooBig)
	}
	n := x.k.st.AppendString(x.slot, args[0], args[1], x.ctx.NextVersion())
	x.settle(args[0], found)
	return Int(int64(n))
}

func runStrLen(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeString)
	if bad != nil {
		return *bad
	}
	if !found {
		return Int(0)
	}
	return Int(int64(len(ref.Bytes())))
}

func runGetRange(x *execution, args [][]byte) Result {
	start, _ := parseInt(args[1])
	end, _ := parseInt(args[2])
	ref, found, bad := x.getTyped(args[0], store.TypeString)
	if bad != nil {
		return *bad
	}
	if !found {
		return Bulk([]byte{})
	}
	b := ref.Bytes()
	n := int64(len(b))
	if start < 0 && end < 0 && start > end {
		return Bulk([]byte{})
	}
	start, end = clampRange(start, n), clampRange(end, n)
	end = min(end, n-1)
	if start > end {
		return Bulk([]byte{})
	}
	return x.bulk(b[start : end+1])
}

// clampRange turns an index from the end into one from the start, at least 0.
func clampRange(i, n int64) int64 {
	if i < 0 {
		i += n
	}
	return max(i, 0)
}

func verifySetRange(args [][]byte, _ *Limits) (Result, bool) {
	offset, ok := parseInt(args[1])
	if !ok {
		return fail(TextNotInteger)
	}
	if offset < 0 {
		return fail(TextOffsetRange)
	}
	return Result{}, true
}

func runSetRange(x *execution, args [][]byte) Result {
	offset, _ := parseInt(args[1])
	ref, found, bad := x.takeTyped(args[0], store.TypeString)
	if bad != nil {
		return *bad
	}
	if len(args[2]) == 0 {
		if !found {
			return Int(0)
		}
		return Int(int64(len(ref.Bytes())))
	}
	if limit := int64(x.set.limits.MaxValue); offset > limit || offset+int64(len(args[2])) > limit {
		return Error(CodeTooBig, TextStringTooBig)
	}
	n := x.k.st.WriteString(x.slot, args[0], int(offset), args[2], x.ctx.NextVersion())
	x.settle(args[0], found)
	return Int(int64(n))
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

func hashRows() []Spec {
	return []Spec{
		one(OpHSet, "HSET", -4, CatHash|CatFast, runHSet).grows().verified(verifyFields("hset")),
		one(OpHGet, "HGET", 3, CatHash|CatFast, runHGet).read(),
		one(OpHMGet, "HMGET", -3, CatHash|CatFast, runHMGet).read(),
		one(OpHGetAll, "HGETALL", 2, CatHash|CatSlow, runHGetAll).read(),
		one(OpHDel, "HDEL", -3, CatHash|CatFast, runHDel).write(),
		one(OpHExists, "HEXISTS", 3, CatHash|CatFast, runHExists).read(),
		one(OpHLen, "HLEN", 2, CatHash|CatFast, runHLen).read(),
		one(OpHKeys, "HKEYS", 2, CatHash|CatSlow, runHKeys).read(),
		one(OpHVals, "HVALS", 2, CatHash|CatSlow, runHVals).read(),
		one(OpHIncrBy, "HINCRBY", 4, CatHash|CatFast, runHIncrBy).grows().verified(ints(2)),
	}
}

func (x *execution) editHash(key []byte, f func(h *store.HashEdit)) {
	x.k.st.EditHash(x.slot, key, x.ctx.NextVersion(), f)
}

// verifyFields checks that every field behind the key has a value.
func verifyFields(name string) func([][]byte, *Limits) (Result, bool) {
	return func(args [][]byte, _ *Limits) (Result, bool) {
		if len(args)%2 == 0 {
			return Errorf(CodeArity, "ERR wrong number of arguments for '%s' command", name), false
		}
		return Result{}, true
	}
}

func runHSet(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	created := int64(0)
	if len(args) == 3 {
		version := x.ctx.NextVersion()
		if !ref.OverwriteField(x.slot, args[1], args[2], version) && x.k.st.SetField(x.slot, args[0], args[1], args[2], version) {
			created = 1
		}
	} else {
		x.editHash(args[0], func(h *store.HashEdit) {
			for i := 1; i+1 < len(args); i += 2 {
				if h.Set(args[i], args[i+1]) {
					created++
				}
			}
		})
	}
	x.settle(args[0], found)
	return Int(created)
}

func runHGet(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	if !found {
		return Null()
	}
	if v, ok := ref.Field(args[1]); ok {
		return x.bulk(v)
	}
	return Null()
}

func runHMGet(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	var h store.Hash
	if found {
		h = ref.Hash()
	}
	size := int64(len(args)) * ReplyOverhead
	for _, name := range args[1:] {
		v, _ := h.Get(name)
		size += int64(len(v))
	}
	if bad := x.fits(size); bad != nil {
		return *bad
	}
	elems := make([]Result, len(args)-1)
	for i, name := range args[1:] {
		elems[i] = Null()
		if v, ok := h.Get(name); ok {
			elems[i] = Bulk(clone(v))
		}
	}
	return Array(elems)
}

// fields lists a hash in its visible order.
func (x *execution) fields(key []byte, names, values bool) ([]Result, *Result) {
	elems := []Result{}
	ref, found, bad := x.getTyped(key, store.TypeHash)
	if bad != nil || !found {
		return elems, bad
	}
	size := int64(0)
	ref.Hash().Each(func(name, value []byte) bool {
		if names {
			size += ReplyOverhead + int64(len(name))
		}
		if values {
			size += ReplyOverhead + int64(len(value))
		}
		return true
	})
	if bad := x.fits(size); bad != nil {
		return elems, bad
	}
	ref.Hash().Each(func(name, value []byte) bool {
		if names {
			elems = append(elems, Bulk(clone(name)))
		}
		if values {
			elems = append(elems, Bulk(clone(value)))
		}
		return true
	})
	return elems, nil
}

func runHGetAll(x *execution, args [][]byte) Result {
	elems, bad := x.fields(args[0], true, true)
	if bad != nil {
		return *bad
	}
	return Map(elems)
}

func runHKeys(x *execution, args [][]byte) Result {
	elems, bad := x.fields(args[0], true, false)
	if bad != nil {
		return *bad
	}
	return Array(elems)
}

func runHVals(x *execution, args [][]byte) Result {
	elems, bad := x.fields(args[0], false, true)
	if bad != nil {
		return *bad
	}
	return Array(elems)
}

func runHDel(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	if !found || !hashHasAny(ref.Hash(), args[1:]) {
		return Int(0)
	}
	n := int64(0)
	x.editHash(args[0], func(h *store.HashEdit) {
		n = count(args[1:], h.Delete)
	})
	return Int(n)
}

func hashHasAny(h store.Hash, names [][]byte) bool {
	for _, name := range names {
		if _, ok := h.Get(name); ok {
			return true
		}
	}
	return false
}

func runHExists(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	if found {
		if _, ok := ref.Field(args[1]); ok {
			return Int(1)
		}
	}
	return Int(0)
}

func runHLen(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	if !found {
		return Int(0)
	}
	return Int(int64(ref.Hash().Len()))
}

func runHIncrBy(x *execution, args [][]byte) Result {
	by, _ := parseInt(args[2])
	ref, found, bad := x.takeTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	var n int64
	if found {
		if v, ok := ref.Field(args[1]); ok {
			if n, ok = parseInt(v); !ok {
				return Error(CodeNotInteger, TextHashNotInt)
			}
		}
	}
	if addOverflows(n, by) {
		return Error(CodeOverflow, TextOverflow)
	}
	n += by
	x.editHash(args[0], func(h *store.HashEdit) { h.Set(args[1], formatInt(n)) })
	x.settle(args[0], found)
	return Int(n)
}

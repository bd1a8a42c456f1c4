// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// hashFieldRows are the rows of hashes that are not in hashRows.
func hashFieldRows() []Spec {
	return []Spec{
		one(OpHSetNX, "HSETNX", 4, CatHash|CatFast, runHSetNX).grows(),
		one(OpHStrLen, "HSTRLEN", 3, CatHash|CatFast, runHStrLen).read(),
		one(OpHIncrByFloat, "HINCRBYFLOAT", 4, CatHash|CatFast, runHIncrByFloat).grows().replies().verified(verifyHIncrByFloat),
		one(OpHRandField, "HRANDFIELD", -2, CatHash|CatSlow, runHRandField).read().chance().verified(verifyDraw("WITHVALUES")),
		one(OpHScan, "HSCAN", -3, CatHash|CatSlow, runHScan).read().verified(verifyMemberScan),
		one(OpHMSet, "HMSET", -4, CatHash|CatFast, runHMSet).grows().verified(verifyFields("hmset")),
	}
}

func runHSetNX(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	if found {
		if _, has := ref.Field(args[1]); has {
			return Int(0)
		}
	}
	x.editHash(args[0], func(h *store.HashEdit) { h.Set(args[1], args[2]) })
	x.settle(args[0], found)
	return Int(1)
}

func runHMSet(x *execution, args [][]byte) Result {
	if res := runHSet(x, args); res.IsError() {
		return res
	}
	return OK()
}

func runHStrLen(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	if !found {
		return Int(0)
	}
	v, _ := ref.Field(args[1])
	return Int(int64(len(v)))
}

func runHRandField(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	var h store.Hash
	if found {
		h = ref.Hash()
	}
	d := x.readDraws()
	if len(args) == 1 {
		if h.Len() == 0 {
			return Null()
		}
		field, _ := h.At(d.below(h.Len()))
		return x.bulk(field)
	}
	each := int64(ReplyOverhead)
	values := len(args) == 3
	if values {
		each += ReplyOverhead
	}
	count, _ := parseInt(args[1])
	places, bad := x.drawPlaces(&d, h.Len(), count, each)
	if bad != nil {
		return *bad
	}
	size := int64(0)
	for _, i := range places {
		field, value := h.At(i)
		if size += each + int64(len(field)); values {
			size += int64(len(value))
		}
		if size > MaxReply {
			break
		}
	}
	if bad := x.fits(size); bad != nil {
		return *bad
	}
	elems := make([]Result, 0, len(places)*int(each/ReplyOverhead))
	for _, i := range places {
		field, value := h.At(i)
		if elems = append(elems, Bulk(clone(field))); values {
			elems = append(elems, Bulk(clone(value)))
		}
	}
	return Array(elems)
}

func runHScan(x *execution, args [][]byte) Result {
	ref, found, bad := x.getTyped(args[0], store.TypeHash)
	if bad != nil {
		return *bad
	}
	if !found {
		return x.scanReply(&memberScan{}, 0, scanValues)
	}
	s, bad := parseMemberScan(args)
	if bad != nil {
		return *bad
	}
	next := s.walk(func(position uint64, n int, f func(m scannedMember)) uint64 {
		return ref.Hash().Scan(position, n, func(field, value []byte) { f(scannedMember{name: field, value: value}) })
	})
	return x.scanReply(&s, next, scanValues)
}

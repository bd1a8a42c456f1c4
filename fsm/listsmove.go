// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"math"

	"github.com/kvorum/kvorum/store"
)

// listMoveRows are the rows of lists that look for elements, or move them.
func listMoveRows() []Spec {
	return []Spec{
		one(OpLPushX, "LPUSHX", -3, CatList|CatFast, runPushX).grows(),
		one(OpRPushX, "RPUSHX", -3, CatList|CatFast, runPushX).grows(),
		one(OpLInsert, "LINSERT", 5, CatList|CatSlow, runLInsert).grows().verified(verifyLInsert),
		one(OpLPos, "LPOS", -3, CatList|CatSlow, runLPos).read().verified(verifyLPos),
		two(OpLMove, "LMOVE", 5, CatList|CatSlow, runLMove).grows().replies().verified(verifyLMove),
		two(OpRPopLPush, "RPOPLPUSH", 3, CatList|CatSlow, runLMove).grows().replies(),
		counted(OpLMPop, "LMPOP", -4, 1, CatList|CatSlow, runLMPop).write().replies().verified(verifyMPop("LEFT", "RIGHT")),
	}
}

// runPushX is LPUSH and RPUSH on a list that is there.
func runPushX(x *execution, args [][]byte) Result {
	_, found, bad := x.takeTyped(args[0], store.TypeList)
	if bad != nil {
		return *bad
	}
	if !found {
		return Int(0)
	}
	return runPush(x, args)
}

func verifyLInsert(args [][]byte, _ *Limits) (Result, bool) {
	if !EqualFold(args[1], "BEFORE") && !EqualFold(args[1], "AFTER") {
		return fail(TextSyntax)
	}
	return Result{}, true
}

func runLInsert(x *execution, args [][]byte) Result {
	ref, found, bad := x.takeTyped(args[0], store.TypeList)
	if bad != nil {
		return *bad
	}
	if !found {
		return Int(0)
	}
	l := ref.List()
	at, place := -1, 0
	l.Range(0, l.Len(), func(elem []byte) bool {
		if bytes.Equal(elem, args[2]) {
			at = place
		}
		place++
		return at < 0
	})
	if at < 0 {
		return Int(-1)
	}
	if EqualFold(args[1], "AFTER") {
		at++
	}
	n := l.Len() + 1
	x.editList(args[0], func(l *store.ListEdit) { l.Insert(at, args[3]) })
	return Int(int64(n))
}

// lposOptions are the words behind the element of LPOS.
type lposOptions struct {
	rank   int64
	count  int64 // -1: not given
	maxLen int64 // 0: all
}

func parseLPos(args [][]byte) (o lposOptions, text string) {
	o = lposOptions{rank: 1, count: -1}
	for rest := args[2:]; len(rest) > 0; rest = rest[2:] {
		if len(rest) == 1 {
			return o, TextSyntax
		}
		var ok bool
		switch {
		case EqualFold(rest[0], "RANK"):
			switch o.rank, ok = parseInt(rest[1]); {
			case !ok:
				return o, TextNotInteger
			case o.rank == math.MinInt64:
				return o, TextDrawRange
			case o.rank == 0:
				return o, TextZeroRank
			}
		case EqualFold(rest[0], "COUNT"):
			if o.count, ok = parseInt(rest[1]); !ok || o.count < 0 {
				return o, TextNegativeCount
			}
		case EqualFold(rest[0], "MAXLEN"):
			if o.maxLen, ok = parseInt(rest[1]); !ok || o.maxLen < 0 {
				return o, TextNegativeMaxLen
			}
		default:
			return o, TextSyntax
		}
	}
	return o, ""
}

func verifyLPos(args [][]byte, _ *Limits) (Result, bool) {
	if _, text := parseLPos(args); text != "" {
		return fail(text)
	}
	return Result{}, true
}

// matches visits the places of the elements that LPOS means.
func (o *lposOptions) matches(l store.List, v []byte, f func(place int)) {
	n, looks := l.Len(), l.Len()
	if o.maxLen > 0 {
		looks = int(min(int64(n), o.maxLen))
	}
	most := max(o.count, 0)
	if o.count < 0 {
		most = 1
	}
	rank, met, given := max(o.rank, -o.rank), int64(0), int64(0)
	visit := func(place int, elem []byte) bool {
		if !bytes.Equal(elem, v) {
			return true
		}
		if met++; met < rank {
			return true
		}
		f(place)
		given++
		return most == 0 || given < most
	}
	if o.rank < 0 {
		for i := n - 1; i >= n-looks && visit(i, l.Index(i)); i-- {
		}
		return
	}
	i := 0
	l.Range(0, looks, func(elem []byte) bool {
		i++
		return visit(i-1, elem)
	})
}

func runLPos(x *execution, args [][]byte) Result {
	o, _ := parseLPos(args)
	ref, found, bad := x.getTyped(args[0], store.TypeList)
	if bad != nil {
		return *bad
	}
	var l store.List
	if found {
		l = ref.List()
	}
	if o.count < 0 {
		res := Null()
		o.matches(l, args[1], func(place int) { res = Int(int64(place)) })
		return res
	}
	n := 0
	o.matches(l, args[1], func(int) { n++ })
	if bad := x.fits(int64(n) * ReplyOverhead); bad != nil {
		return *bad
	}
	elems := make([]Result, 0, n)
	o.matches(l, args[1], func(place int) { elems = append(elems, Int(int64(place))) })
	return Array(elems)
}

// listEnd reads a word that names an end of a list.
func listEnd(word []byte) (right, ok bool) {
	right = EqualFold(word, "RIGHT")
	return right, right || EqualFold(word, "LEFT")
}

func verifyLMove(args [][]byte, _ *Limits) (Result, bool) {
	for _, word := range args[2:] {
		if _, ok := listEnd(word); !ok {
			return fail(TextSyntax)
		}
	}
	return Result{}, true
}

// moveEnds are the ends that an element is taken from, and brought to.
func moveEnds(args [][]byte) (fromRight, toRight bool) {
	if len(args) < 4 { // RPOPLPUSH, BRPOPLPUSH
		return true, false
	}
	fromRight, _ = listEnd(args[2])
	toRight, _ = listEnd(args[3])
	return fromRight, toRight
}

// runLMove is LMOVE and RPOPLPUSH, and one try of BLMOVE and BRPOPLPUSH. It first removes what is dead, since that would invalidate what was found.
func runLMove(x *execution, args [][]byte) Result {
	fromRight, toRight := moveEnds(args)
	from, to := x.keySlots[0], x.keySlots[1]
	x.k.st.DeleteDead(from, args[0], x.now)
	x.k.st.DeleteDead(to, args[1], x.now)
	x.slot = to
	_, kept, wrong := x.takeTyped(args[1], store.TypeList)
	x.slot = from
	ref, found, bad := x.takeTyped(args[0], store.TypeList)
	switch {
	case bad != nil:
		return *bad
	case !found:
		return Null()
	case wrong != nil:
		return *wrong
	}
	at := 0
	if fromRight {
		at = ref.List().Len() - 1
	}
	moved := x.bulk(ref.List().Index(at))
	if moved.Kind != KindBulk {
		return moved
	}
	same := string(args[0]) == string(args[1])
	x.editList(args[0], func(l *store.ListEdit) {
		if popEnd(l, fromRight); same {
			pushEnd(l, toRight, moved.Str)
		}
	})
	if same {
		return moved
	}
	x.slot = to
	x.editList(args[1], func(l *store.ListEdit) { pushEnd(l, toRight, moved.Str) })
	x.settle(args[1], kept)
	return moved
}

func popEnd(l *store.ListEdit, right bool) []byte {
	pop := l.PopFront
	if right {
		pop = l.PopBack
	}
	v, _ := pop()
	return v
}

func pushEnd(l *store.ListEdit, right bool, v []byte) {
	if right {
		l.PushBack(v)
	} else {
		l.PushFront(v)
	}
}

func runLMPop(x *execution, args [][]byte) Result {
	o, _ := parseMPop(args, "LEFT", "RIGHT")
	first, end := x.spec.CountedKeys(args)
	return x.popList(args[first:end], o.count, o.last)
}

// popFirst pops from the first of the command's keys that is there: such a one is never empty. pop gives what it
// removes.
func (x *execution) popFirst(keys [][]byte, t store.Type, pop func(key []byte, ref store.Ref) ([]Result, *Result)) Result {
	for i, key := range keys {
		x.slot = x.keySlots[i]
		ref, found, bad := x.takeTyped(key, t)
		if bad != nil {
			return *bad
		}
		if !found {
			continue
		}
		elems, bad := pop(key, ref)
		if bad != nil {
			return *bad
		}
		return Array([]Result{Bulk(clone(key)), Array(elems)})
	}
	return Null()
}

func (x *execution) popList(keys [][]byte, count int64, right bool) Result {
	return x.popFirst(keys, store.TypeList, func(key []byte, ref store.Ref) ([]Result, *Result) {
		return x.popMany(key, ref.List(), count, right, 2*ReplyOverhead+int64(len(key)))
	})
}

// popMany removes at most count elements from an end of a list; more is what else is in the reply.
func (x *execution) popMany(key []byte, l store.List, count int64, right bool, more int64) ([]Result, *Result) {
	n := int(min(count, int64(l.Len())))
	lo, hi := 0, n
	if right {
		lo, hi = l.Len()-n, l.Len()
	}
	if bad := x.fits(rangeSize(l, lo, hi) + more); bad != nil {
		return nil, bad
	}
	elems := make([]Result, 0, n)
	x.editList(key, func(l *store.ListEdit) {
		for range n {
			elems = append(elems, Bulk(clone(popEnd(l, right))))
		}
	})
	return elems, nil
}

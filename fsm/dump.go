// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"errors"
	"math"

	"github.com/kvorum/kvorum/fsm/rdb"
	"github.com/kvorum/kvorum/store"
)

const (
	// maxRestored bounds the bytes that a payload stands for, maxRestoredItems what a collection made of one has.
	maxRestored      = 64 << 20
	maxRestoredItems = MaxArgCount
)

// dumpRows are the rows of commands that take a value out as bytes, and in.
func dumpRows() []Spec {
	return []Spec{
		one(OpDump, "DUMP", 2, CatKeyspace|CatSlow, runDump).read(),
		one(OpRestore, "RESTORE", -4, CatKeyspace|CatSlow|CatDangerous, runRestore).grows().verified(verifyRestore),
	}
}

func runDump(x *execution, args [][]byte) Result {
	ref, found := x.get(args[0])
	if !found {
		return Null()
	}
	bytes, n := dumpSize(ref)
	size := bytes + int64(n)*rdb.ItemOverhead + rdb.ValueOverhead
	if bad := x.fits(size); bad != nil {
		return *bad
	}
	return Bulk(x.k.rdb.Seal(appendDump(make([]byte, 0, size), ref, n)))
}

// dumpSize is how many items a value has, and the bytes of all.
func dumpSize(ref store.Ref) (bytes int64, n int) {
	switch ref.Type() {
	case store.TypeList:
		return ref.List().Bytes(), ref.List().Len()
	case store.TypeHash:
		return ref.Hash().Bytes(), ref.Hash().Len()
	case store.TypeSet:
		return ref.Set().Bytes(), ref.Set().Len()
	case store.TypeZSet:
		return ref.ZSet().Bytes(), ref.ZSet().Len()
	case store.TypeNone, store.TypeString:
	}
	return int64(len(ref.Bytes())), 1
}

func appendDump(dst []byte, ref store.Ref, n int) []byte {
	switch ref.Type() {
	case store.TypeList:
		return appendDumpedList(dst, ref.List())
	case store.TypeHash:
		dst = rdb.Begin(dst, rdb.Hash, n)
		ref.Hash().Each(func(field, value []byte) bool {
			dst = rdb.AppendItem(dst, rdb.Hash, &rdb.Item{A: field, B: value})
			return true
		})
	case store.TypeSet:
		dst = rdb.Begin(dst, rdb.Set, n)
		ref.Set().Each(func(member []byte) bool {
			dst = rdb.AppendItem(dst, rdb.Set, &rdb.Item{A: member})
			return true
		})
	case store.TypeZSet:
		dst = rdb.Begin(dst, rdb.ZSet, n)
		ref.ZSet().Each(func(member []byte, score float64) bool {
			dst = rdb.AppendItem(dst, rdb.ZSet, &rdb.Item{A: member, Score: score})
			return true
		})
	case store.TypeNone, store.TypeString:
		return rdb.AppendString(dst, ref.Bytes())
	}
	return dst
}

func appendDumpedList(dst []byte, l store.List) []byte {
	var nodes rdb.Nodes
	l.Range(0, l.Len(), func(v []byte) bool {
		nodes.Next(v)
		return true
	})
	packs := rdb.BeginList(dst, nodes.N)
	l.Range(0, l.Len(), func(v []byte) bool {
		packs.Add(v)
		return true
	})
	return packs.End()
}

// restoreOptions are the words behind the payload. How long the key was idle, and how often it was used, is not kept.
type restoreOptions struct{ replace, absolute bool }

func parseRestore(args [][]byte) (o restoreOptions, text string) {
	const mostFrequent = 255
	idle, frequent := false, false
	for rest := args[3:]; len(rest) > 0; rest = rest[1:] {
		switch more := len(rest) > 1; {
		case EqualFold(rest[0], "REPLACE"):
			o.replace = true
		case EqualFold(rest[0], "ABSTTL"):
			o.absolute = true
		case EqualFold(rest[0], "IDLETIME") && more && !frequent:
			switch n, ok := parseInt(rest[1]); {
			case !ok:
				return o, TextNotInteger
			case n < 0:
				return o, TextIdleTime
			}
			idle = true
			rest = rest[1:]
		case EqualFold(rest[0], "FREQ") && more && !idle:
			switch n, ok := parseInt(rest[1]); {
			case !ok:
				return o, TextNotInteger
			case n < 0 || n > mostFrequent:
				return o, TextFrequency
			}
			frequent = true
			rest = rest[1:]
		default:
			return o, TextSyntax
		}
	}
	return o, ""
}

// verifyRestore looks at the words alone: Redis reads the rest only when the key may be made.
func verifyRestore(args [][]byte, _ *Limits) (Result, bool) {
	if _, text := parseRestore(args); text != "" {
		return fail(text)
	}
	return Result{}, true
}

// dumped gives a payload's value once it is known to be one that RESTORE takes.
func (k *Keyspace) dumped(payload []byte, l *Limits) (value []byte, size rdb.Size, text string) {
	value, err := k.rdb.Open(payload)
	if err != nil {
		return nil, size, TextPayloadSum
	}
	size, err = rdb.Read(value, restoreLimits(l), dumpedScore, nil)
	switch {
	case err == nil:
		return value, size, ""
	case errors.Is(err, rdb.ErrTooBig):
		return nil, size, TextStringTooBig
	case errors.Is(err, rdb.ErrTooMany):
		return nil, size, TextRestoreTooMany
	}
	return nil, size, TextPayload
}

func restoreLimits(l *Limits) rdb.Limits {
	return rdb.Limits{Value: l.MaxValue, Bytes: maxRestored, Elements: maxRestoredItems}
}

func dumpedScore(text []byte) (float64, bool) {
	v, _, ok := looseDouble(text)
	return v, ok
}

func runRestore(x *execution, args [][]byte) Result {
	o, _ := parseRestore(args)
	_, found := x.take(args[0])
	if found && !o.replace {
		return Error(CodeError, TextBusyKey)
	}
	at, ok := parseInt(args[1])
	switch {
	case !ok:
		return Error(CodeNotInteger, TextNotInteger)
	case at < 0:
		return Error(CodeError, TextInvalidTTL)
	}
	if !x.bundle.works(0) {
		return Error(CodeTooBig, TextBundleWork)
	}
	value, size, text := x.k.dumped(args[2], &x.set.limits)
	const each = 64 // of the work, for each element
	x.bundle.works(max(int64(len(args[2])), int64(size.Bytes)+each*int64(size.N)))
	if text != "" {
		res, _ := fail(text)
		return res
	}
	switch {
	case at == 0:
		at = x.fresh()
	case !o.absolute && at > math.MaxInt64-x.now:
		return x.spec.invalidExpire()
	case !o.absolute:
		at += x.now
	}
	if found {
		x.k.st.Delete(x.slot, args[0])
	}
	if at == 0 || at > x.now {
		x.restore(args[0], value, size.Kind)
		x.expire(args[0], at)
	}
	return OK()
}

// restore makes a key of a value that was read before without an error.
func (x *execution) restore(key, value []byte, k rdb.Kind) {
	limits := restoreLimits(&x.set.limits)
	read := func(f func(i *rdb.Item)) { _, _ = rdb.Read(value, limits, dumpedScore, f) }
	switch k {
	case rdb.String:
		read(func(i *rdb.Item) {
			x.k.st.SetString(x.slot, key, i.A, store.Meta{Version: x.ctx.NextVersion()})
		})
	case rdb.List:
		x.editList(key, func(l *store.ListEdit) { read(func(i *rdb.Item) { l.PushBack(i.A) }) })
	case rdb.Hash:
		x.editHash(key, func(h *store.HashEdit) { read(func(i *rdb.Item) { h.Set(i.A, i.B) }) })
	case rdb.Set:
		x.editSet(key, func(m *store.SetEdit) { read(func(i *rdb.Item) { m.Add(i.A) }) })
	case rdb.ZSet:
		x.editZSet(key, func(z *store.ZSetEdit) { read(func(i *rdb.Item) { z.Add(i.A, i.Score) }) })
	case rdb.None:
	}
}

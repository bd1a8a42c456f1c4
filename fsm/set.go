// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"

	"github.com/kvorum/kvorum/store"
)

// ttlKind says how a number is meant as a deadline.
type ttlKind uint8

const (
	ttlNone ttlKind = iota
	ttlEX
	ttlPX
	ttlEXAT
	ttlPXAT
)

// setOptions are the options of SET and GETEX.
type setOptions struct {
	nx, xx, get, keep, persist bool
	ttl                        ttlKind
	at                         []byte // the number behind ttl
	// ifVersion is compared when conditional; 0 means that the key must be absent.
	conditional bool
	ifVersion   uint64
	withVersion bool
	flags       uint32
}

// ttlOption reads EX, PX, EXAT or PXAT; ttlNone for any other word.
func ttlOption(word []byte) ttlKind {
	switch {
	case EqualFold(word, "EX"):
		return ttlEX
	case EqualFold(word, "PX"):
		return ttlPX
	case EqualFold(word, "EXAT"):
		return ttlEXAT
	case EqualFold(word, "PXAT"):
		return ttlPXAT
	}
	return ttlNone
}

// withTTL takes a ttl option with its number; false when it does not fit what was read before.
func (o *setOptions) withTTL(kind ttlKind, rest [][]byte) bool {
	if o.keep || o.persist || o.ttl != ttlNone && o.ttl != kind || len(rest) == 0 {
		return false
	}
	o.ttl, o.at = kind, rest[0]
	return true
}

// parseSetOptions reads what stands behind SET key value. text is empty or the error.
func parseSetOptions(args [][]byte) (o setOptions, text string) {
	for i := 0; i < len(args); i++ {
		word, rest := args[i], args[i+1:]
		switch kind := ttlOption(word); {
		case kind != ttlNone:
			if !o.withTTL(kind, rest) {
				return o, TextSyntax
			}
			i++
		case EqualFold(word, "NX") && !o.xx && !o.conditional:
			o.nx = true
		case EqualFold(word, "XX") && !o.nx && !o.conditional:
			o.xx = true
		case EqualFold(word, "GET") && !o.withVersion:
			o.get = true
		case EqualFold(word, "KEEPTTL") && o.ttl == ttlNone:
			o.keep = true
		case EqualFold(word, "IFVERSION") && !o.nx && !o.xx && len(rest) > 0:
			var ok bool
			if o.ifVersion, ok = parseUint(rest[0], math.MaxUint64); !ok {
				return o, TextNotInteger
			}
			o.conditional = true
			i++
		case EqualFold(word, "WITHVERSION") && !o.get:
			o.withVersion = true
		case EqualFold(word, "FLAGS") && len(rest) > 0:
			flags, ok := parseUint(rest[0], math.MaxUint32)
			if !ok {
				return o, TextNotInteger
			}
			o.flags = uint32(flags)
			i++
		default:
			return o, TextSyntax
		}
	}
	return o, ""
}

// parseGetExOptions reads what stands behind GETEX key.
func parseGetExOptions(args [][]byte) (o setOptions, text string) {
	for i := 0; i < len(args); i++ {
		word, rest := args[i], args[i+1:]
		switch kind := ttlOption(word); {
		case kind != ttlNone:
			if !o.withTTL(kind, rest) {
				return o, TextSyntax
			}
			i++
		case EqualFold(word, "PERSIST") && o.ttl == ttlNone:
			o.persist = true
		default:
			return o, TextSyntax
		}
	}
	return o, ""
}

// deadline gives the deadline that number means at now.
func (s *Spec) deadline(kind ttlKind, number []byte, now int64) (at int64, res Result, ok bool) {
	n, isInt := parseInt(number)
	if !isInt {
		res, _ = fail(TextNotInteger)
		return 0, res, false
	}
	seconds := kind == ttlEX || kind == ttlEXAT
	if n <= 0 || seconds && n > math.MaxInt64/1000 {
		return 0, s.invalidExpire(), false
	}
	if seconds {
		n *= 1000
	}
	if kind == ttlEX || kind == ttlPX {
		if n > math.MaxInt64-now {
			return 0, s.invalidExpire(), false
		}
		n += now
	}
	return n, Result{}, true
}

func verifySet(args [][]byte, _ *Limits) (Result, bool) {
	o, text := parseSetOptions(args[2:])
	if text != "" {
		return fail(text)
	}
	if o.ttl == ttlNone {
		return Result{}, true
	}
	spec := Spec{Name: "SET"}
	_, res, ok := spec.deadline(o.ttl, o.at, 0)
	return res, ok
}

func verifySetEx(name string, kind ttlKind) func([][]byte, *Limits) (Result, bool) {
	return func(args [][]byte, _ *Limits) (Result, bool) {
		spec := Spec{Name: name}
		_, res, ok := spec.deadline(kind, args[1], 0)
		return res, ok
	}
}

// verifyGetEx looks at the words alone: Redis reads the number only when the key is there.
func verifyGetEx(args [][]byte, _ *Limits) (Result, bool) {
	if _, text := parseGetExOptions(args[1:]); text != "" {
		return fail(text)
	}
	return Result{}, true
}

// versionMismatch is the error of IFVERSION; current 0 means that the key is absent.
func versionMismatch(current uint64) Result {
	return Errorf(CodeVersion, "%s%d", TextVersion, current)
}

func currentVersion(ref store.Ref, found bool) uint64 {
	if !found {
		return 0
	}
	return ref.Version()
}

func runSet(x *execution, args [][]byte) Result {
	key := args[0]
	o, _ := parseSetOptions(args[2:])
	m := store.Meta{Flags: o.flags, ExpireAt: x.fresh()}
	if o.ttl != ttlNone {
		var res Result
		var ok bool
		if m.ExpireAt, res, ok = x.spec.deadline(o.ttl, o.at, x.now); !ok {
			return res
		}
	}
	ref, found := x.take(key)
	res := OK()
	if o.get {
		if res = Null(); found && ref.Type() != store.TypeString {
			return Error(CodeWrongType, TextWrongType)
		} else if found {
			if res = x.bulk(ref.Bytes()); res.IsError() {
				return res
			}
		}
	}
	if o.conditional && currentVersion(ref, found) != o.ifVersion {
		return versionMismatch(currentVersion(ref, found))
	}
	if o.nx && found || o.xx && !found {
		if !o.get {
			res = Null()
		}
		return res
	}
	if o.keep && found {
		m.ExpireAt = ref.ExpireAt()
	}
	m.Version = x.ctx.NextVersion()
	x.store(key, ref, args[1], m)
	if o.withVersion {
		return Int(int64(m.Version))
	}
	return res
}

// store keeps a string, unless its deadline has passed already: then the key goes at once. old is the
// key's entry if take found it.
func (x *execution) store(key []byte, old store.Ref, value []byte, m store.Meta) {
	if old == (store.Ref{}) {
		x.k.st.SetString(x.slot, key, value, m)
	} else {
		x.k.st.Overwrite(x.slot, old, value, m)
	}
	if m.ExpireAt != 0 && m.ExpireAt <= x.now {
		x.k.st.Delete(x.slot, key)
	}
}

// runSetEx is SETEX and PSETEX: key number value.
func runSetEx(x *execution, args [][]byte) Result {
	kind := ttlEX
	if x.spec.Op == OpPSetEx {
		kind = ttlPX
	}
	at, res, ok := x.spec.deadline(kind, args[1], x.now)
	if !ok {
		return res
	}
	x.k.st.DeleteDead(x.slot, args[0], x.now)
	x.store(args[0], store.Ref{}, args[2], store.Meta{Version: x.ctx.NextVersion(), ExpireAt: at})
	return OK()
}

func runGetEx(x *execution, args [][]byte) Result {
	o, _ := parseGetExOptions(args[1:])
	ref, found, bad := x.takeTyped(args[0], store.TypeString)
	if bad != nil {
		return *bad
	}
	if !found {
		return Null()
	}
	at := ref.ExpireAt()
	if o.ttl != ttlNone {
		var res Result
		var ok bool
		if at, res, ok = x.spec.deadline(o.ttl, o.at, x.now); !ok {
			return res
		}
	}
	if o.persist {
		at = 0
	}
	res := x.bulk(ref.Bytes())
	if !res.IsError() {
		x.expire(args[0], at)
	}
	return res
}

// expire gives a key a deadline, 0 for none; one that has passed removes the key.
func (x *execution) expire(key []byte, at int64) {
	if at != 0 && at <= x.now {
		x.k.st.Delete(x.slot, key)
		return
	}
	x.k.st.SetExpire(x.slot, key, at)
}

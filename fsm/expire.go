// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"fmt"
	"math"

	"github.com/kvorum/kvorum/store"
)

func expireRows() []Spec {
	return []Spec{
		one(OpExpire, "EXPIRE", -3, CatKeyspace|CatFast, runExpire).write().verified(verifyExpire("expire", true)),
		one(OpPExpire, "PEXPIRE", -3, CatKeyspace|CatFast, runExpire).write().verified(verifyExpire("pexpire", false)),
		one(OpExpireAt, "EXPIREAT", -3, CatKeyspace|CatFast, runExpire).write().verified(verifyExpire("expireat", true)),
		one(OpPExpireAt, "PEXPIREAT", -3, CatKeyspace|CatFast, runExpire).write().verified(verifyExpire("pexpireat", false)),
		one(OpTTL, "TTL", 2, CatKeyspace|CatFast, runTTL).read(),
		one(OpPTTL, "PTTL", 2, CatKeyspace|CatFast, runTTL).read(),
		one(OpExpireTime, "EXPIRETIME", 2, CatKeyspace|CatFast, runTTL).read(),
		one(OpPExpireTime, "PEXPIRETIME", 2, CatKeyspace|CatFast, runTTL).read(),
		one(OpPersist, "PERSIST", 2, CatKeyspace|CatFast, runPersist).write(),
	}
}

// conditions are the words by which EXPIRE and ZADD leave what is there as it is.
type conditions struct{ nx, xx, gt, lt bool }

// read notes word if it is a condition.
func (c *conditions) read(word []byte) bool {
	switch {
	case EqualFold(word, "NX"):
		c.nx = true
	case EqualFold(word, "XX"):
		c.xx = true
	case EqualFold(word, "GT"):
		c.gt = true
	case EqualFold(word, "LT"):
		c.lt = true
	default:
		return false
	}
	return true
}

// expireOptions are the words behind the time of EXPIRE.
type expireOptions struct{ conditions }

func parseExpireOptions(args [][]byte) (o expireOptions, text string) {
	for _, word := range args {
		if !o.read(word) {
			return o, fmt.Sprintf("ERR Unsupported option %s", printable(word))
		}
	}
	switch {
	case o.nx && (o.xx || o.gt || o.lt):
		return o, TextExpireNX
	case o.gt && o.lt:
		return o, TextExpireGTLT
	}
	return o, ""
}

func verifyExpire(name string, seconds bool) func([][]byte, *Limits) (Result, bool) {
	return func(args [][]byte, _ *Limits) (Result, bool) {
		if _, text := parseExpireOptions(args[2:]); text != "" {
			return fail(text)
		}
		n, ok := parseInt(args[1])
		if !ok {
			return fail(TextNotInteger)
		}
		if seconds && (n > math.MaxInt64/1000 || n < math.MinInt64/1000) {
			return Errorf(CodeError, "ERR invalid expire time in '%s' command", name), false
		}
		return Result{}, true
	}
}

func runExpire(x *execution, args [][]byte) Result {
	o, _ := parseExpireOptions(args[2:])
	at, _ := parseInt(args[1])
	if op := x.spec.Op; op == OpExpire || op == OpExpireAt {
		at *= 1000
	}
	if op := x.spec.Op; op == OpExpire || op == OpPExpire {
		if at > math.MaxInt64-x.now {
			return x.spec.invalidExpire()
		}
		at += x.now
	}
	ref, found := x.take(args[0])
	if !found || !o.allow(ref, at) {
		return Int(0)
	}
	// A deadline before 1970 must not be taken for none.
	x.expire(args[0], max(at, 1))
	return Int(1)
}

func (o *expireOptions) allow(ref store.Ref, at int64) bool {
	was := ref.ExpireAt()
	switch {
	case o.nx && was != 0, o.xx && was == 0:
		return false
	case o.gt && (was == 0 || at <= was):
		return false
	case o.lt && was != 0 && at >= was:
		return false
	}
	return true
}

// runTTL is TTL, PTTL, EXPIRETIME and PEXPIRETIME: -2 absent, -1 without a deadline.
func runTTL(x *execution, args [][]byte) Result {
	ref, found := x.get(args[0])
	switch {
	case !found:
		return Int(-2)
	case ref.ExpireAt() == 0:
		return Int(-1)
	}
	n := ref.ExpireAt()
	if op := x.spec.Op; op == OpTTL || op == OpPTTL {
		n -= x.now
	}
	if op := x.spec.Op; op == OpTTL || op == OpExpireTime {
		n = n/1000 + (n%1000+500)/1000
	}
	return Int(n)
}

func runPersist(x *execution, args [][]byte) Result {
	ref, found := x.take(args[0])
	if !found || ref.ExpireAt() == 0 {
		return Int(0)
	}
	x.k.st.SetExpire(x.slot, args[0], 0)
	return Int(1)
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"

	"github.com/kvorum/kvorum/store"
)

// kvRows are Kvorum's own commands: what the edges need and Redis has no word for.
func kvRows() []Spec {
	stats := Spec{Op: OpKVStats, Name: "KV.STATS", Arity: 1, Whole: true, Join: JoinStats, Categories: CatKeyspace | CatFast, run: runKVStats}
	return []Spec{
		one(OpKVGet, "KV.GET", 2, CatString|CatFast, runKVGet).read(),
		one(OpKVDel, "KV.DEL", -2, CatKeyspace|CatFast, runKVDel).write().verified(verifyKVDel),
		stats.read(),
	}
}

// runKVGet answers [value, version, flags, pttl, type]. The value is null for other types than strings;
// pttl is -1 without a deadline.
func runKVGet(x *execution, args [][]byte) Result {
	ref, found := x.get(args[0])
	if !found {
		return Null()
	}
	value, pttl := Null(), int64(-1)
	if ref.Type() == store.TypeString {
		if value = x.bulk(ref.Bytes()); value.Kind != KindBulk {
			return value
		}
	}
	if at := ref.ExpireAt(); at != 0 {
		pttl = at - x.now
	}
	return Array([]Result{value, Int(int64(ref.Version())), Int(int64(ref.Flags())), Int(pttl), Status(ref.Type().String())})
}

func verifyKVDel(args [][]byte, _ *Limits) (Result, bool) {
	switch {
	case len(args) == 1:
		return Result{}, true
	case len(args) != 3 || !EqualFold(args[1], "IFVERSION"):
		return fail(TextSyntax)
	}
	if _, ok := parseUint(args[2], math.MaxUint64); !ok {
		return fail(TextNotInteger)
	}
	return Result{}, true
}

// runKVDel is DEL of one key, under the condition that its version is the one named.
func runKVDel(x *execution, args [][]byte) Result {
	ref, found := x.take(args[0])
	if len(args) == 3 {
		if want, _ := parseUint(args[2], math.MaxUint64); want != currentVersion(ref, found) {
			return versionMismatch(currentVersion(ref, found))
		}
	}
	if !found {
		return Int(0)
	}
	x.k.st.Delete(x.slot, args[0])
	return Int(1)
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import "github.com/kvorum/kvorum/store"

// objectRows are the rows of commands that tell how a value is kept.
func objectRows() []Spec {
	object := one(OpObject, "OBJECT", 3, CatKeyspace|CatSlow, runObject).read().verified(verifyObject)
	memory := one(OpMemory, "MEMORY", -3, CatSlow, runMemory).read().verified(verifyMemory)
	for _, s := range []*Spec{&object, &memory} {
		s.FirstKey, s.LastKey = 2, 2
	}
	return []Spec{object, memory}
}

// verifyMemory takes SAMPLES for Redis' sake: what is told is exact.
func verifyMemory(args [][]byte, _ *Limits) (Result, bool) {
	if !EqualFold(args[0], "USAGE") {
		return unknownSubcommand("MEMORY", args[0])
	}
	for rest := args[2:]; len(rest) > 0; rest = rest[2:] {
		if len(rest) == 1 || !EqualFold(rest[0], "SAMPLES") {
			return fail(TextSyntax)
		}
		switch n, ok := parseInt(rest[1]); {
		case !ok:
			return fail(TextNotInteger)
		case n < 0:
			return fail(TextSyntax)
		}
	}
	return Result{}, true
}

// runMemory tells what the key counts towards maxmemory. It does not use the entry.
func runMemory(x *execution, args [][]byte) Result {
	ref, found := x.k.st.Get(x.slot, args[1], x.now)
	if !found {
		return Null()
	}
	x.ctx.NoteDue(ref.ExpireAt())
	return Int(ref.LogicalBytes())
}

func unknownSubcommand(container string, word []byte) (Result, bool) {
	return Errorf(CodeError, "ERR unknown subcommand '%.128s'. Try %s HELP.", printable(word), container), false
}

func verifyObject(args [][]byte, _ *Limits) (Result, bool) {
	for _, word := range []string{"ENCODING", "FREQ", "IDLETIME", "REFCOUNT"} {
		if EqualFold(args[0], word) {
			return Result{}, true
		}
	}
	return unknownSubcommand("OBJECT", args[0])
}

// runObject looks at an entry without using it. How long it was idle, and how often it was used, is what the
// replica at hand knows.
func runObject(x *execution, args [][]byte) Result {
	ref, found := x.k.st.Get(x.slot, args[1], x.now)
	if !found {
		return Null()
	}
	x.ctx.NoteDue(ref.ExpireAt())
	if x.bundle != nil && !EqualFold(args[0], "ENCODING") && !EqualFold(args[0], "REFCOUNT") {
		return Error(CodeError, TextNotQueued) // replicas know different things
	}
	tick := tickAt(max(x.now, x.ctx.Wall))
	counts := x.set.policy.Frequency()
	switch {
	case EqualFold(args[0], "ENCODING"):
		return Bulk([]byte(encodingOf(ref)))
	case EqualFold(args[0], "REFCOUNT"):
		return Int(1)
	case EqualFold(args[0], "FREQ") && !counts:
		return Error(CodeError, TextNoFrequency)
	case EqualFold(args[0], "FREQ"):
		return Int(int64(ref.Frequency(tick)))
	case counts:
		return Error(CodeError, TextNoIdleTime)
	}
	return Int(int64(ref.Idle(tick)) * store.TickMillis / 1000)
}

// The limits of Redis' small encodings, as it has them by default.
const (
	embeddedBytes  = 44
	packedBytes    = 64
	packedFields   = 512
	packedMembers  = 128
	integerMembers = 512
)

// encodingOf names the encoding that Redis has for a value that was stored at once.
func encodingOf(ref store.Ref) string {
	switch ref.Type() {
	case store.TypeString:
		switch b := ref.Bytes(); {
		case isInteger(b):
			return "int"
		case len(b) <= embeddedBytes:
			return "embstr"
		}
		return "raw"
	case store.TypeList:
		return "quicklist"
	case store.TypeHash:
		h := ref.Hash()
		if h.Len() <= packedFields && all(h.Each, func(name, value []byte) bool { return len(name) <= packedBytes && len(value) <= packedBytes }) {
			return "listpack"
		}
		return "hashtable"
	case store.TypeSet:
		m := ref.Set()
		if m.Len() <= integerMembers && all1(m.Each, isInteger) {
			return "intset"
		}
		return "hashtable"
	case store.TypeZSet:
		z := ref.ZSet()
		if z.Len() <= packedMembers && all(z.Each, func(member []byte, _ float64) bool { return len(member) <= packedBytes }) {
			return "listpack"
		}
		return "skiplist"
	case store.TypeNone:
	}
	return "raw"
}

func isInteger(b []byte) bool {
	_, ok := parseInt(b)
	return ok
}

// all tells whether f is true of all that each visits.
func all[V any](each func(func(name []byte, v V) bool), f func(name []byte, v V) bool) bool {
	yes := true
	each(func(name []byte, v V) bool {
		yes = f(name, v)
		return yes
	})
	return yes
}

func all1(each func(func(member []byte) bool), f func(member []byte) bool) bool {
	yes := true
	each(func(member []byte) bool {
		yes = f(member)
		return yes
	})
	return yes
}

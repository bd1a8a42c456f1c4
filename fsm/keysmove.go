// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"

	"github.com/kvorum/kvorum/store"
)

// keyMoveRows are the rows of commands that give a value another key.
func keyMoveRows() []Spec {
	return []Spec{
		two(OpCopy, "COPY", -3, CatKeyspace|CatSlow, runCopy).grows().verified(verifyCopy),
		two(OpRename, "RENAME", 3, CatKeyspace|CatSlow, runRename).write(),
		two(OpRenameNX, "RENAMENX", 3, CatKeyspace|CatFast, runRename).write(),
	}
}

// parseCopy reads what is behind the keys of COPY. There is one database.
func parseCopy(args [][]byte) (replace bool, text string) {
	for rest := args[2:]; len(rest) > 0; rest = rest[1:] {
		switch {
		case EqualFold(rest[0], "REPLACE"):
			replace = true
		case EqualFold(rest[0], "DB") && len(rest) > 1:
			switch n, ok := parseInt(rest[1]); {
			case !ok:
				return false, TextNotInteger
			case n < math.MinInt32 || n > math.MaxInt32:
				return false, TextDBNumber
			case n != 0:
				return false, TextDBIndex
			}
			rest = rest[1:]
		default:
			return false, TextSyntax
		}
	}
	if string(args[0]) == string(args[1]) {
		return false, TextSameKey
	}
	return replace, ""
}

func verifyCopy(args [][]byte, _ *Limits) (Result, bool) {
	if _, text := parseCopy(args); text != "" {
		return fail(text)
	}
	return Result{}, true
}

// both looks for the first key and tells whether the second one is there. It first removes what is dead, since
// that would invalidate what was found.
func (x *execution) both(args [][]byte) (ref store.Ref, found, taken bool) {
	x.k.st.DeleteDead(x.keySlots[0], args[0], x.now)
	x.k.st.DeleteDead(x.keySlots[1], args[1], x.now)
	x.slot = x.keySlots[1]
	_, taken = x.take(args[1])
	x.slot = x.keySlots[0]
	ref, found = x.take(args[0])
	return ref, found, taken
}

// duplicate gives the second key what the first one has, flags and deadline too, in the place of what is there.
func (x *execution) duplicate(args [][]byte, ref store.Ref, taken bool) {
	m := ref.Meta()
	m.Version = x.ctx.NextVersion()
	if taken {
		x.k.st.Delete(x.keySlots[1], args[1])
	}
	x.k.st.Copy(x.keySlots[0], args[0], x.keySlots[1], args[1], m)
}

func runCopy(x *execution, args [][]byte) Result {
	replace, _ := parseCopy(args)
	ref, found, taken := x.both(args)
	if !found || taken && !replace {
		return Int(0)
	}
	x.duplicate(args, ref, taken)
	return Int(1)
}

// runRename is RENAME and RENAMENX.
func runRename(x *execution, args [][]byte) Result {
	ref, found, taken := x.both(args)
	same, careful := string(args[0]) == string(args[1]), x.spec.Op == OpRenameNX
	switch {
	case !found:
		return Error(CodeNoSuchKey, TextNoSuchKey)
	case careful && taken:
		return Int(0)
	case same:
		return OK()
	}
	x.duplicate(args, ref, taken)
	x.k.st.Delete(x.keySlots[0], args[0])
	if careful {
		return Int(1)
	}
	return OK()
}

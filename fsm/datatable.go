// SPDX-License-Identifier: Apache-2.0

package fsm

// Data gives the table of the data groups, with default limits.
func Data() *Table { return DataWith(DefaultLimits()) }

// DataWith is Data with other limits for Check. What Apply accepts does not depend on them.
func DataWith(l Limits) *Table {
	var rows []Spec
	for _, part := range [][]Spec{stringRows(), bitRows(), keyRows(), keyMoveRows(), objectRows(), sortRows(), dumpRows(), expireRows(), listRows(), listMoveRows(), blockingRows(), hashRows(), hashFieldRows(), setRows(), zsetRows(), hllRows(), execRows(), scriptRows(), kvRows(), upkeepRows()} {
		rows = append(rows, part...)
	}
	tells := tellings()
	for i := range rows {
		rows[i].Since = 1
		rows[i].tells = tells[rows[i].Op]
	}
	return NewTable(l, rows)
}

// one makes a row for a command with a single key.
func one(op Op, name string, arity int, cat uint64, run func(*execution, [][]byte) Result) Spec {
	return Spec{Op: op, Name: name, Arity: arity, FirstKey: 1, LastKey: 1, KeyStep: 1, Categories: cat, run: run}
}

// many makes a row for a command whose arguments are keys, each followed by step-1 others.
func many(op Op, name string, arity, step int, cat uint64, run func(*execution, [][]byte) Result) Spec {
	last := -1
	return Spec{Op: op, Name: name, Arity: arity, FirstKey: 1, LastKey: last, KeyStep: step, Categories: cat, run: run}
}

// two makes a row for a command whose first two arguments are keys.
func two(op Op, name string, arity int, cat uint64, run func(*execution, [][]byte) Result) Spec {
	return Spec{Op: op, Name: name, Arity: arity, FirstKey: 1, LastKey: 2, KeyStep: 1, Categories: cat, run: run}
}

// counted makes a row for a command with an argument, at this place, that tells how many keys follow it.
func counted(op Op, name string, arity, from int, cat uint64, run func(*execution, [][]byte) Result) Spec {
	return Spec{Op: op, Name: name, Arity: arity, KeysFrom: from, Categories: cat, run: run}
}

// into adds a first argument that is a key, besides those that the row has.
func (s Spec) into() Spec {
	s.FirstKey, s.LastKey, s.KeyStep = 1, 1, 1
	return s
}

// announced adds a key that a word may announce.
func (s Spec) announced(at func(args [][]byte) int) Spec {
	s.Announced = at
	return s
}

// chance marks a command that draws.
func (s Spec) chance() Spec {
	s.Chance = true
	return s
}

func (s Spec) write() Spec {
	s.Write = true
	s.Categories |= CatWrite
	return s
}

// replies marks a write that answers with data.
func (s Spec) replies() Spec {
	s.Replies = true
	return s
}

func (s Spec) read() Spec {
	s.Categories |= CatRead
	return s
}

func (s Spec) grows() Spec {
	s.DenyOOM = true
	return s.write()
}

func (s Spec) joined(j Join) Spec {
	s.Join = j
	return s
}

func (s Spec) verified(f func(args [][]byte, l *Limits) (Result, bool)) Spec {
	s.Verify = f
	return s
}

// ints verifies that the arguments at these indexes are integers.
func ints(at ...int) func([][]byte, *Limits) (Result, bool) {
	return func(args [][]byte, _ *Limits) (Result, bool) {
		for _, i := range at {
			if _, ok := parseInt(args[i]); !ok {
				return fail(TextNotInteger)
			}
		}
		return Result{}, true
	}
}

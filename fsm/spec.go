// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"iter"
	"strings"
)

// Join says how a command whose keys or slots are spread over groups is split and its replies joined.
type Join uint8

// The ways of joining.
const (
	JoinNone   Join = iota // never split: all keys in one slot (or one group)
	JoinArray              // one element a key, in the order of the keys (MGET)
	JoinSum                // integers add up (DEL, EXISTS, DBSIZE)
	JoinStatus             // OK when all are OK (MSET, FLUSHALL)
	JoinCursor             // SCAN: one group at a time, by the cursor's slot (see ScanSlot)
	JoinStats              // arrays of integers add up element by element (KV.STATS)
	JoinConcat             // arrays follow one another (KEYS)
	JoinRandom             // see RandomOf (RANDOMKEY)
)

// Categories of commands, as ACL rules name them.
const (
	CatRead uint64 = 1 << iota
	CatWrite
	CatKeyspace
	CatString
	CatList
	CatHash
	CatFast
	CatSlow
	CatDangerous
	CatAdmin
	CatSet
	CatSortedSet
	CatHyperLogLog
	CatBlocking
	CatScripting
)

// Spec is one row of a command table. It is immutable.
type Spec struct {
	Op   Op
	Name string // upper case
	// Arity counts the name, as in Redis: 2 is exactly one argument, -2 at least one.
	Arity int
	// FirstKey, LastKey and KeyStep count the name as 0, as in Redis: GET is 1, 1, 1. LastKey -1 is the
	// last argument. FirstKey 0: no keys.
	FirstKey, LastKey, KeyStep int
	// KeysFrom is the place of the argument that tells how many keys follow it, the name counted as 0. They
	// come on top of those that FirstKey begins. 0: none.
	KeysFrom int
	// Announced gives the index of one more key among the arguments, which a word in front of it announces; 0 for
	// none. Nil: there never is one.
	Announced func(args [][]byte) int

	Write   bool // goes through the log
	DenyOOM bool // may grow memory: refused when memory or disk is short
	Chance  bool // a write draws from the entry's seed, a read from Options.Dice
	// Replies marks a write that may answer with data: see Answers.
	Replies bool
	// Internal commands are proposed by the cluster itself: an edge treats them as unknown.
	Internal bool
	Join     Join
	// Whole commands concern every slot. Their result in a group is a Whole: see ParseWhole.
	Whole      bool
	Categories uint64
	// Pops is what a command that waits pops from; PopsNothing for all others. See blocking.go.
	Pops Pops
	// Script: the command runs a script. The router runs it, at a leader; no entry of the log has it.
	Script bool
	Since  uint32 // the cluster version that brought the command

	// Verify finds the errors that need no state, in arguments whose number fits Arity; false comes
	// with the error. Nil: none.
	Verify func(args [][]byte, l *Limits) (Result, bool)

	// run executes a data command; nil in tables of other states.
	run func(x *execution, args [][]byte) Result
	// tells tells of the events of a data command; nil when it has none.
	tells telling
}

// KeyRange gives the keys at fixed places among n arguments (the name not counted): indexes first,
// first+step … below end. first == end when there are none. n fits Arity.
func (s *Spec) KeyRange(n int) (first, end, step int) {
	if s.FirstKey == 0 {
		return 0, 0, 1
	}
	end = s.LastKey
	if s.LastKey < 0 {
		end = n + 1 + s.LastKey
	}
	return s.FirstKey - 1, min(end, n), s.KeyStep
}

// CountedKeys gives the keys that an argument announces: indexes first up to end, which are equal when there
// are none, and when the number is none or there are fewer arguments behind it. Check refuses the latter two.
func (s *Spec) CountedKeys(args [][]byte) (first, end int) {
	if s.KeysFrom == 0 || s.KeysFrom > len(args) {
		return 0, 0
	}
	n, ok := parseInt(args[s.KeysFrom-1])
	if !ok || n < 1 || n > int64(len(args)-s.KeysFrom) {
		return 0, 0
	}
	return s.KeysFrom, s.KeysFrom + int(n)
}

// announcedKey is Announced, 0 without it.
func (s *Spec) announcedKey(args [][]byte) int {
	if s.Announced == nil {
		return 0
	}
	return s.Announced(args)
}

// Answers tells whether a write with these arguments answers with data, so that its reply takes up to
// Command.Room or WriteReply bytes. The replies of other writes are small.
func (s *Spec) Answers(args [][]byte) bool {
	if !s.Replies || s.Op != OpSet {
		return s.Replies
	}
	for _, word := range args[min(2, len(args)):] {
		if EqualFold(word, "GET") {
			return true
		}
	}
	return false
}

// Keys iterates over the keys among args, with their index in args. The keys alias args.
func (s *Spec) Keys(args [][]byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		first, end, step := s.KeyRange(len(args))
		for i := first; i < end; i += step {
			if !yield(i, args[i]) {
				return
			}
		}
		first, end = s.CountedKeys(args)
		for i := first; i < end; i++ {
			if !yield(i, args[i]) {
				return
			}
		}
		if i := s.announcedKey(args); i > 0 {
			yield(i, args[i])
		}
	}
}

// arityFits tells whether n arguments, the name not counted, are as many as s takes.
func (s *Spec) arityFits(n int) bool {
	if s.Arity < 0 {
		return n+1 >= -s.Arity
	}
	return n+1 == s.Arity
}

// maxNameBytes bounds the names of a table.
const maxNameBytes = 32

// Table is an immutable set of commands. Every table has the shell's own commands besides its rows.
type Table struct {
	specs  []Spec
	byName map[string]*Spec
	byOp   []*Spec
	limits Limits
}

// NewTable builds a table. Rows with equal numbers or names, or with a name that is not upper case,
// are a programmer's error and panic.
func NewTable(l Limits, rows []Spec) *Table {
	t := &Table{byName: make(map[string]*Spec), limits: l}
	t.specs = append(append(t.specs, shellSpecs()...), rows...)
	top := Op(0)
	for i := range t.specs {
		top = max(top, t.specs[i].Op)
	}
	t.byOp = make([]*Spec, int(top)+1)
	for i := range t.specs {
		s := &t.specs[i]
		if s.Name != strings.ToUpper(s.Name) || len(s.Name) > maxNameBytes || s.Arity == 0 || s.FirstKey > 0 && s.KeyStep < 1 {
			panic("fsm: table: bad row " + s.Name)
		}
		if t.byOp[s.Op] != nil || t.byName[s.Name] != nil {
			panic("fsm: table: duplicate row " + s.Name)
		}
		switch s.Op {
		case OpExec:
			s.Verify = t.verifyExec
		case OpEffect:
			s.Verify = t.verifyEffect
		}
		t.byOp[s.Op], t.byName[s.Name] = s, s
	}
	return t
}

// Lookup finds a command by name in any case, without allocating.
func (t *Table) Lookup(name []byte) (*Spec, bool) {
	if len(name) > maxNameBytes {
		return nil, false
	}
	var upper [maxNameBytes]byte
	for i, c := range name {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	s, ok := t.byName[string(upper[:len(name)])]
	return s, ok
}

// Spec gives the row of op, nil when the table has none.
func (t *Table) Spec(op Op) *Spec {
	if int(op) >= len(t.byOp) {
		return nil
	}
	return t.byOp[op]
}

// All iterates over the rows in the order of the table.
func (t *Table) All() iter.Seq[*Spec] {
	return func(yield func(*Spec) bool) {
		for i := range t.specs {
			if !yield(&t.specs[i]) {
				return
			}
		}
	}
}

// Limits gives the limits that Check applies.
func (t *Table) Limits() Limits { return t.limits }

// Check finds the errors that need no state: unknown number, arity, limits, syntax. ok false comes with
// the error as the command's result. A command that passes may still fail when it runs.
func (t *Table) Check(cmd *Command) (res Result, ok bool) {
	s := t.Spec(cmd.Op)
	if s == nil {
		return Errorf(CodeUnknown, "ERR unknown command number %d", cmd.Op), false
	}
	return s.check(cmd.Args, &t.limits)
}

func (s *Spec) check(args [][]byte, l *Limits) (Result, bool) {
	if !s.arityFits(len(args)) {
		return s.WrongArity(), false
	}
	if res, ok := l.check(s, args); !ok {
		return res, false
	}
	if s.Verify != nil {
		return s.Verify(args, l)
	}
	return Result{}, true
}

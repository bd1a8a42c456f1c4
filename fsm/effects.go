// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// A script is no command of the log. It runs at the leader of its keys (package fsm/script), against what KV.LOOK told of
// them, and what it changed is proposed as one command:
//
//	KV.EFFECT numkeys key… guard command…
//
// The keys are all that the script declared. guard has the mark of each, as KV.WATCH words it, and, in 8 bytes each, the
// largest value, the default lifetime and the clock with which the script began. Under the locks of all slots the guard is
// compared with what holds now: where it differs nothing is done and the reply is null. Otherwise the keys are what the
// script found, so that each command does, at the script's clock, what it did in the trial, and all of them run: what could
// be refused, by limits or for want of memory, is refused before the first of them. What is over by the present clock
// then dies as anything else does.

func scriptRows() []Spec {
	script := func(op Op, name string, write bool) Spec {
		s := counted(op, name, -3, 2, CatScripting|CatSlow, runScriptRow).verified(verifyScript)
		s.Write, s.Script = write, true
		return s
	}
	entry := one(OpEntry, "KV.ENTRY", 3, CatKeyspace|CatSlow, runEntry).read().verified(func(args [][]byte, _ *Limits) (Result, bool) {
		return ints(1)(args, nil)
	})
	entry.Internal = true // it may take much memory
	return []Spec{
		script(OpEval, "EVAL", true),
		script(OpEvalRO, "EVAL_RO", false),
		script(OpEvalSHA, "EVALSHA", true),
		script(OpEvalSHARO, "EVALSHA_RO", false),
		many(OpLook, "KV.LOOK", -2, 1, CatKeyspace|CatFast, runLook).read(),
		entry,
		counted(OpEffect, "KV.EFFECT", -5, 1, CatKeyspace|CatSlow, runEffect).write(),
	}
}

// Texts about scripts, as Redis words them.
const (
	TextKeysNegative = "ERR Number of keys can't be negative"
	TextKeysMany     = "ERR Number of keys can't be greater than number of args"
	// TextNoScript answers EVALSHA of an unknown script.
	TextNoScript = "NOSCRIPT No matching script. Please use EVAL."
	// textScriptRow answers a script where only commands of the log run.
	textScriptRow = "ERR scripts run at the leader of their keys alone"
)

func verifyScript(args [][]byte, _ *Limits) (Result, bool) {
	switch n, ok := parseInt(args[1]); {
	case !ok:
		return fail(TextNotInteger)
	case n > int64(len(args)-2):
		return fail(TextKeysMany)
	case n < 0:
		return fail(TextKeysNegative)
	}
	return Result{}, true
}

// runScriptRow answers what no router sends.
func runScriptRow(*execution, [][]byte) Result { return Error(CodeError, textScriptRow) }

// Look is what a script begins with.
type Look struct {
	// Clock is C, in milliseconds.
	Clock int64
	// MaxValue is the largest value, in bytes.
	MaxValue int
	// DefaultTTL is given to keys made without a deadline, in milliseconds; 0 none.
	DefaultTTL int64
	// Full: commands that grow memory are refused.
	Full bool
	// Marks are those of the keys, in their order.
	Marks [][]byte
}

func runLook(x *execution, args [][]byte) Result {
	full := int64(0)
	if x.k.full(x.set) {
		full = 1
	}
	out := []Result{Int(x.now), Int(int64(x.set.limits.MaxValue)), Int(x.set.defaultTTL), Int(full)}
	for i, key := range args {
		x.slot = x.keySlots[i]
		out = append(out, Bulk(x.mark(key)))
	}
	return Array(out)
}

// lookHead is the number of elements in front of the marks.
const lookHead = 4

// ParseLook takes the reply to KV.LOOK apart; false when it is none.
func ParseLook(r *Result) (l Look, ok bool) {
	if r.Kind != KindArray || len(r.Elems) < lookHead {
		return l, false
	}
	l = Look{Clock: r.Elems[0].Int, MaxValue: int(r.Elems[1].Int), DefaultTTL: r.Elems[2].Int, Full: r.Elems[3].Int != 0}
	for i := range r.Elems[lookHead:] {
		l.Marks = append(l.Marks, r.Elems[lookHead+i].Str)
	}
	return l, true
}

// SameMarks tells whether the keys of a KV.WATCH, whose reply r is, are still what they were.
func (l *Look) SameMarks(r *Result) bool {
	return r.Kind == KindArray && slices.EqualFunc(r.Elems, l.Marks, func(e Result, m []byte) bool { return bytes.Equal(e.Str, m) })
}

// errEntryTooBig: an entry is larger than its reader takes.
var errEntryTooBig = errors.New("fsm: entry too big")

// TextEntryTooBig answers KV.ENTRY of a larger one.
const TextEntryTooBig = "ERR the value is larger than asked for"

// runEntry is KV.ENTRY key bytes: the key's sections, null when it is absent, an error when they take more bytes.
func runEntry(x *execution, args [][]byte) Result {
	limit, _ := parseInt(args[1])
	limit = min(limit, MaxReply)
	var parts []Result
	size := int64(0)
	found, err := x.k.st.Export(x.slot, args[0], x.now, func(data []byte) error {
		if size += int64(len(data)); size > limit {
			return errEntryTooBig
		}
		parts = append(parts, Bulk(clone(data)))
		return nil
	})
	switch {
	case err != nil:
		return Error(CodeTooBig, TextEntryTooBig)
	case !found:
		return Null()
	}
	if bad := x.fits(size); bad != nil {
		return *bad
	}
	return Array(parts)
}

// Effect makes the command that has the effects cmds of a script, if the keys are still what l tells.
func Effect(l *Look, keys [][]byte, cmds []Command) Command {
	guard := slices.Concat(l.Marks...)
	for _, n := range []int64{int64(l.MaxValue), l.DefaultTTL, l.Clock} {
		guard = binary.BigEndian.AppendUint64(guard, uint64(n))
	}
	args := slices.Concat([][]byte{formatInt(int64(len(keys)))}, keys, [][]byte{guard})
	for i := range cmds {
		args = append(args, AppendCommand(nil, &cmds[i]))
	}
	return Command{Op: OpEffect, Args: args}
}

// guard is what a script began with, beside the marks.
type guard struct{ maxValue, defaultTTL, clock int64 }

// guardBytes is its length.
const guardBytes = 3 * 8

// parseEffect is parseTransaction for a KV.EFFECT.
func parseEffect(s *Spec, args [][]byte) (t transaction, g guard, ok bool) {
	first, end := s.CountedKeys(args)
	if first == end || end >= len(args) || len(args[end]) != (end-first)*markBytes+guardBytes {
		return t, g, false
	}
	marks := args[end][:(end-first)*markBytes]
	number := func(i int) int64 { return int64(binary.BigEndian.Uint64(args[end][len(marks)+8*i:])) }
	g = guard{maxValue: number(0), defaultTTL: number(1), clock: number(2)}
	args = slices.Clone(args)
	args[end] = marks
	t, ok = parseTransaction(s, args)
	return t, g, ok
}

// bundleOf takes a KV.EXEC or a KV.EFFECT apart.
func bundleOf(s *Spec, args [][]byte) (t transaction, ok bool) {
	if s.Op == OpEffect {
		t, _, ok = parseEffect(s, args)
		return t, ok
	}
	return parseTransaction(s, args)
}

func runEffect(x *execution, args [][]byte) Result {
	tx, g, ok := parseEffect(x.spec, args)
	if !ok {
		return Error(CodeSyntax, TextSyntax)
	}
	same := g.maxValue == int64(x.set.limits.MaxValue) && g.defaultTTL == x.set.defaultTTL
	for i, mark := range tx.marks {
		x.slot = x.keySlots[i]
		same = same && slices.Equal(x.mark(tx.keys[i]), mark)
	}
	if !same && !planted("effect-unguarded") {
		return Null()
	}
	full := x.k.full(x.set)
	var cmd Command
	for _, body := range tx.cmds {
		s, ok := x.k.table.inTransaction(body, &cmd)
		if !ok {
			return Error(CodeSyntax, TextSyntax)
		}
		if full && s.DenyOOM {
			return Error(CodeOOM, TextOOM)
		}
		if res, ok := s.check(cmd.Args, &x.set.limits); !ok {
			return res
		}
	}
	spec, keySlots, now := x.spec, x.keySlots, x.now
	x.keySlots = nil // a command's are found in room of their own
	x.now = min(now, max(g.clock, 0))
	x.bundle = &bundle{quiet: true}
	for _, body := range tx.cmds {
		var cmd Command
		x.spec, _ = x.k.table.inTransaction(body, &cmd)
		x.findSlots(cmd.Args)
		x.perform(cmd.Args)
		x.bundle.ran++
	}
	x.bundle = nil
	x.spec, x.keySlots, x.now = spec, keySlots, now
	return OK()
}

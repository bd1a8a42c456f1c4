// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"slices"
)

// A transaction is one command, KV.EXEC, and so one entry of the log: under the locks of all its slots the keys
// that its sender watched are compared with what they were, then its commands run one after the other.
//
//	KV.EXEC numkeys key… marks command…
//
// The keys are all that the commands name and, in front of them, the watched ones; marks has a mark, as KV.WATCH
// gave it, for each of the latter. A command is in log encoding, without token and room. The reply has those of
// the commands, or is null when a watched key changed.

const (
	// MaxTransaction bounds the commands of a transaction.
	MaxTransaction = 1 << 16
	// maxBundleWork bounds the work of its commands together: see works. The one that goes over it runs to its end.
	maxBundleWork = 1 << 28
	// markBytes is the length of a watched key's mark.
	markBytes = 17
)

// The first byte of a mark.
const (
	markAbsent  = 0 // then the slot's Removed, which grows when a key comes and goes
	markPresent = 1 // then version and deadline
)

func execRows() []Spec {
	exec := counted(OpExec, "KV.EXEC", -4, 1, CatKeyspace|CatSlow, runExec).write().replies().chance()
	return []Spec{
		many(OpWatch, "KV.WATCH", -2, 1, CatKeyspace|CatFast, runWatch).read(),
		exec,
	}
}

// Exec makes the command that runs cmds if the keys of watched still have the marks that KV.WATCH gave. t has
// the commands' rows; their keys must be few enough to be named once more.
func Exec(t *Table, watched, marks [][]byte, cmds []Command) Command {
	named := make(map[string]struct{})
	keys := slices.Clone(watched)
	for i := range cmds {
		for _, key := range t.Spec(cmds[i].Op).Keys(cmds[i].Args) {
			if remember(named, key) {
				keys = append(keys, key)
			}
		}
	}
	args := slices.Concat([][]byte{formatInt(int64(len(keys)))}, keys, [][]byte{slices.Concat(marks...)})
	for i := range cmds {
		args = append(args, AppendCommand(nil, &cmds[i]))
	}
	return Command{Op: OpExec, Args: args}
}

// transaction is a KV.EXEC taken apart.
type transaction struct {
	keys, marks, cmds [][]byte
}

func parseTransaction(s *Spec, args [][]byte) (t transaction, ok bool) {
	first, end := s.CountedKeys(args)
	if first == end || end >= len(args) {
		return t, false
	}
	t.keys, t.cmds = args[first:end], args[end+1:]
	for marks := args[end]; len(marks) > 0; marks = marks[markBytes:] {
		if len(marks) < markBytes || marks[0] > markPresent {
			return t, false
		}
		t.marks = append(t.marks, marks[:markBytes])
	}
	return t, len(t.marks) <= len(t.keys) && len(t.cmds) <= MaxTransaction
}

// verifyExec checks that the commands may stand here and that all their keys are named. What is wrong with their
// other arguments is their own reply.
func (t *Table) verifyExec(args [][]byte, _ *Limits) (Result, bool) {
	return t.verifyBundle(t.Spec(OpExec), args)
}

func (t *Table) verifyEffect(args [][]byte, _ *Limits) (Result, bool) {
	return t.verifyBundle(t.Spec(OpEffect), args)
}

func (t *Table) verifyBundle(s *Spec, args [][]byte) (Result, bool) {
	tx, ok := bundleOf(s, args)
	if !ok {
		return fail(TextSyntax)
	}
	named := make(map[string]struct{}, len(tx.keys))
	for _, key := range tx.keys {
		remember(named, key)
	}
	var cmd Command
	for _, body := range tx.cmds {
		s, ok := t.inTransaction(body, &cmd)
		if !ok {
			return fail(TextSyntax)
		}
		if !s.arityFits(len(cmd.Args)) {
			return s.WrongArity(), false
		}
		for _, key := range s.Keys(cmd.Args) {
			if _, ok := named[string(key)]; !ok {
				return fail(TextSyntax)
			}
		}
	}
	return Result{}, true
}

// inTransaction parses a command of a transaction; false for one that may not be in any.
func (t *Table) inTransaction(body []byte, cmd *Command) (*Spec, bool) {
	n, err := parseCommand(body, cmd)
	if err != nil || n != len(body) || !cmd.Token.IsZero() || cmd.Room != 0 {
		return nil, false
	}
	s := t.Spec(cmd.Op)
	return s, s != nil && s.MayQueue()
}

// MayQueue tells whether the command may be part of a transaction: it has keys and is none itself.
func (s *Spec) MayQueue() bool {
	return !s.Internal && !s.Whole && !s.Script && s.Op != OpExec && s.Op != OpEffect && (s.FirstKey > 0 || s.KeysFrom > 0)
}

// Grows tells whether a write may make data grow. An unknown one may.
func (t *Table) Grows(cmd *Command) bool {
	s := t.Spec(cmd.Op)
	if s == nil || s.Op != OpExec && s.Op != OpEffect {
		return s == nil || s.DenyOOM
	}
	tx, _ := bundleOf(s, cmd.Args)
	var in Command
	for _, body := range tx.cmds {
		if s, ok := t.inTransaction(body, &in); ok && s.DenyOOM {
			return true
		}
	}
	return false
}

func runWatch(x *execution, args [][]byte) Result {
	marks := make([]Result, len(args))
	for i, key := range args {
		x.slot = x.keySlots[i]
		marks[i] = Bulk(x.mark(key))
	}
	return Array(marks)
}

// mark is what tells a later state of a key from this one.
func (x *execution) mark(key []byte) []byte {
	m := make([]byte, 1, markBytes)
	ref, found := x.k.st.Get(x.slot, key, x.now)
	if !found {
		m = binary.BigEndian.AppendUint64(m, x.k.st.Removed(x.slot))
		return binary.BigEndian.AppendUint64(m, 0)
	}
	m[0] = markPresent
	m = binary.BigEndian.AppendUint64(m, ref.Version())
	return binary.BigEndian.AppendUint64(m, uint64(ref.ExpireAt()))
}

// bundle bounds the replies of a transaction's commands.
type bundle struct {
	used, room int64
	// changed: some command may have changed something, so the transaction cannot be refused any more.
	changed bool
	// refused is why it is to be refused, CodeOK while it is not.
	refused Code
	// quiet: the replies are dropped one by one, and are no reason to refuse.
	quiet bool
	// ran counts the commands, work what works was told of them.
	ran  int
	work int64
}

// works counts work, in bytes looked at, of commands for which a few bytes may ask for much, and tells whether the
// transaction may have more of it. The effects of a script did it already, in bounded time, and are not refused.
func (b *bundle) works(n int64) bool {
	if b == nil || b.quiet {
		return true
	}
	b.work += n
	return b.work <= maxBundleWork
}

// fitsBundle is fits for a command of a transaction: n has the overhead in it.
func (x *execution) fitsBundle(n int64) *Result {
	b, w := x.bundle, &x.ctx.writes
	var lack Code
	switch {
	case b.used+n > b.room:
		lack = CodeReplyRoom
	case w.used > 0 && w.used+n > MaxBatchReply:
		lack = CodeSlotFrozen
	default:
		b.used += n
		w.used += n
		return nil
	}
	if !b.changed {
		b.refused = lack
	}
	res := Error(CodeTooBig, TextReplyTooBig)
	return &res
}

func runExec(x *execution, args [][]byte) Result {
	tx, ok := parseTransaction(x.spec, args)
	if !ok {
		return Error(CodeSyntax, TextSyntax)
	}
	if x.k.full(x.set) && x.k.table.Grows(&Command{Op: OpExec, Args: args}) {
		return Error(CodeOOM, TextExecOOM)
	}
	for i, mark := range tx.marks {
		x.slot = x.keySlots[i]
		if !slices.Equal(x.mark(tx.keys[i]), mark) && !planted("exec-unwatched") {
			return Null()
		}
	}
	b := bundle{room: max(x.ctx.writes.cmd, WriteReply)}
	x.bundle = &b
	replies := x.runBundle(tx.cmds)
	x.bundle = nil
	if b.refused != CodeOK {
		return *x.ctx.writes.refuse(x.locks, b.refused)
	}
	return Array(replies)
}

// runBundle runs the commands in their order. The locks of all their slots are held.
func (x *execution) runBundle(bodies [][]byte) []Result {
	spec, keySlots := x.spec, x.keySlots
	x.keySlots = nil // a command's are found in room of their own
	replies := make([]Result, 0, len(bodies))
	for _, body := range bodies {
		var cmd Command
		s, ok := x.k.table.inTransaction(body, &cmd)
		if !ok {
			break // verified before
		}
		x.spec = s
		replies = append(replies, x.runBundled(&cmd))
		if x.bundle.refused != CodeOK {
			break
		}
		x.bundle.changed = x.bundle.changed || s.Write
		x.bundle.ran++
	}
	x.spec, x.keySlots = spec, keySlots
	return replies
}

func (x *execution) runBundled(cmd *Command) Result {
	if res, ok := x.spec.check(cmd.Args, &x.set.limits); !ok {
		return res
	}
	x.findSlots(cmd.Args)
	if x.spec.DenyOOM && x.k.full(x.set) {
		return Error(CodeOOM, TextOOM)
	}
	return x.perform(cmd.Args)
}

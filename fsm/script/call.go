// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"strconv"

	lua "github.com/yuin/gopher-lua"

	"github.com/kvorum/kvorum/fsm"
)

// Texts of Redis about commands in scripts, and our own.
const (
	textUnknown    = "ERR Unknown Redis command called from script"
	textArity      = "ERR Wrong number of args calling Redis command from script"
	textNotAllowed = "ERR This Redis command is not allowed from script"
	textReadOnly   = "ERR Write commands are not allowed from read-only scripts."
	textArguments  = "ERR Lua redis lib command arguments must be strings or integers"
	textNoCommand  = "ERR Please specify at least one argument for this redis lib call"
	textWriteFlag  = "ERR Can not execute a script with write flag using *_ro command."
	textUndeclared = "ERR Script attempted to access a key that it did not declare in KEYS"
	textTrial      = "ERR the keys that the script writes hold too much for a script"
	textEffects    = "ERR the script changes too much"
	textPublished  = "ERR the script publishes too much"
)

// command runs a command for a script.
func (r *run) command(words [][]byte) fsm.Result {
	spec, ok := r.q.Table.Lookup(words[0])
	if !ok || spec.Internal {
		return r.keyless(words)
	}
	if !spec.MayQueue() || spec.Pops != fsm.PopsNothing {
		return fsm.Error(fsm.CodeError, textNotAllowed)
	}
	cmd := fsm.Command{Op: spec.Op, Args: words[1:]}
	if res, ok := r.q.Table.Check(&cmd); !ok {
		if res.Code == fsm.CodeArity {
			return fsm.Error(fsm.CodeArity, textArity)
		}
		return res
	}
	private := false
	for _, key := range spec.Keys(cmd.Args) {
		at, ok := r.declared[string(key)]
		if !ok {
			return fsm.Error(fsm.CodeError, textUndeclared)
		}
		r.touched[at] = struct{}{}
		_, brought := r.brought[string(key)]
		private = private || brought
	}
	switch {
	case looksAway(spec, cmd.Args):
		return fsm.Error(fsm.CodeError, textUndeclared)
	case spec.Write && (r.q.ReadOnly || r.q.Program.ReadOnly):
		return fsm.Error(fsm.CodeError, textReadOnly)
	case spec.DenyOOM && r.q.Look.Full:
		return fsm.Error(fsm.CodeOOM, fsm.TextOOM)
	case !spec.Write && !private:
		return r.live(&cmd)
	}
	if res := r.bring(spec, &cmd); res != nil {
		return *res
	}
	if !spec.Write {
		return r.trial.Run(&cmd)
	}
	return r.write(spec, &cmd)
}

// looksAway tells whether a command reads keys that it does not name: SORT by patterns.
func looksAway(spec *fsm.Spec, args [][]byte) bool {
	if spec.Op != fsm.OpSort && spec.Op != fsm.OpSortRO {
		return false
	}
	for i := 1; i+1 < len(args); i++ {
		by, get := fsm.EqualFold(args[i], "BY"), fsm.EqualFold(args[i], "GET")
		if by && bytes.IndexByte(args[i+1], '*') >= 0 || get && string(args[i+1]) != "#" {
			return true
		}
	}
	return false
}

// live reads the keyspace itself.
func (r *run) live(cmd *fsm.Command) fsm.Result {
	res := r.q.Live.Read(cmd)
	switch {
	case res.Kind == fsm.KindNone:
		return fsm.Error(fsm.CodeTooBig, fsm.TextReplyTooBig)
	case res.Code == fsm.CodeSlotMoved || res.Code == fsm.CodeSlotFrozen:
		r.again(res)
	}
	return res
}

// again ends the run: the keyspace is not here any more, or not now.
func (r *run) again(res fsm.Result) {
	if !r.out.Again {
		r.out.Again = true
		r.meter.end = firstError(r.meter.end, ErrGone)
	}
	r.out.Reply = res
}

// bring copies the keys of a command into the trial, but for those that are there.
func (r *run) bring(spec *fsm.Spec, cmd *fsm.Command) *fsm.Result {
	if r.trial == nil {
		r.trial = r.q.Trial()
		r.trial.Begin(&r.q.Look, uint64(r.q.Micros))
	}
	for _, key := range spec.Keys(cmd.Args) {
		if _, ok := r.brought[string(key)]; ok {
			continue
		}
		entry := r.live(&fsm.Command{Op: fsm.OpEntry, Args: [][]byte{key, strconv.AppendInt(nil, max(0, MaxTrial-r.trial.Bytes()), 10)}})
		if entry.IsError() {
			if entry.Code == fsm.CodeTooBig {
				entry = fsm.Error(fsm.CodeTooBig, textTrial)
			}
			return &entry
		}
		if err := r.trial.Bring(key, &entry); err != nil {
			res := fsm.Error(fsm.CodeError, "ERR "+err.Error())
			return &res
		}
		r.brought[string(key)] = struct{}{}
		r.meter.charge(int(fsm.ReplySize(&entry)))
	}
	if r.trial.Bytes() > MaxTrial {
		res := fsm.Error(fsm.CodeTooBig, textTrial)
		return &res
	}
	return nil
}

// write tries a write, and notes it if it changed something.
func (r *run) write(spec *fsm.Spec, cmd *fsm.Command) fsm.Result {
	size := fsm.CommandSize(cmd)
	if len(r.out.Effects) >= fsm.MaxTransaction || r.size+size > r.q.Table.Limits().MaxCommand/2 {
		return fsm.Error(fsm.CodeTooBig, textEffects)
	}
	before := r.marks(spec, cmd)
	res := r.trial.Run(cmd)
	r.meter.charge(2 * size) // in the trial, and as an effect
	if res.IsError() {
		return res
	}
	if after := r.marks(spec, cmd); !sameMarks(before, after) {
		r.out.Effects = append(r.out.Effects, effectOf(spec, cmd, &res))
		r.size += size
	}
	return res
}

// marks are those of a command's keys in the trial.
func (r *run) marks(spec *fsm.Spec, cmd *fsm.Command) fsm.Result {
	var keys [][]byte
	for _, key := range spec.Keys(cmd.Args) {
		keys = append(keys, key)
	}
	return r.trial.Run(&fsm.Command{Op: fsm.OpWatch, Args: keys})
}

func sameMarks(a, b fsm.Result) bool {
	for i := range a.Elems {
		if string(a.Elems[i].Str) != string(b.Elems[i].Str) {
			return false
		}
	}
	return true
}

// effectOf is a command without chance that does what cmd, which answered res, did.
func effectOf(spec *fsm.Spec, cmd *fsm.Command, res *fsm.Result) fsm.Command {
	if spec.Op != fsm.OpSPop {
		return *cmd
	}
	args := [][]byte{cmd.Args[0]}
	if res.Kind == fsm.KindBulk {
		args = append(args, res.Str)
	}
	for i := range res.Elems {
		args = append(args, res.Elems[i].Str)
	}
	return fsm.Command{Op: fsm.OpSRem, Args: args}
}

// keyless answers the commands that need no keyspace.
func (r *run) keyless(words [][]byte) fsm.Result {
	n := len(words)
	switch name := words[0]; {
	case fsm.EqualFold(name, "TIME"):
		if n != 1 {
			return fsm.Error(fsm.CodeArity, textArity)
		}
		t := r.q.Micros
		return fsm.Array([]fsm.Result{
			fsm.Bulk(strconv.AppendInt(nil, t/1e6, 10)), fsm.Bulk(strconv.AppendInt(nil, t%1e6, 10)),
		})
	case fsm.EqualFold(name, "PING"):
		switch n {
		case 1:
			return fsm.Status("PONG")
		case 2:
			return fsm.Bulk(words[1])
		}
		return fsm.Error(fsm.CodeArity, textArity)
	case fsm.EqualFold(name, "ECHO"):
		if n != 2 {
			return fsm.Error(fsm.CodeArity, textArity)
		}
		return fsm.Bulk(words[1])
	case fsm.EqualFold(name, "SELECT"):
		if n == 2 && string(words[1]) == "0" {
			return fsm.OK()
		}
		return fsm.Error(fsm.CodeError, fsm.TextDBIndex)
	case fsm.EqualFold(name, "PUBLISH"), fsm.EqualFold(name, "SPUBLISH"):
		return r.publish(words)
	}
	for _, known := range []string{
		"MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH", "SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "SSUBSCRIBE",
		"SUNSUBSCRIBE", "SCRIPT", "CONFIG", "INFO", "CLIENT", "DEBUG", "AUTH", "HELLO", "RESET", "QUIT", "WAIT", "SAVE", "BGSAVE",
		"COMMAND", "CLUSTER", "SHUTDOWN", "MONITOR", "FLUSHDB",
	} {
		if fsm.EqualFold(words[0], known) {
			return fsm.Error(fsm.CodeError, textNotAllowed)
		}
	}
	return fsm.Error(fsm.CodeUnknown, textUnknown)
}

// publish keeps a message until the effects are applied. Nobody knows yet who will get it.
func (r *run) publish(words [][]byte) fsm.Result {
	if len(words) != 3 {
		return fsm.Error(fsm.CodeArity, textArity)
	}
	if r.q.ReadOnly || r.q.Program.ReadOnly {
		return fsm.Error(fsm.CodeError, textReadOnly)
	}
	if r.published += len(words[1]) + len(words[2]) + 64; r.published > maxPublished {
		return fsm.Error(fsm.CodeTooBig, textPublished)
	}
	r.out.Messages = append(r.out.Messages, Message{Sharded: len(words[0]) == len("SPUBLISH"), Channel: words[1], Data: words[2]})
	return fsm.Int(0)
}

// words are the arguments of redis.call, with bytes of their own.
func (r *run) words(l *lua.LState) ([][]byte, string) {
	n := l.GetTop()
	if n == 0 {
		return nil, textNoCommand
	}
	size := 0
	for i := 1; i <= n; i++ {
		if s, ok := l.Get(i).(lua.LString); ok {
			size += len(s)
		}
	}
	if size > r.q.Table.Limits().MaxCommand {
		return nil, fsm.TextCommandTooBig
	}
	r.spend(l, size+48*n)
	words := make([][]byte, n)
	for i := range words {
		switch v := l.Get(i + 1).(type) {
		case lua.LString:
			words[i] = []byte(v)
		case lua.LNumber:
			words[i] = appendNumber(nil, float64(v), 17)
		default:
			return nil, textArguments
		}
	}
	return words, ""
}

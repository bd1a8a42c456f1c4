// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// bench is a keyspace of one replica, with scripts on top of it.
type bench struct {
	t      testing.TB
	table  *fsm.Table
	m      *fsm.Machine
	index  uint64
	clock  int64
	trial  *fsm.Trial
	limit  time.Duration
	engine Engine
}

func newBench(t testing.TB) *bench {
	table := fsm.Data()
	b := &bench{t: t, table: table, clock: 1_700_000_000_000, trial: fsm.NewTrial(table, [16]byte{})}
	b.m = fsm.NewMachine(table, fsm.NewKeyspace(table, fsm.KeyspaceConfig{}), fsm.Options{})
	slots := make([]uint16, fsm.Slots)
	for i := range slots {
		slots[i] = uint16(i)
	}
	b.apply(fsm.Own(1, slots))
	return b
}

// apply is an entry of the log with one command.
func (b *bench) apply(cmd fsm.Command) fsm.Result {
	sub := &fsm.Sub{Writes: 1, Body: fsm.AppendCommand(nil, &cmd)}
	b.index++
	b.m.Apply(b.index, 1, fsm.AppendSub(fsm.AppendEntryHeader(nil, &fsm.Header{Clock: b.clock, Seed: b.index}), sub), []*fsm.Sub{sub})
	return sub.Results[0]
}

// Read implements Live.
func (b *bench) Read(cmd *fsm.Command) fsm.Result {
	var out [1]fsm.Result
	b.m.Query([]fsm.Command{*cmd}, out[:], 0, nil)
	return out[0]
}

// do runs a plain command.
func (b *bench) do(words ...string) fsm.Result {
	spec, _ := b.table.Lookup([]byte(words[0]))
	cmd := fsm.Command{Op: spec.Op, Args: bytesOf(words[1:])}
	if spec.Write {
		return b.apply(cmd)
	}
	return b.Read(&cmd)
}

func bytesOf(words []string) [][]byte {
	var out [][]byte
	for _, w := range words {
		out = append(out, []byte(w))
	}
	return out
}

// run runs a script once; its effects are not applied.
func (b *bench) run(source string, keys, args []string, change ...func(q *Request)) (Outcome, fsm.Look) {
	p, bad := Compile([]byte(source))
	if bad != nil {
		return Outcome{Reply: *bad}, fsm.Look{}
	}
	q := &Request{
		Program: p, Keys: bytesOf(keys), Args: bytesOf(args), Table: b.table, Live: b, Micros: b.clock * 1000, Time: b.limit,
		Trial: func() *fsm.Trial { return b.trial },
	}
	if len(keys) > 0 {
		res := b.do(append([]string{"KV.LOOK"}, keys...)...)
		q.Look, _ = fsm.ParseLook(&res)
	}
	for _, f := range change {
		f(q)
	}
	return b.engine.Run(b.t.Context(), q), q.Look
}

// eval is EVAL.
func (b *bench) eval(source string, keys []string, args ...string) fsm.Result {
	out, look := b.run(source, keys, args)
	if len(out.Effects) > 0 {
		if res := b.apply(fsm.Effect(&look, bytesOf(keys), out.Effects)); string(res.Str) != "OK" {
			b.t.Errorf("%q: its effects: %s", source, show(&res))
		}
	}
	return out.Reply
}

// show words a result.
func show(r *fsm.Result) string {
	switch r.Kind {
	case fsm.KindNull:
		return "nil"
	case fsm.KindInt:
		return fmt.Sprint(r.Int)
	case fsm.KindDouble:
		return fmt.Sprintf(",%v", r.Dbl)
	case fsm.KindBool:
		return fmt.Sprintf("#%d", r.Int)
	case fsm.KindBulk:
		return fmt.Sprintf("%q", r.Str)
	case fsm.KindStatus, fsm.KindError:
		return string(r.Str)
	}
	var parts []string
	for i := range r.Elems {
		parts = append(parts, show(&r.Elems[i]))
	}
	mark := map[fsm.Kind]string{fsm.KindArray: "", fsm.KindMap: "%", fsm.KindSet: "~"}[r.Kind]
	if r.Elems == nil {
		mark += string(r.Str)
	}
	return mark + "[" + strings.Join(parts, " ") + "]"
}

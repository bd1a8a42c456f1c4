// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/kvorum/kvorum/fsm"
	"github.com/kvorum/kvorum/integration/history"
)

// saveTime bounds one save, in virtual time.
const saveTime = time.Minute

// saver takes saves of the whole cluster now and then. What a save holds of a key is what a read of the key
// would have found at some moment between its call and its return; so it is recorded as one, and the checkers
// judge it like any other.
func (l *load) saver(ctx context.Context, rng *rand.Rand) {
	for ctx.Err() == nil {
		pause(ctx, l.opt.SaveGap/4+time.Duration(rng.Int64N(int64(2*l.opt.SaveGap))))
		n := l.c.nodes[rng.IntN(len(l.c.nodes))]
		if ctx.Err() == nil {
			l.save(ctx, n)
		}
	}
}

// save takes one save through a node and records what it holds; a save that fails says nothing.
func (l *load) save(ctx context.Context, n *node) []byte {
	sn := n.shard()
	if sn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	var buf bytes.Buffer
	call := l.rec.Now()
	if err := sn.Save(ctx, &buf); err != nil {
		return nil
	}
	ret := l.rec.Now()
	saved, err := readSave(buf.Bytes())
	if err != nil {
		l.c.fatal(fmt.Errorf("sim: a save that succeeded cannot be read: %w", err))
		return nil
	}
	l.mu.Lock()
	l.saves++
	client := 1<<24 + l.saves
	l.mu.Unlock()
	for key, ops := range history.ByKey(l.rec.Ops()) {
		op := history.Op{Client: client, Key: key, Func: history.Read, Call: call, Return: ret, Node: n.name}
		if key[0] == 'l' {
			op.Func = history.ReadList
		}
		if ops[0].Call > ret || key[0] == 'e' {
			continue // nobody had heard of the key yet, or may be surprised to miss it
		}
		res := saved.get(key)
		answer(&op, &res)
		l.rec.Record(op)
	}
	return buf.Bytes()
}

// saved is what a save holds: each group in a machine of its own, at the clock at which it was cut.
type saved struct {
	groups []savedGroup
	info   *fsm.SaveInfo
}

type savedGroup struct {
	slots fsm.Cover
	m     *fsm.Machine
}

// readSave loads a save, with all checks.
func readSave(data []byte) (*saved, error) {
	s := new(saved)
	sr, err := fsm.NewSaveReader(bytes.NewReader(data), true)
	if err != nil {
		return nil, err
	}
	table := fsm.Data()
	var cut *fsm.SaveCut
	var g savedGroup
	index := uint64(0)
	apply := func(cmd fsm.Command) error {
		index++
		sub := &fsm.Sub{Writes: 1, Body: fsm.AppendCommand(nil, &cmd)}
		g.m.Apply(index, 1, fsm.AppendSub(fsm.AppendEntryHeader(nil, &fsm.Header{}), sub), []*fsm.Sub{sub})
		if sub.Results[0].IsError() {
			return fmt.Errorf("sim: import: %s", sub.Results[0].Str)
		}
		return nil
	}
	for {
		step, err := sr.Next()
		if errors.Is(err, io.EOF) {
			s.info = sr.Info()
			return s, nil
		}
		switch {
		case err != nil:
		case step.Cut != nil:
			cut, index = step.Cut, 0
			g = savedGroup{slots: cut.Slots, m: fsm.NewMachine(table, fsm.NewKeyspace(table, fsm.KeyspaceConfig{}), fsm.Options{})}
			var slots []uint16
			for slot := range uint16(fsm.Slots) {
				if cut.Slots.Has(slot) {
					slots = append(slots, slot)
				}
			}
			err = errors.Join(apply(fsm.Own(1, slots)), apply(fsm.ImportBegin(1)))
		case step.Done != nil:
			err = apply(fsm.ImportEnd(1, true))
			s.groups = append(s.groups, g)
		case step.Void:
		default:
			err = apply(fsm.Import(1, step.Slot, step.Number, cut.Clock, cut.Version, step.Data))
		}
		if err != nil {
			return nil, err
		}
	}
}

// run answers a read from the group that owned the key.
func (s *saved) run(words ...string) fsm.Result {
	slot := fsm.SlotOf([]byte(words[1]))
	for i := range s.groups {
		g := &s.groups[i]
		if !g.slots.Has(slot) {
			continue
		}
		spec, _ := g.m.Table().Lookup([]byte(words[0]))
		cmd := fsm.Command{Op: spec.Op}
		for _, w := range words[1:] {
			cmd.Args = append(cmd.Args, []byte(w))
		}
		var out [1]fsm.Result
		g.m.Query([]fsm.Command{cmd}, out[:], 0, nil)
		return out[0]
	}
	return fsm.Error(fsm.CodeSlotMoved, "the save has no such slot")
}

// get reads a key of a workload as its clients do.
func (s *saved) get(key string) fsm.Result {
	if strings.HasPrefix(key, "l") {
		return s.run("LRANGE", key, "0", "-1")
	}
	return s.run("GET", key)
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import "fmt"

// Trial is a private keyspace in which the writes of a script are tried before they are proposed. It holds copies of the
// keys that the script writes to, and runs commands as the group's own keyspace does, at a clock that stands still.
// It belongs to one goroutine, and may be used for one script after the other.
type Trial struct {
	k   *Keyspace
	m   *Machine
	ctx Ctx
	// slots are those in use.
	slots map[uint16]struct{}
	draws draws
}

// trialVersion is above the versions of all copies, so that the mark of a key tells whether a command changed it.
const trialVersion = 1 << 62

// NewTrial makes an empty one. hashKey is that of the groups: cursors of scans go on where a key was brought meanwhile.
func NewTrial(t *Table, hashKey [16]byte) *Trial {
	tr := &Trial{k: NewKeyspace(t, KeyspaceConfig{HashKey: hashKey}), slots: make(map[uint16]struct{})}
	tr.m = NewMachine(t, tr.k, Options{Dice: func() uint64 { return tr.draws.next() }})
	for slot := range tr.k.slots {
		tr.k.slots[slot].owned = true
	}
	return tr
}

// Begin empties it, and sets the clock, the limits and what commands that draw draw from.
func (tr *Trial) Begin(l *Look, seed uint64) {
	for slot := range tr.slots {
		tr.k.st.Lock(slot)
		tr.k.st.DropSlot(slot)
		tr.k.st.Unlock(slot)
	}
	clear(tr.slots)
	tr.draws = draws{state: seed}
	tr.m.clock.Store(l.Clock)
	tr.m.version.Store(trialVersion)
	set := defaultSettings()
	set.defaultTTL = l.DefaultTTL
	set.limits = hardLimits(l.MaxValue)
	tr.k.applySettings(set)
	tr.ctx = Ctx{Index: 1, Seed: tr.draws.next(), m: tr.m, x: tr.ctx.x}
}

// Bring takes a key that the trial does not have, as KV.ENTRY gave it: an array of sections, or null.
func (tr *Trial) Bring(key []byte, r *Result) error {
	slot := SlotOf(key)
	tr.slots[slot] = struct{}{}
	tr.k.st.Lock(slot)
	defer tr.k.st.Unlock(slot)
	for i := range r.Elems {
		if err := tr.k.st.AddSection(slot, r.Elems[i].Str); err != nil {
			return fmt.Errorf("fsm: trial: %w", err)
		}
	}
	return nil
}

// Run runs a command with keys that passed Check.
func (tr *Trial) Run(cmd *Command) Result {
	s := tr.k.table.Spec(cmd.Op)
	for _, key := range s.Keys(cmd.Args) {
		tr.slots[SlotOf(key)] = struct{}{}
	}
	if !s.Write {
		tr.ctx.room = &Room{Free: MaxReply}
		return tr.k.Query(&tr.ctx, cmd)
	}
	tr.ctx.writes.reset()
	tr.ctx.writes.cmd = MaxReply
	return tr.k.Run(&tr.ctx, cmd)
}

// Bytes is what the trial holds, as the keyspace counts it.
func (tr *Trial) Bytes() int64 { return tr.k.st.Totals().LogicalBytes }

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"math"
	"slices"
)

func upkeepRows() []Spec {
	row := func(op Op, name string, arity int) Spec {
		return Spec{Op: op, Name: name, Arity: arity, Write: true, Internal: true, Categories: CatAdmin}
	}
	grows := func(s Spec) Spec {
		s.DenyOOM = true // refused when disk space is low; memory does not stop upkeep
		return s
	}
	return []Spec{
		row(OpOwn, "OWN", 3),
		row(OpDrop, "DROP", 3),
		row(OpLimit, "LIMIT", 4),
		row(OpDefaultTTL, "DEFAULTTTL", 2),
		row(OpImportBegin, "IMPORT.BEGIN", 2),
		grows(row(OpImport, "IMPORT", 7)),
		row(OpImportEnd, "IMPORT.END", 3),
	}
}

// textStaleEpoch: a later step already changed the ownership of one of the slots.
const textStaleEpoch = "ERR stale epoch"

// Own makes the command that gives slots to a group at an epoch of the slot map. Repeating it is
// harmless; a slot that changed at a later epoch makes all of it fail.
func Own(epoch uint64, slots []uint16) Command { return slotCommand(OpOwn, epoch, slots) }

// Drop makes the command that takes slots from a group, with all that is in them; otherwise as Own.
func Drop(epoch uint64, slots []uint16) Command { return slotCommand(OpDrop, epoch, slots) }

func slotCommand(op Op, epoch uint64, slots []uint16) Command {
	sorted := slices.Clone(slots)
	slices.Sort(sorted)
	return Command{Op: op, Args: [][]byte{formatUint(epoch), appendSlots(nil, slices.Compact(sorted))}}
}

// Limit makes the command that sets a group's memory limit in logical bytes (0 none), its policy, and the
// largest value (0 the default).
func Limit(maxMemory int64, p Policy, maxValue int) Command {
	return Command{Op: OpLimit, Args: [][]byte{formatInt(maxMemory), []byte(p.String()), formatInt(int64(maxValue))}}
}

// DefaultTTL makes the command that sets the time in milliseconds that keys live when nobody said; 0
// for ever.
func DefaultTTL(millis int64) Command {
	return Command{Op: OpDefaultTTL, Args: [][]byte{formatInt(millis)}}
}

func (k *Keyspace) runUpkeep(x *execution, args [][]byte) Result {
	switch x.spec.Op {
	case OpOwn, OpDrop:
		epoch, ok := parseUint(args[0], math.MaxInt64)
		slots, fine := parseSlots(args[1])
		if !ok || !fine {
			return Error(CodeSyntax, TextSyntax)
		}
		return k.assign(epoch, slots, x.spec.Op == OpOwn)
	case OpLimit:
		return k.limit(args)
	case OpImportBegin, OpImport, OpImportEnd:
		return k.runImport(x, args)
	case OpDefaultTTL:
		ttl, ok := parseInt(args[0])
		if !ok || ttl < 0 || ttl > maxTTL {
			return Error(CodeNotInteger, TextNotInteger)
		}
		set := *k.settings.Load()
		set.defaultTTL = ttl
		k.settings.Store(&set)
		return OK()
	}
	return Errorf(CodeUnknown, "ERR unknown command number %d", x.spec.Op)
}

// assign changes the ownership of slots, of all or of none. While an import is open a slot that comes is frozen
// until its end like the others.
func (k *Keyspace) assign(epoch uint64, slots []uint16, own bool) Result {
	for _, slot := range slots {
		if s := &k.slots[slot]; s.epoch > epoch || s.epoch == epoch && s.owned != own {
			return Error(CodeError, textStaleEpoch)
		}
	}
	k.whole.Lock()
	defer k.whole.Unlock()
	cover := *k.whole.cover
	cover.Epoch = max(cover.Epoch, epoch)
	for _, slot := range slots {
		k.st.Lock(slot)
		s := &k.slots[slot]
		if s.owned != own {
			s.frozen = own && k.imports.open
		}
		s.epoch, s.owned = epoch, own
		if !own {
			k.st.DropSlot(slot)
		}
		k.st.Unlock(slot)
		k.st.HoldDue(slot, s.frozen)
		if own {
			cover.Add(slot)
		} else {
			cover.Remove(slot)
		}
	}
	k.whole.cover = &cover
	return OK()
}

func (k *Keyspace) limit(args [][]byte) Result {
	memory, ok1 := parseInt(args[0])
	value, ok2 := parseInt(args[2])
	if !ok1 || !ok2 || memory < 0 || value < 0 || value > math.MaxInt32 {
		return Error(CodeNotInteger, TextNotInteger)
	}
	policy, known := ParsePolicy(string(args[1]))
	if !known {
		return Error(CodeSyntax, TextSyntax)
	}
	if value == 0 {
		value = DefaultMaxValue
	}
	set := *k.settings.Load()
	set.maxMemory, set.policy, set.limits = memory, policy, hardLimits(int(value))
	k.applySettings(&set)
	return OK()
}

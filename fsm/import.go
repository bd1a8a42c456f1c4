// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"encoding/binary"
	"math"
)

// The import of a saved cluster into this group, from ImportBegin to ImportEnd. Until the end all slots are
// frozen: nobody sees, changes, expires or evicts what came. The protocol is in shard/DESIGN.md.

// How the import commands refuse; each text may be followed by more.
const (
	// TextImportNotEmpty: the group holds keys.
	TextImportNotEmpty = "NOTEMPTY this group holds keys"
	// TextImportBusy: another import is open here, or slots are being moved.
	TextImportBusy = "BUSY another import is open in this group"
	// TextImportOver: this import is not the one that is open here.
	TextImportOver = "OVER this import is not open in this group"
	// TextImportGap: a piece came before its predecessor.
	TextImportGap = "ERR a piece of the slot is missing"
	// TextImportDamaged: the piece is no section of its slot.
	TextImportDamaged = "ERR the piece is damaged"
)

// ImportBegin makes the command that opens import id in an empty group. Ids grow; repeating it is harmless.
func ImportBegin(id uint64) Command {
	return Command{Op: OpImportBegin, Args: [][]byte{formatUint(id)}}
}

// Import makes the command that adds a piece, a section of the store, to a slot. The pieces of a slot are
// numbered from 0; one that was taken already is answered as done. The machine's clock and version counter
// are raised to those that the saved group had.
func Import(id uint64, slot uint16, number uint32, clock int64, version uint64, piece []byte) Command {
	return Command{Op: OpImport, Args: [][]byte{
		formatUint(id), formatUint(uint64(slot)), formatUint(uint64(number)), formatInt(clock), formatUint(version), piece,
	}}
}

// ImportEnd makes the command that ends import id and opens the slots, with all that came or, without
// keep, empty. Repeating it is harmless.
func ImportEnd(id uint64, keep bool) Command {
	word := "0"
	if keep {
		word = "1"
	}
	return Command{Op: OpImportEnd, Args: [][]byte{formatUint(id), []byte(word)}}
}

// importState is replicated.
type importState struct {
	// id is the newest import that ever began here, 0 for none.
	id   uint64
	open bool
	// ended is A when one ended, 0 for never: what tokens were there before is forgotten, and those that came
	// had the A of other groups.
	ended int64
	// next counts, while it is open, the pieces taken of each slot.
	next map[uint16]uint32
}

// Import tells the newest import that began here, 0 for none, and whether it is open. Any goroutine.
func (k *Keyspace) Import() (id uint64, open bool) {
	v := k.importing.Load()
	return v >> 1, v&1 != 0
}

// setImport puts an import state in force. Applying goroutine.
func (k *Keyspace) setImport(s importState) {
	k.imports = s
	v := s.id << 1
	if s.open {
		v |= 1
	}
	k.importing.Store(v)
}

// maxImport bounds an id, so that a bit is left beside it.
const maxImport = math.MaxInt64

func (k *Keyspace) runImport(x *execution, args [][]byte) Result {
	id, ok := parseUint(args[0], maxImport)
	if !ok || id == 0 {
		return Error(CodeSyntax, TextSyntax)
	}
	switch x.spec.Op {
	case OpImportBegin:
		return k.importBegin(id)
	case OpImport:
		return k.importPiece(x.ctx, id, args[1:])
	}
	keep, ok := parseUint(args[1], 1)
	if !ok {
		return Error(CodeSyntax, TextSyntax)
	}
	return k.importEnd(x.ctx, id, keep == 1)
}

func (k *Keyspace) importBegin(id uint64) Result {
	now := &k.imports
	switch {
	case now.open && now.id == id:
		return OK()
	case now.open:
		return Error(CodeError, TextImportBusy)
	case id <= now.id:
		return Error(CodeError, TextImportOver)
	}
	if n := k.st.Totals().Keys; n > 0 {
		return Errorf(CodeError, "%s: %d", TextImportNotEmpty, n)
	}
	for slot := range k.slots {
		if k.slots[slot].frozen {
			return Error(CodeError, TextImportBusy)
		}
	}
	k.holdSlots(true, true)
	k.setImport(importState{id: id, open: true, ended: now.ended, next: make(map[uint16]uint32)})
	return OK()
}

func (k *Keyspace) importPiece(ctx *Ctx, id uint64, args [][]byte) Result {
	slot, ok1 := parseUint(args[0], Slots-1)
	number, ok2 := parseUint(args[1], math.MaxUint32-1)
	clock, ok3 := parseUint(args[2], MaxClock)
	version, ok4 := parseUint(args[3], math.MaxInt64)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return Error(CodeSyntax, TextSyntax)
	}
	now := &k.imports
	if !now.open || now.id != id {
		return Error(CodeError, TextImportOver)
	}
	at := uint16(slot)
	if !k.slots[at].owned {
		return Error(CodeSlotMoved, TextSlotMoved)
	}
	switch next := now.next[at]; {
	case uint32(number) < next:
		return OK()
	case uint32(number) > next:
		return Error(CodeError, TextImportGap)
	}
	k.st.Lock(at)
	err := k.st.AddSection(at, args[4])
	newest := k.st.NewestToken(at)
	k.st.Unlock(at)
	if err != nil {
		return Error(CodeError, TextImportDamaged)
	}
	ctx.Raise(int64(clock), version)
	ctx.RaiseAge(min(newest, MaxClock)) // no record is from the future
	now.next[at]++
	return OK()
}

func (k *Keyspace) importEnd(ctx *Ctx, id uint64, keep bool) Result {
	now := k.imports
	switch {
	case now.id != id:
		return Error(CodeError, TextImportOver)
	case !now.open:
		return OK()
	}
	k.holdSlots(false, !keep)
	k.setImport(importState{id: id, ended: ctx.Age()})
	if keep && k.waiters != nil && k.waiters.Any() {
		k.waiters.Opened()
	}
	return OK()
}

// holdSlots freezes or opens the owned slots, and empties them if asked.
func (k *Keyspace) holdSlots(freeze, empty bool) {
	k.whole.Lock()
	defer k.whole.Unlock()
	for slot := range uint16(Slots) {
		if !k.slots[slot].owned {
			continue
		}
		k.st.Lock(slot)
		k.slots[slot].frozen = freeze
		if empty {
			k.st.DropSlot(slot)
		}
		k.st.Unlock(slot)
		k.st.HoldDue(slot, freeze)
	}
}

// SlotDigest is the fingerprint of a slot now. Any goroutine.
func (k *Keyspace) SlotDigest(slot uint16) [16]byte {
	k.st.RLock(slot)
	defer k.st.RUnlock(slot)
	return k.st.Digest(slot)
}

// The tags of the keyspace section's extension area.
const tagImport = 1

// appendHeadExtensions encodes what a keyspace without an import does not have.
func (k *Keyspace) appendHeadExtensions(dst []byte) []byte {
	s := &k.imports
	if s.id == 0 {
		return append(dst, 0)
	}
	body := binary.AppendUvarint(nil, s.id)
	body = binary.AppendUvarint(body, uint64(s.ended))
	if s.open {
		body = append(body, 1)
		body = binary.AppendUvarint(body, uint64(len(s.next)))
		for slot, end := 0, 0; slot < Slots; slot++ {
			n, ok := s.next[uint16(slot)]
			if !ok {
				continue
			}
			body = binary.AppendUvarint(body, uint64(slot-end))
			body = binary.AppendUvarint(body, uint64(n))
			end = slot + 1
		}
	} else {
		body = append(body, 0)
	}
	return appendBytes(dst, appendBytes([]byte{tagImport}, body))
}

// parseImport is the reverse, of the tag's body.
func parseImport(r *reader) (s importState) {
	s.id = r.uint(maxImport, "import id")
	s.ended = int64(r.uint(math.MaxInt64, "import's end"))
	open := r.byte("import state")
	if r.err == nil && (s.id == 0 || open > 1) {
		r.fail(ErrMalformed, "import")
	}
	if open == 0 {
		return s
	}
	s.open, s.next = true, make(map[uint16]uint32)
	end := uint64(0)
	for n := r.uint(Slots, "imported slots"); n > 0 && r.err == nil; n-- {
		slot := end + r.uint(Slots, "imported slot")
		count := r.uint(math.MaxUint32, "pieces")
		if r.err == nil && (slot >= Slots || count == 0) {
			r.fail(ErrMalformed, "imported slots")
			break
		}
		s.next[uint16(slot)] = uint32(count)
		end = slot + 1
	}
	return s
}

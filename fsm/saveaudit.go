// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"errors"
	"fmt"

	"github.com/kvorum/kvorum/store"
)

// saveAudit loads slots, one at a time, into a store of its own, to count and digest what is in them. Its
// memory is that of the largest slot.
type saveAudit struct {
	st *store.Store
	// slot is the one that is loaded, -1 for none.
	slot   int
	pieces int64
	done   SaveDone
	// ranges counts by slot ranges, over all groups.
	ranges *[SaveRanges]SaveTotals
}

// SaveRanges is how many ranges of equal length a save counts the slots by.
const SaveRanges = 16

func newSaveAudit() *saveAudit {
	return &saveAudit{st: store.New(store.Config{}), slot: -1, ranges: new([SaveRanges]SaveTotals)}
}

// add takes the next piece of a group; slots ascend.
func (a *saveAudit) add(slot uint16, data []byte) error {
	if int(slot) != a.slot {
		a.flush()
		a.slot = int(slot)
	}
	a.st.Lock(slot)
	defer a.st.Unlock(slot)
	if err := a.st.AddSection(slot, data); err != nil {
		what := ErrMalformed
		if errors.Is(err, store.ErrSectionVersion) {
			what = ErrUnknown
		}
		return fmt.Errorf("slot %d: %w: %w", slot, what, err)
	}
	a.pieces++
	return nil
}

// scanAll is more keys than a slot holds at one position.
const scanAll = 1 << 16

// flush counts the slot that is loaded and drops it.
func (a *saveAudit) flush() {
	if a.slot < 0 {
		return
	}
	slot := uint16(a.slot)
	a.st.Lock(slot)
	defer a.st.Unlock(slot)
	s := a.st.Stats(slot)
	t := SaveTotals{
		Slots: 1, Pieces: a.pieces, Keys: s.Keys,
		KeyBytes: s.KeyBytes, ValueBytes: s.ValueBytes, LogicalBytes: s.LogicalBytes,
	}
	for at := uint64(0); ; {
		at = a.st.Scan(slot, at, scanAll, func(_ []byte, r store.Ref) {
			if r.ExpireAt() != 0 {
				t.Timed++
			}
		})
		if at == 0 {
			break
		}
	}
	if sum := a.st.Digest(slot); sum != [16]byte{} {
		a.done.Sums = append(a.done.Sums, SlotSum{slot, sum})
	}
	a.done.Totals.add(&t)
	a.ranges[int(slot)*SaveRanges/Slots].add(&t)
	a.st.DropSlot(slot)
	a.slot, a.pieces = -1, 0
}

// take ends a group and gives what it held.
func (a *saveAudit) take() SaveDone {
	a.flush()
	d := a.done
	a.done = SaveDone{}
	return d
}

// drop forgets a group that does not count; before is what the ranges were when it began.
func (a *saveAudit) drop(before *[SaveRanges]SaveTotals) {
	a.take()
	*a.ranges = *before
}

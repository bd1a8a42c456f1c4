// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/kvorum/kvorum/snapshots"
)

// SaveWriter writes a save. It checks and digests all that it copies, so what could not be read again is
// never written. Its memory is that of the largest slot and some blocks. It belongs to one goroutine.
type SaveWriter struct {
	sw    *snapshots.Writer
	head  SaveHead
	audit *saveAudit
	// have are the slots of the groups that are done.
	have Cover
	// done counts the groups that are.
	done   int
	totals SaveTotals
	// broken is the first error of the stream written.
	broken error
}

// NewSaveWriter begins a save on w.
func NewSaveWriter(w io.Writer, h SaveHead) (*SaveWriter, error) {
	sw, err := snapshots.NewWriter(w, h.stream())
	if err != nil {
		return nil, err
	}
	s := &SaveWriter{sw: sw, head: h, audit: newSaveAudit()}
	s.section(SectionSave, 0, h.append(nil))
	return s, s.broken
}

// Broken is the error that made writing impossible, nil while there is none. Errors of Group beside it are
// those of what was read: the group may be tried again.
func (s *SaveWriter) Broken() error { return s.broken }

// Totals counts what the groups hold that are done.
func (s *SaveWriter) Totals() SaveTotals { return s.totals }

func (s *SaveWriter) section(kind uint8, id uint32, data []byte) {
	if s.broken == nil {
		s.broken = s.sw.Section(kind, id, data)
	}
}

// Group copies one group from its snapshot, which must own exactly the slots of want; ErrSaveMoved when it
// does not. After another error the part that was written is void, and the group may be tried again.
func (s *SaveWriter) Group(group uint32, want *Cover, snapshot io.Reader) error {
	err := s.group(group, want, snapshot)
	if s.broken != nil {
		return s.broken
	}
	if err != nil {
		return fmt.Errorf("fsm: save group %d: %w", group, err)
	}
	return nil
}

func (s *SaveWriter) group(group uint32, want *Cover, snapshot io.Reader) error {
	sr, cut, err := openCut(group, &s.head, snapshot)
	if err != nil {
		return err
	}
	if cut.Slots.Bits != want.Bits {
		return ErrSaveMoved
	}
	for i, b := range cut.Slots.Bits {
		if s.have.Bits[i]&b != 0 {
			return ErrSaveUncovered
		}
	}
	s.section(SectionSaveGroup, group, cut.append(nil))
	if err := s.slots(sr, cut); err != nil {
		s.audit.take()
		s.section(SectionSaveVoid, group, []byte{saveVersion, 0})
		return err
	}
	d := s.audit.take()
	s.section(SectionSaveDone, group, d.append(nil))
	for i, b := range cut.Slots.Bits {
		s.have.Bits[i] |= b
	}
	s.done++
	s.totals.add(&d.Totals)
	return s.broken
}

// openCut reads a group's snapshot up to its slots.
func openCut(group uint32, head *SaveHead, snapshot io.Reader) (*snapshots.Reader, *SaveCut, error) {
	sr, err := snapshots.NewReader(snapshot)
	if err != nil {
		return nil, nil, err
	}
	h := sr.Header()
	if h.Cluster != head.Cluster || h.Group != group {
		return nil, nil, fmt.Errorf("cluster %q group %d: %w", h.Cluster, h.Group, ErrOtherGroup)
	}
	if h.ClusterVersion > MaxClusterVersion {
		return nil, nil, fmt.Errorf("cluster version %d: %w", h.ClusterVersion, ErrUnknown)
	}
	next := func(kind uint8) ([]byte, error) {
		sec, err := sr.Next()
		if err == nil && sec.Kind != kind {
			err = fmt.Errorf("section kind %d in place of %d: %w", sec.Kind, kind, ErrUnknown)
		}
		return sec.Data, noEnd(err)
	}
	data, err := next(SectionShell)
	if err != nil {
		return nil, nil, err
	}
	shell, err := parseShell(data)
	if err != nil {
		return nil, nil, err
	}
	if data, err = next(SectionKeyspace); err != nil {
		return nil, nil, err
	}
	k, err := parseHead(data)
	if err != nil {
		return nil, nil, err
	}
	cut := &SaveCut{Group: group, Index: h.Index, Term: h.Term, Clock: shell.clock, Version: shell.version}
	for slot := range uint16(Slots) {
		st := k.slots[slot]
		if st.owned {
			cut.Slots.Add(slot)
		}
		if st.frozen {
			return nil, nil, ErrSaveMoved
		}
	}
	return sr, cut, nil
}

// noEnd makes the end of a stream in the wrong place an error of its own.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream ends too early: %w", ErrTruncated)
	}
	return err
}

// slots copies the slots of a group.
func (s *SaveWriter) slots(sr *snapshots.Reader, cut *SaveCut) error {
	last := uint32(0)
	for {
		sec, err := sr.Next()
		if err == io.EOF { //nolint:errorlint // exactly what Next returns at the end
			return nil
		}
		if err != nil {
			return err
		}
		if sec.Kind != SectionSlot || sec.ID >= Slots || sec.ID < last || !cut.Slots.Has(uint16(sec.ID)) {
			return fmt.Errorf("section kind %d id %d: %w", sec.Kind, sec.ID, ErrMalformed)
		}
		last = sec.ID
		if err := s.audit.add(uint16(sec.ID), sec.Data); err != nil {
			return err
		}
		if s.section(SectionSlot, sec.ID, sec.Data); s.broken != nil {
			return s.broken
		}
	}
}

// CopySave copies a save without the parts that skip names, by their place among all parts, ascending.
func CopySave(w io.Writer, r io.Reader, skip []int) error {
	sr, err := snapshots.NewReader(r)
	if err != nil {
		return err
	}
	sw, err := snapshots.NewWriter(w, sr.Header())
	if err != nil {
		return err
	}
	for part := 0; ; {
		sec, err := sr.Next()
		if err == io.EOF { //nolint:errorlint // exactly what Next returns at the end
			return sw.Close()
		}
		if err != nil {
			return err
		}
		if _, out := slices.BinarySearch(skip, part); !out || sec.Kind == SectionSave {
			if err := sw.Section(sec.Kind, sec.ID, sec.Data); err != nil {
				return err
			}
		}
		if sec.Kind == SectionSaveDone || sec.Kind == SectionSaveVoid {
			part++
		}
	}
}

// Close ends the save, or fails with ErrSaveUncovered, and then there is none.
func (s *SaveWriter) Close() error {
	if s.broken != nil {
		return s.broken
	}
	if s.have.Len() != Slots || s.done != len(s.head.Groups) || !slices.IsSorted(s.head.Groups) {
		return ErrSaveUncovered
	}
	return s.sw.Close()
}

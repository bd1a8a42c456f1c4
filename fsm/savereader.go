// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/kvorum/kvorum/snapshots"
)

// SaveStep is one step through a save. Exactly one of Cut, Done and Void is set, or it is a piece.
type SaveStep struct {
	// Cut begins the part of a group. It is the reader's.
	Cut *SaveCut
	// Done ends it. It is the reader's.
	Done *SaveDone
	// Void ends a part that does not count.
	Void bool
	// Slot, Number and Data are a piece of the group whose part it is; Data is valid until the next step.
	Slot   uint16
	Number uint32
	Data   []byte
}

// SaveReader reads a save and checks all of it on the way. What it gave before an error was written so, but
// may be part of no save: who must not act on a part reads to the end first. It belongs to one goroutine.
type SaveReader struct {
	sr   *snapshots.Reader
	head SaveHead
	// audit is nil when the content is not to be loaded.
	audit *saveAudit
	have  Cover
	info  SaveInfo
	// The part of a group, cut nil between parts.
	cut    *SaveCut
	done   SaveDone
	last   int // the slot of the last piece, -1 before
	number uint32
	pieces int64
	parts  int // that ended
	before [SaveRanges]SaveTotals
	err    error
}

// SaveInfo sums up a save.
type SaveInfo struct {
	Head   SaveHead
	Groups []SaveGroup // in the order of the save
	// Voids are the parts that do not count, by their place among all parts, from 0.
	Voids  []int
	Totals SaveTotals
	// Ranges are set by an audit: SaveRanges ranges of slots.
	Ranges *[SaveRanges]SaveTotals
	// Sums are ascending, of all slots that hold something; Content is their ContentDigest.
	Sums    []SlotSum
	Content [sha256.Size]byte
	// Stream is the container's own summary.
	Stream snapshots.Info
}

// SaveGroup is one group of a save.
type SaveGroup struct {
	Cut    SaveCut
	Totals SaveTotals
}

// NewSaveReader reads a save's head. With audit the content of every slot is loaded and compared with the
// save's digests, which takes as much memory as the largest slot; without, only the stream is checked.
func NewSaveReader(r io.Reader, audit bool) (*SaveReader, error) {
	sr, err := snapshots.NewReader(r)
	if err != nil {
		return nil, err
	}
	if v := sr.Header().ClusterVersion; v > MaxClusterVersion {
		return nil, fmt.Errorf("fsm: save: cluster version %d: %w", v, ErrUnknown)
	}
	sec, err := sr.Next()
	if err != nil {
		return nil, noEnd(err)
	}
	if sec.Kind != SectionSave || sec.ID != 0 {
		return nil, ErrNoSave
	}
	s := &SaveReader{sr: sr, last: -1}
	if s.head, err = parseSaveHead(sec.Data, sr.Header()); err != nil {
		return nil, err
	}
	if audit {
		s.audit = newSaveAudit()
	}
	return s, nil
}

// Head is what the save says about itself.
func (s *SaveReader) Head() *SaveHead { return &s.head }

// Info sums the save up, once Next returned io.EOF.
func (s *SaveReader) Info() *SaveInfo { return &s.info }

// Next takes the next step; io.EOF once the save proved to be whole.
func (s *SaveReader) Next() (SaveStep, error) {
	if s.err != nil {
		return SaveStep{}, s.err
	}
	step, err := s.next()
	if err != nil {
		if err != io.EOF { //nolint:errorlint // exactly what next returns at the end
			err = fmt.Errorf("fsm: save: %w", err)
		}
		s.err = err
	}
	return step, err
}

func (s *SaveReader) next() (SaveStep, error) {
	sec, err := s.sr.Next()
	if err == io.EOF { //nolint:errorlint // exactly what Next returns at the end
		return SaveStep{}, s.finish()
	}
	if err != nil {
		return SaveStep{}, err
	}
	switch {
	case sec.Kind == SectionSaveGroup && s.cut == nil:
		return s.begin(&sec)
	case s.cut == nil:
	case sec.Kind == SectionSlot && sec.ID < Slots:
		return s.piece(uint16(sec.ID), sec.Data)
	case sec.Kind == SectionSaveDone && sec.ID == s.cut.Group:
		return s.end(sec.Data)
	case sec.Kind == SectionSaveVoid && sec.ID == s.cut.Group:
		if err := parseSaveVoid(sec.Data); err != nil {
			return SaveStep{}, err
		}
		if s.audit != nil {
			s.audit.drop(&s.before)
		}
		s.cut = nil
		s.info.Voids = append(s.info.Voids, s.parts)
		s.parts++
		return SaveStep{Void: true}, nil
	}
	return SaveStep{}, fmt.Errorf("section kind %d id %d here: %w", sec.Kind, sec.ID, ErrMalformed)
}

func (s *SaveReader) begin(sec *snapshots.Section) (SaveStep, error) {
	cut, err := parseSaveCut(sec.ID, sec.Data)
	if err != nil {
		return SaveStep{}, err
	}
	if _, listed := slices.BinarySearch(s.head.Groups, cut.Group); !listed {
		return SaveStep{}, fmt.Errorf("group %d is not in the head: %w", cut.Group, ErrMalformed)
	}
	for i, b := range cut.Slots.Bits {
		if s.have.Bits[i]&b != 0 {
			return SaveStep{}, fmt.Errorf("group %d: %w", cut.Group, ErrSaveUncovered)
		}
	}
	s.cut, s.last, s.pieces = &cut, -1, 0
	if s.audit != nil {
		s.before = *s.audit.ranges
	}
	return SaveStep{Cut: &cut}, nil
}

func (s *SaveReader) piece(slot uint16, data []byte) (SaveStep, error) {
	if int(slot) < s.last || !s.cut.Slots.Has(slot) {
		return SaveStep{}, fmt.Errorf("slot %d here: %w", slot, ErrMalformed)
	}
	if s.number++; int(slot) != s.last {
		s.number = 0
	}
	s.last = int(slot)
	s.pieces++
	if s.audit != nil {
		if err := s.audit.add(slot, data); err != nil {
			return SaveStep{}, err
		}
	}
	return SaveStep{Slot: slot, Number: s.number, Data: data}, nil
}

func (s *SaveReader) end(data []byte) (SaveStep, error) {
	d, err := parseSaveDone(data)
	if err != nil {
		return SaveStep{}, err
	}
	for i := range d.Sums {
		if !s.cut.Slots.Has(d.Sums[i].Slot) {
			return SaveStep{}, fmt.Errorf("digest of slot %d: %w", d.Sums[i].Slot, ErrMalformed)
		}
	}
	if d.Totals.Pieces != s.pieces {
		return SaveStep{}, fmt.Errorf("group %d has %d pieces, not %d: %w", s.cut.Group, s.pieces, d.Totals.Pieces, ErrMalformed)
	}
	if s.audit != nil {
		if is := s.audit.take(); is.Totals != d.Totals || !slices.Equal(is.Sums, d.Sums) {
			return SaveStep{}, fmt.Errorf("group %d: %w", s.cut.Group, ErrSaveDigest)
		}
	}
	for i, b := range s.cut.Slots.Bits {
		s.have.Bits[i] |= b
	}
	s.done = d
	s.info.Groups = append(s.info.Groups, SaveGroup{Cut: *s.cut, Totals: d.Totals})
	s.info.Totals.add(&d.Totals)
	s.info.Sums = append(s.info.Sums, d.Sums...)
	s.cut = nil
	s.parts++
	return SaveStep{Done: &s.done}, nil
}

// finish checks, behind the footer, that nothing is missing.
func (s *SaveReader) finish() error {
	if s.cut != nil || s.have.Len() != Slots || len(s.info.Groups) != len(s.head.Groups) {
		return ErrSaveUncovered
	}
	s.info.Head = s.head
	s.info.Stream = s.sr.Info()
	slices.SortFunc(s.info.Sums, func(a, b SlotSum) int { return cmp.Compare(a.Slot, b.Slot) })
	s.info.Content = ContentDigest(s.info.Sums)
	if s.audit != nil {
		s.info.Ranges = s.audit.ranges
	}
	return io.EOF
}

// SPDX-License-Identifier: Apache-2.0

package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"

	"github.com/kvorum/kvorum/snapshots"
)

// A save is a whole cluster's data as one stream of package snapshots. snapshots/DESIGN.md has its bytes.

// The sections of a save, beside those of kind SectionSlot.
const (
	// SectionSave is the first section; its id is 0.
	SectionSave uint8 = 32
	// SectionSaveGroup begins the part of a group; its id is the group's. Sections of slots follow.
	SectionSaveGroup uint8 = 33
	// SectionSaveDone ends a group's part; its id is the group's.
	SectionSaveDone uint8 = 34
	// SectionSaveVoid ends a group's part that does not count; its id is the group's.
	SectionSaveVoid uint8 = 35
)

// Errors of saves, beside those of package snapshots and of the parsers here.
var (
	// ErrNoSave: the stream is sound and no save, but perhaps the snapshot of one group.
	ErrNoSave = errors.New("fsm: this is no save of a cluster")
	// ErrSaveMoved: a group owned other slots than the map says, or some were frozen.
	ErrSaveMoved = errors.New("fsm: slots moved, or were being moved or restored")
	// ErrSaveUncovered: not every slot is in the save exactly once.
	ErrSaveUncovered = errors.New("fsm: not every slot is in the save exactly once")
	// ErrSaveDigest: the content is not what the save's own digests say.
	ErrSaveDigest = errors.New("fsm: content and digest differ")
)

// SaveDamaged tells whether err, of a SaveReader, means that the bytes are not those of a save, and neither
// that they are of a newer version nor that they could not be read.
func SaveDamaged(err error) bool {
	for _, damage := range []error{snapshots.ErrCorrupt, ErrMalformed, ErrTruncated, ErrSaveUncovered, ErrSaveDigest} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}

// SaveHead is what a save says about itself at its beginning.
type SaveHead struct {
	// Cluster, ClusterVersion and Epoch are in the stream's own header.
	Cluster        string
	ClusterVersion uint32
	// Epoch is that of the map by which the save was made.
	Epoch uint64
	// Created is the wall time of the beginning, in milliseconds.
	Created int64
	// Program is the version of the program that made it.
	Program string
	// Keys is about how many keys there were at the beginning.
	Keys uint64
	// Groups are those that owned slots, ascending.
	Groups []uint32
	// Settings are the cluster's, in an encoding of the caller's.
	Settings []byte
}

// SaveCut is the moment at which a group was captured.
type SaveCut struct {
	Group       uint32
	Index, Term uint64
	// Clock and Version are the machine's C and V.
	Clock   int64
	Version uint64
	// Slots are those that the group owned.
	Slots Cover
}

// SaveTotals counts what is in slots.
type SaveTotals struct {
	// Slots hold something, if only tokens; Pieces are their sections.
	Slots, Pieces int64
	// Keys counts those too that were dead and not yet removed; Timed those with a deadline.
	Keys, Timed int64
	// KeyBytes, ValueBytes and LogicalBytes as package store counts them: without tokens.
	KeyBytes, ValueBytes, LogicalBytes int64
}

func (t *SaveTotals) add(o *SaveTotals) {
	t.Slots += o.Slots
	t.Pieces += o.Pieces
	t.Keys += o.Keys
	t.Timed += o.Timed
	t.KeyBytes += o.KeyBytes
	t.ValueBytes += o.ValueBytes
	t.LogicalBytes += o.LogicalBytes
}

// SlotSum is the digest of one slot.
type SlotSum struct {
	Slot uint16
	Sum  [16]byte
}

// SaveDone is what a group's part holds. Sums are ascending and have the slots that hold something.
type SaveDone struct {
	Totals SaveTotals
	Sums   []SlotSum
}

// ContentDigest is the fingerprint of the slots whose digests are in sums, ascending: the same for the same
// keys, values, deadlines, flags, versions and tokens, however they are spread over groups.
func ContentDigest(sums []SlotSum) [sha256.Size]byte {
	h := sha256.New()
	for i := range sums {
		if sums[i].Sum == [16]byte{} {
			continue
		}
		_, _ = h.Write([]byte{byte(sums[i].Slot >> 8), byte(sums[i].Slot)})
		_, _ = h.Write(sums[i].Sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// saveVersion is the first byte of the sections of a save.
const saveVersion = 1

func (h *SaveHead) stream() snapshots.Header {
	return snapshots.Header{ClusterVersion: h.ClusterVersion, Cluster: h.Cluster, Epoch: h.Epoch}
}

func (h *SaveHead) append(dst []byte) []byte {
	dst = append(dst, saveVersion)
	dst = binary.AppendUvarint(dst, uint64(h.Created))
	dst = appendBytes(dst, []byte(h.Program))
	dst = binary.AppendUvarint(dst, h.Keys)
	dst = binary.AppendUvarint(dst, uint64(len(h.Groups)))
	for _, g := range h.Groups {
		dst = binary.AppendUvarint(dst, uint64(g))
	}
	dst = appendBytes(dst, h.Settings)
	return append(dst, 0) // extension area
}

// beginSection reads the version byte.
func beginSection(data []byte, what string) *reader {
	r := &reader{src: data}
	if v := r.byte(what); r.err == nil && v != saveVersion {
		r.fail(ErrUnknown, what)
	}
	return r
}

// endSection reads the extension area, of which no tag is known yet, and the end.
func endSection(r *reader, what string) error {
	r.extensions(what, func(uint64, *reader) bool { return false })
	if r.err == nil && r.rest() != 0 {
		r.fail(ErrMalformed, what)
	}
	return r.err
}

func parseSaveHead(data []byte, sh snapshots.Header) (SaveHead, error) {
	h := SaveHead{Cluster: sh.Cluster, ClusterVersion: sh.ClusterVersion, Epoch: sh.Epoch}
	r := beginSection(data, "head of a save")
	h.Created = int64(r.uint(MaxClock, "time of the save"))
	h.Program = string(r.bytes("program"))
	h.Keys = r.uvarint("keys")
	last := int64(-1)
	for n := r.count("groups"); n > 0 && r.err == nil; n-- {
		g := r.uint(math.MaxUint32, "group")
		if r.err == nil && int64(g) <= last {
			r.fail(ErrMalformed, "groups")
		}
		last = int64(g)
		h.Groups = append(h.Groups, uint32(g))
	}
	h.Settings = append([]byte(nil), r.bytes("settings")...)
	return h, endSection(r, "head of a save")
}

// list gives the slots in ascending order.
func (c *Cover) list() []uint16 {
	slots := make([]uint16, 0, c.Len())
	for slot := range uint16(Slots) {
		if c.Has(slot) {
			slots = append(slots, slot)
		}
	}
	return slots
}

func (c *SaveCut) append(dst []byte) []byte {
	dst = append(dst, saveVersion)
	dst = binary.AppendUvarint(dst, c.Index)
	dst = binary.AppendUvarint(dst, c.Term)
	dst = binary.AppendUvarint(dst, uint64(c.Clock))
	dst = binary.AppendUvarint(dst, c.Version)
	dst = appendBytes(dst, appendSlots(nil, c.Slots.list()))
	return append(dst, 0) // extension area
}

func parseSaveCut(id uint32, data []byte) (SaveCut, error) {
	r := beginSection(data, "part of a group")
	c := SaveCut{
		Group: id, Index: r.uvarint("index"), Term: r.uvarint("term"),
		Clock: int64(r.uint(MaxClock, "clock")), Version: r.uint(math.MaxInt64, "version"),
	}
	slots, ok := parseSlots(r.bytes("slots"))
	if r.err == nil && !ok {
		r.fail(ErrMalformed, "slots")
	}
	for _, slot := range slots {
		c.Slots.Add(slot)
	}
	return c, endSection(r, "part of a group")
}

func (d *SaveDone) append(dst []byte) []byte {
	dst = append(dst, saveVersion)
	t := &d.Totals
	for _, n := range []int64{t.Slots, t.Pieces, t.Keys, t.Timed, t.KeyBytes, t.ValueBytes, t.LogicalBytes} {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.Sums)))
	end := 0
	for i := range d.Sums {
		dst = binary.AppendUvarint(dst, uint64(int(d.Sums[i].Slot)-end))
		dst = append(dst, d.Sums[i].Sum[:]...)
		end = int(d.Sums[i].Slot) + 1
	}
	return append(dst, 0) // extension area
}

func parseSaveDone(data []byte) (SaveDone, error) {
	r := beginSection(data, "end of a group")
	var d SaveDone
	t := &d.Totals
	for _, p := range []*int64{&t.Slots, &t.Pieces, &t.Keys, &t.Timed, &t.KeyBytes, &t.ValueBytes, &t.LogicalBytes} {
		*p = int64(r.uint(math.MaxInt64, "totals"))
	}
	end := uint64(0)
	for n := r.uint(Slots, "digests"); n > 0 && r.err == nil; n-- {
		slot := end + r.uint(Slots, "slot of a digest")
		sum := r.take(16, "digest")
		if r.err != nil {
			break
		}
		if slot >= Slots || [16]byte(sum) == [16]byte{} {
			r.fail(ErrMalformed, "digests")
			break
		}
		d.Sums = append(d.Sums, SlotSum{uint16(slot), [16]byte(sum)})
		end = slot + 1
	}
	return d, endSection(r, "end of a group")
}

func parseSaveVoid(data []byte) error {
	return endSection(beginSection(data, "void part"), "void part")
}

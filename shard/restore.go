// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

const (
	// importBatch is how many bytes of pieces go into one call of the router; a larger piece goes alone.
	importBatch = 256 << 10
	// importBatchPieces bounds their number.
	importBatchPieces = 1024
	// importFlights bounds the calls under way, importFlightBytes their bytes; one of any size may go.
	importFlights     = 16
	importFlightBytes = 16 << 20
	// importTime is the budget of one call; importPatience is how long a batch is tried again.
	importTime     = 10 * time.Second
	importPatience = 2 * time.Minute
	// beginPatience is how long a group may have another import open: one that is over is being cleared up.
	beginPatience = 30 * time.Second
	// endPatience bounds the wait for all groups to open their slots.
	endPatience = time.Minute
)

// Errors of Restore.
var (
	// ErrNotEmpty: the cluster holds keys.
	ErrNotEmpty = errors.New("shard: the cluster is not empty: restore goes into an empty one")
	// ErrRestoreDigest: what was imported is not what the save says.
	ErrRestoreDigest = errors.New("shard: the restored slots are not those of the save")
	// ErrNotRestoring: there is no restore to cancel.
	ErrNotRestoring = errors.New("shard: the cluster is not being restored")
	// ErrBadSave: the stream is no save, or not one that can be restored here.
	ErrBadSave = errors.New("shard: bad save")
)

// RestorePhase is what a restore does now.
type RestorePhase string

// The phases.
const (
	RestoreBegin  RestorePhase = "begin"  // every group makes ready
	RestoreImport RestorePhase = "import" // pieces go to their groups
	RestoreVerify RestorePhase = "verify" // digests are compared
	RestoreEnd    RestorePhase = "end"    // the restore stands; groups open their slots
)

// RestoreProgress is news of a restore.
type RestoreProgress struct {
	Phase RestorePhase `json:"phase"`
	// Pieces and Bytes of them were imported; Keys counts those of the groups of the save that are read.
	Pieces int64 `json:"pieces"`
	Bytes  int64 `json:"bytes"`
	Keys   int64 `json:"keys"`
}

// RestoreOptions say how to restore.
type RestoreOptions struct {
	// Settings: the save's memory limit, eviction policy and default TTL become the cluster's.
	Settings bool
	// News, when set, is told of progress, on one goroutine, and must be quick.
	News func(RestoreProgress)
}

// Restore reads a save from r into the cluster, which must be empty, as DESIGN.md §12 says. With a nil error
// all of it is there; with an error that wraps ErrUndecided that is not known; with any other the cluster is,
// or will be in a moment, empty and in service.
func (n *Node) Restore(ctx context.Context, r io.Reader, o RestoreOptions) error {
	if o.News == nil {
		o.News = func(RestoreProgress) {}
	}
	sr, err := fsm.NewSaveReader(r, false)
	if err != nil {
		return fmt.Errorf("shard: restore: %w", badSave(err))
	}
	var settings Settings
	if err := json.Unmarshal(sr.Head().Settings, &settings); o.Settings && err != nil {
		return fmt.Errorf("shard: restore: settings: %w: %w", ErrBadSave, err)
	}
	h, err := n.takeHold(ctx, HoldRestore)
	if err != nil {
		return fmt.Errorf("shard: restore: %w", err)
	}
	t := newRestore(n, h, sr, o)
	if err = t.run(); err == nil {
		err = h.release(true)
	} else {
		if lost := context.Cause(h.ctx); lost != nil {
			err = fmt.Errorf("%w: %w", lost, err)
		}
		err = errors.Join(err, h.release(false))
	}
	// Also without success: whoever tries again finds the cluster open.
	ended := t.awaitEnd(err == nil)
	if err == nil && o.Settings {
		ctx, cancel := context.WithTimeout(n.ctx, releaseWait)
		defer cancel()
		err = n.Configure(ctx, func(s *Settings) {
			s.MaxMemory, s.Policy, s.DefaultTTLMillis = settings.MaxMemory, settings.Policy, settings.DefaultTTLMillis
		})
	}
	if err == nil {
		err = ended
	}
	if err != nil {
		return fmt.Errorf("shard: restore: %w", err)
	}
	return nil
}

// badSave marks errors of the stream, as far as its bytes are to blame.
func badSave(err error) error {
	if fsm.SaveDamaged(err) || errors.Is(err, fsm.ErrNoSave) || errors.Is(err, fsm.ErrUnknown) {
		return fmt.Errorf("%w: %w", ErrBadSave, err)
	}
	return err
}

// CancelRestore ends a restore whose node is gone, before the control group does: the cluster will be empty
// in a moment, unless the restore stood already.
func (n *Node) CancelRestore(ctx context.Context) error {
	v := n.View()
	if v == nil {
		return fmt.Errorf("shard: cancel restore: %w", ErrUninitialised)
	}
	h := v.restoring()
	if h == nil {
		return fmt.Errorf("shard: cancel restore: %w", ErrNotRestoring)
	}
	if _, err := n.propose(ctx, &cmdRelease{ID: h.ID}); err != nil {
		return fmt.Errorf("shard: cancel restore: %w", err)
	}
	return nil
}

// restore is one Restore under way. Its map stays, since its hold keeps slots where they are.
type restore struct {
	n      *Node
	h      *holding
	sr     *fsm.SaveReader
	o      RestoreOptions
	slots  *[SlotCount]uint32
	groups []uint32
	first  map[uint32]uint16 // a slot of each group
}

func newRestore(n *Node, h *holding, sr *fsm.SaveReader, o RestoreOptions) *restore {
	v := n.view.Load()
	t := &restore{n: n, h: h, sr: sr, o: o, slots: v.Slots, first: make(map[uint32]uint16)}
	for slot, g := range v.Slots {
		if _, seen := t.first[g]; !seen {
			t.first[g] = uint16(slot)
			t.groups = append(t.groups, g)
		}
	}
	return t
}

func (t *restore) run() error {
	if _, unowned := t.first[controlGroup]; unowned {
		return fmt.Errorf("%w: some slots have no owner", ErrRefused)
	}
	t.o.News(RestoreProgress{Phase: RestoreBegin})
	for _, g := range t.groups {
		if err := t.begin(g); err != nil {
			return err
		}
	}
	if err := t.feed(); err != nil {
		return err
	}
	return t.verify()
}

// begin opens the import in one group.
func (t *restore) begin(group uint32) error {
	until := time.Now().Add(beginPatience)
	for {
		cmd := fsm.ImportBegin(t.h.id)
		r := t.n.router.upkeep(t.h.ctx, importTime, []fsm.Command{cmd}, []uint16{t.first[group]})[0]
		err := importOutcome(&r)
		switch {
		case err == nil:
			return nil
		case t.h.ctx.Err() != nil, errors.Is(err, ErrNotEmpty), time.Now().After(until):
			return fmt.Errorf("group %d: %w", group, err)
		}
		if err := t.pause(retryMax); err != nil {
			return err
		}
	}
}

func (t *restore) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-t.h.ctx.Done():
		return context.Cause(t.h.ctx)
	}
}

// errImportGap: a piece before this one is not applied yet.
var errImportGap = errors.New("shard: a piece of the slot is missing")

// importOutcome is what an answer to an import command means.
func importOutcome(r *Reply) error {
	if r.Err != nil {
		return r.Err
	}
	if !r.Result.IsError() {
		return nil
	}
	text := string(r.Result.Str)
	for _, row := range []struct {
		text string
		err  error
	}{
		{fsm.TextImportNotEmpty, ErrNotEmpty},
		{fsm.TextImportOver, ErrHoldLost},
		{fsm.TextImportGap, errImportGap},
		{fsm.TextImportDamaged, ErrBadSave},
	} {
		if strings.HasPrefix(text, row.text) {
			return row.err
		}
	}
	return fmt.Errorf("%w: %s", ErrRefused, text)
}

// feed reads the save to its end and sends its pieces on.
func (t *restore) feed() error {
	f := newFeeder(t)
	defer f.stop()
	var cut *fsm.SaveCut
	for {
		step, err := t.sr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
			return badSave(err)
		case step.Void:
			return fmt.Errorf("%w: a part of it is void: 'kvorum snapshot save' writes no such files", ErrBadSave)
		case step.Cut != nil:
			cut = step.Cut
		case step.Done != nil:
			f.keys.Add(step.Done.Totals.Keys)
		default:
			cmd := fsm.Import(t.h.id, step.Slot, step.Number, cut.Clock, cut.Version, bytes.Clone(step.Data))
			if err := f.add(step.Slot, cmd, len(step.Data)); err != nil {
				return err
			}
		}
	}
	return f.finish()
}

// verify compares the digests of all slots, as the groups' leaders have them, with those of the save.
func (t *restore) verify() error {
	t.o.News(RestoreProgress{Phase: RestoreVerify, Keys: t.sr.Info().Totals.Keys})
	var want, have [SlotCount][16]byte
	for _, s := range t.sr.Info().Sums {
		want[s.Slot] = s.Sum
	}
	for _, g := range t.groups {
		a, err := t.n.slotsAt(t.h.ctx, g, true, leaderPatience)
		if err != nil {
			return err
		}
		if !a.Open || a.Import != t.h.id {
			return ErrHoldLost
		}
		for _, s := range a.slotSums() {
			if t.slots[s.Slot%SlotCount] == g {
				have[s.Slot] = s.Sum
			}
		}
	}
	for slot := range want {
		if want[slot] != have[slot] {
			return fmt.Errorf("%w: slot %d has digest %x in the save and %x in group %d",
				ErrRestoreDigest, slot, want[slot], have[slot], t.slots[slot])
		}
	}
	return nil
}

// awaitEnd waits until the keepers have ended the import in every group, whatever became of it.
func (t *restore) awaitEnd(kept bool) error {
	if kept {
		t.o.News(RestoreProgress{Phase: RestoreEnd, Keys: t.sr.Info().Totals.Keys})
	}
	ctx, cancel := context.WithTimeout(t.n.ctx, endPatience)
	defer cancel()
	for _, g := range t.groups {
		for {
			a, err := t.n.slotsAt(ctx, g, false, endPatience)
			if err != nil {
				return fmt.Errorf("the restore stands, and group %d has not opened its slots yet: %w", g, err)
			}
			if !a.Open || a.Import != t.h.id {
				break
			}
			select {
			case <-time.After(retryMin):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/fsm"
)

// upkeep runs internal writes, each routed by a slot, in the order of the slots' commands. Whoever calls
// it is the cluster itself: nothing is authorised or checked here.
func (r *Router) upkeep(ctx context.Context, budget time.Duration, cmds []fsm.Command, slots []uint16) []Reply {
	out := make([]Reply, len(cmds))
	if r.closing.Load() {
		for i := range out {
			out[i].Err = &Error{Kind: KindClosing}
		}
		return out
	}
	k := r.newCall(ctx, &Caller{Protocol: "internal", Timeout: budget})
	for i := range cmds {
		k.items = append(k.items, item{cmd: &cmds[i], reply: &out[i], spec: r.cfg.Table.Spec(cmds[i].Op), slot: slots[i]})
	}
	k.flush()
	k.release()
	return out
}

// feeder sends pieces to their groups, several batches at a time. The pieces of one slot are in one batch
// or in batches that go one after the other.
type feeder struct {
	t *restore
	// ctx ends with the first failure, which is its cause.
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	// flights has a place for each batch under way, room bounds their bytes.
	flights chan struct{}
	room    budget
	open    *importRun
	// last is the newest batch with a piece of a slot, as far as it may still be under way.
	last map[uint16]*importRun
	// keys, pieces and bytes are done; told is when they were told last.
	keys, pieces, bytes atomic.Int64
	told                time.Time
}

// importRun is one batch.
type importRun struct {
	cmds  []fsm.Command
	slots []uint16
	bytes int64
	after []*importRun
	done  chan struct{}
}

// newsEvery is the least time between two pieces of news.
const newsEvery = 100 * time.Millisecond

func newFeeder(t *restore) *feeder {
	f := &feeder{t: t, flights: make(chan struct{}, importFlights), last: make(map[uint16]*importRun)}
	f.room.limit = importFlightBytes
	f.ctx, f.cancel = context.WithCancelCause(t.h.ctx)
	return f
}

// add takes a piece over; an error is the first failure of any.
func (f *feeder) add(slot uint16, cmd fsm.Command, size int) error {
	if b := f.open; b != nil && (b.bytes+int64(size) > importBatch || len(b.cmds) == importBatchPieces) {
		if err := f.send(); err != nil {
			return err
		}
	}
	if f.open == nil {
		f.open = &importRun{done: make(chan struct{})}
	}
	b := f.open
	if before := f.last[slot]; before != nil && before != b {
		b.after = append(b.after, before)
	}
	f.last[slot] = b
	b.cmds, b.slots, b.bytes = append(b.cmds, cmd), append(b.slots, slot), b.bytes+int64(size)
	return nil
}

// send lets the open batch go, once there is room.
func (f *feeder) send() error {
	b := f.open
	f.open = nil
	if b == nil {
		return nil
	}
	if time.Since(f.told) >= newsEvery {
		f.told = time.Now()
		f.t.o.News(RestoreProgress{Phase: RestoreImport, Pieces: f.pieces.Load(), Bytes: f.bytes.Load(), Keys: f.keys.Load()})
	}
	if !f.room.acquire(handlerTime{f.ctx}, b.bytes) {
		return context.Cause(f.ctx)
	}
	select {
	case f.flights <- struct{}{}:
	case <-f.ctx.Done():
		f.room.release(b.bytes)
		return context.Cause(f.ctx)
	}
	for slot, run := range f.last {
		if run.over() {
			delete(f.last, slot)
		}
	}
	f.wg.Go(func() {
		err := f.run(b)
		f.room.release(b.bytes)
		<-f.flights
		if err != nil {
			f.cancel(err)
			return
		}
		close(b.done)
	})
	return nil
}

func (b *importRun) over() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}

// finish sends the rest and waits for all.
func (f *feeder) finish() error {
	if err := f.send(); err != nil {
		return err
	}
	f.wg.Wait()
	return context.Cause(f.ctx)
}

// stop ends what is under way and joins it.
func (f *feeder) stop() {
	f.cancel(context.Canceled)
	f.wg.Wait()
}

// run brings one batch to its end. What failed, or whose outcome is unknown, is sent again: a piece that
// was applied is known by its number.
func (f *feeder) run(b *importRun) error {
	for _, before := range b.after {
		select {
		case <-before.done:
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
	}
	cmds, slots := b.cmds, b.slots
	pause, progress := retryMin, time.Now()
	for {
		out := f.t.n.router.upkeep(f.ctx, importTime, cmds, slots)
		left := 0
		var last error
		for i := range out {
			err := importOutcome(&out[i])
			if err == nil {
				f.pieces.Add(1)
				f.bytes.Add(int64(len(cmds[i].Args[len(cmds[i].Args)-1])))
				continue
			}
			if finalImport(err) {
				return fmt.Errorf("slot %d: %w", slots[i], err)
			}
			cmds[left], slots[left], last = cmds[i], slots[i], err
			left++
		}
		switch {
		case left == 0:
			return nil
		case f.ctx.Err() != nil:
			return context.Cause(f.ctx)
		case left < len(cmds):
			progress, pause = time.Now(), retryMin
		case time.Since(progress) > importPatience:
			return fmt.Errorf("slot %d: not imported for %v: %w", slots[0], importPatience, last)
		}
		cmds, slots = cmds[:left], slots[:left]
		select {
		case <-time.After(pause):
			pause = min(2*pause, retryMax)
		case <-f.ctx.Done():
			return context.Cause(f.ctx)
		}
	}
}

// finalImport tells whether trying a piece again cannot help.
func finalImport(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind == KindNoSpace || e.Kind == KindInvalid || e.Kind == KindClosing
	}
	return !errors.Is(err, errImportGap)
}

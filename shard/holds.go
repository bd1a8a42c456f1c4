// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// A hold keeps slots where they are while the cluster is saved or restored. DESIGN.md §10.

const (
	// maxHolds bounds the holds at one time.
	maxHolds = 8
	// holdRenew is how often a holder says that it is there; holdSilence is how long it may be silent
	// before the control group's leader releases the hold.
	holdRenew   = 5 * time.Second
	holdSilence = 30 * time.Second
	// releaseWait bounds the release of a hold whose owner's time is over.
	releaseWait = 10 * time.Second
)

// HoldKind is what a hold is for.
type HoldKind string

// The kinds.
const (
	HoldSave    HoldKind = "save"
	HoldRestore HoldKind = "restore"
)

// Hold is one hold.
type Hold struct {
	// ID is the Revision at which it began.
	ID   uint64   `json:"id"`
	Kind HoldKind `json:"kind"`
	// Node is the member through which the cluster is saved or restored.
	Node string `json:"node"`
	// Nonce tells a repeated command from another one.
	Nonce string `json:"nonce"`
	// Rev is the Revision of the last sign of its owner.
	Rev uint64 `json:"rev"`
}

type (
	// cmdHold begins a hold; one with the same nonce changes nothing.
	cmdHold struct {
		Kind  HoldKind `json:"kind"`
		Node  string   `json:"node"`
		Nonce string   `json:"nonce"`
	}
	// cmdRenew is a sign of a hold's owner.
	cmdRenew struct {
		ID uint64 `json:"id"`
	}
	// cmdRelease ends a hold, which If, unless it is 0, must not have been renewed since. Keep ends a
	// restore with success; it is refused unless the hold is there. A hold that is gone already changes
	// nothing.
	cmdRelease struct {
		ID   uint64 `json:"id"`
		If   uint64 `json:"if,omitempty"`
		Keep bool   `json:"keep,omitempty"`
	}
)

// holdIndex finds a hold by its id, -1 when it is gone.
func (v *View) holdIndex(id uint64) int {
	return slices.IndexFunc(v.Holds, func(h Hold) bool { return h.ID == id })
}

// restoring is the hold of a restore, nil while there is none.
func (v *View) restoring() *Hold {
	for i := range v.Holds {
		if v.Holds[i].Kind == HoldRestore {
			return &v.Holds[i]
		}
	}
	return nil
}

// importOver tells what to do about an import that is open in a group: nothing, or end it, with what came
// or without.
func (v *View) importOver(id uint64) (over, keep bool) {
	if id > v.Revision || v.holdIndex(id) >= 0 {
		return false, false
	}
	return true, v.Restored == id
}

func (v *View) hold(c *cmdHold) (bool, error) {
	if slices.ContainsFunc(v.Holds, func(h Hold) bool { return h.Nonce == c.Nonce }) {
		return false, nil
	}
	_, member := v.nodeIndex(c.Node)
	switch restore := v.restoring(); {
	case c.Kind != HoldSave && c.Kind != HoldRestore, c.Nonce == "", len(c.Nonce) > MaxNameLen:
		return false, refuse("a hold of kind %q and a nonce of %d bytes", c.Kind, len(c.Nonce))
	case !member:
		return false, refuse("node %s is no member", c.Node)
	case restore != nil:
		return false, refuse("the cluster is being restored through node %s, which ends after %v without a sign of it, or with 'kvorum snapshot restore --cancel'", restore.Node, holdSilence)
	case c.Kind == HoldRestore && len(v.Holds) > 0:
		return false, refuse("the cluster is being saved through node %s", v.Holds[0].Node)
	case len(v.Holds) >= maxHolds:
		return false, refuse("the cluster is being saved %d times already", len(v.Holds))
	}
	v.Holds = append(slices.Clone(v.Holds), Hold{ID: v.Revision, Kind: c.Kind, Node: c.Node, Nonce: c.Nonce, Rev: v.Revision})
	return true, nil
}

func (v *View) renew(c *cmdRenew) (bool, error) {
	i := v.holdIndex(c.ID)
	if i < 0 {
		return false, refuse("hold %d was given up", c.ID)
	}
	v.Holds = slices.Clone(v.Holds)
	v.Holds[i].Rev = v.Revision
	return true, nil
}

func (v *View) release(c *cmdRelease) (bool, error) {
	i := v.holdIndex(c.ID)
	switch {
	case i < 0 && c.Keep && v.Restored != c.ID:
		return false, refuse("hold %d was given up", c.ID)
	case i < 0:
		return false, nil
	case c.If != 0 && c.If != v.Holds[i].Rev:
		return false, ErrConflict
	case c.Keep && v.Holds[i].Kind != HoldRestore:
		return false, refuse("hold %d is no restore", c.ID)
	}
	v.Holds = slices.Delete(slices.Clone(v.Holds), i, i+1)
	if len(v.Holds) == 0 {
		v.Holds = nil
	}
	if c.Keep {
		v.Restored = c.ID
	}
	return true, nil
}

// holdWatch is what the leader of the control group remembers of holds: since when it has seen no sign.
type holdWatch map[uint64]holdSign

type holdSign struct {
	rev   uint64
	since time.Time
}

// silent names a hold whose owner was silent for too long, nil for none.
func (w holdWatch) silent(v *View, now time.Time) *cmdRelease {
	for id := range w {
		if v.holdIndex(id) < 0 {
			delete(w, id)
		}
	}
	for _, h := range v.Holds {
		sign, seen := w[h.ID]
		if !seen || sign.rev != h.Rev {
			w[h.ID] = holdSign{rev: h.Rev, since: now}
		} else if now.Sub(sign.since) >= holdSilence {
			return &cmdRelease{ID: h.ID, If: h.Rev}
		}
	}
	return nil
}

// ErrHoldLost: the cluster was not held for a save or restore any more, since its node was out of reach
// for too long, or somebody ended it.
var ErrHoldLost = errors.New("shard: given up, since this node was silent for too long or somebody ended it")

// holding is a hold that this node owns. Its context ends with cause ErrHoldLost when the hold is lost.
type holding struct {
	n      *Node
	id     uint64
	ctx    context.Context
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when nobody renews any more
}

// takeHold begins a hold and keeps it until release, which must be called.
func (n *Node) takeHold(ctx context.Context, kind HoldKind) (*holding, error) {
	if _, err := n.awaitView(ctx); err != nil {
		return nil, err
	}
	var random [16]byte
	if _, err := io.ReadFull(n.h.Rand, random[:]); err != nil {
		return nil, err
	}
	nonce := hex.EncodeToString(random[:])
	if _, err := n.propose(ctx, &cmdHold{Kind: kind, Node: n.ID(), Nonce: nonce}); err != nil {
		return nil, err
	}
	v := n.view.Load()
	i := slices.IndexFunc(v.Holds, func(h Hold) bool { return h.Nonce == nonce })
	if i < 0 {
		return nil, ErrHoldLost
	}
	h := &holding{n: n, id: v.Holds[i].ID, done: make(chan struct{})}
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	if !n.spawn(h.renew) {
		h.cancel(ErrClosing)
		return nil, ErrClosing
	}
	return h, nil
}

// viewWait bounds the wait of a member that has just started for its first View.
const viewWait = 10 * time.Second

// awaitView is View for calls that may wait a little.
func (n *Node) awaitView(ctx context.Context) (*View, error) {
	if !n.Initialised() {
		return nil, ErrUninitialised
	}
	ctx, cancel := context.WithTimeout(ctx, viewWait)
	defer cancel()
	if err := n.viewMoved.until(ctx, func() bool { return n.View() != nil }); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBehind, err)
	}
	return n.View(), nil
}

// renew says now and then that the owner is there.
func (h *holding) renew() {
	defer close(h.done)
	stop := context.AfterFunc(h.n.ctx, func() { h.cancel(ErrClosing) })
	defer stop()
	tick := time.NewTicker(holdRenew)
	defer tick.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-tick.C:
		}
		// An attempt that fails is no loss: only the control group's word is.
		ctx, cancel := context.WithTimeout(h.ctx, holdRenew)
		_, err := h.n.propose(ctx, &cmdRenew{ID: h.id})
		cancel()
		if errors.Is(err, ErrRefused) {
			h.cancel(ErrHoldLost)
		}
	}
}

// release ends the hold, also after its context has ended. With keep it decides a restore: only a nil
// error means that the restore stands, and an error that wraps ErrUndecided that nobody here knows.
func (h *holding) release(keep bool) error {
	h.cancel(nil)
	<-h.done
	ctx, cancel := context.WithTimeout(h.n.ctx, releaseWait)
	defer cancel()
	_, err := h.n.propose(ctx, &cmdRelease{ID: h.id, Keep: keep})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrRefused):
		return ErrHoldLost
	case keep:
		return fmt.Errorf("%w: %w", ErrUndecided, err)
	}
	return err
}

// ErrUndecided: whether a restore stands or is dropped could not be learnt in time.
var ErrUndecided = errors.New("shard: the control group did not answer in time: the restore stands, or the cluster will be empty")

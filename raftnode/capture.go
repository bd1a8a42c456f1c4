// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrNotCaptured is returned by Capture when the newest snapshot does not hold all that it must; trying
// again helps.
var ErrNotCaptured = errors.New("raftnode: the newest snapshot is older than the fence")

// Capture is a group's state at one log entry, in a file: it is read when there is time, holds up nobody,
// and stays readable when newer snapshots take its place. It belongs to one goroutine and must be closed.
type Capture struct {
	io.ReadCloser
	Index, Term uint64
	// Size is that of the stream, in bytes.
	Size int64
}

// Capture gives the state with every write that was acknowledged before the call, and perhaps later ones.
// Only on the leader. It takes a snapshot unless the newest one holds all that is applied here.
func (g *Group) Capture(ctx context.Context) (*Capture, error) {
	index, err := g.captureFence(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.Snapshot(ctx); err != nil {
		return nil, err
	}
	// Not through snapStore.Open: nobody needs the log behind this reader.
	list, err := g.snaps.dir.List()
	if err != nil {
		return nil, fmt.Errorf("raftnode: capture: %w", err)
	}
	// The fence's index covers entries that were applied here, so a snapshot taken since is not older.
	if len(list) == 0 || list[0].Index < index {
		return nil, ErrNotCaptured
	}
	m, r, err := g.snaps.dir.Open(list[0].ID)
	if err != nil {
		return nil, fmt.Errorf("raftnode: capture: %w", err)
	}
	return &Capture{ReadCloser: r, Index: m.Index, Term: m.Term, Size: m.Size}, nil
}

// captureFence is Fence.
func (g *Group) captureFence(ctx context.Context) (uint64, error) {
	if planted("save-unfenced") {
		_, _, err := g.leadingTerm()
		return 0, err
	}
	return g.Fence(ctx)
}

// SPDX-License-Identifier: Apache-2.0

package raftnode

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/kvorum/kvorum/fsm"
)

const (
	// maxReserveBytes bounds the reserve file.
	maxReserveBytes = 64 << 20
	// reserveShare of the disk reserve is held by the reserve file.
	reserveShare = 4
	// lowSnapshotShare of the reserve file is how much log a group writes before its next snapshot
	// while the disk is low, or half its last snapshot if that is more.
	lowSnapshotShare = 4
)

// growsBy judges a Sub by its commands' rows in t.
func growsBy(t *fsm.Table) func(*fsm.Sub) bool {
	return func(sub *fsm.Sub) bool {
		body := sub.Body
		for range sub.Writes {
			cmd, n, err := fsm.ParseCommand(body)
			if err != nil {
				return true
			}
			if t.Grows(&cmd) {
				return true
			}
			body = body[n:]
		}
		return false
	}
}

// diskReserve watches the free space and holds a file that is given up when an append finds no space
// or a snapshot might not: on a disk that others filled, a leader can then still be elected, delete,
// take the snapshots that let logs be cut, and serve reads.
type diskReserve struct {
	n    *Node
	path string

	mu struct {
		sync.Mutex
		held bool
		// failed: the last look at the disk failed; it is logged once.
		failed bool
	}
}

func (d *diskReserve) size() uint64 { return min(d.n.cfg.DiskReserve/reserveShare, maxReserveBytes) }

// open makes the reserve file if there is room for it, and takes the first measure.
func (d *diskReserve) open() error {
	_, err := d.n.h.FS.Stat(d.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("reserve file: %w", err)
	}
	d.mu.held = err == nil
	d.check()
	return nil
}

// check measures the free space, and takes the reserve file back when there is plenty again.
func (d *diskReserve) check() {
	free, err := d.n.h.FS.Free(d.n.cfg.Dir)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		if !d.mu.failed {
			d.mu.failed = true
			d.n.log.Warn("cannot measure free disk space", "error", err)
		}
		return
	}
	d.mu.failed = false
	need := d.n.cfg.DiskReserve
	if !d.mu.held {
		need += d.size()
	}
	low := free < need
	if !low && !d.mu.held {
		if err := d.take(); err != nil {
			low = true
		}
	}
	d.setLow(low, free)
}

func (d *diskReserve) setLow(low bool, free uint64) {
	if d.n.low.Swap(low) == low {
		return
	}
	d.n.log.Warn("disk space", "low", low, "free", free, "reserve", d.n.cfg.DiskReserve)
	if d.n.cfg.Events.LowDisk != nil {
		d.n.cfg.Events.LowDisk(low)
	}
}

// take makes the reserve file; the caller holds the lock.
func (d *diskReserve) take() error {
	size := d.size()
	if size == 0 {
		d.mu.held = true
		return nil
	}
	f, err := d.n.h.FS.OpenFile(d.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(f.Preallocate(int64(size)), f.Close())
	if err != nil {
		return errors.Join(err, d.n.h.FS.Remove(d.path))
	}
	d.mu.held = true
	return nil
}

// makeRoom gives the reserve file up when the disk is low and a snapshot of about size bytes might
// not fit.
func (d *diskReserve) makeRoom(size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mu.held || !d.n.low.Load() {
		return
	}
	free, err := d.n.h.FS.Free(d.n.cfg.Dir)
	if err != nil || free > uint64(2*size)+d.size() {
		return
	}
	d.giveUp()
}

// exhausted notes that an append found no space.
func (d *diskReserve) exhausted() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setLow(true, 0)
	if d.mu.held {
		d.giveUp()
	}
}

// giveUp removes the reserve file; the caller holds the lock.
func (d *diskReserve) giveUp() {
	if err := d.n.h.FS.Remove(d.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.n.log.Warn("cannot give up the reserve file", "error", err)
		return
	}
	d.mu.held = false
	d.n.log.Warn("gave up the reserve file")
}

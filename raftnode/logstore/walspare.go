// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"errors"
	"fmt"
	"os"
	"path"
)

const (
	// spareName is the file that becomes the next segment: made, with its space, while the newest one fills, so that the
	// append which begins a segment waits for a new name and not for the space as well. It holds nothing, and one that is
	// there when the log is opened is removed.
	spareName = "next.tmp"
	// spareStep is how much of its space is taken at a time.
	spareStep = 4 << 20
)

// errNoSpare: the spare is not to be.
var errNoSpare = errors.New("logstore: the log is being closed, or the space is needed")

// provide has the spare made, on a goroutine of its own, unless there is one.
func (v *walFS) provide() {
	v.mu.Lock()
	if v.making || v.spare || v.closed {
		v.mu.Unlock()
		return
	}
	v.making = true
	v.mu.Unlock()
	v.helpers.Go(func() {
		err := v.makeSpare()
		v.mu.Lock()
		v.making, v.spare = false, err == nil
		v.mu.Unlock()
		if err != nil && !errors.Is(err, errNoSpare) && !isSpace(err) {
			_ = v.report(fmt.Errorf("prepare segment: %w", err))
		}
	})
}

// makeSpare leaves no file behind when it fails.
func (v *walFS) makeSpare() error {
	if v.short() {
		return errNoSpare
	}
	name := path.Join(v.dir, spareName)
	h, err := v.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	for size := int64(0); err == nil && size < v.reserve; {
		if size > 0 && !v.pause() {
			err = errNoSpare
			break
		}
		size = min(size+spareStep, v.reserve)
		err = h.Preallocate(size)
	}
	if err == nil {
		err = h.Sync() // what the file system notes of the space is then not left to an append
	}
	if err = errors.Join(err, h.Close()); err == nil {
		return v.fs.SyncDir(v.dir)
	}
	if rerr := v.fs.Remove(name); rerr != nil {
		return errors.Join(rerr, err)
	}
	return err
}

// useSpare makes the spare the file of that name, if there is one and it has that size.
func (v *walFS) useSpare(name string, size int64) (used bool, err error) {
	v.mu.Lock()
	there := v.spare && size == v.reserve
	v.mu.Unlock()
	if !there {
		return false, nil
	}
	if err := v.fs.Rename(path.Join(v.dir, spareName), name); err != nil {
		return false, err
	}
	v.mu.Lock()
	v.spare = false
	v.mu.Unlock()
	return true, nil
}

// dropSpare removes the spare, behind all that makes or uses one. What it cannot remove goes when the log is opened again.
func (v *walFS) dropSpare() {
	v.mu.Lock()
	there := v.spare
	v.spare = false
	v.mu.Unlock()
	if there {
		_ = v.fs.Remove(path.Join(v.dir, spareName))
	}
}

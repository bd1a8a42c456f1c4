// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"
	"time"

	"github.com/hashicorp/raft-wal/types"
	"github.com/kvorum/kvorum/internal/host"
)

// walFS is raft-wal's file system over a host.FS. All but reads and closes belong to the log's one
// writer; removals may be asked for by a reader and wait in doomed until the
// writer sends the sweeper.
type walFS struct {
	fs      host.FS
	dir     string
	meta    *walMeta
	reserve int64    // bytes to preallocate in a segment that is opened to go on
	tail    *walFile // the newest segment

	mu      sync.Mutex
	open    map[*walFile]bool
	attempt uint64   // counts openings of the log
	doomed  []string // names to remove
	// sweeping: a goroutine removes the doomed. making: one makes the spare, which is there once spare is set; see
	// walspare.go. helpers joins both. closing is closed when closed is set.
	sweeping, making, spare, closed bool
	helpers                         sync.WaitGroup
	closing                         chan struct{}
	// report poisons the log; it is set before anything is removed.
	report func(error) error
}

var _ types.VFS = (*walFS)(nil)

// walFile is a segment. One that found no room when it was made comes to exist with its first
// append: so only an append can run out of space.
type walFile struct {
	v       *walFS
	name    string
	id      uint64
	f       host.File // nil = not made yet
	size    int64     // bytes to preallocate when made
	end     int64     // behind the last append through this handle, 0 = none
	unborn  bool      // the next sync is the segment's first, or may be
	half    bool      // it was half full already
	attempt uint64    // which opening of the log opened it
	// paid is how many bytes are preallocated, zeroed up to where those behind the log are written: a
	// sync of bytes that were only reserved makes the file system write its journal too.
	paid, zeroed int64
}

// zeroAhead is how many bytes are written as zeros at a time, ahead of the appends.
const zeroAhead = 256 << 10

var zeroes [zeroAhead]byte

func (v *walFS) ListDir(string) ([]string, error) { return v.fs.ReadDir(v.dir) }

// Create tries to make the file at once, off the path of appends.
func (v *walFS) Create(_, name string, size uint64) (types.WritableFile, error) {
	f := &walFile{v: v, name: name, id: segmentID(name), size: int64(size)}
	if err := f.create(); err != nil && !errors.Is(err, ErrNoSpace) {
		return nil, err
	}
	v.tail = f
	v.track(f)
	return f, nil
}

func (v *walFS) OpenReader(_, name string) (types.ReadableFile, error) {
	return v.openFile(name, os.O_RDONLY)
}

// OpenWriter opens the newest segment, which was scanned and cut before.
func (v *walFS) OpenWriter(_, name string) (types.WritableFile, error) {
	f, err := v.openFile(name, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	switch err := f.f.Preallocate(v.reserve); {
	case err == nil:
		f.paid = v.reserve
	case !isSpace(err):
		_ = f.Close()
		return nil, err
	}
	f.unborn = f.id >= v.meta.born
	v.tail = f
	return f, nil
}

func (v *walFS) openFile(name string, flag int) (*walFile, error) {
	h, err := v.fs.OpenFile(path.Join(v.dir, name), flag, 0)
	if err != nil {
		return nil, err
	}
	f := &walFile{v: v, name: name, id: segmentID(name), f: h}
	v.track(f)
	return f, nil
}

// Delete only notes the name: the last reader of a segment may be the one to call.
func (v *walFS) Delete(_, name string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.doomed = append(v.doomed, name)
	return nil
}

// sweepPause is how long the file system is left alone between two pieces of a segment that is removed.
const sweepPause = 5 * time.Millisecond

// sweep sees to it that the files noted by Delete are removed: on a goroutine of their own, or at once when the
// space they take may be needed for the next append.
func (v *walFS) sweep() error {
	v.mu.Lock()
	if len(v.doomed) == 0 || v.sweeping || v.closed {
		v.mu.Unlock()
		return nil
	}
	v.sweeping = true
	v.mu.Unlock()
	if v.short() {
		return v.sweepAll()
	}
	v.helpers.Go(func() {
		if err := v.sweepAll(); err != nil {
			_ = v.report(fmt.Errorf("remove segment: %w", err))
		}
	})
	return nil
}

// short tells whether the disk has less room than for two more segments.
func (v *walFS) short() bool {
	free, err := v.fs.Free(v.dir)
	return err != nil || free < 2*uint64(v.reserve)
}

func (v *walFS) sweepAll() error {
	for {
		v.mu.Lock()
		names := v.doomed
		v.doomed = nil
		v.sweeping = len(names) > 0
		v.mu.Unlock()
		if len(names) == 0 {
			return nil
		}
		if err := v.removeAll(names); err != nil {
			v.mu.Lock()
			v.sweeping = false
			v.mu.Unlock()
			if isSpace(err) { // some file systems need space to free some
				return nil
			}
			return err
		}
	}
}

// removeAll removes segments. What it did not come to when it fails is doomed again.
func (v *walFS) removeAll(names []string) error {
	for i, name := range names {
		err := host.RemoveGently(v.fs, path.Join(v.dir, name), v.pause)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			v.mu.Lock()
			v.doomed = append(v.doomed, names[i:]...)
			v.mu.Unlock()
			return err
		}
	}
	return v.fs.SyncDir(v.dir)
}

// pause returns false when the log is being closed, or the space is needed.
func (v *walFS) pause() bool {
	if v.short() {
		return false
	}
	t := time.NewTimer(sweepPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-v.closing:
		return false
	}
}

// close joins the goroutines. What is left of the doomed goes when the log is opened again.
func (v *walFS) close() {
	v.mu.Lock()
	if !v.closed {
		v.closed = true
		close(v.closing)
	}
	v.mu.Unlock()
	v.helpers.Wait()
	v.dropSpare()
}

func (v *walFS) track(f *walFile) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f.attempt = v.attempt
	v.open[f] = true
}

// begin starts an opening of the log; abort closes what it opened.
func (v *walFS) begin() (abort func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.attempt++
	attempt := v.attempt
	return func() {
		for _, f := range v.openedBy(attempt) {
			_ = f.Close()
		}
	}
}

func (v *walFS) openedBy(attempt uint64) (files []*walFile) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for f := range v.open {
		if f.attempt == attempt {
			files = append(files, f)
		}
	}
	return files
}

// segmentID reads the id out of a segment's name, 0 when there is none.
func segmentID(name string) uint64 {
	var base, id uint64
	if _, err := fmt.Sscanf(name, "%020d-%016x.wal", &base, &id); err != nil {
		return 0
	}
	return id
}

// create makes the file with its space, or when there is less than that with none: its appends then
// take what is left, since a group that cannot append cannot elect, delete or be read. Without room
// for a file it leaves nothing behind.
func (f *walFile) create() error {
	name := path.Join(f.v.dir, f.name)
	spare, err := f.v.useSpare(name, f.size)
	flag := os.O_RDWR
	if !spare {
		flag |= os.O_CREATE | os.O_EXCL
	}
	var h host.File
	if err == nil {
		h, err = f.v.fs.OpenFile(name, flag, 0o600)
	}
	if err == nil {
		if err = h.Preallocate(f.size); err == nil {
			f.paid = f.size
		} else if isSpace(err) {
			err = h.Truncate(0) // a part may have been reserved
		}
		if err == nil {
			f.f, f.unborn = h, true
			return nil
		}
		_ = h.Close()
		if rerr := f.v.fs.Remove(name); rerr != nil {
			return errors.Join(rerr, err)
		}
	}
	if isSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// WriteAt puts one whole append. When there is no room for it a part may stay, which is cut off
// when the log is opened anew before the next write.
func (f *walFile) WriteAt(p []byte, off int64) (int, error) {
	if f.f == nil {
		if err := f.create(); err != nil {
			return 0, err
		}
	}
	n, err := f.f.WriteAt(p, off)
	if err == nil {
		f.end = off + int64(n)
		return n, f.zero()
	}
	if isSpace(err) {
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return n, err
}

// zero writes zeros behind the last append, up to the next multiple of zeroAhead and within what is paid
// for. Whoever reads them meets what was there before.
func (f *walFile) zero() error {
	if f.end <= f.zeroed {
		return nil
	}
	f.zeroed = min((f.end+zeroAhead-1)/zeroAhead*zeroAhead, f.paid)
	if f.zeroed <= f.end {
		return nil
	}
	_, err := f.f.WriteAt(zeroes[:f.zeroed-f.end], f.end)
	if err != nil && isSpace(err) {
		f.paid, err = 0, nil // the file system pays for every write anew
	}
	return err
}

// Sync ends an append. The first one of a segment also makes its name durable, and then marks it
// as holding acknowledged entries. Even a lack of space is no ErrNoSpace here: after a failed sync
// nobody knows what the disk holds.
func (f *walFile) Sync() error {
	if planted("no-sync") && !f.unborn {
		return nil
	}
	if err := f.f.Sync(); err != nil {
		return err
	}
	if !f.half && f.end >= f.v.reserve/2 {
		f.half = true
		f.v.provide()
	}
	if !f.unborn {
		return nil
	}
	if err := f.v.syncDir(); err != nil {
		return err
	}
	// The mark is there to find a lost file; an append does not depend on it.
	if err := f.v.meta.markBorn(f.id); err != nil && !errors.Is(err, ErrNoSpace) {
		return err
	}
	f.unborn = false
	return nil
}

func (v *walFS) syncDir() error {
	if planted("no-dir-sync") {
		return nil
	}
	return v.fs.SyncDir(v.dir)
}

func (f *walFile) ReadAt(p []byte, off int64) (int, error) {
	if f.f == nil {
		return 0, io.EOF
	}
	return f.f.ReadAt(p, off)
}

func (f *walFile) Close() error {
	f.v.mu.Lock()
	delete(f.v.open, f)
	f.v.mu.Unlock()
	if f.f == nil {
		return nil
	}
	return f.f.Close()
}

// trim gives back the space reserved behind the last append of a segment that was closed early.
func (f *walFile) trim() {
	if f.f != nil && f.end > 0 {
		_ = f.f.Truncate(f.end) // what stays reserved goes with the segment
	}
}

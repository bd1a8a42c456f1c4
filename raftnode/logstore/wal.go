// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/types"
	"github.com/kvorum/kvorum/internal/host"
)

// walLog is a raft-wal kept right from outside. raft-wal v0.4.0 on its own
//   - refuses every append after one that failed, and after a rotation that failed: here it is
//     opened anew in place, over the same files, before the next write;
//   - rotates in the background holding the mutex that the next append takes: here the next write
//     waits for the end of the rotation first, on a channel;
//   - cannot go on from a segment that was sealed by an append but not yet by a rotation, nor read
//     a segment that was closed by cutting a suffix: see prepareTail and walFiler.Open;
//   - may panic in a read beside Close: here reads hold cur against it.
//
// All but get belongs to the log's one writer.
type walLog struct {
	opts   Options
	dir    string
	fs     *walFS
	meta   *walMeta
	filer  *walFiler
	report func(error) error // told of an error that no call returns

	curMu sync.RWMutex // held for reading by reads, for writing to swap; never over a sync
	cur   *wal.WAL     // nil after close

	first, last uint64 // what the log must hold; 0, 0 = empty
	sizes       []uint32
	room        encodeRoom
	// stale means that cur no longer agrees with the files: it must be opened anew before a write.
	stale bool

	mu       sync.Mutex
	rotation chan struct{} // closed when the rotation under way ends; nil = none
	rotErr   error         // of the last rotation, until the next write has seen it
}

var _ backend = (*walLog)(nil)

// OpenWAL opens the log in the folder dir, making both when there is none: one raft-wal with one
// sync an append. A torn tail is cut off; other damage is refused with a DamageError.
func OpenWAL(fs host.FS, dir string, opts Options) (Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &walLog{opts: opts, dir: dir, fs: &walFS{fs: fs, dir: dir, reserve: int64(opts.SegmentBytes), open: make(map[*walFile]bool), closing: make(chan struct{})}}
	if err := w.open(fs); err != nil {
		return nil, err
	}
	s, err := newStore(w, opts)
	if err != nil {
		_ = w.close()
		return nil, err
	}
	w.report, w.fs.report = s.poisonWith, s.poisonWith
	if err := w.fs.sweep(); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (w *walLog) open(fs host.FS) error {
	if err := fs.MkdirAll(w.dir, 0o700); err != nil {
		return fmt.Errorf("logstore: open log: %w", err)
	}
	ids, err := w.listSegments(fs)
	if err != nil {
		return err
	}
	if w.meta, err = openMeta(fs, w.dir, w.opts); err != nil {
		return err
	}
	w.fs.meta = w.meta
	w.filer = newWalFiler(w)
	if err = w.prepare(ids); err == nil {
		w.cur, err = w.openWAL()
	}
	if err != nil {
		_ = w.close()
	}
	return err
}

// listSegments tells the ids of the segment files.
func (w *walLog) listSegments(fs host.FS) (map[uint64]bool, error) {
	names, err := fs.ReadDir(w.dir)
	if err != nil {
		return nil, fmt.Errorf("logstore: open log: %w", err)
	}
	ids, listed := make(map[uint64]bool), false
	for _, name := range names {
		if name == spareName {
			if err := fs.Remove(path.Join(w.dir, name)); err != nil {
				return nil, fmt.Errorf("logstore: open log: %w", err)
			}
		}
		listed = listed || name == metaName
		if path.Ext(name) == ".wal" {
			ids[segmentID(name)] = true
		}
	}
	if !listed && len(ids) > 0 {
		return nil, damaged(path.Join(w.dir, metaName), "it is missing, but there are %d segments", len(ids))
	}
	return ids, nil
}

// openWAL opens raft-wal over files that prepare has put right, and checks that it finds what must
// be there.
func (w *walLog) openWAL() (*wal.WAL, error) {
	abort := w.fs.begin()
	l, err := wal.Open(w.dir,
		wal.WithCodec(w.codec()),
		wal.WithMetaStore(rotatingMeta{w.meta, w}),
		wal.WithSegmentFiler(w.filer),
		wal.WithSegmentSize(w.opts.SegmentBytes),
		wal.WithLogger(hclog.NewNullLogger()), // each of its errors is met here first
	)
	if err != nil {
		abort()
		return nil, fmt.Errorf("logstore: open log %s: %w", w.dir, err)
	}
	first, err1 := l.FirstIndex()
	last, err2 := l.LastIndex()
	if err := errors.Join(err1, err2); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("logstore: open log %s: %w", w.dir, err)
	}
	if first != w.first || last != w.last {
		_ = l.Close()
		return nil, damaged(w.dir, "it holds entries %d..%d and must hold %d..%d", first, last, w.first, w.last)
	}
	return l, nil
}

// load hands over what prepare has counted.
func (w *walLog) load() (first, last uint64, sizes []uint32, err error) {
	sizes, w.sizes = w.sizes, nil
	return w.first, w.last, sizes, nil
}

func (w *walLog) codec() codec { return codec{w.meta.tag, &w.room} }

func (w *walLog) entrySize(l *raft.Log) int { return frameHeader + encodedSize(l) }

func (w *walLog) get(index uint64, l *raft.Log) error {
	w.curMu.RLock()
	defer w.curMu.RUnlock()
	if w.cur == nil {
		return ErrClosed
	}
	return w.cur.GetLog(index, l)
}

// ready waits for a rotation under way and opens the log anew if it must be.
func (w *walLog) ready() error {
	w.mu.Lock()
	rotation := w.rotation
	w.mu.Unlock()
	if rotation != nil {
		<-rotation
	}
	w.mu.Lock()
	err := w.rotErr
	w.rotErr = nil
	w.mu.Unlock()
	if err != nil {
		w.stale = true
		if !errors.Is(err, ErrNoSpace) {
			return err
		}
	}
	if !w.stale {
		return nil
	}
	if err := w.prepareTail(); err != nil {
		return err
	}
	fresh, err := w.openWAL()
	if err != nil {
		return err
	}
	w.curMu.Lock()
	old := w.cur
	w.cur = fresh
	w.curMu.Unlock()
	w.stale = false
	return old.Close()
}

func (w *walLog) append(logs []*raft.Log) error {
	if err := w.ready(); err != nil {
		return err
	}
	w.room.reset()
	if err := w.cur.StoreLogs(logs); err != nil {
		w.stale = true
		return err
	}
	if w.last == 0 {
		w.first = logs[0].Index
	}
	w.last = logs[len(logs)-1].Index
	return w.fs.sweep()
}

func (w *walLog) remove(lo, hi uint64) error {
	if err := w.ready(); err != nil {
		return err
	}
	tail := w.fs.tail
	if err := w.cur.DeleteRange(lo, hi); err != nil {
		w.stale = true
		return err
	}
	switch {
	case lo == w.first && hi == w.last:
		w.first, w.last = 0, 0
	case lo == w.first:
		w.first = hi + 1
	default:
		w.last = lo - 1
		tail.trim()
	}
	return w.fs.sweep()
}

func (w *walLog) close() error {
	var err error
	if w.cur != nil {
		w.mu.Lock()
		rotation := w.rotation
		w.mu.Unlock()
		if rotation != nil {
			<-rotation
		}
		w.curMu.Lock()
		err = w.cur.Close()
		w.cur = nil
		w.curMu.Unlock()
	}
	w.fs.close()
	if w.meta != nil {
		err = errors.Join(err, w.meta.close())
	}
	return err
}

// rotatingMeta is the list of segments as raft-wal sees it: it tells of a rotation that fails, and
// names our codec, which raft-wal asks for at open and never records.
type rotatingMeta struct {
	*walMeta
	w *walLog
}

var _ types.MetaStore = rotatingMeta{}

func (m rotatingMeta) CommitState(s types.PersistentState) error {
	s.Segments = slices.Clone(s.Segments)
	for i := range s.Segments {
		s.Segments[i].Codec = codecID
	}
	err := m.walMeta.CommitState(s)
	if err != nil {
		m.w.endRotation(err)
	}
	return err
}

func (w *walLog) beginRotation() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rotation = make(chan struct{})
}

// endRotation is called by whatever raft-wal does last in a rotation, and does nothing outside one.
func (w *walLog) endRotation(err error) {
	w.mu.Lock()
	rotation := w.rotation
	w.mu.Unlock()
	if rotation == nil {
		return
	}
	if err != nil && !errors.Is(err, ErrNoSpace) {
		_ = w.report(fmt.Errorf("rotate: %w", err))
	}
	w.mu.Lock()
	w.rotation, w.rotErr = nil, err
	w.mu.Unlock()
	close(rotation)
}

// prepare scans every segment, so that raft-wal meets nothing it would misread, and counts the
// entries. ids are the segment files there are.
func (w *walLog) prepare(ids map[uint64]bool) error {
	s := w.meta.state
	for id := range ids {
		// A file is made after the record that lists it: a newer record has been lost.
		if id >= s.NextSegmentID {
			return damaged(w.meta.path, "it does not know segment %x, which is there", id)
		}
	}
	next := uint64(0) // base of the next segment, 0 = any
	for i, g := range s.Segments {
		tail := i == len(s.Segments)-1
		if g.SealTime.IsZero() != tail || (next != 0 && g.BaseIndex != next) {
			return damaged(w.meta.path, "segment %x does not follow the one before it", g.ID)
		}
		if tail {
			break
		}
		name := w.segmentPath(g)
		f, err := w.fs.fs.OpenFile(name, os.O_RDONLY, 0)
		if errors.Is(err, os.ErrNotExist) {
			return damaged(name, "it is missing")
		}
		if err != nil {
			return fmt.Errorf("logstore: open log: %w", err)
		}
		scan, err := scanSegment(f, name, g, w.codec())
		_ = f.Close()
		if err != nil {
			return err
		}
		w.count(g, scan, g.MaxIndex)
		next = g.MaxIndex + 1
	}
	return w.prepareTail()
}

// count adds the entries of a segment up to last.
func (w *walLog) count(g types.SegmentInfo, scan segmentScan, last uint64) {
	if last < g.MinIndex {
		return
	}
	if w.last == 0 {
		w.first = g.MinIndex
	}
	w.last = last
	w.sizes = append(w.sizes, scan.sizes[g.MinIndex-g.BaseIndex:last+1-g.BaseIndex]...)
}

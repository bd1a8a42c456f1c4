// SPDX-License-Identifier: Apache-2.0

package logstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// walFiler is raft-wal's own filer with an eye on rotations, and a reader for the segments that
// raft-wal cannot read.
type walFiler struct {
	*segment.Filer
	w *walLog
}

var _ types.SegmentFiler = (*walFiler)(nil)

func newWalFiler(w *walLog) *walFiler {
	return &walFiler{Filer: segment.NewFiler(w.dir, w.fs), w: w}
}

// Create is the last step of a rotation, and of a deletion that needs a new segment.
func (f *walFiler) Create(info types.SegmentInfo) (types.SegmentWriter, error) {
	info.Codec = codecID
	sw, err := f.Filer.Create(info)
	f.w.endRotation(err)
	if err != nil {
		return nil, err
	}
	return tailWriter{sw, f.w}, nil
}

func (f *walFiler) RecoverTail(info types.SegmentInfo) (types.SegmentWriter, error) {
	sw, err := f.Filer.RecoverTail(info)
	if err != nil {
		return nil, err
	}
	return tailWriter{sw, f.w}, nil
}

// Open reads a segment that a deletion closed by its scan: it has no index, and raft-wal would
// refuse every read.
func (f *walFiler) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	if info.IndexStart != 0 {
		return f.Filer.Open(info)
	}
	name := segment.FileName(info)
	r, err := f.w.fs.openFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	scan, err := scanSegment(r.f, f.w.segmentPath(info), info, f.w.codec())
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return &scannedReader{walFile: r, info: info, scan: scan}, nil
}

// tailWriter tells when an append has filled the segment: raft-wal asks Sealed right after each
// append and rotates if the answer is yes.
type tailWriter struct {
	types.SegmentWriter
	w *walLog
}

func (t tailWriter) Sealed() (bool, uint64, error) {
	sealed, indexStart, err := t.SegmentWriter.Sealed()
	if sealed && err == nil {
		t.w.beginRotation()
	}
	return sealed, indexStart, err
}

// scannedReader reads a closed segment by the offsets of a scan.
type scannedReader struct {
	*walFile
	info types.SegmentInfo
	scan segmentScan
}

func (r *scannedReader) GetLog(index uint64) (*types.PooledBuffer, error) {
	at := index - r.info.BaseIndex
	if index < r.info.MinIndex || index > r.info.MaxIndex || at >= uint64(len(r.scan.offsets)) {
		return nil, types.ErrNotFound
	}
	buf := make([]byte, r.scan.sizes[at]-frameHeader)
	n, err := r.ReadAt(buf, int64(r.scan.offsets[at])+frameHeader)
	if n == len(buf) && errors.Is(err, io.EOF) {
		err = nil
	}
	return &types.PooledBuffer{Bs: buf}, err
}

func (w *walLog) segmentPath(info types.SegmentInfo) string {
	return path.Join(w.dir, segment.FileName(info))
}

// prepareTail puts the newest segment right: it cuts what a crash or a refused append left behind
// the last good append, makes durable what is kept, and ends a rotation that was due.
func (w *walLog) prepareTail() error {
	s := w.meta.state
	if len(s.Segments) == 0 {
		return nil // raft-wal makes the first
	}
	g := s.Segments[len(s.Segments)-1]
	name := w.segmentPath(g)
	scan, err := w.scanTail(g, name)
	if err != nil {
		return err
	}
	entries := uint64(len(scan.offsets))
	last := g.BaseIndex + entries - 1
	switch {
	case entries == 0 && g.ID < w.meta.born:
		return damaged(name, "the entries it held are gone")
	case entries > 0 && last+1 < g.MinIndex:
		return damaged(name, "it ends at entry %d and the log begins at %d", last, g.MinIndex)
	}
	if w.cur == nil && entries > 0 {
		w.count(g, scan, last)
	}
	if scan.indexStart == 0 {
		return nil
	}
	segments := append([]types.SegmentInfo(nil), s.Segments...)
	tail := &segments[len(segments)-1]
	tail.SealTime, tail.MaxIndex, tail.IndexStart = tail.CreateTime, last, scan.indexStart
	segments = append(segments, types.SegmentInfo{
		ID: s.NextSegmentID, BaseIndex: last + 1, MinIndex: last + 1,
		Codec: codecID, CreateTime: g.CreateTime, SizeLimit: uint32(w.opts.SegmentBytes),
	})
	return w.meta.put(types.PersistentState{NextSegmentID: s.NextSegmentID + 1, Segments: segments}, w.meta.born)
}

// scanTail is an empty scan when the segment's file does not exist.
func (w *walLog) scanTail(g types.SegmentInfo, name string) (segmentScan, error) {
	f, err := w.fs.fs.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return segmentScan{}, nil
	}
	if err != nil {
		return segmentScan{}, fmt.Errorf("logstore: open log: %w", err)
	}
	defer func() { _ = f.Close() }()
	scan, err := scanSegment(f, name, g, w.codec())
	if err != nil {
		return scan, err
	}
	if scan.rest {
		w.opts.Logger.Info("cut off a torn append", "file", name, "at", scan.end)
		if err := f.Truncate(scan.end); err != nil {
			return scan, fmt.Errorf("logstore: cut a torn append off %s: %w", name, err)
		}
	}
	// A process that was killed may have left good appends in the cache alone; they are the log from here.
	if w.cur == nil {
		err = rewrite(f, scan.last, scan.end)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return scan, fmt.Errorf("logstore: sync %s: %w", name, err)
	}
	if err := w.fs.fs.SyncDir(w.dir); err != nil {
		return scan, fmt.Errorf("logstore: sync %s: %w", w.dir, err)
	}
	return scan, nil
}

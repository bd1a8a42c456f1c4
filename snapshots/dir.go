// SPDX-License-Identifier: Apache-2.0

package snapshots

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kvorum/kvorum/internal/host"
)

const (
	// DefaultRetain is how many complete snapshots a folder keeps.
	DefaultRetain = 2
	// WriteOutEvery is how many bytes of a file in the making are left to the system's cache, so that its sync
	// is short and the log's own syncs do not queue behind a whole snapshot.
	WriteOutEvery = 1 << 20

	suffixFile = ".snap"
	suffixTemp = ".tmp"
)

// Dir is a folder of snapshots of one group.
type Dir struct {
	fs     host.FS
	dir    string
	retain int
	// number is the highest number in any name so far.
	number atomic.Uint32
	// turn holds one token: commits take turns. It is a channel because a turn lasts over waits for
	// the disk.
	turn chan struct{}
	// pause is nil or called between two pieces of a snapshot that is removed (host.RemoveGently).
	pause func() bool
	// mu guards readers, the open readers of a snapshot by id, and old, the files that Sweep is to remove.
	mu      sync.Mutex
	readers map[string]int
	old     []string
}

// OpenDir makes or opens a folder, removes what unfinished writes left and all but the newest
// retain complete snapshots; retain 0 means DefaultRetain.
func OpenDir(fs host.FS, dir string, retain int) (*Dir, error) {
	if retain <= 0 {
		retain = DefaultRetain
	}
	d := &Dir{fs: fs, dir: dir, retain: retain, turn: make(chan struct{}, 1), readers: make(map[string]int)}
	var last uint32
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("snapshots: open: %w", err)
	}
	names, err := fs.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshots: open: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, suffixTemp) {
			if err := fs.Remove(path.Join(dir, name)); err != nil {
				return nil, fmt.Errorf("snapshots: open: remove leftover: %w", err)
			}
		}
		if _, _, number, ok := parseID(strings.TrimSuffix(name, suffixFile)); ok {
			last = max(last, number)
		}
	}
	d.number.Store(last)
	if err := d.prune(); err != nil { // at once: there is no pause yet
		return nil, err
	}
	return d, nil
}

// Pause makes the folder leave old snapshots to Sweep, which removes them piece by piece, with a call of pause
// behind each piece, as host.RemoveGently does. It is set before the first Commit.
func (d *Dir) Pause(pause func() bool) { d.pause = pause }

func formatID(term, index uint64, number uint32) string {
	return fmt.Sprintf("%016x-%016x-%08x", term, index, number)
}

// parseID accepts exactly what formatID makes.
func parseID(id string) (term, index uint64, number uint32, ok bool) {
	n, err := fmt.Sscanf(id, "%16x-%16x-%8x", &term, &index, &number)
	return term, index, number, err == nil && n == 3 && formatID(term, index, number) == id
}

func (d *Dir) name(id string) string { return path.Join(d.dir, id+suffixFile) }

// List returns the complete snapshots, newest first: those whose head and trailer are sound. It
// does not read the streams.
func (d *Dir) List() ([]Meta, error) {
	names, err := d.fs.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("snapshots: list: %w", err)
	}
	var out []Meta
	for _, name := range slices.Backward(names) {
		id, ok := strings.CutSuffix(name, suffixFile)
		if _, _, _, sound := parseID(id); !ok || !sound {
			continue
		}
		f, m, _, _, err := d.open(id)
		if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) || errors.Is(err, ErrNotFound) {
			continue // damaged, or removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("snapshots: list: %w", err)
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("snapshots: list: %w", err)
		}
		out = append(out, m)
	}
	return out, nil
}

func (d *Dir) open(id string) (f host.File, m Meta, start int64, sum uint32, err error) {
	term, index, _, ok := parseID(id)
	if !ok {
		return nil, Meta{}, 0, 0, fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	f, err = d.fs.OpenFile(d.name(id), os.O_RDONLY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, Meta{}, 0, 0, fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	if err != nil {
		return nil, Meta{}, 0, 0, err
	}
	m, start, sum, err = readEnvelope(f)
	if err == nil && (m.Term != term || m.Index != index) {
		err = fmt.Errorf("%w: name and meta data differ", ErrCorrupt)
	}
	if err != nil {
		return nil, Meta{}, 0, 0, errors.Join(fmt.Errorf("%s: %w", id, err), f.Close())
	}
	m.ID = id
	return f, m, start, sum, nil
}

// Open returns a snapshot's stream. The reader ends in ErrCorrupt in place of io.EOF when it did
// not return the bytes written; it stays good when the snapshot is removed meanwhile.
func (d *Dir) Open(id string) (Meta, io.ReadSeekCloser, error) {
	d.mu.Lock()
	d.readers[id]++
	d.mu.Unlock()
	f, m, start, sum, err := d.open(id)
	if err != nil {
		d.leave(id)
		return Meta{}, nil, fmt.Errorf("snapshots: open: %w", err)
	}
	left := sync.OnceFunc(func() { d.leave(id) })
	return m, &streamReader{f: f, left: left, start: start, end: start + m.Size, next: start, from: start, want: sum}, nil
}

// leave ends a reader.
func (d *Dir) leave(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.readers[id]--; d.readers[id] == 0 {
		delete(d.readers, id)
	}
}

// Verify reads a whole snapshot and returns ErrCorrupt, wrapped with the place, if its bytes are
// not those written. It does not look into the stream: Inspect does.
func (d *Dir) Verify(id string) error {
	_, r, err := d.Open(id)
	if err != nil {
		return err
	}
	buf := make([]byte, BlockSize)
	for err == nil {
		_, err = r.Read(buf)
	}
	if err == io.EOF { //nolint:errorlint // exactly what streamReader returns at the end
		err = nil
	}
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("snapshots: verify %s: %w", id, err)
	}
	return nil
}

// Inspect reads a snapshot and its stream wholly and sums up the stream.
func (d *Dir) Inspect(id string) (Meta, Info, error) {
	m, r, err := d.Open(id)
	if err != nil {
		return Meta{}, Info{}, err
	}
	info, err := Inspect(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return Meta{}, Info{}, fmt.Errorf("snapshots: inspect %s: %w", id, err)
	}
	return m, info, nil
}

// prune takes all complete snapshots but the newest out of the list. Called by OpenDir or in a turn.
func (d *Dir) prune() error {
	list, err := d.List()
	if err != nil {
		return err
	}
	for _, m := range list[min(d.retain, len(list)):] {
		if err := d.delist(m.ID); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("snapshots: remove old: %w", err)
		}
	}
	return nil
}

// delist renames a snapshot to what an unfinished one is called, so that no crash brings a part of it back, and
// leaves its file to Sweep. Without Pause, or while it is being read, it is removed at once instead: its bytes
// stay as long as they are read.
func (d *Dir) delist(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pause == nil || d.readers[id] > 0 {
		return d.fs.Remove(d.name(id))
	}
	name := path.Join(d.dir, id+suffixTemp)
	if err := d.fs.Rename(d.name(id), name); err != nil {
		return err
	}
	d.old = append(d.old, name)
	return nil
}

// Sweep removes, piece by piece, the files of the snapshots that Commit took out of the list. It takes its
// time, which is why Commit does not do it; who calls it waits for it. What it cannot remove goes with the
// next Sweep or OpenDir.
func (d *Dir) Sweep() error {
	d.mu.Lock()
	old := d.old
	d.old = nil
	d.mu.Unlock()
	if len(old) == 0 {
		return nil
	}
	pause := d.pause
	if err := d.fs.SyncDir(d.dir); err != nil {
		pause = nil // the old names may come back
	}
	for i, name := range old {
		if err := removeGently(d.fs, name, pause); err != nil && !errors.Is(err, os.ErrNotExist) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.old = append(d.old, old[i:]...)
			return fmt.Errorf("snapshots: remove old: %w", err)
		}
	}
	return nil
}

func removeGently(fs host.FS, name string, pause func() bool) error {
	if pause == nil {
		return fs.Remove(name)
	}
	return host.RemoveGently(fs, name, pause)
}

// Pending is a snapshot in the making. It ends in Commit or Abort.
type Pending struct {
	d         *Dir
	f         host.File
	id        string
	size      int64 // of the stream so far
	sum       uint32
	unwritten int64
	// err is the first error, or ErrFinished at the end.
	err error
}

// Create begins a snapshot. Nothing shows in List before Commit.
func (d *Dir) Create(m Meta) (*Pending, error) {
	head, err := m.append(nil)
	if err != nil {
		return nil, fmt.Errorf("snapshots: create: %w", err)
	}
	p := &Pending{d: d, id: formatID(m.Term, m.Index, d.number.Add(1))}
	p.f, err = d.fs.OpenFile(p.temp(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("snapshots: create: %w", err)
	}
	if _, err := p.f.Write(head); err != nil {
		return nil, errors.Join(fmt.Errorf("snapshots: create: %w", err), p.Abort())
	}
	return p, nil
}

func (p *Pending) temp() string { return path.Join(p.d.dir, p.id+suffixTemp) }

// ID is the snapshot's name once committed.
func (p *Pending) ID() string { return p.id }

// Size is the number of bytes of the stream written so far.
func (p *Pending) Size() int64 { return p.size }

// Write appends to the stream. After an error only Abort is left.
func (p *Pending) Write(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.f.Write(b)
	p.size += int64(n)
	p.unwritten += int64(n)
	p.sum = crc32.Update(p.sum, crc32.MakeTable(crc32.Castagnoli), b[:n])
	if err == nil && p.unwritten >= WriteOutEvery {
		err = host.WriteOut(p.f)
		p.unwritten = 0
	}
	if err != nil {
		p.err = fmt.Errorf("snapshots: write: %w", err)
	}
	return n, p.err
}

// Commit makes the snapshot appear, complete and durable, and takes old ones out of the list. On error the
// snapshot has been aborted, or, when only the sync of the folder failed, may appear after a
// restart; it must not be relied on either way.
func (p *Pending) Commit() error {
	if p.err == nil {
		if _, err := p.f.Write(appendTrailer(nil, p.size, p.sum)); err != nil {
			p.err = fmt.Errorf("snapshots: commit: %w", err)
		} else if err := p.f.Sync(); err != nil {
			p.err = fmt.Errorf("snapshots: commit: sync: %w", err)
		}
	}
	if err := p.err; err != nil { // Abort sets it anew
		return errors.Join(err, p.Abort())
	}
	p.err = fmt.Errorf("snapshots: %w", ErrFinished)
	if err := p.f.Close(); err != nil {
		return errors.Join(fmt.Errorf("snapshots: commit: close: %w", err), p.discard())
	}
	return p.appear()
}

// appear gives the file its name.
func (p *Pending) appear() error {
	p.d.turn <- struct{}{}
	defer func() { <-p.d.turn }()
	if err := p.d.fs.Rename(p.temp(), p.d.name(p.id)); err != nil {
		return errors.Join(fmt.Errorf("snapshots: commit: rename: %w", err), p.discard())
	}
	if err := p.d.fs.SyncDir(p.d.dir); err != nil {
		return fmt.Errorf("snapshots: commit: sync folder: %w", err)
	}
	// The snapshot stands. Old ones that cannot be taken out now go with the next Commit or OpenDir.
	_ = p.d.prune()
	return nil
}

// Abort removes what was written. After the end it does nothing.
func (p *Pending) Abort() error {
	if errors.Is(p.err, ErrFinished) {
		return nil
	}
	p.err = fmt.Errorf("snapshots: %w", ErrFinished)
	return errors.Join(p.f.Close(), p.discard())
}

func (p *Pending) discard() error {
	if err := p.d.fs.Remove(p.temp()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("snapshots: abort: %w", err)
	}
	return nil
}

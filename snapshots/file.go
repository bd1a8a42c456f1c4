// SPDX-License-Identifier: Apache-2.0

package snapshots

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/kvorum/kvorum/internal/host"
)

// File is one file in the making: it appears under its name whole and durable, or not at all. It ends in
// Commit or Abort, and belongs to one goroutine.
type File struct {
	fs         host.FS
	f          host.File
	name, temp string
	replace    bool
	size       int64
	unwritten  int64
	// err is the first error, or ErrFinished at the end.
	err error
}

// CreateFile begins a file. Unless it may replace one, a name that is taken is refused with os.ErrExist.
// Until Commit its bytes are in a file of another name beside it; random makes that name.
func CreateFile(fs host.FS, random io.Reader, name string, replace bool) (*File, error) {
	var b [4]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("snapshots: create file: %w", err)
	}
	w := &File{fs: fs, name: name, replace: replace}
	w.temp = path.Join(path.Dir(name), "."+path.Base(name)+"."+hex.EncodeToString(b[:])+suffixTemp)
	if err := w.free(); err != nil {
		return nil, fmt.Errorf("snapshots: create file: %w", err)
	}
	var err error
	if w.f, err = fs.OpenFile(w.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, fmt.Errorf("snapshots: create file: %w", err)
	}
	return w, nil
}

// free tells whether the name may be taken.
func (w *File) free() error {
	if info, err := w.fs.Stat(w.name); err == nil && (!w.replace || info.IsDir) {
		return &os.PathError{Op: "create", Path: w.name, Err: os.ErrExist}
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Write appends. After an error only Abort is left.
func (w *File) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.f.Write(p)
	w.size += int64(n)
	if w.unwritten += int64(n); err == nil && w.unwritten >= WriteOutEvery {
		err = host.WriteOut(w.f)
		w.unwritten = 0
	}
	if err != nil {
		w.err = fmt.Errorf("snapshots: write file: %w", err)
	}
	return n, w.err
}

// Err is the first error of Write, nil while there is none.
func (w *File) Err() error { return w.err }

// Size is how many bytes were written.
func (w *File) Size() int64 { return w.size }

// Content reads what was written so far.
func (w *File) Content() io.Reader { return io.NewSectionReader(w.f, 0, w.size) }

// Commit makes the file appear. On error there is no file of that name but the one that was there before;
// only when the sync of the folder failed may the new one be there.
func (w *File) Commit() error {
	if w.err == nil {
		if err := w.f.Sync(); err != nil {
			w.err = fmt.Errorf("snapshots: sync file: %w", err)
		}
	}
	if err := w.err; err != nil { // Abort sets it anew
		return errors.Join(err, w.Abort())
	}
	w.err = fmt.Errorf("snapshots: %w", ErrFinished)
	err := w.f.Close()
	if err == nil {
		err = w.free()
	}
	if err == nil {
		err = w.fs.Rename(w.temp, w.name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("snapshots: commit file: %w", err), w.discard())
	}
	if err := w.fs.SyncDir(path.Dir(w.name)); err != nil {
		return fmt.Errorf("snapshots: commit file: sync folder: %w", err)
	}
	return nil
}

// Abort removes what was written. After the end it does nothing.
func (w *File) Abort() error {
	if errors.Is(w.err, ErrFinished) {
		return nil
	}
	w.err = fmt.Errorf("snapshots: %w", ErrFinished)
	return errors.Join(w.f.Close(), w.discard())
}

func (w *File) discard() error {
	if err := w.fs.Remove(w.temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("snapshots: abort file: %w", err)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package host

import (
	"io"
	"os"
	"sync/atomic"
	"syscall"
)

// memFile is an open file of a MemFS. off belongs to the one goroutine that uses Read, Write and
// Seek.
type memFile struct {
	v                 *memView
	n                 *inode
	name              string
	off               int64
	canRead, canWrite bool
	atEnd             bool // O_APPEND: every Write goes to the end
	closed            atomic.Bool
}

var _ File = (*memFile)(nil)

func (f *memFile) enter(op string, allowed bool) error {
	if f.closed.Load() {
		return pathError(op, f.name, os.ErrClosed)
	}
	if !allowed {
		return pathError(op, f.name, syscall.EBADF)
	}
	return f.v.enter(op, f.name)
}

// begin is enter for a step that changes the file.
func (f *memFile) begin(op string) error {
	if f.canWrite && !f.closed.Load() {
		if err := f.v.m.step(op, f.name); err != nil {
			return err
		}
	}
	return f.enter(op, f.canWrite)
}

func (f *memFile) Read(p []byte) (int, error) {
	if err := f.enter("read", f.canRead); err != nil {
		return 0, err
	}
	n := f.n.readAt(p, f.off)
	f.v.m.mu.Unlock()
	f.off += int64(n)
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, pathError("readat", f.name, syscall.EINVAL)
	}
	if err := f.enter("read", f.canRead); err != nil {
		return 0, err
	}
	n := f.n.readAt(p, off)
	f.v.m.mu.Unlock()
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Write(p []byte) (int, error) {
	if err := f.begin("write"); err != nil {
		return 0, err
	}
	defer f.v.m.mu.Unlock()
	if f.atEnd {
		f.off = f.n.size
	}
	n, err := f.writeLocked(p, f.off)
	f.off += int64(n)
	return n, err
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || f.atEnd {
		return 0, pathError("writeat", f.name, syscall.EINVAL)
	}
	if err := f.begin("write"); err != nil {
		return 0, err
	}
	defer f.v.m.mu.Unlock()
	return f.writeLocked(p, off)
}

func (f *memFile) writeLocked(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > maxFileSize {
		return 0, pathError("write", f.name, syscall.EFBIG)
	}
	n := f.n.writeAt(p, off, f.v.m.grow)
	if n < len(p) {
		return n, pathError("write", f.name, syscall.ENOSPC)
	}
	return n, nil
}

func (f *memFile) Seek(offset int64, whence int) (int64, error) {
	if err := f.enter("seek", true); err != nil {
		return 0, err
	}
	defer f.v.m.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += f.off
	case io.SeekEnd:
		offset += f.n.size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, pathError("seek", f.name, syscall.EINVAL)
	}
	f.off = offset
	return offset, nil
}

func (f *memFile) Sync() error {
	if err := f.enter("sync", true); err != nil {
		return err
	}
	f.v.m.mu.Unlock()
	return f.v.sync("sync", f.name, f.n.sync, f.n.loseDirty)
}

func (f *memFile) Truncate(size int64) error {
	if size < 0 {
		return pathError("truncate", f.name, syscall.EINVAL)
	}
	if size > maxFileSize {
		return pathError("truncate", f.name, syscall.EFBIG)
	}
	// A file opened for reading alone cannot be cut: the kernel says EINVAL, not EBADF.
	if !f.canWrite {
		return pathError("truncate", f.name, syscall.EINVAL)
	}
	if err := f.begin("truncate"); err != nil {
		return err
	}
	defer f.v.m.mu.Unlock()
	f.n.truncate(size, f.v.m.give)
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.enter("stat", true); err != nil {
		return 0, err
	}
	defer f.v.m.mu.Unlock()
	return f.n.size, nil
}

func (f *memFile) Preallocate(size int64) error {
	if err := f.begin("preallocate"); err != nil {
		return err
	}
	defer f.v.m.mu.Unlock()
	if size <= f.n.size {
		return nil
	}
	if size > maxFileSize {
		return pathError("preallocate", f.name, syscall.EFBIG)
	}
	if !f.n.reserve(size, f.v.m.grow) {
		return pathError("preallocate", f.name, syscall.ENOSPC)
	}
	f.n.size = size
	return nil
}

// Close gives up the handle; a second Close fails as in package os.
func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return pathError("close", f.name, os.ErrClosed)
	}
	if err := f.v.enter("close", f.name); err != nil {
		return err
	}
	defer f.v.m.mu.Unlock()
	f.n.opens--
	f.v.m.reclaim(f.n)
	return nil
}

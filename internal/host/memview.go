// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
)

// memView is a MemFS as one life of the process sees it.
type memView struct {
	m   *MemFS
	gen *generation
}

var _ FS = (*memView)(nil)

// begin is enter for a step that changes the disk.
func (v *memView) begin(op, name string) error {
	if err := v.m.step(op, name); err != nil {
		return err
	}
	return v.enter(op, name)
}

// enter takes the disk's lock, unless the process is dead.
func (v *memView) enter(op, name string) error {
	v.m.mu.Lock()
	if v.gen != v.m.gen {
		v.m.mu.Unlock()
		return pathError(op, name, ErrCrashed)
	}
	return nil
}

func (v *memView) OpenFile(name string, flag int, _ os.FileMode) (File, error) {
	begin := v.enter
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		begin = v.begin
	}
	if err := begin("create", name); err != nil {
		return nil, err
	}
	defer v.m.mu.Unlock()
	n, err := v.openInode(name, flag)
	if err != nil {
		return nil, err
	}
	mode := flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR)
	n.opens++
	return &memFile{
		v: v, n: n, name: name,
		canRead: mode != os.O_WRONLY, canWrite: mode != os.O_RDONLY,
		atEnd: flag&os.O_APPEND != 0,
	}, nil
}

func (v *memView) openInode(name string, flag int) (*inode, error) {
	dir, base, err := v.m.lookupDir("open", name)
	if err != nil {
		return nil, err
	}
	n := dir.cur[base]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, pathError("open", name, syscall.ENOENT)
	case n == nil:
		n = &inode{}
		v.m.change(nameEdit{dir: dir, name: base, to: n})
	case flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, pathError("open", name, syscall.EEXIST)
	case n.isDir:
		return nil, pathError("open", name, syscall.EISDIR)
	case flag&os.O_TRUNC != 0:
		n.truncate(0, v.m.give)
	}
	return n, nil
}

func (v *memView) Rename(oldName, newName string) error {
	if err := v.begin("rename", oldName); err != nil {
		return err
	}
	defer v.m.mu.Unlock()
	oldDir, oldBase, err := v.m.lookupDir("rename", oldName)
	if err != nil {
		return err
	}
	n := oldDir.cur[oldBase]
	if n == nil {
		return pathError("rename", oldName, syscall.ENOENT)
	}
	newDir, newBase, err := v.m.lookupDir("rename", newName)
	if err != nil {
		return err
	}
	if old := newDir.cur[newBase]; old != nil {
		switch {
		case old == n:
			return nil
		case old.isDir: // package os refuses this even where the kernel would not
			return pathError("rename", newName, syscall.EEXIST)
		case n.isDir:
			return pathError("rename", newName, errNotDir)
		}
	}
	if n.isDir && strings.HasPrefix(path.Clean("/"+newName)+"/", path.Clean("/"+oldName)+"/") {
		return pathError("rename", newName, syscall.EINVAL)
	}
	v.m.change(nameEdit{dir: newDir, name: newBase, to: n}, nameEdit{dir: oldDir, name: oldBase})
	return nil
}

func (v *memView) Remove(name string) error {
	if err := v.begin("remove", name); err != nil {
		return err
	}
	defer v.m.mu.Unlock()
	dir, base, err := v.m.lookupDir("remove", name)
	if err != nil {
		return err
	}
	n := dir.cur[base]
	if n == nil {
		return pathError("remove", name, syscall.ENOENT)
	}
	if n.isDir && len(n.cur) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	v.m.change(nameEdit{dir: dir, name: base})
	return nil
}

func (v *memView) RemoveAll(name string) error {
	if err := v.begin("remove", name); err != nil {
		return err
	}
	defer v.m.mu.Unlock()
	dir, base, err := v.m.lookupDir("remove", name)
	if err != nil || dir.cur[base] == nil {
		return nil // an absent name or parent is no error, as in package os
	}
	v.m.removeTree(dir, base)
	return nil
}

// removeTree removes from the leaves up, one name at a time, as a real removal does.
func (m *MemFS) removeTree(dir *inode, name string) {
	n := dir.cur[name]
	for _, child := range sortedNames(n.cur) {
		m.removeTree(n, child)
	}
	m.change(nameEdit{dir: dir, name: name})
}

func (v *memView) MkdirAll(name string, _ os.FileMode) error {
	if err := v.begin("mkdir", name); err != nil {
		return err
	}
	defer v.m.mu.Unlock()
	dir := v.m.root
	for _, part := range split(name) {
		n := dir.cur[part]
		if n == nil {
			n = newDir()
			v.m.change(nameEdit{dir: dir, name: part, to: n})
			v.m.syncNames(dir)
		}
		if !n.isDir {
			return pathError("mkdir", name, errNotDir)
		}
		dir = n
	}
	return nil
}

func (v *memView) ReadDir(name string) ([]string, error) {
	if err := v.enter("open", name); err != nil {
		return nil, err
	}
	defer v.m.mu.Unlock()
	n, err := v.m.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if !n.isDir {
		return nil, pathError("readdir", name, errNotDir)
	}
	return sortedNames(n.cur), nil
}

func (v *memView) Stat(name string) (FileInfo, error) {
	if err := v.enter("stat", name); err != nil {
		return FileInfo{}, err
	}
	defer v.m.mu.Unlock()
	n, err := v.m.lookup("stat", name)
	if err != nil {
		return FileInfo{}, err
	}
	return FileInfo{Size: n.size, IsDir: n.isDir}, nil
}

func (v *memView) SyncDir(name string) error {
	if err := v.enter("open", name); err != nil {
		return err
	}
	n, err := v.m.lookup("open", name)
	v.m.mu.Unlock()
	if err != nil {
		return err
	}
	return v.sync("syncdir", name, func() { v.m.syncNames(n) }, func() {})
}

// sync waits the disk's delay without holding its lock, then commits, or fails as told to and runs
// lose.
func (v *memView) sync(op, name string, commit, lose func()) error {
	if err := v.m.step(op, name); err != nil {
		return err
	}
	if err := v.delaySync(name); err != nil {
		return err
	}
	if err := v.enter("sync", name); err != nil {
		return err
	}
	defer v.m.mu.Unlock()
	if len(v.m.syncErr) > 0 {
		err := v.m.syncErr[0]
		v.m.syncErr = v.m.syncErr[1:]
		lose()
		return pathError("sync", name, err)
	}
	commit()
	return nil
}

func (v *memView) delaySync(name string) error {
	start := time.Now()
	for first := true; ; first = false {
		if err := v.enter("sync", name); err != nil {
			return err
		}
		if first {
			v.m.syncs++
		}
		left, wake := v.m.delay-time.Since(start), v.gen.wake
		v.m.mu.Unlock()
		if left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-wake:
		case <-v.gen.dead:
		}
		timer.Stop()
	}
}

func (v *memView) Lock(name string) (io.Closer, error) {
	if err := v.begin("create", name); err != nil {
		return nil, err
	}
	defer v.m.mu.Unlock()
	if _, err := v.openInode(name, os.O_CREATE|os.O_RDWR); err != nil {
		return nil, err
	}
	key := path.Clean("/" + name)
	if v.m.locks[key] != nil {
		return nil, fmt.Errorf("host: lock %s: %w", name, ErrLocked)
	}
	l := &memLock{v: v, key: key}
	v.m.locks[key] = l
	return l, nil
}

type memLock struct {
	v   *memView
	key string
}

func (l *memLock) Close() error {
	if err := l.v.enter("close", l.key); err != nil {
		return err
	}
	defer l.v.m.mu.Unlock()
	if l.v.m.locks[l.key] != l {
		return pathError("close", l.key, os.ErrClosed)
	}
	delete(l.v.m.locks, l.key)
	return nil
}

func (v *memView) Free(name string) (uint64, error) {
	if err := v.enter("statfs", name); err != nil {
		return 0, err
	}
	defer v.m.mu.Unlock()
	if _, err := v.m.lookup("statfs", name); err != nil {
		return 0, err
	}
	limit := v.m.quota
	if limit <= 0 {
		limit = defaultCapacity
	}
	return uint64(max(0, limit-v.m.used)), nil
}
